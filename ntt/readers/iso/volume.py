"""Volume descriptors -> which tree of an ISO 9660 volume is read, and how its names are to be understood."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ntt.ranges import Ranges, within
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.iso.lost_descriptor import is_unread, searched_root
from ntt.readers.iso.records import OWN_IDENTIFIER, SECTOR_BYTES, DirectoryRecord, Geometry, parse_sector
from ntt.readers.iso.rockridge import NOTHING, RockRidge, parse_system_use, rock_ridge_at, skip_length

ROCK_RIDGE, JOLIET, PLAIN = "rock-ridge", "joliet", "plain"
PRIMARY, SUPPLEMENTARY, TERMINATOR = 1, 2, 255  # kinds of descriptors
_JOLIET_ESCAPES = (b"%/@", b"%/C", b"%/E")  # Joliet specification, "Identifying a Joliet SVD": UCS-2 levels 1 to 3
FIRST_DESCRIPTOR = 16  # sectors; the system area lies before it (ECMA-119, 6.2.1)
_MOST_DESCRIPTORS = 64
_UNREAD_DESCRIPTORS = 4  # that may stand behind the last one that was read
_LARGEST_PATH_TABLE = 4 << 20
_OWN_RECORD_BYTES = 34
_MOST_ROOT_BYTES = 64 << 10  # in which a record must tell whether it has Rock Ridge
_LONGEST_CONTINUATION = 1 << 16


@dataclass(frozen=True, slots=True)
class IsoVolume:
    """One tree of one volume, which may be one of several sessions.

    `skip_bytes` come before the system use entries of every record (SUSP LEN_SKP). `kind`: of the descriptor that it
    is described by. `others` are the directories of the tree that is not read, as `directories` gives them, and
    `others_known` says whether these are all.
    `path_table`: its first block and bytes. `doubt`: why this may not be the tree that the disc is meant to show.
    `missed`: the unread bytes for the sake of which Joliet names are read; a link has no content there.
    """

    geometry: Geometry
    names: str
    label: str
    size_bytes: int
    root: DirectoryRecord
    skip_bytes: int = 0
    session_bytes: int = 0  # where its session begins, from the geometry's offset on
    kind: int = PRIMARY
    others: tuple[tuple[int, int], ...] = ()
    others_known: bool = True
    path_table: tuple[int, int] = (0, 0)
    doubt: str = ""
    missed: Ranges = ()

    def name_of(self, identifier: bytes) -> bytes:
        """A file identifier as it is shown: without ";1", and without the dot before it (as the Linux kernel does).

        Joliet names become UTF-8; a lone surrogate or an odd byte at the end is kept.
        """
        if self.names == JOLIET:
            even = len(identifier) & ~1
            text = identifier[:even].decode("utf-16-be", "surrogatepass")
            name = text.encode("utf-8", "surrogatepass") + identifier[even:]
            return name[:-2] if len(name) > 2 and name.endswith(b";1") else name
        if len(identifier) > 3 and identifier.endswith(b".;1"):
            return identifier[:-3]
        return identifier[:-2] if len(identifier) > 2 and identifier.endswith(b";1") else identifier

    def has_path_table(self, source: ImageSource) -> bool:
        """It was read, wholly."""
        block, size_bytes = self.path_table
        start = self.geometry.offset_bytes + block * self.geometry.block_bytes
        return 0 < size_bytes <= _LARGEST_PATH_TABLE and not within(source.unread, start, start + size_bytes)

    def directories(self, source: ImageSource) -> tuple[tuple[int, int], ...]:
        """(first block, bytes) of the root and those that the path table names (ECMA-119, 9.4); 0 bytes: not known."""
        block_bytes, offset = self.geometry.block_bytes, self.geometry.offset_bytes
        block, size_bytes = self.path_table
        table = source.read(offset + block * block_bytes, min(size_bytes, _LARGEST_PATH_TABLE)) if block else b""
        found = [(self.root.first_block, self.root.size_bytes)]
        at = 0
        while at + 8 <= len(table) and table[at]:
            first = int.from_bytes(table[at + 2 : at + 6], "little") + table[at + 1]
            at += 8 + table[at] + (table[at] & 1)
            if self.geometry.inside(first, 1):
                own = source.read(offset + first * block_bytes, _OWN_RECORD_BYTES)
                is_own = own[32:34] == b"\x01" + OWN_IDENTIFIER
                found.append((first, int.from_bytes(own[10:14], "little") if is_own else 0))
        return tuple(found)


class SystemUse:
    """Reads what records carry beyond ISO 9660, with their continuation areas.

    `budget_bytes` bounds all continuation areas of one use together: on an honest volume each byte
    belongs to one record, so the size of the image is enough. `areas` are those of the record asked for last, as
    (start and end in the image, what of it was not read).
    """

    def __init__(self, source: ImageSource, volume: IsoVolume) -> None:
        self._source = source
        self._volume = volume
        self._cached_at = -1
        self._cached = b""
        self.areas: list[tuple[int, int, Ranges]] = []
        self.budget_bytes = source.size_bytes + (1 << 20)

    def of(self, record: DirectoryRecord) -> RockRidge:
        """Never fails for what stands on the medium; OSError if the image cannot be read."""
        if self._volume.names != ROCK_RIDGE:
            return NOTHING
        skip = self._volume.skip_bytes
        self.areas = []
        return parse_system_use(record.system_use[skip:] if skip else record.system_use, self._continuation)

    def _continuation(self, block: int, offset: int, length: int) -> tuple[bytes, str, Ranges]:
        geometry = self._volume.geometry
        position = block * geometry.block_bytes + offset
        if length > _LONGEST_CONTINUATION or position + length > geometry.limit_bytes:
            return b"", f"its continuation area (block {block}, {length} bytes) is not on the medium", ()
        self.budget_bytes -= length
        if self.budget_bytes < 0:
            return b"", "continuation areas overlap, this one is not read", ()
        at = geometry.offset_bytes + position
        lost = within(self._source.unread, at, at + length)
        self.areas.append((at, at + length, lost))
        if lost:
            remark = f"its name and attributes may be incomplete: {length} bytes at byte {at} are unread"
            return self._source.read(at, lost[0][0] - at), remark, lost
        start = at & -SECTOR_BYTES
        if start != self._cached_at or at + length > start + len(self._cached):
            self._cached = self._source.read(start, max(SECTOR_BYTES, at + length - start))
            self._cached_at = start
        return self._cached[at - start : at - start + length], "", ()


def find_volume(source: ImageSource, offset_bytes: int, session_bytes: int) -> IsoVolume:
    """Rock Ridge before Joliet before plain names; ReadError when no volume descriptor can be used.

    Where the primary descriptor was not read, the root directory is searched for.
    """
    primary: IsoVolume | None = None
    joliet: IsoVolume | None = None
    seen = ""
    for descriptor in descriptors(source, offset_bytes + session_bytes):
        if descriptor[9:14] == b"CDROM":
            seen = "this is a High Sierra volume, the forerunner of ISO 9660"
        elif descriptor[0] == PRIMARY and primary is None:
            primary, seen = _described(source, offset_bytes, descriptor, PLAIN)
        elif descriptor[0] == SUPPLEMENTARY and descriptor[88:91] in _JOLIET_ESCAPES and joliet is None:
            joliet, _ = _described(source, offset_bytes, descriptor, JOLIET)
    lost = () if primary is not None or seen else _unread_descriptors(source, offset_bytes + session_bytes)
    if lost:
        primary = _searched(source, offset_bytes, session_bytes, joliet)
        if primary is not None and primary.names == JOLIET:
            primary, joliet = None, primary
    chosen = (_with_rock_ridge(source, primary) if primary is not None else None) or joliet or primary
    if chosen is None:
        cause = f": {seen}" if seen else "; where it stands was not read" if lost else ""
        raise ReadError(f"no readable ISO 9660 primary volume descriptor{cause}", lost)
    other = primary if chosen is joliet else joliet
    doubt, missed = _doubt(source, primary, lost) if chosen is joliet else ("", ())
    if lost and not doubt:
        doubt = "the primary volume descriptor was not read: the root directory was searched for"
    others = other.directories(source) if other is not None else ()
    return replace(
        chosen,
        session_bytes=session_bytes,
        others=others,
        others_known=other is None or other.has_path_table(source),
        doubt=doubt,
        missed=missed,
    )


def _doubt(source: ImageSource, primary: IsoVolume | None, lost: Ranges) -> tuple[str, Ranges]:
    """Why Joliet names may not be all that the disc is meant to show, and the unread bytes that are the cause."""
    if lost:
        return "the primary volume descriptor was not read: Joliet names are shown instead", lost
    if primary is None:
        return "", ()
    size_bytes = min(primary.root.size_bytes, _MOST_ROOT_BYTES)
    start = primary.geometry.offset_bytes + primary.root.first_block * primary.geometry.block_bytes
    unread = within(source.unread, start, start + size_bytes)
    if unread != ((start, start + size_bytes),):
        return "", ()
    return "the root directory of the primary tree was not read: Joliet names are shown instead", unread


def descriptors(source: ImageSource, session_start: int) -> Iterator[bytes]:
    """The sectors up to the terminator that are volume descriptors (of High Sierra, too); the start in the image."""
    for number in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + _MOST_DESCRIPTORS):
        descriptor = source.read(session_start + number * SECTOR_BYTES, SECTOR_BYTES)
        if descriptor[1:6] == b"CD001" and descriptor[0] == TERMINATOR:
            return
        if descriptor[1:6] == b"CD001" or descriptor[9:14] == b"CDROM":
            yield descriptor


def descriptor_area(source: ImageSource, session_start: int) -> list[tuple[int, bytes]]:
    """(place in the image, content) of each sector up to the terminator, as far as they are descriptors or unread."""
    found: list[tuple[int, bytes]] = []
    for number in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + _MOST_DESCRIPTORS):
        position = session_start + number * SECTOR_BYTES
        sector = source.read(position, SECTOR_BYTES)
        if sector[1:6] == b"CD001" or sector[9:14] == b"CDROM" or is_unread(source, position):
            found.append((position, sector))
        if sector[:6] == b"\xffCD001":
            return found
    known = [index for index, (_, sector) in enumerate(found) if any(sector)]
    return found[: known[-1] + _UNREAD_DESCRIPTORS if known else 1]


def _unread_descriptors(source: ImageSource, session_start: int) -> Ranges:
    """The sectors that the primary descriptor may have stood in: before the first other one that was read."""
    start = session_start + FIRST_DESCRIPTOR * SECTOR_BYTES
    for position in range(start, start + _MOST_DESCRIPTORS * SECTOR_BYTES, SECTOR_BYTES):
        if not is_unread(source, position):
            return within(source.unread, start, position)
    return ()


def _searched(source: ImageSource, offset_bytes: int, session_bytes: int, joliet: IsoVolume | None) -> IsoVolume | None:
    """A root that no descriptor leads to; None if the one that the Joliet descriptor names is all there is."""
    claimed = joliet.geometry if joliet is not None else None
    geometry = claimed or Geometry(offset_bytes, SECTOR_BYTES, source.size_bytes - offset_bytes)
    found = searched_root(source, geometry, session_bytes)
    if found is None or (joliet is not None and found.is_joliet):
        return None
    label, size_bytes = (joliet.label, joliet.size_bytes) if joliet is not None else ("", 0)
    return IsoVolume(geometry, JOLIET if found.is_joliet else PLAIN, label, size_bytes, found.record)


def _described(source: ImageSource, offset_bytes: int, descriptor: bytes, names: str) -> tuple[IsoVolume | None, str]:
    """A primary or supplementary descriptor (ECMA-119, 8.4, 8.5), or None and why it is of no use."""
    sizes = (int.from_bytes(descriptor[128:130], "little"), int.from_bytes(descriptor[130:132], "big"))
    block_bytes = next((size for size in sizes if size in (512, 1024, 2048)), 0)
    if not block_bytes:
        return None, f"logical blocks of {sizes[0]} bytes"
    size_bytes = int.from_bytes(descriptor[80:84], "little") * block_bytes
    geometry = Geometry(offset_bytes, block_bytes, max(size_bytes, source.size_bytes - offset_bytes))
    records, fault = parse_sector(descriptor[156:190], 0, geometry)
    if not records or not records[0].size_bytes or not geometry.inside(records[0].first_block, 1):
        return None, f"its root directory is not on the medium{': ' if fault else ''}{fault}"
    label = descriptor[40:72]
    return IsoVolume(
        geometry,
        names,
        _label(label, names),
        size_bytes,
        records[0],
        kind=descriptor[0],
        path_table=_path_table(descriptor),
    ), ""


def _path_table(descriptor: bytes) -> tuple[int, int]:
    return int.from_bytes(descriptor[140:144], "little"), int.from_bytes(descriptor[132:136], "little")


def _label(stored: bytes, names: str) -> str:
    if names == JOLIET:
        text = stored.decode("utf-16-be", "replace")
    else:
        try:
            text = stored.decode("utf-8")
        except UnicodeDecodeError:
            text = stored.decode("latin-1")
    return text.partition("\0")[0].strip()


def _with_rock_ridge(source: ImageSource, primary: IsoVolume) -> IsoVolume | None:
    """The primary tree as Rock Ridge, if the root's own record says so (SUSP 5.3)."""
    geometry = primary.geometry
    position = primary.root.first_block * geometry.block_bytes
    sector = source.read(geometry.offset_bytes + position, SECTOR_BYTES)
    records, _ = parse_sector(sector, position, geometry)
    if records and records[0].identifier == OWN_IDENTIFIER:
        skip = skip_length(records[0].system_use)
        if skip is None or all(rock_ridge_at(record.system_use) < 0 for record in records):
            return None
        return replace(primary, names=ROCK_RIDGE, skip_bytes=skip)
    if not is_unread(source, geometry.offset_bytes + position):
        return None
    # The first sector of the root was not read: the records of the next ones tell.
    for at in range(position + SECTOR_BYTES, position + min(primary.root.size_bytes, _MOST_ROOT_BYTES), SECTOR_BYTES):
        records, _ = parse_sector(source.read(geometry.offset_bytes + at, SECTOR_BYTES), at, geometry)
        if records:
            spoken = [at for at in (rock_ridge_at(record.system_use) for record in records) if at >= 0]
            return replace(primary, names=ROCK_RIDGE, skip_bytes=spoken[0]) if spoken else None
    return None
