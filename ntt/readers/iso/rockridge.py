"""System use area of a record -> POSIX name, mode, owner, times, link target (SUSP IEEE P1281, RRIP IEEE P1282)."""

from __future__ import annotations

import struct
from collections.abc import Callable

import msgspec

from ntt.ranges import Ranges
from ntt.readers.iso.records import digits_time, recorded_time

# Block, offset in it, length -> the bytes of a continuation area, a remark when they are not all to be had, and what of
# the image was not read.
Continuation = Callable[[int, int, int], tuple[bytes, str, Ranges]]

_MOST_AREAS = 64  # continuation areas of one record; a loop or a hostile chain ends here
_WORD = struct.Struct("<4xI")
_TWO_WORDS = struct.Struct("<4xI4xI")
_THREE_WORDS = struct.Struct("<4xI4xI4xI")
_FOUR_WORDS = struct.Struct("<4xI4xI4xI4xI")
_TF_MODIFY, _TF_LONG = 0x02, 0x80


class RockRidge(msgspec.Struct, frozen=True, gc=False):
    """What a record says beyond ISO 9660. `mode` 0: no PX; `mtime_s` None: no modify time; `child_block` -1: no CL.

    `lost`: what of its continuation areas was not read; then it may say more. `target` is None unless it is whole.
    """

    name: bytes = b""
    mode: int = 0
    links: int = 1
    uid: int = 0
    gid: int = 0
    serial: int = 0
    mtime_s: int | None = None
    mtime_ns: int = 0
    target: bytes | None = None
    device: bytes = b""
    child_block: int = -1
    relocated: bool = False
    sparse: bool = False
    remarks: tuple[str, ...] = ()
    lost: Ranges = ()


NOTHING = RockRidge()


def parse_system_use(area: bytes, continuation: Continuation) -> RockRidge:
    """Every entry of the area and of its continuation areas, in order. Never fails: oddities become remarks."""
    reading = _Reading()
    reading.take(area)
    areas = 0
    seen: set[tuple[int, int, int]] = set()
    while reading.next_area is not None:
        place, reading.next_area = reading.next_area, None
        areas += 1
        if place in seen or areas > _MOST_AREAS:
            reading.remarks.append(f"its continuation areas do not end (block {place[0]})")
            break
        seen.add(place)
        more, remark, lost = continuation(*place)
        reading.take(more, is_cut=bool(lost))
        reading.lost = lost
        if remark:
            reading.remarks.append(remark)
    return reading.result()


def skip_length(area: bytes) -> int | None:
    """LEN_SKP of the SP entry that opens the root's own record (SUSP 5.3); None: no SUSP on this volume.

    CD-ROM XA discs carry 14 bytes of their own before it.
    """
    for at in (0, 14):
        if area[at : at + 2] == b"SP" and area[at + 4 : at + 6] == b"\xbe\xef" and len(area) > at + 6:
            return area[at + 6]
    return None


def rock_ridge_at(area: bytes) -> int:
    """Where in the area the entries of RRIP begin, -1: there are none; SUSP alone may serve other protocols."""
    for first in (0, 14):
        at = first
        while at + 4 <= len(area) and area[at + 2] >= 4:
            if area[at : at + 2] in (b"PX", b"RR", b"TF", b"NM"):
                return first
            at += area[at + 2]
    return -1


