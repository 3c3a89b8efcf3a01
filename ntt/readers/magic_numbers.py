"""Formats that are named but not read here: their magic numbers, what they are, and the next step."""

from __future__ import annotations

from dataclasses import dataclass

PAGE_SIZES = (4096, 8192, 16384, 32768, 65536)
MOUNTED_COPY = "mount it read-only on a machine that knows it and copy its files, or wait for the mount route"
UNPACK = "unpack it and ingest what it holds"


@dataclass(frozen=True, slots=True)
class Magic:
    """`value` stands at one of `positions` (bytes from the start of the volume)."""

    fstype: str
    positions: tuple[int, ...]
    value: bytes
    finding: str
    next_step: str


def _file_system(fstype: str, positions: tuple[int, ...], value: bytes, name: str) -> Magic:
    return Magic(fstype, positions, value, f"{name}: no reader here opens it", MOUNTED_COPY)


def _archive(fstype: str, value: bytes, name: str, position: int = 0) -> Magic:
    return Magic(fstype, (position,), value, f"this is {name}, not an image", UNPACK)


def _container(fstype: str, value: bytes, name: str) -> Magic:
    return Magic(fstype, (0,), value, f"this is {name}, not a raw image", "convert it to a raw image first")


def _luks(version: int) -> Magic:
    return Magic(
        f"luks{version}",
        (0,),
        b"LUKS\xba\xbe" + version.to_bytes(2, "big"),
        f"this volume is encrypted with LUKS{version}: its files cannot be read without the key",
        "unlock it read-only (`cryptsetup open --readonly`) with its passphrase, then ingest the unlocked image",
    )


SWAP = tuple(
    Magic("swap", tuple(page - 10 for page in PAGE_SIZES), value, "swap space: it holds no files", "nothing to do")
    for value in (b"SWAPSPACE2", b"SWAP-SPACE")
)
LVM = Magic(
    "lvm2_member",
    (24, 512 + 24, 1024 + 24, 1536 + 24),
    b"LVM2 001",
    "a physical volume of LVM2: its logical volumes are not read here",
    "activate the volume group read-only on a copy (`vgchange -ay --readonly`), ingest each logical volume",
)
HIBERNATION = Magic("swap", (4096 - 10,), b"S1SUSPEND\0", "a suspended system's swap space", "nothing to do")

# More bytes first: a short magic may stand by chance where a long one has its say.
MAGIC_NUMBERS: tuple[Magic, ...] = (
    _luks(1),
    _luks(2),
    LVM,
    *SWAP,
    HIBERNATION,
    _file_system("btrfs", (65536 + 64,), b"_BHRfS_M", "a btrfs file system"),
    _file_system("reiserfs", (65536 + 52, 8192 + 52), b"ReIsErFs", "a ReiserFS file system"),
    _file_system("reiserfs", (65536 + 52,), b"ReIsEr2Fs", "a ReiserFS file system"),
    _file_system("reiserfs", (65536 + 52,), b"ReIsEr3Fs", "a ReiserFS file system"),
    _file_system(
        "zfs_member", tuple(range(128 << 10, 256 << 10, 1024)), b"\x0c\xb1\xba\0\0\0\0\0", "a member of a ZFS pool"
    ),
    _file_system("xfs", (0,), b"XFSB", "an XFS file system"),
    _file_system("apfs", (32,), b"NXSB", "an APFS container"),
    _file_system("jfs", (32768,), b"JFS1", "a JFS file system"),
    _file_system("erofs", (1024,), b"\xe2\xe1\xf5\xe0", "an EROFS file system"),
    _file_system("f2fs", (1024,), b"\x10\x20\xf5\xf2", "an F2FS file system"),
    _file_system("ufs", (8192 + 1372, 65536 + 1372), b"\x54\x19\x01\0", "a UFS file system"),
    _file_system("ufs", (8192 + 1372, 65536 + 1372), b"\0\x01\x19\x54", "a UFS file system"),
    _file_system("ufs", (65536 + 1372,), b"\x19\x01\x54\x19", "a UFS2 file system"),
    _file_system("romfs", (0,), b"-rom1fs-", "a romfs file system"),
    _file_system("cramfs", (0, 512), b"\x45\x3d\xcd\x28", "a cramfs file system"),
    _file_system("squashfs", (0,), b"hsqs", "a squashfs file system"),
    _file_system("squashfs", (0,), b"sqsh", "a big-endian squashfs file system"),
    _archive("gzip", b"\x1f\x8b\x08", "a gzip-compressed file"),
    _archive("bzip2", b"BZh11AY&SY", "a bzip2-compressed file"),
    *(_archive("bzip2", b"BZh%d1AY&SY" % level, "a bzip2-compressed file") for level in range(2, 10)),
    _archive("xz", b"\xfd7zXZ\0", "an xz-compressed file"),
    _archive("zstd", b"\x28\xb5\x2f\xfd", "a zstd-compressed file"),
    _archive("zip", b"PK\x03\x04", "a zip archive"),
    _archive("7z", b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    _archive("rar", b"Rar!\x1a\x07", "a rar archive"),
    _archive("tar", b"ustar", "a tar archive", 257),
    _container("qcow2", b"QFI\xfb", "a QEMU disk (qcow2)"),
    _container("vmdk", b"KDMV", "a VMware disk (vmdk)"),
    _container("vhdx", b"vhdxfile", "a Hyper-V disk (vhdx)"),
    _container("ewf", b"EVF\x09\x0d\x0a\xff\0", "an EnCase (EWF) image"),
    _container("aff", b"AFF10\x0d\x0a\0", "an AFF image"),
    _file_system("hfsplus", (1024,), b"H+\0\x04", "an HFS+ file system"),
    _file_system("hfsplus", (1024,), b"HX\0\x05", "an HFS+ (HFSX) file system"),
    _file_system("hfsplus", (1024 + 124,), b"H+", "an HFS+ file system in an HFS wrapper"),
    _file_system("apple_partition_map", (512,), b"PM\0\0", "an Apple partition map"),
    _file_system("hfs", (1024,), b"BD", "a classic HFS file system"),
    _file_system("nilfs2", (1024 + 6,), b"\x34\x34", "a NILFS2 file system"),
    *(
        _file_system("minix", (1024 + 16,), value, "a Minix file system")
        for value in (b"\x7f\x13", b"\x8f\x13", b"\x68\x24", b"\x78\x24")
    ),
    _file_system("minix", (1024 + 24,), b"\x5a\x4d", "a Minix file system"),
    _file_system("amiga", (0,), b"DOS\0", "an Amiga file system"),
    _file_system("amiga", (0,), b"DOS\x01", "an Amiga file system"),
)
