"""An ISO 9660 image -> the raw sectors that a drive would give for it, with cue sheets and sound around them."""

from __future__ import annotations

import os
import random
import struct
import weakref
from pathlib import Path

from ntt.model import Entry, Route, Volume, VolumeStatus, WalkProblem
from ntt.ranges import Ranges
from ntt.readers.base import ImageSource, VolumeReader
from ntt.readers.opening import open_volume
from ntt.readers.raw.tracks import RawTrack

SYNC = b"\0" + b"\xff" * 10 + b"\0"
SESSION_GAP = 11400  # blocks of lead-out, lead-in and pregap between the first two sessions of a disc


def small_tree(root: Path, seed: int = 1) -> Path:
    numbers = random.Random(seed)
    (root / "folder" / "deeper").mkdir(parents=True)
    for number, name in enumerate(("one byte", "folder/two thousand and so on", "folder/deeper/odd", "big")):
        (root / name).write_bytes(numbers.randbytes((1, 2048, 5001, 300_000)[number]))
    (root / "empty").touch()
    for path in root.rglob("*"):
        os.utime(path, (seed * 100_000_000,) * 2)  # writers take a file of the same time and size for unchanged
    return root


def crc(data: bytes) -> int:
    """Bit by bit, as ECMA-130 (14.3) describes it."""
    register = 0
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0xD8018001 if register & 1 else 0)
    return register


def bcd(value: int) -> int:
    return value // 10 * 16 + value % 10


def header(block: int, mode: int) -> bytes:
    minutes, rest = divmod(block + 150, 75 * 60)
    return SYNC + bytes((bcd(minutes), bcd(rest // 75), bcd(rest % 75), mode))


def mode1(user: bytes, block: int, checksum: bool = False) -> bytes:
    sector = header(block, 1) + user
    return (sector + (struct.pack("<I", crc(sector)) if checksum else b"")).ljust(2352, b"\0")


def mode2(user: bytes, block: int, checksum: bool = False) -> bytes:
    body = b"\0\0\x08\0" * 2 + user
    return (header(block, 2) + body + (struct.pack("<I", crc(body)) if checksum else b"")).ljust(2352, b"\0")


def raw(iso: bytes, mode: int, first_block: int = 0, subchannel: int = 0, checksum: bool = False) -> bytes:
    sectors = range(0, len(iso), 2048)
    made = mode1 if mode == 1 else mode2
    return b"".join(
        made(iso[at : at + 2048], first_block + number, checksum) + bytes(subchannel)
        for number, at in enumerate(sectors)
    )


def sound(sectors: int, seed: int = 7) -> bytes:
    return random.Random(seed).randbytes(sectors * 2352)


def frames_time(frames: int) -> str:
    return f"{frames // 75 // 60:02}:{frames // 75 % 60:02}:{frames % 75:02}"


def cue(name: str, *tracks: tuple[str, int]) -> str:
    """(mode, frame of INDEX 01) of each track."""
    lines = [f'FILE "{name}" BINARY']
    for number, (mode, frame) in enumerate(tracks, 1):
        lines += [f"  TRACK {number:02} {mode}", f"    INDEX 01 {frames_time(frame)}"]
    return "\n".join(lines) + "\n"


def source_of(path: Path, unread: Ranges = ()) -> ImageSource:
    source = ImageSource(os.open(path, os.O_RDONLY), unread)
    weakref.finalize(source, os.close, source.fd)
    return source


def volume_of(track: RawTrack, session: int = 0) -> Volume:
    return Volume(
        1,
        "cue",
        track.base_bytes,
        track.end_bytes - track.start_bytes,
        "iso9660",
        Route.ISO9660,
        VolumeStatus.READ,
        session_bytes=session,
        sector_bytes=track.sector_bytes,
        data_at=track.data_at,
    )


def reader_of(source: ImageSource, track: RawTrack, session: int = 0) -> VolumeReader:
    return open_volume(source, volume_of(track, session))


def files_of(reader: VolumeReader) -> dict[bytes, Entry]:
    """Regular files by path; there must be no problem."""
    folders: dict[int, bytes] = {}
    found: dict[bytes, Entry] = {}
    for one in reader.walk():
        assert not isinstance(one, WalkProblem), one
        path = folders[one.parent_ino] + one.name if one.name else b""
        if one.is_directory:
            folders[one.ino] = path + b"/" if path else b""
        else:
            found[path] = one
    return found


def contents_of(reader: VolumeReader) -> dict[bytes, bytes]:
    return {path: reader.read(entry.ino, 0, entry.size) for path, entry in files_of(reader).items()}


def contents_below(root: Path) -> dict[bytes, bytes]:
    return {os.fsencode(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def moving_pictures(path: Path, sectors: int) -> Path:
    """A program stream just good enough for vcdimager (ISO 11172-1): packs of 2,324 bytes, a picture in some."""
    rate = 3528
    out = bytearray()
    start = struct.pack(">I", 0x1B3) + bytes((22, 1, 32, 131)) + struct.pack(">I", 2875 << 14 | 1 << 13 | 20 << 3 | 4)
    picture = bytes.fromhex("000001b800080040 00000100000ffff8 000001011380")
    for number in range(sectors):
        clock = 3600 + number * 1200
        pack = b"\0\0\1\xba" + stamp(clock) + bytes((0x80 | rate >> 15, rate >> 7 & 255, (rate & 127) << 1 | 1))
        if not number:
            system = bytes((0x80, rate >> 7, (rate & 127) << 1 | 1, 4, 0xE1, 0x7F, 0xE0, 0xE0, 46))
            pack += b"\0\0\1\xbb" + struct.pack(">H", len(system)) + system
            out += pack + b"\0\0\1\xbe" + struct.pack(">H", 2318 - len(pack)) + b"\xff" * (2318 - len(pack))
            continue
        content = stamp(clock + 9000) + (start + picture if number % 10 == 1 else b"")
        content = content.ljust(2318 - len(pack), b"\x42")
        out += pack + b"\0\0\1\xe0" + struct.pack(">H", len(content)) + content
    path.write_bytes(out)
    return path


def stamp(clock: int) -> bytes:
    return bytes(
        (0x21 | clock >> 29 & 14, clock >> 22 & 255, clock >> 14 & 254 | 1, clock >> 7 & 255, clock << 1 & 254 | 1)
    )
