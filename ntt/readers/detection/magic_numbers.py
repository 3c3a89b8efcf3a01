"""Formats known by a magic number alone: what they are, which way leads to their files, and the next step."""

from __future__ import annotations

from dataclasses import dataclass

from ntt.model import Route
from ntt.readers.detection.samples import Recognised, Sample
from ntt.readers.detection.superblock_sizes import claimed_size
from ntt.routes import order

PAGE_SIZES = (4096, 8192, 16384, 32768, 65536)
MOUNTED = "as root, or with a FUSE driver, NTT mounts it; else mount it read-only elsewhere and copy its files"


@dataclass(frozen=True, slots=True)
class Magic:
    """`value` stands at one of `positions` (bytes from the start of the volume)."""

    fstype: str
    positions: tuple[int, ...]
    value: bytes
    finding: str
    next_step: str


def _file_system(fstype: str, positions: tuple[int, ...], value: bytes, name: str) -> Magic:
    return Magic(fstype, positions, value, f"{name}: no reader here opens it", MOUNTED)


SWAP = tuple(
    Magic("swap", tuple(page - 10 for page in PAGE_SIZES), value, "swap space: it holds no files", "nothing to do")
    for value in (b"SWAPSPACE2", b"SWAP-SPACE")
)
HIBERNATION = tuple(
    Magic(
        "swap",
        tuple(page - 10 for page in PAGE_SIZES),
        value,
        "swap space of a suspended system: it holds no files, but the memory of that system",
        "nothing to do; forensic tools can search it",
    )
    for value in (b"S1SUSPEND\0", b"S2SUSPEND\0", b"ULSUSPEND\0", b"LINHIB0001")
)
ZFS = Magic(
    "zfs_member",
    tuple(range(128 << 10, 256 << 10, 1024)),
    b"\x0c\xb1\xba\0\0\0\0\0",
    "a member of a ZFS pool: its files are not read here",
    "import the pool read-only from copies of all its disks (`zpool import -o readonly=on -d DIR`), ingest its files",
)
ZFS_BIG_ENDIAN = Magic(ZFS.fstype, ZFS.positions, b"\0\0\0\0\0\xba\xb1\x0c", ZFS.finding, ZFS.next_step)
AMIGA_DISK = Magic(
    "amiga_rdb",
    tuple(range(0, 16 * 512, 512)),
    b"RDSK\0\0\0",
    "a hard disk of an Amiga (rigid disk block): its partitions are not read here",
    "list them with `parted` or `amitools rdbtool`, cut them out with `dd` and ingest each",
)

# More bytes first: a short magic may stand by chance where a long one has its say.
MAGIC_NUMBERS: tuple[Magic, ...] = (
    *SWAP,
    *HIBERNATION,
    _file_system("btrfs", (65536 + 64,), b"_BHRfS_M", "a btrfs file system"),
    _file_system("reiserfs", (65536 + 52, 8192 + 52), b"ReIsErFs", "a ReiserFS file system"),
    _file_system("reiserfs", (65536 + 52,), b"ReIsEr2Fs", "a ReiserFS file system"),
    _file_system("reiserfs", (65536 + 52,), b"ReIsEr3Fs", "a ReiserFS file system"),
    AMIGA_DISK,
    _file_system("romfs", (0,), b"-rom1fs-", "a romfs file system"),
    _file_system("xfs", (0,), b"XFSB", "an XFS file system"),
    _file_system("apfs", (32,), b"NXSB", "an APFS container"),
    _file_system("jfs", (32768,), b"JFS1", "a JFS file system"),
    _file_system("erofs", (1024,), b"\xe2\xe1\xf5\xe0", "an EROFS file system"),
    _file_system("f2fs", (1024,), b"\x10\x20\xf5\xf2", "an F2FS file system"),
    _file_system("ufs", (8192 + 1372, 65536 + 1372), b"\x54\x19\x01\0", "a UFS file system"),
    _file_system("ufs", (8192 + 1372, 65536 + 1372), b"\0\x01\x19\x54", "a UFS file system"),
    _file_system("ufs", (65536 + 1372, 8192 + 1372), b"\x19\x01\x54\x19", "a UFS2 file system"),
    _file_system("ufs", (65536 + 1372, 8192 + 1372), b"\x19\x54\x01\x19", "a UFS2 file system"),
    _file_system("cramfs", (0, 512), b"\x45\x3d\xcd\x28", "a cramfs file system"),
    _file_system("squashfs", (0,), b"hsqs", "a squashfs file system"),
    _file_system("squashfs", (0,), b"sqsh", "a big-endian squashfs file system"),
    *(_file_system("amiga", (0,), b"DOS" + bytes([kind]), "an Amiga file system") for kind in range(8)),
)
# Of two bytes, believed only with a size that makes sense.
WEAK_NUMBERS: tuple[Magic, ...] = (
    _file_system("nilfs2", (1024 + 6,), b"\x34\x34", "a NILFS2 file system"),
    *(
        _file_system("minix", (1024 + 16,), value, "a Minix file system")
        for value in (b"\x7f\x13", b"\x8f\x13", b"\x68\x24", b"\x78\x24")
    ),
    _file_system("minix", (1024 + 24,), b"\x5a\x4d", "a Minix file system"),
)
LAST_NUMBERS: tuple[Magic, ...] = (ZFS, ZFS_BIG_ENDIAN)  # 128 KiB in: asked for when nothing else is there


def by_magic(sample: Sample) -> Recognised | None:
    """The file system, swap space or pool that a magic number names. OSError as `Sample.at`."""
    for magic in (*MAGIC_NUMBERS, *WEAK_NUMBERS, *LAST_NUMBERS):
        if any(sample.at(position, len(magic.value)) == magic.value for position in magic.positions):
            size = claimed_size(magic.fstype, sample)
            if magic in WEAK_NUMBERS and not 0 < size <= 8 * sample.size_bytes:
                continue
            return _recognised(magic, size, sample)
    return None


def _recognised(magic: Magic, size_bytes: int, sample: Sample) -> Recognised:
    routes = order(magic.fstype)
    if not routes or not routes[0].is_reader:
        return Recognised(magic.fstype, Route.NONE, size_bytes, magic.finding, magic.next_step)
    remarks: tuple[str, ...] = ()
    # Apple File System Reference, nx_superblock_t: nx_keylocker, the container's keybag
    if magic.fstype == "apfs" and any(sample.at(1296 + 8, 8)):
        remarks = ("the APFS container keeps keys: volumes of it may be encrypted (FileVault)",)
    return Recognised(magic.fstype, routes[0], size_bytes, remarks=remarks)
