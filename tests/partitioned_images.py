"""Images made of parts: file systems put at offsets, tables around them, members of arrays, encrypted ones."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from media_images import run

MIB = 1 << 20
SECTOR = 512


def sparse(image: Path, size_bytes: int) -> Path:
    with image.open("wb") as file:
        file.truncate(size_bytes)
    return image


def placed(image: Path, parts: Mapping[int, Path], size_bytes: int) -> Path:
    """`parts` by the byte of the image where each begins; all else is zeros."""
    sparse(image, size_bytes)
    with image.open("r+b") as file:
        for offset, part in parts.items():
            file.seek(offset)
            file.write(part.read_bytes())
    return image


def fat16_image(image: Path, tree: Path, size_mib: int = 16) -> Path:
    run("mkfs.vfat", "-C", "-F16", image, str(size_mib << 10))
    run("mcopy", "-m", "-s", "-Q", "-i", image, *sorted(tree.iterdir()), "::")
    return image


def sfdisk(image: Path, lines: Sequence[str], parts: Mapping[int, Path]) -> Path:
    """A table written by sfdisk into an image of its own size, with file systems at byte offsets."""
    run("sfdisk", "-q", image, script="\n".join(lines) + "\n")
    with image.open("r+b") as file:
        for offset, part in parts.items():
            file.seek(offset)
            file.write(part.read_bytes())
    return image


def luks_image(image: Path, version: int, size_mib: int = 20) -> Path:
    sparse(image, size_mib * MIB)
    options = ("--type", f"luks{version}", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--batch-mode")
    run("cryptsetup", "luksFormat", *options, image, "-", script="a passphrase")
    return image


def raid1_member(image: Path, inner: Path, version: str, *, degraded: bool) -> Path:
    """One of two disks of a Linux RAID 1 with this content (md.4; include/uapi/linux/raid/md_p.h, written by hand).

    1.2: superblock at 4 KiB, data from 1 MiB on; 1.0: data from byte 0 on, superblock 8 KiB before the end.
    Degraded: the second device's role says that it is faulty.
    """
    content = inner.read_bytes()
    data_at = MIB if version == "1.2" else 0
    size = data_at + len(content) + (128 << 10)
    at = 4096 if version == "1.2" else (size // SECTOR - 16 & ~7) * SECTOR
    raw = bytearray(size)
    raw[data_at : data_at + len(content)] = content
    raw[at : at + 512] = _superblock(len(content), data_at, at, degraded=degraded)
    image.write_bytes(raw)
    return image


def _superblock(data_bytes: int, data_at: int, at: int, *, degraded: bool) -> bytes:
    block = bytearray(512)
    struct.pack_into("<II", block, 0, 0xA92B4EFC, 1)
    block[16:32] = uuid.UUID(int=7).bytes
    block[32:44] = b"archive:home"
    struct.pack_into("<Q", block, 64, 0x60000000)  # created
    struct.pack_into("<ii", block, 72, 1, 0)  # level, layout
    struct.pack_into("<Q", block, 80, data_bytes // SECTOR)
    struct.pack_into("<II", block, 88, 0, 2)  # chunk, disks
    struct.pack_into("<QQQ", block, 128, data_at // SECTOR, data_bytes // SECTOR, at // SECTOR)
    struct.pack_into("<I", block, 160, 0)  # this device's number
    struct.pack_into("<I", block, 220, 2)  # entries of the role table
    struct.pack_into("<HH", block, 256, 0, 0xFFFE if degraded else 1)
    total = sum(struct.unpack(f"<{(256 + 4) // 4}I", block[: 256 + 4]))
    struct.pack_into("<I", block, 216, ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF)
    return bytes(block)
