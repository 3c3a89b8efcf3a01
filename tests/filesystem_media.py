"""Trees -> media with each file system that NTT knows, made by its own tools where there are any.

A builder takes the workshop and gives media; what stands on each volume goes with it, in the order of NTT's volumes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from disk_images import exfat_image, ext_image, fat_image, ntfs_image
from filesystem_trees import FAT, HFS, HFS_PLUS, NTFS, SHORT_ASCII, UNIX, UNIX_NS, Keeps, Side, make_tree
from hfs_images import FILES_FOLDER, ROOT, HfsPlus, hfs, macbinary, wrapped
from media_images import MIB, fat32_image, noise, run
from mounting import made_image, writable
from partitioned_images import sparse
from test_apfs_ufs_images import ufs_image
from test_ntfs_streams import with_streams

STREAMS = {b"MANY/F00010.DAT:Zone.Identifier": b"[ZoneTransfer]\r\nZoneId=3\r\n", b"MANY:of a folder": noise(70_000, 9)}


@dataclass(frozen=True, slots=True)
class Medium:
    """`sides` in the order of NTT's volumes. `forced`: every other route that there is for it is tried as well."""

    name: str
    image: Path
    sides: tuple[Side, ...]
    forced: bool = False


@dataclass(slots=True)
class Workshop:
    """Where media are made; trees of one kind are made once."""

    root: Path
    _trees: dict[tuple[Keeps, int], Path] = field(default_factory=dict)

    def tree(self, keeps: Keeps, seed: int = 1) -> Path:
        if (keeps, seed) not in self._trees:
            self._trees[keeps, seed] = make_tree(self.root / f"tree{len(self._trees)}", keeps, seed)
        return self._trees[keeps, seed]

    def side(self, fstype: str, keeps: Keeps, seed: int = 1) -> Side:
        return Side(fstype, self.tree(keeps, seed), keeps)

    def image(self, name: str) -> Path:
        """A path in a folder of its own."""
        folder = self.root / name.replace(" ", "-").replace("/", "-")
        folder.mkdir()
        return folder / "image"


def file_systems(shop: Workshop) -> Iterator[Medium]:
    """One volume each, without a partition table."""
    for fstype in ("ext2", "ext3"):
        made = ext_image(shop.image(fstype), fstype, shop.tree(UNIX), 16)
        yield Medium(fstype, made, (shop.side(fstype, UNIX),), True)
    yield Medium("ext4", _filled_ext4(shop), (shop.side("ext4", UNIX_NS),), True)
    for bits, size_kib in ((12, 1440), (16, 16 << 10)):
        made = fat_image(shop.image(f"FAT{bits}"), bits, shop.tree(FAT), size_kib)
        yield Medium(f"FAT{bits}", made, (shop.side(f"fat{bits}", FAT),), True)
    made = fat32_image(shop.image("FAT32"), shop.tree(FAT))
    yield Medium("FAT32", made, (shop.side("fat32", FAT),), True)
    made = exfat_image(shop.image("exFAT"), shop.tree(FAT))
    yield Medium("exFAT", made, (shop.side("exfat", FAT),), True)
    yield _ntfs(shop)
    yield _classic_hfs(shop)
    yield from _hfs_plus(shop)
    for version, order in ((1, "be"), (2, "le")):
        name = f"UFS{version}"
        made = ufs_image(shop.image(name), version, order, shop.tree(UNIX), "12m")
        yield Medium(name, made, (shop.side("ufs", UNIX),), True)


def mounted_file_systems(shop: Workshop) -> Iterator[Medium]:
    """Those that no reader of NTT's own lists."""
    for kind, keeps in (("squashfs", UNIX), ("xfs", UNIX_NS), ("btrfs", UNIX_NS)):
        made = made_image(kind, shop.image(kind), shop.tree(keeps))
        yield Medium(kind, made, (shop.side(kind, keeps),), True)
    short = Keeps(
        tuple(name for name in UNIX.names if len(name) < 200), precision_ns=1
    )  # this mkfs.erofs fails on the longest names
    made = made_image("erofs", shop.image("erofs"), shop.tree(short))
    yield Medium("erofs", made, (shop.side("erofs", short),), True)
    no_times = Keeps(SHORT_ASCII.names, hardlinks=False, times=False)
    run("mkfs.cramfs", shop.tree(no_times), image := shop.image("cramfs"))
    yield Medium("cramfs", image, (shop.side("cramfs", no_times),), True)
    run("genromfs", "-f", image := shop.image("romfs"), "-d", shop.tree(no_times))
    yield Medium("romfs", image, (shop.side("romfs", no_times),), True)
    image = sparse(shop.image("f2fs"), 128 * MIB)
    run("mkfs.f2fs", "-q", image)
    run("sload.f2fs", "-P", "-f", shop.tree(UNIX), image)
    yield Medium("f2fs", image, (shop.side("f2fs", UNIX),), True)
    formats = {
        "jfs": (("mkfs.jfs", "-q"), 16),
        "reiserfs": (("mkreiserfs", "-q", "-ff"), 40),
        "nilfs2": (("mkfs.nilfs2", "-q"), 130),
        "minix": (("mkfs.minix", "-3"), 4),
    }
    for fstype, (argv, size_mib) in formats.items():
        image = sparse(shop.image(fstype), size_mib * MIB)
        run(*argv, image)
        yield Medium(f"{fstype} (formatted only)", image, (Side(fstype, None),), True)


