"""Hostile archives: sizes of eight EiB, contents that unpack to gigabytes, headers that name themselves.

POSIX.1 (pax), PKWARE's APPNOTE, 7zFormat.txt, RFC 1951 and 1952.
"""

from __future__ import annotations

import bz2
import io
import lzma
import struct
import tarfile
import zlib
from functools import cache

from hostile_cases import get, hostile, put

MIB = 1 << 20
GIB = 1 << 30
MOST = 0xFFFFFFFF
BIGGEST = (1 << 63) - 1


# ---------------------------------------------------------------- tar


def _header(name: str, size: bytes, kind: bytes = b"0", link: bytes = b"") -> bytes:
    head = name.encode().ljust(100, b"\0") + b"0000644\0" * 3 + size.ljust(12, b"\0") + b"14500000000\0"
    head += b" " * 8 + kind + link.ljust(100, b"\0") + b"ustar\x0000" + bytes(247)
    return head[:148] + b"%06o\0 " % sum(head) + head[156:]


def _wide(number: int) -> bytes:
    """A number in base 256, as GNU tar writes what has no room in octal."""
    return (
        (number % (1 << 96)).to_bytes(12, "big", signed=False) if number < 0 else (1 << 95 | number).to_bytes(12, "big")
    )


END = bytes(1024)


@hostile("")
def tar_sizes_of_8_eib(image: bytearray) -> None:
    image[:] = _header("before", b"00000000001\0") + b"x".ljust(512, b"\0")
    image += _header("huge", _wide(BIGGEST)) + bytes(4096) + END


@hostile("")
def tar_negative_sizes(image: bytearray) -> None:
    image[:] = _header("before", b"00000000001\0") + b"x".ljust(512, b"\0")
    image += _header("negative", _wide(-1)) + _header("more", _wide(-1024)) + bytes(4096) + END


@hostile("")
def tar_names_of_8_gib(image: bytearray) -> None:
    image[:] = _header("././@LongLink", _wide(8 * GIB), b"L") + b"n" * 65_536
    image += _header("file", b"00000000001\0") + b"x".ljust(512, b"\0") + END


