"""First bytes of an "image" -> the archive or compressed file that it is, and what that seems to hold."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import NamedTuple

import zstandard

from ntt.model import Route
from ntt.readers.detection.samples import Prefix, Recognised, Sample

UNPACK = "unpack it and ingest what it holds"
PEEK_IN, PEEK_OUT = 256 << 10, 512 << 10
MEMORY_LIMIT = 128 << 20


class Format(NamedTuple):
    name: str
    position: int
    value: bytes
    packed: str = ""  # how its one member is compressed


FORMATS: tuple[Format, ...] = (
    Format("7z", 0, b"7z\xbc\xaf\x27\x1c"),
    Format("rar", 0, b"Rar!\x1a\x07"),
    Format("xz", 0, b"\xfd7zXZ\0", "xz"),
    *(Format("bzip2", 0, b"BZh%d1AY&SY" % level, "bz2") for level in range(1, 10)),
    Format("zip", 0, b"PK\x03\x04"),
    Format("zip (empty)", 0, b"PK\x05\x06"),
    Format("zip (first of several parts)", 0, b"PK\x07\x08"),
    Format("zstd", 0, b"\x28\xb5\x2f\xfd", "zstd"),
    Format("lz4", 0, b"\x04\x22\x4d\x18"),
    Format("lzip", 0, b"LZIP\x01"),
    Format("gzip", 0, b"\x1f\x8b\x08", "gzip"),
    Format("compress (.Z)", 0, b"\x1f\x9d\x90"),
    Format("cpio", 0, b"070701"),
    Format("cpio", 0, b"070702"),
    Format("cpio", 0, b"070707"),
    Format("cab", 0, b"MSCF\0\0\0\0"),
    Format("xar", 0, b"xar!\0\x1c"),
    Format("ar", 0, b"!<arch>\n"),
    Format("rpm", 0, b"\xed\xab\xee\xdb"),
    *(Format("lha", 2, b"-%s-" % method) for method in (b"lh0", b"lh1", b"lh4", b"lh5", b"lh6", b"lh7", b"lhd")),
    Format("StuffIt", 0, b"SIT!"),
    Format("StuffIt", 0, b"StuffIt (c)1997"),
)


def archive(sample: Sample, inside: Callable[[Prefix], Recognised | None]) -> Recognised | None:
    """An archive, fstype "archive"; `inside` is asked what the beginning of a compressed file's content is."""
    if _is_tar(sample.at(0, 512)) or sample.at(257, 5) == b"ustar":
        return _recognised("tar", ())
    for known in FORMATS:
        if sample.at(known.position, len(known.value)) != known.value:
            continue
        if not known.packed:
            return _recognised(known.name, ())
        content = _unpacked(known.packed, sample.head(PEEK_IN))
        if _is_tar(content[:512]):
            return _recognised(f"tar, compressed with {known.name},", ())
        held = inside(Prefix(content)) if content else None
        if held is None or held.fstype in ("text", "archive"):
            return _recognised(known.name, ())
        remark = f"the {known.name}-compressed file holds a disk image ({held.fstype}): {UNPACK}"
        return _recognised(known.name, (remark,))
    return None


def _recognised(name: str, remarks: tuple[str, ...]) -> Recognised:
    """`finding` stands for the case that no reader opens it."""
    remarks = (f"this is an archive or a compressed file ({name.rstrip(',')}), not an image", *remarks)
    finding = f"this is a file of the format {name.rstrip(',')}, not an image"
    return Recognised("archive", Route.ARCHIVE, 0, finding, UNPACK, remarks)


def _is_tar(header: bytes) -> bool:
    """POSIX ustar, GNU and the forms before: the octal sum of the header's bytes, its own field as blanks."""
    if len(header) < 512 or not header[0]:
        return False
    stated = header[148:156].strip(b"\0 ")
    if not 0 < len(stated) <= 7 or stated.strip(b"01234567"):
        return False
    rest = header[:148] + b" " * 8 + header[156:]
    signed = sum(byte - 256 if byte > 127 else byte for byte in rest)  # of old BSD and SunOS
    return int(stated, 8) in (sum(rest), signed)


def _unpacked(packed: str, raw: bytes) -> bytes:
    """At most half a MiB of the content, less or nothing where it is damaged; bounded memory."""
    try:
        match packed:
            case "gzip":
                return zlib.decompressobj(31).decompress(raw, PEEK_OUT)
            case "bz2":
                return bz2.BZ2Decompressor().decompress(raw, PEEK_OUT)
            case "xz":
                return lzma.LZMADecompressor(memlimit=MEMORY_LIMIT).decompress(raw, PEEK_OUT)
            case _:
                with zstandard.ZstdDecompressor(max_window_size=MEMORY_LIMIT).stream_reader(raw) as stream:
                    return stream.read(PEEK_OUT)
    except (zlib.error, OSError, EOFError, ValueError, lzma.LZMAError, zstandard.ZstdError):
        return b""
