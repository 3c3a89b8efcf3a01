"""The small parts that every UDF structure is made of: descriptor tags, times, and names in OSTA compressed Unicode."""

from __future__ import annotations

import struct
from binascii import crc_hqx
from datetime import date

from ntt.readers.base import ReadError

TAG_BYTES = 16
PRIMARY, ANCHOR, POINTER, PARTITION, LOGICAL, TERMINATING, INTEGRITY = 1, 2, 3, 5, 6, 8, 9
FILE_SET, FILE_IDENTIFIER, CONTINUATION, INDIRECT, FILE_ENTRY, EXTENDED_FILE_ENTRY = 256, 257, 258, 259, 261, 266
_TAG = struct.Struct("<HHBBHHHI")
_TIMESTAMP = struct.Struct("<HhBBBBBBBB")
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_NO_ZONE = -2047  # ECMA-167, 1/7.3.1


def tag_kind(block: bytes, location: int | None = None) -> int:
    """The kind of descriptor that begins the block (ECMA-167, 3/7.2 and 4/7.2); 0 may be an empty block.

    ReadError if checksum or CRC do not fit, or if it says that it was written to another block.
    """
    if len(block) < TAG_BYTES:
        raise ReadError("the descriptor is cut off")
    kind, _, checksum, _, _, crc, crc_bytes, written_to = _TAG.unpack_from(block)
    if (sum(block[:TAG_BYTES]) - checksum) & 0xFF != checksum:
        raise ReadError("the checksum of its descriptor tag is wrong")
    end = TAG_BYTES + crc_bytes
    if end > len(block) or crc_hqx(block[TAG_BYTES:end], 0) != crc:
        raise ReadError("the CRC of its descriptor is wrong")
    if location is not None and kind and written_to != location:
        raise ReadError(f"its descriptor belongs to block {written_to}")
    return int(kind)


def tag_location(block: bytes) -> int:
    return int.from_bytes(block[12:16], "little")


def is_descriptor(block: bytes, kind: int, location: int) -> bool:
    """Is this a sound descriptor of that kind, in its own place?"""
    try:
        return tag_kind(block, location) == kind
    except ReadError:
        return False


def cs0(stored: bytes) -> bytes:
    """OSTA compressed Unicode (UDF 2.1.1) -> UTF-8: 8 bits are Latin-1 code points, 16 bits big-endian UTF-16.

    A lone surrogate keeps its three bytes, an odd byte at the end stays as it is. ReadError for another compression.
    """
    if not stored:
        return b""
    match stored[0]:
        case 8 | 254:
            return stored[1:].decode("latin-1").encode()
        case 16 | 255:
            end = len(stored) - (len(stored) - 1) % 2
            text = stored[1:end].decode("utf-16-be", "surrogatepass")
            return text.encode("utf-8", "surrogatepass") + stored[end:]
    raise ReadError(f"its name is stored in an unknown way ({stored[0]})")


def dstring(field: bytes) -> str:
    """A fixed field whose last byte is the length used (ECMA-167, 1/7.2.12), for people; empty if it is none."""
    try:
        return cs0(field[: min(field[-1], len(field) - 1)]).decode("utf-8", "replace").rstrip("\0 ")
    except ReadError:
        return ""


def timestamp(stored: bytes) -> tuple[int, int] | None:
    """ECMA-167, 1/7.3 -> (seconds from 1970 UTC, nanoseconds); None if it is no time.

    Without a zone, or with the unspecified one, the wall clock is taken as UTC.
    """
    zone, year, month, day, hour, minute, second, centi, hundreds, micro = _TIMESTAMP.unpack(stored)
    if hour > 23 or minute > 59 or second > 60 or centi > 99 or hundreds > 99 or micro > 99:
        return None
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    east = (zone & 0xFFF ^ 0x800) - 0x800  # minutes, 12 bits with sign
    if zone >> 12 != 1 or east == _NO_ZONE:
        east = 0
    seconds = days * 86_400 + hour * 3600 + (minute - east) * 60 + second
    return seconds, (centi * 10_000 + hundreds * 100 + micro) * 1000


def identifier(regid: bytes) -> bytes:
    """The name in an entity identifier (ECMA-167, 1/7.4), without its padding."""
    return regid[1:24].rstrip(b"\0 ")
