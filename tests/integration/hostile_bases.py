"""A folder -> a small image of every kind that NTT reads, rich in what its format is complicated by; whole as yet."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

from disk_images import MIB, ext_image, fat_image, mounted, noise, partitioned, run
from hfs_images import HfsPlus, decmpfs, hfs, packed_resource
from raw_discs import cue, raw, sound
from udf_images import METADATA, VIRTUAL, UdfWriter
from udf_items import DATA, DIRECTORY, SYMLINK, Item

COMPRESSED = (0x800).to_bytes(4, "big")
DISC_CUE = "disc.cue"
NUMBER = "11111111-2222-3333-4444-555555555555"
SAME = ("-U", NUMBER, "-E", f"hash_seed={NUMBER}")  # the order of names depends on it


def tree(folder: Path) -> Path:
    """Folders in folders, a folder with many names, files of one byte to some blocks."""
    root = folder / "tree"
    if root.exists():
        return root
    (root / "folder" / "deeper" / "deepest").mkdir(parents=True)
    for number in range(40):
        (root / "folder" / f"a rather long name {number}.bin").write_bytes(noise(number * 90, number))
    (root / "folder" / "deeper" / "big").write_bytes(noise(70_000, 2))
    (root / "folder" / "deeper" / "deepest" / "file").write_bytes(b"the deepest")
    (root / "empty").touch()
    for path in sorted(root.rglob("*")):
        os.utime(path, (1_100_000_000, 1_100_000_000))
    return root


def unix(folder: Path) -> Path:
    """The tree with links of all kinds, a sparse file in many pieces, and names enough for a hashed directory."""
    root = folder / "unix"
    if root.exists():
        return root
    run("cp", "-a", tree(folder), root)
    (root / "short").symlink_to("folder/deeper")
    (root / "long").symlink_to("x" * 300)
    os.link(root / "folder" / "deeper" / "big", root / "big again")
    os.mkfifo(root / "fifo")
    (root / "many").mkdir()
    for number in range(150):
        (root / "many" / f"{number}-{'n' * 40}").write_bytes(b"%d" % number)
    with (root / "pieces").open("wb") as file:
        for number in range(400):
            file.seek(number * 2048)
            file.write(noise(1024, number))
    return root


# ---------------------------------------------------------------- what Unix and Windows write


def ext2(folder: Path) -> Path:
    return ext_image(folder / "ext2", "ext2", unix(folder), 2, *SAME, "-b", "1024", "-N", "400")


def ext3(folder: Path) -> Path:
    return ext_image(folder / "ext3", "ext3", unix(folder), 4, *SAME, "-b", "1024", "-N", "400", "-J", "size=1")


def ext4(folder: Path) -> Path:
    options = (*SAME, "-b", "1024", "-N", "400", "-O", "^has_journal,dir_index")
    image = ext_image(folder / "ext4", "ext4", unix(folder), 3, *options)
    (folder / "value").write_bytes(b"v" * 600)
    for line in ("set_inode_field /empty i_flags 0", f"ea_set -f {folder / 'value'} /big\\ again user.name"):
        run("debugfs", "-w", "-R", line, image)
    run("sh", "-c", f"e2fsck -fyD {image} >/dev/null; test $? -le 1")
    return image


def ext4_inline(folder: Path) -> Path:
    options = ("-b", "4096", "-I", "512", "-O", "inline_data,^has_journal,bigalloc,64bit,meta_bg,^resize_inode")
    options += ("-N", "800")
    return ext_image(folder / "ext4-inline", "ext4", unix(folder), 4, *SAME, *options)


def ufs1(folder: Path) -> Path:
    run("makefs", "-t", "ffs", "-o", "version=1", "-s", "3m", folder / "ufs1", unix(folder))
    return folder / "ufs1"


def ufs2(folder: Path) -> Path:
    run("makefs", "-t", "ffs", "-o", "version=2", "-B", "be", "-s", "3m", folder / "ufs2", unix(folder))
    return folder / "ufs2"


def fat12(folder: Path) -> Path:
    return fat_image(folder / "fat12", 12, tree(folder), 720)


def fat16(folder: Path) -> Path:
    run("mkfs.vfat", "-C", "-F16", "-s1", folder / "fat16", "4200")
    return _with_tree(folder / "fat16", folder)


def fat32(folder: Path) -> Path:
    run("mkfs.vfat", "-C", "-F32", "-s1", folder / "fat32", "34000")
    return _with_tree(folder / "fat32", folder)


def _with_tree(image: Path, folder: Path) -> Path:
    run("mcopy", "-m", "-s", "-Q", "-i", image, *sorted(tree(folder).iterdir()), "::")
    return image


def exfat(folder: Path) -> Path:
    image = _sized(folder / "exfat", 2 * MIB)
    run("mkfs.exfat", "-L", "ntt label", "-c", "1K", "-b", "4K", image)
    with mounted(image, "exfat") as root:
        run("cp", "-r", f"{tree(folder)}/.", root)
    return image


def ntfs(folder: Path) -> Path:
    image = _sized(folder / "ntfs", 4 * MIB)
    run("mkntfs", "-F", "-Q", "-q", "-c", "1024", "-L", "ntt", image)
    device = run("losetup", "-f", "--show", image).strip()
    root = folder / "ntfs.mounted"
    root.mkdir()
    try:
        run("ntfs-3g", "-o", "streams_interface=windows", device, root)
        try:
            _fill_ntfs(root, folder)
        finally:
            run("umount", root)
    finally:
        run("losetup", "-d", device)
        run("sync", "-f", image)
        root.rmdir()
    return image


def _fill_ntfs(root: Path, folder: Path) -> None:
    """Streams, enough of them for an attribute list; a compressed file; one in many pieces with holes."""
    run("cp", "-r", f"{tree(folder)}/.", root)
    for number in range(30):
        (root / f"empty:stream {number}").write_bytes(noise(100 + 40 * number, number))
    (root / "packed").mkdir()
    os.setxattr(root / "packed", "system.ntfs_attrib_be", COMPRESSED)
    (root / "packed" / "text").write_bytes(b"".join(b"%d, " % number for number in range(20_000)))
    with (root / "pieces").open("wb") as file:
        for number in range(120):
            os.pwrite(file.fileno(), noise(1024, number), number * 3 * 16_384)
    (root / "link").symlink_to("empty")
    os.link(root / "folder" / "deeper" / "big", root / "big again")


def _sized(image: Path, size_bytes: int) -> Path:
    with image.open("wb") as file:
        file.truncate(size_bytes)
    return image


# ---------------------------------------------------------------- what Macs write


def hfs_classic(folder: Path) -> Path:
    image = _sized(folder / "hfs", 800 << 10)
    hfs(folder, "hformat", "-l", "ntt", image)
    hfs(folder, "hmount", image)
    for name in ("one", "two"):
        hfs(folder, "hmkdir", f":{name}")
        sources = sorted((tree(folder) / "folder").glob("*.bin"))[:25]
        hfs(folder, "hcopy", "-r", *sources, f":{name}:")
    hfs(folder, "hmkdir", ":one:deeper")
    hfs(folder, "humount")
    return image


def hfs_plus(folder: Path) -> Path:
    volume = HfsPlus(catalog_pieces=6, block=1024, node=1024)
    outer = volume.folder(2, "outer")
    inner = volume.folder(outer, "inner")
    many = volume.folder(inner, "many")
    for number in range(60):
        volume.file(many, f"file {number}", noise(number * 40), pieces=3, resource=b"r" * (number % 3))
    private = volume.folder(2, "\0\0\0\0HFS+ Private Data")
    node = volume.next_id
    volume.file(private, f"iNode{node}", b"linked", mode=0o100600, special=2)
    volume.link(2, "one", node)
    volume.link(inner, "two", node)
    packed = volume.file(2, "packed", resource=packed_resource(noise(100_000)), owner_flags=0x20)
    volume.attributes.append((packed, "com.apple.decmpfs", decmpfs(4, 100_000)))
    volume.file(2, "fragmented", noise(40_000), pieces=24)
    (folder / "hfsplus").write_bytes(volume.image(1600))
    return folder / "hfsplus"


def apfs(folder: Path) -> Path:
    run("mkapfs", "-L", "ntt", _sized(folder / "apfs", 600 * MIB))
    return folder / "apfs"


# ---------------------------------------------------------------- discs


def iso(folder: Path) -> Path:
    run("genisoimage", "-quiet", "-R", "-J", "-T", "-o", folder / "iso", unix(folder))
    return folder / "iso"


def iso_relocated(folder: Path) -> Path:
    """Rock Ridge with relocated folders (CL, PL, RE), a long link in continuation areas."""
    root = folder / "deep"
    bottom = root / "/".join(str(number) for number in range(11))
    bottom.mkdir(parents=True)
    (bottom / "file").write_bytes(noise(3000))
    (bottom / "link").symlink_to("/".join(["component" * 5] * 5))
    run("genisoimage", "-quiet", "-R", "-o", folder / "iso-deep", root)
    return folder / "iso-deep"


def bridge(folder: Path) -> Path:
    """ISO 9660, Joliet, UDF, HFS and an Apple map on one disc."""
    run("genisoimage", "-quiet", "-R", "-J", "-udf", "-hfs", "-part", "-o", folder / "bridge", tree(folder))
    return folder / "bridge"


def udf(folder: Path) -> Path:
    return _udf(folder / "udf", "plain")


def udf_metadata(folder: Path) -> Path:
    return _udf(folder / "udf-metadata", METADATA)


def udf_virtual(folder: Path) -> Path:
    return _udf(folder / "udf-virtual", VIRTUAL)


def _udf(image: Path, kind: str) -> Path:
    writer = UdfWriter(kind, revision=0x0250 if kind == METADATA else 0x0201, blocks=1536)
    data = "short" if kind == "plain" else "long"
    for number in range(3):
        deeper = Item("deeper", kind=DIRECTORY, ads=data, children=[Item("file", b"deep", ads="embedded")])
        inside = [Item(f"{size}", b"y" * size, ads=data) for size in range(9)]
        writer.root.children += [
            Item(f"small {number}", b"x" * 100, ads="embedded", streams=[Item("s", b"stream", ads="embedded")]),
            Item(f"many {number}", noise(20 * 2048, number), ads=data, pieces=[(DATA, 2048)] * 20, ads_per_block=8),
            Item(f"older {number}", b"new", older=b"old", ads="embedded") if kind == "plain" else Item("e", ads=data),
            Item(f"link {number}", b"\x05\x02\x00\x00\x08a", kind=SYMLINK, ads="embedded"),
            Item(f"folder {number}", kind=DIRECTORY, ads=data, children=[*inside, deeper]),
        ]
    writer.write(image)
    return image


def raw_cd(folder: Path) -> Path:
    """Sectors of 2352 bytes with an audio track behind them, and the cue sheet that says so."""
    run("genisoimage", "-quiet", "-R", "-o", folder / "small.iso", tree(folder))
    content = (folder / "small.iso").read_bytes()
    (folder / "raw").write_bytes(raw(content, 1) + sound(40))
    (folder / DISC_CUE).write_text(cue("disc.bin", ("MODE1/2352", 0), ("AUDIO", len(content) // 2048)))
    return folder / "raw"


# ---------------------------------------------------------------- disks


def mbr(folder: Path) -> Path:
    """A primary partition and two logical ones."""
    lines = ["label: dos", "start=64, size=2048, type=1", "start=2112, size=6000, type=5"]
    lines += ["start=2176, size=2048, type=1", "start=4288, size=2048, type=1"]
    floppy = fat_image(folder / "floppy.mbr", 12, tree(folder), 720)
    parts = dict.fromkeys((64 * 512, 2176 * 512, 4288 * 512), floppy)
    return partitioned(folder / "mbr", "\n".join(lines), 4, parts)


def gpt(folder: Path) -> Path:
    lines = "label: gpt\nfirst-lba: 34\nstart=40, size=1500\nstart=1600, size=1500"
    floppy = fat_image(folder / "floppy.gpt", 12, tree(folder), 720)
    return partitioned(folder / "gpt", lines, 2, dict.fromkeys((40 * 512, 1600 * 512), floppy))


def apm(folder: Path) -> Path:
    """A driver descriptor, the map itself and two partitions (Inside Macintosh: Devices, 3)."""
    (folder / "apple").mkdir()
    classic = hfs_classic(folder / "apple").read_bytes()
    block0 = b"ER" + struct.pack(">HI", 512, 64 + 2 * 1600)
    rows = [(1, 3, "map", "Apple_partition_map"), (64, 1600, "one", "Apple_HFS"), (1664, 1600, "two", "Apple_HFS")]
    image = bytearray(block0.ljust(512, b"\0"))
    for start, count, name, kind in rows:
        entry = struct.pack(">2sHIII", b"PM", 0, len(rows), start, count)
        entry += name.encode().ljust(32, b"\0") + kind.encode().ljust(32, b"\0") + struct.pack(">III", 0, count, 0x33)
        image += entry.ljust(512, b"\0")
    image = image.ljust(64 * 512, b"\0") + classic + classic
    (folder / "apm").write_bytes(image)
    return folder / "apm"


# ---------------------------------------------------------------- archives


def tar(folder: Path) -> Path:
    run("tar", "--sparse", "--format=pax", "-C", unix(folder), "-cf", folder / "tar", ".")
    return folder / "tar"


def tar_gz(folder: Path) -> Path:
    run("tar", "-C", tree(folder), "-czf", folder / "tar.gz", ".")
    return folder / "tar.gz"


def cpio(folder: Path) -> Path:
    run("sh", "-c", f"cd {unix(folder)} && find . | cpio --quiet -o -H newc > {folder / 'cpio'}")
    return folder / "cpio"


def zip_(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, path in enumerate(sorted(tree(folder).rglob("*"))):
            archive.write(path, path.relative_to(tree(folder)), (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[number % 2])
    return folder / "zip"


def sevenzip(folder: Path) -> Path:
    run("7zz", "a", "-bso0", "-mhc=off", "-ms=off", folder / "a.7z", f"{tree(folder)}/.")
    return (folder / "a.7z").rename(folder / "7z")


BASES: dict[str, Callable[[Path], Path]] = {
    "ext2": ext2, "ext3": ext3, "ext4": ext4, "ext4-inline": ext4_inline, "ufs1": ufs1, "ufs2": ufs2,
    "fat12": fat12, "fat16": fat16, "fat32": fat32, "exfat": exfat, "ntfs": ntfs,
    "hfs": hfs_classic, "hfsplus": hfs_plus, "apfs": apfs,
    "iso": iso, "iso-deep": iso_relocated, "bridge": bridge, "raw": raw_cd,
    "udf": udf, "udf-metadata": udf_metadata, "udf-virtual": udf_virtual,
    "mbr": mbr, "gpt": gpt, "apm": apm,
    "tar": tar, "tar.gz": tar_gz, "cpio": cpio, "zip": zip_, "7z": sevenzip,
}  # fmt: skip
