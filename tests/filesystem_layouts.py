"""Archives, disks with every kind of table, images that others made, and what holds no files that could be read."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unicodedata import is_normalized

from disk_images import ext_image, fat_image, ntfs_image, partitioned
from filesystem_media import Medium, Workshop, filled_hfs
from filesystem_trees import FAT, HFS, NTFS, UNIX, UNIX_NS, Keeps, Side
from media_images import MIB, noise, run
from partitioned_images import luks_image, placed, raid1_member, sparse

PAX = replace(UNIX_NS, holes=True)
ZIPPED = Keeps(tuple(n for n in NTFS.names if len(n) < 200), hardlinks=False, holes=False)
# 7zz composes names when it packs
SEVENZIPPED = replace(
    ZIPPED, names=tuple(n for n in ZIPPED.names if is_normalized("NFC", n.decode())), precision_ns=100
)
FEW = 20
REAL = Keeps((), precision_ns=10**9)


def archives(shop: Workshop) -> Iterator[Medium]:
    tree = shop.tree(PAX)
    for suffix, packer in (("", ()), (".gz", ("-z",)), (".bz2", ("-j",)), (".xz", ("-J",)), (".zst", ("--zstd",))):
        image = shop.image(f"tar{suffix}")
        run("tar", "-C", tree, "--format=pax", "--sparse", *packer, "-cf", image, ".")
        yield Medium(f"tar{suffix}", image, (shop.side("archive", PAX),), suffix in ("", ".gz"))
    image = shop.image("zip").with_suffix(".zip")
    run("sh", "-c", 'cd "$1" && zip -q -r -y "$2" .', "sh", shop.tree(ZIPPED), image)
    yield Medium("zip", image, (shop.side("archive", ZIPPED),), True)
    image = shop.image("7z").with_suffix(".7z")
    run("sh", "-c", 'cd "$1" && 7zz a -snl -bd -bso0 "$2" .', "sh", shop.tree(SEVENZIPPED), image)
    yield Medium("7z", image, (shop.side("archive", SEVENZIPPED),), True)


# ---------------------------------------------------------------- tables


def layouts(shop: Workshop) -> Iterator[Medium]:
    keeps = [replace(one, small_files=FEW) for one in (UNIX, FAT, NTFS)]
    unix, fat, ntfs = (shop.tree(one, 7) for one in keeps)
    sides = [
        Side(kind, tree, one)
        for kind, tree, one in zip(("ext4", "fat16", "ntfs"), (unix, fat, ntfs), keeps, strict=True)
    ]
    parts = shop.image("parts").parent
    ext4 = ext_image(parts / "ext4", "ext4", unix, 8)
    fat16 = fat_image(parts / "fat16", 16, fat, 12 << 10)
    on_ntfs = ntfs_image(parts / "ntfs", ntfs, 8)
    made = fat_image(shop.image("superfloppy"), 16, fat, 12 << 10)
    yield Medium("superfloppy: FAT16 without a table", made, (sides[1],))
    lines = ("label: dos", "start=1MiB, size=8MiB, type=83", "start=9MiB, size=23MiB, type=5",
             "start=10MiB, size=12MiB, type=6", "start=23MiB, size=8MiB, type=7")  # fmt: skip
    made = partitioned(shop.image("MBR"), "\n".join(lines), 33, {MIB: ext4, 10 * MIB: fat16, 23 * MIB: on_ntfs})
    yield Medium("MBR: a primary, two logical partitions in an extended one", made, tuple(sides))
    table = ("label: gpt", "start=1MiB, size=8MiB", "start=9MiB, size=12MiB", "start=21MiB, size=8MiB")
    places = {MIB: ext4, 9 * MIB: fat16, 21 * MIB: on_ntfs}
    yield Medium("GPT", partitioned(shop.image("GPT"), "\n".join(table), 30, places), tuple(sides))
    made = partitioned(shop.image("GPT damaged"), "\n".join(table), 30, places)
    _overwrite(made, 512, bytes(33 * 512))
    yield Medium("GPT whose primary table is damaged", made, tuple(sides))
    made = partitioned(shop.image("GPT hybrid"), "\n".join(table), 30, places)
    run("sgdisk", "--hybrid=1:2:3", made)
    yield Medium("hybrid of MBR and GPT", made, tuple(sides))
    yield _apple(shop)
    made = placed(shop.image("odd offset"), {16_384: fat16}, 13 * MIB)
    yield Medium("FAT16 from byte 16,384 on, without a table", made, (sides[1],))
    for version, name in (("1.2", "at its beginning"), ("1.0", "at its end")):
        made = raid1_member(shop.image(f"RAID {version}"), ext4, version, degraded=True)
        yield Medium(f"one disk of a Linux RAID 1, superblock {name}", made, (sides[0],))
    made = ext_image(shop.image("truncated"), "ext4", shop.tree(UNIX, 9), 20)
    os.truncate(made, 17 * MIB)
    yield Medium("ext4, of whose 20 MiB the image has 17", made, (shop.side("ext4", UNIX, 9),))


def _apple(shop: Workshop) -> Medium:
    """Inside Macintosh: Devices, "SCSI Manager": block 0, and an entry for each partition."""
    tree = shop.tree(HFS, 8)
    inner = shop.image("HFS in a map")
    inner.write_bytes(bytes(6 << 20))
    filled_hfs(inner, tree)
    made = placed(shop.image("Apple map"), {64 * 512: inner}, 7 * MIB)
    _overwrite(made, 0, struct.pack(">2sHI", b"ER", 512, 7 * MIB // 512))
    entries = ((b"Apple_partition_map", 1, 63), (b"Apple_HFS", 64, (6 << 20) // 512))
    for number, (kind, first, blocks) in enumerate(entries, 1):
        entry = struct.pack(">2sHIII", b"PM", 0, len(entries), first, blocks) + b"name".ljust(32, b"\0") + kind
        _overwrite(made, number * 512, entry)
    return Medium(
        "Apple partition map with HFS", made, (Side("hfs", tree, HFS, {b"LARGE.BIN:rsrc": noise(40_001, 4)}),)
    )


def _overwrite(image: Path, at: int, content: bytes) -> None:
    with image.open("r+b") as file:
        file.seek(at)
        file.write(content)


# ---------------------------------------------------------------- made by others


def real_images(shop: Workshop) -> Iterator[Medium]:
    """Their trees are what xorriso and mtools unpack."""
    packages = {
        "memtest86+": "/usr/lib/memtest86+/memtest86+x64.iso",
        "memtest86+ (ia32)": "/usr/lib/memtest86+/memtest86+ia32.iso",
        "grub-rescue-pc, CD": "/usr/lib/grub-rescue/grub-rescue-cdrom.iso",
        "grub-rescue-pc, “floppy”": "/usr/lib/grub-rescue/grub-rescue-floppy.img",
        "ipxe": "/usr/lib/ipxe/ipxe.iso",
    }
    for name, path in packages.items():
        work = shop.image(name).parent
        run("xorriso", "-osirrox", "on", "-indev", f"stdio:{path}", "-extract", "/", work / "iso")
        sides = [Side("iso9660", work / "iso", REAL)]
        if name.startswith("memtest86+"):
            start = run("sfdisk", "-d", path).rpartition("start=")[2].split(",")[0].strip()
            (work / "esp").mkdir()
            run("mcopy", "-m", "-s", "-n", "-i", f"{path}@@{int(start) * 512}", "::*", work / "esp")
            sides.append(Side("fat12", work / "esp", Keeps((), folder_times=False)))
        yield Medium(name, Path(path), tuple(sides))


# ---------------------------------------------------------------- named only


def findings(shop: Workshop) -> Iterator[Medium]:
    """Volumes without files, or whose files cannot be read; what they are called."""
    for version in (1, 2):
        yield Medium(
            f"LUKS {version}", luks_image(shop.image(f"LUKS{version}"), version), (Side(f"luks{version}", None),)
        )
    signatures = (
        ("BitLocker", "bitlocker", 0, b"\xeb\x58\x90-FVE-FS-"),
        ("LVM2 physical volume", "lvm2_member", 512, b"LABELONE" + struct.pack("<QII8s", 1, 0, 32, b"LVM2 001")),
        ("ZFS member", "zfs_member", 128 << 10, b"\x0c\xb1\xba\0\0\0\0\0"),
        ("Amiga floppy", "amiga", 0, b"DOS\x03"),
    )
    for seed, (name, fstype, at, magic) in enumerate(signatures):
        made = sparse(shop.image(name), 4 * MIB)
        _overwrite(made, at, magic)
        _overwrite(made, MIB, noise(70_000, seed))
        yield Medium(name, made, (Side(fstype, None),))
    run("mkswap", made := sparse(shop.image("swap"), 4 * MIB))
    yield Medium("swap", made, (Side("swap", None),))
    run("mkapfs", "-L", "ntt", made := sparse(shop.image("APFS"), 600 * MIB))
    yield Medium("APFS container", made, (Side("apfs", None),))
    yield Medium("blank (zeros)", sparse(shop.image("blank"), 4 * MIB), (Side("blank", None),))
    for name, fstype, content in (
        ("blank (0xF6, a formatted floppy)", "blank", b"\xf6" * 1_474_560),
        ("wiped with a pattern", "wiped", b"wiped!!\0" * (MIB // 2)),
        ("random bytes", "random", noise(4 * MIB, 77)),
    ):
        made = shop.image(name)
        made.write_bytes(content)
        yield Medium(name, made, (Side(fstype, None),))
