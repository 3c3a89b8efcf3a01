"""Volume descriptors -> which tree of an ISO 9660 volume is read, and how its names are to be understood."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ntt.ranges import within
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.iso.records import OWN_IDENTIFIER, SECTOR_BYTES, DirectoryRecord, Geometry, parse_sector
from ntt.readers.iso.rockridge import NOTHING, RockRidge, parse_system_use, rock_ridge_at, skip_length

ROCK_RIDGE, JOLIET, PLAIN = "rock-ridge", "joliet", "plain"
_JOLIET_ESCAPES = (b"%/@", b"%/C", b"%/E")  # Joliet specification, "Identifying a Joliet SVD": UCS-2 levels 1 to 3
_FIRST_DESCRIPTOR = 16  # sectors; the system area lies before it (ECMA-119, 6.2.1)
_MOST_DESCRIPTORS = 64
_LONGEST_CONTINUATION = 1 << 16


@dataclass(frozen=True, slots=True)
class IsoVolume:
    """One tree of one volume, which may be one of several sessions.

    `skip_bytes` come before the system use entries of every record (SUSP LEN_SKP).
    """

    geometry: Geometry
    names: str
    label: str
    size_bytes: int
    root: DirectoryRecord
    skip_bytes: int = 0
    session_bytes: int = 0  # where its session begins, from the geometry's offset on

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


class SystemUse:
    """Reads what records carry beyond ISO 9660, with their continuation areas.

    `budget_bytes` bounds all continuation areas of one use together: on an honest volume each byte
    belongs to one record, so the size of the image is enough.
    """

    def __init__(self, source: ImageSource, volume: IsoVolume) -> None:
        self._source = source
        self._volume = volume
        self._cached_at = -1
        self._cached = b""
        self.budget_bytes = source.size_bytes + (1 << 20)

    def of(self, record: DirectoryRecord) -> RockRidge:
        """Never fails for what stands on the medium; OSError if the image cannot be read."""
        if self._volume.names != ROCK_RIDGE:
            return NOTHING
        skip = self._volume.skip_bytes
        return parse_system_use(record.system_use[skip:] if skip else record.system_use, self._continuation)

    def _continuation(self, block: int, offset: int, length: int) -> tuple[bytes, str]:
        geometry = self._volume.geometry
        position = block * geometry.block_bytes + offset
        if length > _LONGEST_CONTINUATION or position + length > geometry.limit_bytes:
            return b"", f"its continuation area (block {block}, {length} bytes) is not on the medium"
        self.budget_bytes -= length
        if self.budget_bytes < 0:
            return b"", "continuation areas overlap, this one is not read"
        at = geometry.offset_bytes + position
        remark = ""
        if within(self._source.unread, at, at + length):
            remark = f"its name and attributes may be incomplete: {length} bytes at byte {at} are unread"
        start = at & -SECTOR_BYTES
        if start != self._cached_at or at + length > start + len(self._cached):
            self._cached = self._source.read(start, max(SECTOR_BYTES, at + length - start))
            self._cached_at = start
        return self._cached[at - start : at - start + length], remark


def find_volume(source: ImageSource, offset_bytes: int, session_bytes: int) -> IsoVolume:
    """Rock Ridge before Joliet before plain names; ReadError when no primary volume descriptor can be used."""
    primary: IsoVolume | None = None
    joliet: IsoVolume | None = None
    seen = ""
    for descriptor in descriptors(source, offset_bytes + session_bytes):
        if descriptor[9:14] == b"CDROM":
            seen = "this is a High Sierra volume, the forerunner of ISO 9660"
        elif descriptor[0] == 1 and primary is None:
            primary, seen = _described(source, offset_bytes, descriptor, PLAIN)
        elif descriptor[0] == 2 and descriptor[88:91] in _JOLIET_ESCAPES and joliet is None:
            joliet, _ = _described(source, offset_bytes, descriptor, JOLIET)
    if primary is None:
        raise ReadError(f"no readable ISO 9660 primary volume descriptor{': ' if seen else ''}{seen}")
    return replace(_with_rock_ridge(source, primary) or joliet or primary, session_bytes=session_bytes)


def descriptors(source: ImageSource, session_start: int) -> Iterator[bytes]:
    """The sectors up to the terminator that are volume descriptors (of High Sierra, too); the start in the image."""
    for number in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + _MOST_DESCRIPTORS):
        descriptor = source.read(session_start + number * SECTOR_BYTES, SECTOR_BYTES)
        if descriptor[1:6] == b"CD001" and descriptor[0] == 255:
            return
        if descriptor[1:6] == b"CD001" or descriptor[9:14] == b"CDROM":
            yield descriptor


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
    return IsoVolume(geometry, names, _label(label, names), size_bytes, records[0]), ""


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
    if any(sector) or primary.root.size_bytes <= SECTOR_BYTES:
        return None
    # The first sector of the root was not read: the records of the next one tell.
    records, _ = parse_sector(source.read(geometry.offset_bytes + position + SECTOR_BYTES, SECTOR_BYTES), 0, geometry)
    spoken = [at for at in (rock_ridge_at(record.system_use) for record in records) if at >= 0]
    return replace(primary, names=ROCK_RIDGE, skip_bytes=spoken[0]) if spoken else None