def _pax(fields: dict[str, str]) -> bytes:
    body = b""
    for key, value in fields.items():
        line = f" {key}={value}\n".encode()
        length = len(line) + len(str(len(line) + 2))
        body += str(length).encode() + line
    head = _header("pax", b"%011o\0" % len(body), b"x")
    return head + body.ljust(-(-len(body) // 512) * 512, b"\0")


@hostile("")
def tar_records_that_lie(image: bytearray) -> None:
    fields = ({"size": "9" * 40}, {"size": "-1"}, {"path": "p" * (4 * MIB)}, {"mtime": "1e400"}, {"path": "../" * 3000})
    fields += ({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(BIGGEST)},)
    fields += ({"GNU.sparse.numblocks": "4294967295", "GNU.sparse.size": str(BIGGEST), "GNU.sparse.map": "0,1," * 999},)
    for number, one in enumerate(fields):
        image += _pax(one) + _header(f"file {number}", b"00000000001\0") + b"x".ljust(512, b"\0")
    image += b"99999999999 path=nothing\n".ljust(512, b"\0") + END


@hostile("")
def tar_links_in_rings(image: bytearray) -> None:
    image[:] = b"".join(_header(f"l{n}", b"0" * 11, b"1", f"l{(n + 1) % 50}".encode()) for n in range(50))
    image += b"".join(_header(name, b"0" * 11, b"5") for name in ("a/", "a/../a/../a", "/", "..", "a//b/./c/"))
    image += _header("a", b"00000000001\0") + b"x".ljust(512, b"\0") + _header("a/below a file", b"0" * 11) + END


@hostile("")
def tar_of_50_000_names_in_one_path(image: bytearray) -> None:
    image[:] = _pax({"path": "d/" * 50_000 + "file"}) + _header("deep", b"00000000001\0") + b"x".ljust(512, b"\0") + END


@hostile("")
def cpio_of_4_gib(image: bytearray) -> None:
    for size, name_size in ((MOST, 5), (1, MOST), (0, 0)):
        fields = (1, 0o100644, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0)
        image += b"070701" + b"".join(b"%08X" % field for field in fields) + b"name\0".ljust(10, b"\0") + b"x" * 8


# ---------------------------------------------------------------- what unpacks to gigabytes


def _deflated(size: int) -> bytes:
    """So many zeros as a raw deflate stream: one piece of 16 MiB, repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = packer.compress(bytes(16 * MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return piece * (size // (16 * MIB)) + zlib.compressobj(9, zlib.DEFLATED, -15).flush()


@cache
def _crc_of_zeros(size: int) -> int:
    return 0 if size > GIB else zlib.crc32(bytes(size))


def _zip(*members: tuple[str, bytes, int, int]) -> bytes:
    """Members (name, deflated, size that is claimed, offset of the content that is claimed or -1)."""
    out, central = bytearray(), bytearray()
    for name, packed, size, shared in members:
        at = len(out) if shared < 0 else shared
        wide = struct.pack("<HHQQ", 1, 16, size, len(packed))
        common = struct.pack("<HHHHHIIIHH", 45, 0, 8, 0, 0x21, _crc_of_zeros(size), MOST, MOST, len(name), len(wide))
        if shared < 0:
            out += b"PK\x03\x04" + common + name.encode() + wide + packed
        central += b"PK\x01\x02" + struct.pack("<H", 45) + common
        central += struct.pack("<HHHII", 0, 0, 0, 0x81A40000, at) + name.encode() + wide
    end = struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(central), len(out), 0)
    return bytes(out + central) + b"PK\x05\x06" + end


@hostile("")
def zip_of_10_gib_of_zeros(image: bytearray) -> None:
    image[:] = _zip(("zeros", _deflated(10 * GIB), 10 * GIB, -1))


@hostile("")
def zip_that_unpacks_to_more_than_it_says(image: bytearray) -> None:
    image[:] = _zip(("small", _deflated(GIB), 1000, -1))


@hostile("")
def zip_whose_many_members_are_one(image: bytearray) -> None:
    packed = _deflated(16 * MIB)
    image[:] = _zip(("first", packed, 16 * MIB, -1), *((f"again {n}", packed, 16 * MIB, 0) for n in range(60)))


@hostile("")
def zip_that_claims_8_eib(image: bytearray) -> None:
    image[:] = _zip(("eib", _deflated(16 * MIB), BIGGEST, -1), ("more", _deflated(16 * MIB), (1 << 64) - 1, -1))


@hostile("")
def bzip2_of_512_mib_of_zeros(image: bytearray) -> None:
    image[:] = bz2.compress(bytes(32 * MIB)) * 16


@hostile("")
def gzip_of_512_mib_of_zeros(image: bytearray) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    image[:] = (packer.compress(bytes(32 * MIB)) + packer.flush()) * 16


@hostile("")
def tar_gz_of_256_mib(image: bytearray) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    image[:] = packer.compress(_header("zeros", _wide(256 * MIB)))
    for _ in range(8):
        image += packer.compress(bytes(32 * MIB))
    image += packer.compress(END) + packer.flush()


@hostile("")
def gzip_in_gzip_in_gzip(image: bytearray) -> None:
    image[:] = b"inside"
    for _ in range(200):
        packer = zlib.compressobj(0, zlib.DEFLATED, 31)
        image[:] = packer.compress(bytes(image)) + packer.flush()


@hostile("")
def xz_with_a_dictionary_of_4_gib(image: bytearray) -> None:
    image[:] = lzma.compress(b"x" * 1000, lzma.FORMAT_XZ)
    image[16] = 40  # LZMA2's dictionary: 4 GiB - 1 (.xz file format, 5.3.1)
    put(image, "<I", 20, zlib.crc32(image[12:20]))


@hostile("")
def lzma_with_a_dictionary_of_4_gib(image: bytearray) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        info = tarfile.TarInfo("file")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    image[:] = lzma.compress(content.getvalue(), lzma.FORMAT_ALONE)
    put(image, "<IQ", 1, 1 << 31, (1 << 63) - 1)


@hostile("")
def zstd_with_a_window_of_2_eib(image: bytearray) -> None:
    image[:] = b"\x28\xb5\x2f\xfd\x00\xf8" + b"\xff" * 4096


# ---------------------------------------------------------------- zip and 7z headers


@hostile("zip")
def directory_of_65535_entries(image: bytearray) -> None:
    end = image.rindex(b"PK\x05\x06")
    put(image, "<HH", end + 8, 0xFFFF, 0xFFFF)


@hostile("zip")
def directory_that_is_the_end_record(image: bytearray) -> None:
    end = image.rindex(b"PK\x05\x06")
    put(image, "<II", end + 12, MOST, end)


@hostile("zip")
def directory_of_16_eib(image: bytearray) -> None:
    end = image.rindex(b"PK\x05\x06")
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, *[(1 << 64) - 1] * 4)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, end, 1)
    tail = bytearray(image[end:])
    put(tail, "<HHHHII", 4, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, MOST, MOST)
    image[end:] = record + locator + tail


@hostile("zip")
def members_that_are_the_first(image: bytearray) -> None:
    at = -1
    while (at := image.find(b"PK\x01\x02", at + 1)) >= 0:
        put(image, "<I", at + 42, 0)


@hostile("zip")
def members_of_4_gib(image: bytearray) -> None:
    at = -1
    while (at := image.find(b"PK\x01\x02", at + 1)) >= 0:
        put(image, "<II", at + 20, MOST - 1, MOST - 1)


def _number(value: int) -> bytes:
    """7zFormat.txt: as many ones at the top of the first byte as bytes follow."""
    return b"\xff" + struct.pack("<Q", value)


def _seven(image: bytearray, header: bytes) -> None:
    """The archive's contents with another end header; its checksums are right."""
    content = image[32 : 32 + get(image, "<Q", 12)]
    start = struct.pack("<QQI", len(content), len(header), zlib.crc32(header))
    image[:] = b"7z\xbc\xaf\x27\x1c\0\4" + struct.pack("<I", zlib.crc32(start)) + start + content + header


@hostile("7z")
def files_8_quintillion(image: bytearray) -> None:
    _seven(image, b"\x01\x05" + _number(BIGGEST) + b"\x11" + _number(BIGGEST) + b"\0")


@hostile("7z")
def folders_8_quintillion(image: bytearray) -> None:
    _seven(image, b"\x01\x04\x06\0" + _number(BIGGEST) + b"\x09" + b"\x07\x0b" + _number(BIGGEST) + b"\0")


@hostile("7z")
def coders_of_one_folder_8_quintillion(image: bytearray) -> None:
    _seven(image, b"\x01\x04\x07\x0b\x01\0" + _number(BIGGEST) + b"\x21\x21\x01\x18" * 50)


@hostile("7z")
def names_of_8_eib(image: bytearray) -> None:
    _seven(image, b"\x01\x05\x01\x11" + _number(BIGGEST) + b"\0a\0\0\0\0\0")


def _encoded(position: bytes, size: bytes, unpacked: bytes) -> bytes:
    return (
        b"\x17\x06" + position + b"\x01\x09" + size + b"\0\x07\x0b\x01\0\x01\x21\x21\x01\x18\x0c" + unpacked + b"\0\0"
    )


@hostile("7z")
def header_packed_in_itself(image: bytearray) -> None:
    _seven(image, b"\x17\x06" + _number(get(image, "<Q", 12)) + b"\x01\x09\x20\0\x07\x0b\x01\0\x01\x00\x0c\x20\0\0")


@hostile("7z")
def header_that_unpacks_to_8_eib(image: bytearray) -> None:
    _seven(image, _encoded(b"\0", b"\x40", _number(BIGGEST)))


@hostile("7z")
def header_that_unpacks_to_3_gib(image: bytearray) -> None:
    _seven(image, _encoded(b"\0", b"\x40", _number(3 * GIB)))


@hostile("7z")
def header_far_away(image: bytearray) -> None:
    start = struct.pack("<QQI", BIGGEST, BIGGEST, 0)
    image[8:32] = struct.pack("<I", zlib.crc32(start)) + start