def _filled_ext4(shop: Workshop) -> Path:
    """By the kernel, which keeps parts of seconds, unlike mke2fs."""
    image = shop.image("ext4")
    run("mke2fs", "-q", "-F", "-t", "ext4", image, "24M")
    with writable(image) as root:
        run("cp", "-a", "--sparse=always", f"{shop.tree(UNIX_NS)}/.", root)
    return image


def _ntfs(shop: Workshop) -> Medium:
    tree = shop.tree(NTFS)
    image = ntfs_image(shop.image("NTFS"), tree, 24)
    with with_streams(image) as root:
        for name, content in STREAMS.items():
            file = name.partition(b":")[0]
            status = os.stat(os.path.join(os.fsencode(root), file))
            with open(os.path.join(os.fsencode(root), name), "wb") as stream:
                stream.write(content)
            os.utime(os.path.join(os.fsencode(root), file), ns=(status.st_mtime_ns, status.st_mtime_ns))
    return Medium("NTFS", image, (Side("ntfs", tree, NTFS, STREAMS),), True)


# ---------------------------------------------------------------- Apple


def _classic_hfs(shop: Workshop) -> Medium:
    tree, image = shop.tree(HFS), shop.image("HFS")
    image.write_bytes(bytes(6 << 20))
    filled_hfs(image, tree)
    return Medium("HFS", image, (Side("hfs", tree, HFS, {b"LARGE.BIN:rsrc": noise(40_001, 4)}),), True)


def filled_hfs(image: Path, tree: Path) -> None:
    """A fresh volume with the tree, folder by folder; one file has a resource fork."""
    home = image.parent
    hfs(home, "hformat", "-l", "Ntt Disk", image)
    base = os.fsencode(tree)
    for folder, folders, files in os.walk(base):
        below = os.path.relpath(folder, base).replace(b"/", b":")
        place = b":" if below == b"." else b":" + below + b":"
        for name in folders:
            hfs(home, "hmkdir", os.fsdecode(place + name))
        packed = []
        for number, name in enumerate(files):
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                content = file.read()
            fork = noise(40_001, 4) if name == b"LARGE.BIN" else b""
            packed.append(home / f"one {number}")
            packed[-1].write_bytes(
                macbinary(name, b"TEXTttxt", content, fork, modified=os.stat(path).st_mtime_ns // 10**9)
            )
        if packed:
            hfs(home, "hcopy", "-m", *packed, os.fsdecode(place))
    hfs(home, "humount")


def hfs_plus_of(tree: Path, volume: HfsPlus) -> HfsPlus:
    """The tree as items of a volume; its hard links as Apple's system makes them."""
    base = os.fsencode(tree)
    private = volume.folder(ROOT, FILES_FOLDER)
    folders = {b"": ROOT}
    linked: dict[int, int] = {}
    for folder, names, files in os.walk(base):
        parent = folders[b"" if folder == base else os.path.relpath(folder, base)]
        for name in sorted(names + files):
            path = os.path.join(folder, name)
            status = os.lstat(path)
            shown = os.fsdecode(name).replace(":", "/")
            about = {"mode": status.st_mode, "mtime": status.st_mtime_ns // 10**9}
            if stat.S_ISDIR(status.st_mode):
                folders[os.path.relpath(path, base)] = volume.folder(parent, shown, **about)
            elif stat.S_ISLNK(status.st_mode):
                volume.file(parent, shown, os.readlink(path), finder=b"slnkrhap", **about)
            elif status.st_nlink > 1:
                if status.st_ino not in linked:
                    number = linked[status.st_ino] = volume.next_id
                    content = Path(os.fsdecode(path)).read_bytes()
                    volume.file(private, f"iNode{number}", content, special=status.st_nlink, **about)
                volume.link(parent, shown, linked[status.st_ino])
            else:
                fork = noise(9000, 3) if name == b"EMPTY.DAT" else b""
                volume.file(parent, shown, Path(os.fsdecode(path)).read_bytes(), resource=fork, **about)
    return volume


def _hfs_plus(shop: Workshop) -> Iterator[Medium]:
    volumes = {"HFS+": HfsPlus(journal="empty"), "HFSX": HfsPlus(case_sensitive=True)}
    for seed, (name, volume) in enumerate(volumes.items(), 1):
        image = shop.image(name)
        image.write_bytes(hfs_plus_of(shop.tree(HFS_PLUS, seed), volume).image(1024))
        yield Medium(name, image, (_hfs_plus_side(shop, seed),), name == "HFS+")
    image = shop.image("HFS+ in an HFS wrapper")
    image.write_bytes(wrapped(hfs_plus_of(shop.tree(HFS_PLUS, 3), HfsPlus()).image(1024)))
    yield Medium("HFS+ in an HFS wrapper", image, (_hfs_plus_side(shop, 3),))


def _hfs_plus_side(shop: Workshop, seed: int) -> Side:
    return Side("hfsplus", shop.tree(HFS_PLUS, seed), HFS_PLUS, {b"EMPTY.DAT:rsrc": noise(9000, 3)})
