"""What a file entry says beside content: device numbers, Finder information, the target of a symbolic link."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ntt.readers.base import ReadError
from ntt.readers.udf.entries import BLOCK_DEVICE, CHARACTER_DEVICE, DIRECTORY, FileEntry
from ntt.readers.udf.space import UdfSpace
from ntt.readers.udf.tags import cs0, identifier

FINDER_INFO = "com.apple.FinderInfo"
_HEADER_BYTES = 24  # extended attribute header descriptor, ECMA-167, 4/14.10.1
_DEVICE, _IMPLEMENTATION_USE = 12, 2048
_FINDER_INFO_AT = 56  # behind identifier, checksum, padding and parent directory
_MOST_BYTES = 1 << 16
# Type, creator, flags, place, folder; icon, unused, script, flags, comment, put away: UDF keeps them little-endian
_FILE_INFO, _FOLDER_INFO = "IIHHHHhHHHbbhi", "HHHHHHHHHHibbhi"


def device_numbers(space: UdfSpace, entry: FileEntry) -> bytes:
    """`b"major:minor"`; empty where the entry does not say (ECMA-167, 4/14.10.7)."""
    if entry.file_type not in (BLOCK_DEVICE, CHARACTER_DEVICE):
        return b""
    for kind, raw in _all_attributes(space, entry):
        if kind == _DEVICE and len(raw) >= 24:
            return b"%d:%d" % struct.unpack_from("<II", raw, 16)
    return b""


def finder_info(entry: FileEntry) -> tuple[tuple[str, bytes], ...]:
    """Type, creator and flags of a Macintosh file in the order of `com.apple.FinderInfo` (UDF 3.3.4.5.4.2)."""
    for kind, raw in _attributes(entry.attributes):
        if kind != _IMPLEMENTATION_USE or len(raw) < _FINDER_INFO_AT + 32:
            continue
        if identifier(raw[16:48]) == b"*UDF Mac FinderInfo":
            layout = _FOLDER_INFO if entry.file_type == DIRECTORY else _FILE_INFO
            info = struct.pack(f">{layout}", *struct.unpack_from(f"<{layout}", raw, _FINDER_INFO_AT))
            return ((FINDER_INFO, info),) if any(info) else ()
    return ()


def link_target(space: UdfSpace, entry: FileEntry) -> bytes:
    """Path components (ECMA-167, 4/14.16.1) -> a path; ReadError if it does not say one."""
    raw = space.content(entry, _MOST_BYTES)
    parts: list[bytes] = []
    is_absolute = False
    at = 0
    while at + 4 <= len(raw):
        kind, size = raw[at], raw[at + 1]
        name = raw[at + 4 : at + 4 + size]
        match kind:
            case 1 | 2:
                parts, is_absolute = [], True
            case 3:
                parts.append(b"..")
            case 4:
                parts.append(b".")
            case 5:
                parts.append(cs0(name))
            case _:
                raise ReadError(f"the symbolic link has a component of an unknown kind ({kind})")
        at += 4 + size
    if at != len(raw) or not (parts or is_absolute):
        raise ReadError("the symbolic link has a broken target")
    return (b"/" if is_absolute else b"") + b"/".join(parts)


def _all_attributes(space: UdfSpace, entry: FileEntry) -> Iterator[tuple[int, bytes]]:
    yield from _attributes(entry.attributes)
    if entry.attribute_icb.size_bytes:
        icb = entry.attribute_icb
        yield from _attributes(space.content(space.entry(icb.partition, icb.block), _MOST_BYTES))


def _attributes(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, whole attribute), ECMA-167, 4/14.10.2."""
    at = _HEADER_BYTES
    while at + 12 <= len(raw):
        kind, size = struct.unpack_from("<I4xI", raw, at)
        if size < 12:
            return
        yield kind, raw[at : at + size]
        at += size