class _Reading:
    """What the entries of one record have said so far."""

    __slots__ = (
        "child_block",
        "device",
        "gid",
        "glued",
        "links",
        "lost",
        "mode",
        "mtime_ns",
        "mtime_s",
        "name",
        "next_area",
        "relocated",
        "remarks",
        "serial",
        "sparse",
        "target",
        "target_ends",
        "uid",
    )

    def __init__(self) -> None:
        self.name = b""
        self.mode = self.uid = self.gid = self.serial = self.mtime_ns = 0
        self.links = 1
        self.mtime_s: int | None = None
        self.target: bytearray | None = None
        self.target_ends = False
        self.lost: Ranges = ()
        self.glued = True  # the next component of the target follows without a slash
        self.device = b""
        self.child_block = -1
        self.relocated = self.sparse = False
        self.remarks: list[str] = []
        self.next_area: tuple[int, int, int] | None = None

    def take(self, area: bytes, *, is_cut: bool = False) -> None:
        """SUSP 5: signature, length, version, data; ST or fewer than four bytes end the area."""
        at, end = 0, len(area)
        while at + 4 <= end:
            length = area[at + 2]
            if length < 4 or at + length > end:
                if any(area[at:]) and not is_cut:
                    self.remarks.append("its system use area is broken")
                return
            signature = area[at : at + 2]
            handler = _HANDLERS.get(signature)
            if handler is not None:
                shortest, act = handler
                if length < shortest:
                    self.remarks.append(f"its {signature.decode()} entry is only {length} bytes long")
                else:
                    act(self, area[at : at + length])
            elif signature == b"ST":
                return
            at += length

    def result(self) -> RockRidge:
        return RockRidge(
            self.name,
            self.mode,
            self.links,
            self.uid,
            self.gid,
            self.serial,
            self.mtime_s,
            self.mtime_ns,
            None if self.target is None or (self.lost and not self.target_ends) else bytes(self.target),
            self.device,
            self.child_block,
            self.relocated,
            self.sparse,
            tuple(self.remarks),
            self.lost,
        )

    def continues(self, entry: bytes) -> None:
        self.next_area = _THREE_WORDS.unpack_from(entry)

    def posix_attributes(self, entry: bytes) -> None:
        self.mode, self.links, self.uid, self.gid = _FOUR_WORDS.unpack_from(entry)
        if len(entry) >= 44:  # RRIP 1.12 added the file serial number
            self.serial = int.from_bytes(entry[36:40], "little")

    def alternate_name(self, entry: bytes) -> None:
        """RRIP 4.1.4; CURRENT and PARENT name "." and ".." and carry no content."""
        if not entry[4] & 0x06:
            self.name += entry[5:]

    def time_stamps(self, entry: bytes) -> None:
        """RRIP 4.1.6: the stamps stand in the order of their flag bits; creation comes before modify."""
        flags = entry[4]
        if not flags & _TF_MODIFY:
            return
        width = 17 if flags & _TF_LONG else 7
        at = 5 + width * (flags & 1)
        stamp = entry[at : at + width]
        self.mtime_s, self.mtime_ns = digits_time(stamp) if width == 17 else (recorded_time(stamp), 0)

    def symbolic_link(self, entry: bytes) -> None:
        """RRIP 4.1.3: components, each perhaps continued in the next, across entries."""
        self.target_ends = not entry[4] & 0x01
        target = self.target = bytearray() if self.target is None else self.target
        at = 5
        while at + 2 <= len(entry):
            flags, length = entry[at], entry[at + 1]
            if at + 2 + length > len(entry):
                self.remarks.append("its link target is cut off")
                break
            if not self.glued:
                target += b"/"
            self.glued = bool(flags & 0x01)
            if flags & 0x18:  # root of the tree, root of the volume
                target += b"/"
                self.glued = True
            elif flags & 0x06:
                target += b"." if flags & 0x02 else b".."
            else:
                target += entry[at + 2 : at + 2 + length]
            at += 2 + length

    def device_number(self, entry: bytes) -> None:
        """RRIP 4.1.2. Writers on Linux put its 64-bit dev_t here in two halves, others major and minor."""
        high, low = _TWO_WORDS.unpack_from(entry)
        major, minor = (high, low) if high else (low >> 8 & 0xFFF, low & 0xFF | low >> 12 & 0xFFF00)
        self.device = b"%d:%d" % (major, minor)

    def child_link(self, entry: bytes) -> None:
        (self.child_block,) = _WORD.unpack_from(entry)

    def relocated_directory(self, _entry: bytes) -> None:
        self.relocated = True

    def sparse_file(self, _entry: bytes) -> None:
        self.sparse = True
        self.remarks.append("sparse file (SF), its content is not read")

    def compressed_file(self, _entry: bytes) -> None:
        self.remarks.append("zisofs-compressed, its content is taken as it lies on the medium")


_HANDLERS: dict[bytes, tuple[int, Callable[[_Reading, bytes], None]]] = {  # with the shortest length allowed
    b"CE": (28, _Reading.continues),
    b"PX": (36, _Reading.posix_attributes),
    b"NM": (5, _Reading.alternate_name),
    b"TF": (5, _Reading.time_stamps),
    b"SL": (5, _Reading.symbolic_link),
    b"PN": (20, _Reading.device_number),
    b"CL": (12, _Reading.child_link),
    b"RE": (4, _Reading.relocated_directory),
    b"SF": (5, _Reading.sparse_file),
    b"ZF": (16, _Reading.compressed_file),
}
