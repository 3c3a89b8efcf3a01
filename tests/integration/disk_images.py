"""Trees -> disk images of every kind that the readers open, made by the file systems' own tools."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ntt.model import Entry, Extent, Layout, Volume, WalkProblem
from ntt.ranges import Ranges
from ntt.readers.base import ImageSource, VolumeReader
from ntt.readers.detection.volumes import detect
from ntt.readers.opening import open_volume

MIB = 1 << 20
ENVIRONMENT = {**os.environ, "MTOOLS_SKIP_CHECK": "1", "MTOOLSRC": "/dev/null", "TZ": "UTC", "LC_ALL": "C.UTF-8"}


def run(*argv: str | Path, script: str = "") -> str:
    """Standard output of a program that must succeed."""
    done = subprocess.run([str(part) for part in argv], input=script.encode(), capture_output=True, env=ENVIRONMENT)
    assert done.returncode == 0, f"{argv}: {done.stdout.decode()} {done.stderr.decode()}"
    return done.stdout.decode("utf-8", "replace")


# ---------------------------------------------------------------- trees


def noise(length: int, seed: int = 1) -> bytes:
    """Bytes that no two offsets share, so that a wrong place is seen."""
    return b"".join(struct.pack("<II", seed, index) for index in range((length + 7) // 8))[:length]


def portable_tree(root: Path) -> Path:
    """Names and sizes that FAT, exFAT and NTFS can hold alike; whole even seconds as times."""
    (root / "Ordner" / "tief" / "tiefer").mkdir(parents=True)
    (root / "many").mkdir()
    contents = {
        "UPPER.TXT": b"upper",
        "lower.txt": b"lower",
        "Grüße aus Köln.txt": b"latin",
        "日本語.txt": b"cjk",
        "#hash;semicolon$.txt": b"hash",
        "$foo": b"dollar",
        "a" * 200 + ".long": b"long",
        "empty": b"",
        "big.bin": noise(300_001),
        "one cluster.bin": noise(4096, 2),
        "Ordner/Übung eins.txt": b"nested",
        "Ordner/tief/tiefer/unten.bin": noise(70_000, 3),
    }
    for index in range(150):
        contents[f"many/file number {index}.txt"] = noise(index * 7, index)
    for index, (name, content) in enumerate(contents.items()):
        (root / name).write_bytes(content)
        os.utime(root / name, (0, 1_100_000_000 + 2 * index))
    return root


def unix_tree(root: Path) -> Path:
    """What only ext keeps: every byte in names, links, devices, owners, modes, holes."""
    (root / "names").mkdir(parents=True)
    for byte in range(1, 256):
        if byte != 0x2F:
            (root / "names" / os.fsdecode(b"x" + bytes([byte]) + b"y")).write_bytes(b"%d" % byte)
    for name in (b"\xff" * 255, b"back\\nslash\n", b"Icon\r", b"#tag", b"\xc3\xa9"):
        (root / "names" / os.fsdecode(name)).write_bytes(name)
    (root / "big").write_bytes(noise(900_001))
    os.link(root / "big", root / "second name of big")
    with (root / "sparse").open("wb") as file:
        file.seek(5_000_000)
        file.write(noise(3000, 5))
        file.truncate(9_000_000)
    (root / "short link").symlink_to("big")
    (root / "link of 59").symlink_to("k" * 59)
    (root / "link of 60").symlink_to("k" * 60)
    (root / "long link").symlink_to("l" * 900)
    os.mkfifo(root / "fifo")
    os.mknod(root / "block", 0o60640, os.makedev(8, 17))
    os.mknod(root / "character", 0o20600, os.makedev(300, 70_000))
    (root / "set-uid").write_bytes(b"s")
    os.chown(root / "set-uid", 70_000, 80_000)
    (root / "set-uid").chmod(0o4755)
    os.utime(root / "set-uid", ns=(0, 1_234_567_890_123_456_789))
    (root / "before 1970").write_bytes(b"old")
    os.utime(root / "before 1970", ns=(0, -1_234_567_890 * 10**9))
    return root


# ---------------------------------------------------------------- images


def ext_image(image: Path, fstype: str, tree: Path | None, size_mib: int = 40, *options: str) -> Path:
    source = ["-d", str(tree.absolute())] if tree else []
    run("mke2fs", "-q", "-F", "-t", fstype, "-L", "ntt label", *options, *source, image, f"{size_mib}M")
    return image


def fat_image(image: Path, bits: int, tree: Path, kib: int) -> Path:
    run("mkfs.vfat", "-C", f"-F{bits}", "-n", "NTTLABEL", image, str(kib))
    run("mcopy", "-m", "-s", "-Q", "-i", image, *sorted(tree.iterdir()), "::")
    return image


def exfat_image(image: Path, tree: Path) -> Path:
    _sized(image, 20 * MIB)
    run("mkfs.exfat", "-L", "ntt label", image)
    with mounted(image, "exfat") as root:
        run("cp", "-a", f"{tree}/.", root)
    return image


def ntfs_image(image: Path, tree: Path | None, size_mib: int = 30) -> Path:
    _sized(image, size_mib * MIB)
    run("mkntfs", "-F", "-Q", "-q", "-L", "ntt lábel", image)
    if tree is not None:
        with mounted(image, "ntfs") as root:
            run("cp", "-a", f"{tree}/.", root)
    return image


def _sized(image: Path, size_bytes: int) -> None:
    with image.open("wb") as file:
        file.truncate(size_bytes)


@contextmanager
def mounted(image: Path, kind: str) -> Iterator[Path]:
    """The image mounted for writing below its own folder; nothing is left behind."""
    root = image.parent / f"{image.name}.mounted"
    root.mkdir()
    device = run("losetup", "-f", "--show", image).strip()
    try:
        match kind:
            case "exfat":
                run("mount.exfat-fuse", device, root)
            case "ntfs":
                run("ntfs-3g", "-o", "streams_interface=none", device, root)
            case _:
                run("mount", "-t", kind, device, root)
        try:
            yield root
        finally:
            run("umount", root)
    finally:
        run("losetup", "-d", device)
        # a FUSE driver may still be closing the device; the flush below returns when it is done
        run("sync", "-f", image)
        root.rmdir()


def partitioned(image: Path, script: str, size_mib: int, parts: dict[int, Path]) -> Path:
    """`sfdisk` writes the table; `parts` maps byte offsets to images that are laid there."""
    _sized(image, size_mib * MIB)
    run("sfdisk", "-q", image, script=script)
    with image.open("r+b") as file:
        for offset, part in parts.items():
            file.seek(offset)
            file.write(part.read_bytes())
    return image


# ---------------------------------------------------------------- looking at them


@dataclass(frozen=True, slots=True)
class Walked:
    """A whole walk: entries by path, and what the walk met."""

    entries: dict[bytes, Entry]
    all_entries: tuple[Entry, ...]
    problems: tuple[WalkProblem, ...]


@contextmanager
def opened(image: Path, unread: Ranges = ()) -> Iterator[ImageSource]:
    fd = os.open(image, os.O_RDONLY)
    try:
        yield ImageSource(fd, unread)
    finally:
        os.close(fd)


@contextmanager
def reader_of(image: Path, unread: Ranges = ()) -> Iterator[tuple[ImageSource, VolumeReader]]:
    """The reader of an image that is one volume."""
    with opened(image, unread) as source:
        (volume,) = detect(source, source.size_bytes).volumes
        with closing(open_volume(source, volume)) as reader:
            yield source, reader


def layout_of(image: Path, claimed_bytes: int | None = None) -> Layout:
    with opened(image) as source:
        return detect(source, source.size_bytes if claimed_bytes is None else claimed_bytes)


def only_volume(image: Path) -> Volume:
    (volume,) = layout_of(image).volumes
    return volume


def walked(reader: VolumeReader) -> Walked:
    """Paths are built from the entries' own parents; the root is `b""`."""
    paths: dict[int, bytes] = {}
    entries: dict[bytes, Entry] = {}
    listed: list[Entry] = []
    problems: list[WalkProblem] = []
    for found in reader.walk():
        if isinstance(found, WalkProblem):
            problems.append(found)
            continue
        listed.append(found)
        parent = b"" if found.ino == found.parent_ino else paths[found.parent_ino]
        path = parent + b"/" + found.name if parent else found.name
        if found.is_directory and found.new_inode:
            paths[found.ino] = path
        entries[path] = found
    return Walked(entries, tuple(listed), tuple(problems))


def bytes_at(source: ImageSource, extents: Sequence[Extent]) -> bytes:
    """What linear extents and holes say the content is."""
    parts: list[bytes] = []
    at = 0
    for extent in extents:
        assert extent.file_offset == at, "extents leave no gap and do not overlap"
        assert extent.file_length == extent.image_length, "a compressed unit is not linear"
        at += extent.file_length
        is_hole = extent.image_offset == -1
        parts.append(bytes(extent.file_length) if is_hole else source.read(extent.image_offset, extent.image_length))
    return b"".join(parts)


def paths_below(root: Path) -> dict[bytes, Path]:
    """Every path of a tree, relative, the root as `b""`."""
    found = {b"": root}
    for folder, folders, files in os.walk(os.fsencode(root)):
        for name in folders + files:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, os.fsencode(root))] = Path(os.fsdecode(path))
    return found
