"""Superblocks of file systems that others read -> how many bytes each claims, 0 where it makes no sense."""

from __future__ import annotations

import struct
from collections.abc import Callable

from ntt.readers.detection.samples import Sample

LIMIT = 1 << 62


def claimed_size(fstype: str, sample: Sample) -> int:
    """Bytes from the start of the volume. The layouts are those of the Linux kernel's and the tools' own headers."""
    measure = _SIZES.get(fstype)
    if measure is None:
        return 0
    try:
        size = measure(sample)
    except (struct.error, IndexError):
        return 0  # the superblock lies across the end
    return size if 0 < size < LIMIT else 0


def _field(sample: Sample, position: int, form: str) -> int:
    found: tuple[int, ...] = struct.unpack(form, sample.at(position, struct.calcsize(form)))
    return found[0]


def _xfs(sample: Sample) -> int:
    """xfs_dsb: sb_blocksize, sb_dblocks."""
    return _field(sample, 4, ">I") * _field(sample, 8, ">Q")


def _btrfs(sample: Sample) -> int:
    """btrfs_super_block: the size of this device, out of its dev_item."""
    return _field(sample, 65536 + 201 + 8, "<Q")


def _squashfs(sample: Sample) -> int:
    """squashfs_super_block of version 4: bytes_used."""
    order = "<" if sample.at(0, 4) == b"hsqs" else ">"
    return _field(sample, 40, f"{order}Q") if _field(sample, 28, f"{order}H") == 4 else 0


def _erofs(sample: Sample) -> int:
    """erofs_super_block: blkszbits, blocks."""
    bits = _field(sample, 1024 + 12, "<B")
    return _field(sample, 1024 + 36, "<I") << bits if 9 <= bits <= 16 else 0


def _f2fs(sample: Sample) -> int:
    """f2fs_super_block: log_blocksize, block_count."""
    bits = _field(sample, 1024 + 16, "<I")
    return _field(sample, 1024 + 36, "<Q") << bits if 9 <= bits <= 16 else 0


def _jfs(sample: Sample) -> int:
    """jfs_superblock: s_size counts hardware blocks of s_pbsize."""
    return _field(sample, 32768 + 8, "<Q") * _field(sample, 32768 + 24, "<I")


def _reiserfs(sample: Sample) -> int:
    """reiserfs_super_block_v1: s_block_count, s_blocksize; of 3.5 it stands at 8 KiB."""
    at = 65536 if sample.at(65536 + 52, 5) == b"ReIsE" else 8192
    return _field(sample, at, "<I") * _field(sample, at + 44, "<H")


def _nilfs2(sample: Sample) -> int:
    """nilfs_super_block: s_dev_size."""
    return _field(sample, 1024 + 32, "<Q")


def _minix(sample: Sample) -> int:
    """minix_super_block (zones of 1 KiB) and minix3_super_block."""
    if sample.at(1024 + 24, 2) == b"\x5a\x4d":
        return _field(sample, 1024 + 20, "<I") * _field(sample, 1024 + 28, "<H")
    is_second = sample.at(1024 + 16, 2) in (b"\x68\x24", b"\x78\x24")
    zones = _field(sample, 1024 + 20, "<I") if is_second else _field(sample, 1024 + 2, "<H")
    log_zone = _field(sample, 1024 + 10, "<H")
    return zones * 1024 << log_zone if log_zone <= 8 else 0


def _romfs(sample: Sample) -> int:
    return _field(sample, 8, ">I")


def _cramfs(sample: Sample) -> int:
    at = 0 if sample.at(0, 4) == b"\x45\x3d\xcd\x28" else 512
    return _field(sample, at + 4, "<I")


def _apfs(sample: Sample) -> int:
    """Apple File System Reference, nx_superblock_t: nx_block_size, nx_block_count."""
    return _field(sample, 36, "<I") * _field(sample, 40, "<Q")


def _ufs(sample: Sample) -> int:
    """struct fs of 4.4BSD: fs_size in fragments of fs_fsize; UFS2 has it as 64 bits further back."""
    for at in (65536, 8192, 262144, 0):
        magic = sample.at(at + 1372, 4)
        if magic in (b"\x19\x01\x54\x19", b"\x54\x19\x01\0"):
            order = "<"
        elif magic in (b"\x19\x54\x01\x19", b"\0\x01\x19\x54"):
            order = ">"
        else:
            continue
        is_second = magic in (b"\x19\x01\x54\x19", b"\x19\x54\x01\x19")
        fragments = _field(sample, at + 1080, f"{order}Q") if is_second else _field(sample, at + 36, f"{order}I")
        return fragments * _field(sample, at + 52, f"{order}I")
    return 0


_SIZES: dict[str, Callable[[Sample], int]] = {
    "apfs": _apfs,
    "btrfs": _btrfs,
    "cramfs": _cramfs,
    "erofs": _erofs,
    "f2fs": _f2fs,
    "jfs": _jfs,
    "minix": _minix,
    "nilfs2": _nilfs2,
    "reiserfs": _reiserfs,
    "romfs": _romfs,
    "squashfs": _squashfs,
    "ufs": _ufs,
    "xfs": _xfs,
}
