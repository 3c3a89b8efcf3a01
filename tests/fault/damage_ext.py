"""ext images with awkward files, and the truth about them out of debugfs and dumpe2fs."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from damage_plans import Piece, Record, TrueDirectory, TrueFile, TrueLink, Truth
from media_images import noise, run, written
from partitioned_images import placed, sfdisk

from ntt.ranges import Range, Ranges, difference, normalised

MIB = 1 << 20
SECTOR_BYTES = 512
OWN_BYTES = 160  # of an inode; behind them are attributes, or nothing
GROUP = re.compile(r"^Group (\d+): \(Blocks (\d+)-(\d+)\)", re.MULTILINE)
SPAN = re.compile(r"(\d+)(?:-(\d+))?")
PIECES = re.compile(r"\(([A-Z]+\d*)?(\d+)?(?:-(\d+))?\):(\d+)(?:-(\d+))?")


# ---------------------------------------------------------------- images


def tree_of(root: Path) -> Path:
    """Small files, many in one folder, deep ones, a sparse one, links short and long."""
    deep = b"/".join(b"level-%d" % depth for depth in range(12))
    contents: dict[str | bytes, bytes] = {
        b"many/name number %03d of them" % number: noise(number * 37 % 3000, number) for number in range(300)
    }
    contents |= {b"letters/%d.txt" % number: noise(5000 + number * 3001, 1000 + number) for number in range(20)}
    contents |= {b"large.bin": noise(700_000, 3), b"empty": b"", deep + b"/deepest": noise(9000, 4)}
    written(root, contents)
    base = os.fsencode(root)
    with open(os.path.join(base, b"sparse"), "wb") as file:
        file.write(noise(10_000, 5))
        file.seek(2_000_000)
        file.write(noise(30_000, 6))
    os.symlink(b"letters/1.txt", os.path.join(base, b"short link"))
    for number in range(8):
        os.symlink(b"letters/" + b"a long way round/" * (number + 5), os.path.join(base, b"long link %d" % number))
    return root


def ext_image(image: Path, tree: Path, fstype: str, size: str, *options: str) -> Path:
    run("truncate", "-s", size, image)
    run("mke2fs", "-q", "-F", "-t", fstype, *options, "-E", "root_owner=0:0", "-d", tree, image)
    return image


def ext4_image(image: Path, tree: Path) -> Path:
    """Blocks of 4 KiB in two groups; `fragments` lies in so many pieces that they need blocks of an extent tree."""
    ext_image(image, tree, "ext4", "160M", "-b", "4096")
    return _fragmented(image, tree, 4096, 90)


def ext2_image(image: Path, tree: Path) -> Path:
    """Blocks of 1 KiB in three groups, without extents; `fragments` has a block map of two levels."""
    ext_image(image, tree, "ext2", "20M", "-b", "1024", "-I", "128")
    return _fragmented(image, tree, 1024, 400)


def behind_a_table(image: Path, volume: Path) -> Path:
    """The volume as a primary partition at 1 MiB."""
    placed(image, {MIB: volume}, volume.stat().st_size + 2 * MIB)
    sfdisk(image, ["label: dos", f"start=2048, size={volume.stat().st_size // SECTOR_BYTES}, type=83"], {})
    return image


def _fragmented(image: Path, tree: Path, block_bytes: int, blocks: int) -> Path:
    """Every second of many small files goes, and a large one has to lie in the gaps."""
    content = noise(blocks * block_bytes - 100, 7)
    (tree / "fragments").write_bytes(content)
    bit = tree.parent / "bit"
    bit.write_bytes(b"x" * block_bytes)
    run("debugfs", "-w", "-f", "-", image, script="".join(f"write {bit} bit{one}\n" for one in range(2 * blocks)))
    run("debugfs", "-w", "-f", "-", image, script="".join(f"rm bit{one}\n" for one in range(0, 2 * blocks, 2)))
    run("debugfs", "-w", "-f", "-", image, script=f"write {tree / 'fragments'} fragments\n")
    run("debugfs", "-w", "-f", "-", image, script="".join(f"rm bit{one}\n" for one in range(1, 2 * blocks, 2)))
    run("sh", "-c", f"e2fsck -fyD {image}; test $? -le 1")  # directories get their indexes, and it says so
    assert "Flags: 0x" in (found := run("debugfs", "-R", "stat many", image))
    assert int(found.partition("Flags: ")[2].split()[0], 16) & 0x1000, "its names are hashed"
    return image


# ---------------------------------------------------------------- truth


@dataclass(frozen=True, slots=True)
class _Inode:
    ino: int
    size: int
    whole: Range
    place: Range
    group: int
    pieces: tuple[Piece, ...]
    maps: Ranges


@dataclass(frozen=True, slots=True)
class _Volume:
    """What dumpe2fs says; places are bytes of the image."""

    image: Path
    offset: int
    block: int
    text: str

    def place(self, first: int, last: int) -> Range:
        return self.offset + first * self.block, self.offset + (last + 1) * self.block

    def spans(self, pattern: str) -> list[Range]:
        """Of all lines that hold the pattern, the first number or span of numbers behind it."""
        found = re.findall(rf"{pattern} (\d+)(?:-(\d+))?", self.text)
        return [self.place(int(first), int(last or first)) for first, last in found]

    def free(self) -> Ranges:
        """Of clusters dumpe2fs names the first block only."""
        cluster = re.search(r"^Cluster size:\s*(\d+)", self.text, re.MULTILINE)
        blocks = int(cluster[1]) // self.block if cluster else 1
        lines = re.findall(r"^  Free blocks: (.*)$", self.text, re.MULTILINE)
        return normalised(
            self.place(int(first), int(last or first) + blocks - 1)
            for line in lines
            for first, last in SPAN.findall(line)
        )


def truth_of(image: Path, tree: Path, volume_at: int = 0) -> Truth:
    """Everything below `tree` is in the image, whose ext volume begins at `volume_at`, and nothing else but lost+found.

    The programs read the volume out of a copy, for they take none at an offset.
    """
    alone = image.with_suffix(".alone")
    run("dd", f"if={image}", f"of={alone}", "bs=1M", f"skip={volume_at // MIB}", "conv=sparse", "status=none")
    text = run("dumpe2fs", alone)
    size = re.search(r"^Block size:\s*(\d+)", text, re.MULTILINE)
    assert size
    volume = _Volume(alone, volume_at, int(size[1]), text)
    base = os.fsencode(tree)
    paths = [b"", b"lost+found"]
    for folder, folders, files in os.walk(base):
        paths += [os.path.relpath(os.path.join(folder, name), base) for name in folders + files]
    inodes = dict(zip(paths, _inodes(volume, paths), strict=True))
    numbers = {path: inode.ino for path, inode in inodes.items()}
    entries = dict(_entries(volume, inodes, numbers))
    superblock, descriptors = _volume_records(volume)
    truth = Truth(
        image.stat().st_size,
        SECTOR_BYTES,
        {},
        {},
        *_account(volume),
        (superblock,),
        _spare(volume),
        ((0, 512),) * bool(volume_at),
        normalised((*(copy for record in descriptors for copy in record[:1]), *(one.whole for one in inodes.values()))),
    )
    for path, inode in inodes.items():
        records = ((inode.place,), descriptors[inode.group], *((place,) for place in inode.maps))
        entry = (entries[path],) if path in entries else ()  # of an inline directory: the inode above
        where = os.path.join(base, path)
        stored = normalised(piece.place for piece in inode.pieces)
        if os.path.islink(where):
            truth.links[path] = TrueLink(os.readlink(where), stored, records, entry)
        elif os.path.isfile(where):
            content = Path(os.fsdecode(where)).read_bytes()
            assert len(content) == inode.size
            truth.files[path] = TrueFile(content, inode.pieces, records, entry)
        else:
            truth.directories[path] = TrueDirectory(stored, records, entry)
    alone.unlink()
    return truth


def _volume_records(volume: _Volume) -> tuple[Record, list[Record]]:
    """The superblock, and each group's descriptor, with their copies."""
    starts = [max(start, volume.offset + 1024) for start, _ in volume.spans("superblock at")]
    superblock = tuple((start, start + 1024) for start in starts)
    wide = re.search(r"^Group descriptor size:\s*(\d+)", volume.text, re.MULTILINE)
    size = int(wide[1]) if wide else 32
    groups = range(len(GROUP.findall(volume.text)))
    tables = [start for start, _ in volume.spans("Group descriptors at")]
    if tables:
        return superblock, [tuple((at + size * one, at + size * (one + 1)) for at in tables) for one in groups]
    return superblock, [tuple(_in_meta_group(volume, one, size)) for one in groups]


def _in_meta_group(volume: _Volume, group: int, size: int) -> Iterator[Range]:
    """The group's descriptor as it stands in the first, second and last group of its meta group."""
    within_block = volume.block // size
    for one in re.split(r"^Group ", volume.text, flags=re.MULTILINE)[1:]:
        found = re.search(r"^(\d+):.*Group descriptor at (\d+)", one, re.DOTALL)
        if found and int(found[1]) // within_block == group // within_block:
            at = volume.place(int(found[2]), 0)[0] + size * (group % within_block)
            yield at, at + size


def _account(volume: _Volume) -> tuple[Ranges, Ranges, tuple[Record, ...]]:
    groups = GROUP.findall(volume.text)
    whole = normalised(volume.place(int(first), int(last)) for _, first, last in groups)
    free = volume.free()
    maps = [(place,) for place in volume.spans("Block bitmap at")]
    tables = [(place,) for place in volume.spans("Group descriptors? at")]
    return difference(whole, free), free, tuple(maps + tables)


def _spare(volume: _Volume) -> Ranges:
    """Bitmaps, copies, and inodes that no file has: free ones, and those of the file system itself but the root."""
    names = ("Block bitmap at", "Inode bitmap at", "Backup superblock at", "Reserved GDT blocks at")
    found = [place for name in names for place in volume.spans(name)]
    wide = re.search(r"^Inode size:\s*(\d+)", volume.text, re.MULTILINE)
    size = int(wide[1]) if wide else 128
    count = re.search(r"^Inodes per group:\s*(\d+)", volume.text, re.MULTILINE)
    assert count
    lines = re.findall(r"^  Free inodes: (.*)$", volume.text, re.MULTILINE)
    for group, (line, (table, _)) in enumerate(zip(lines, volume.spans("Inode table at"), strict=True)):
        for first, last in (*SPAN.findall(line), *((("3", "10"),) if group == 0 else ())):
            before = group * int(count[1]) + 1
            found.append((table + (int(first) - before) * size, table + (int(last or first) + 1 - before) * size))
    return normalised(found)


def _debugfs(volume: _Volume, requests: Iterable[bytes]) -> list[str]:
    """The answer to each request."""
    script = b"".join(request + b"\n" for request in requests).decode()
    return re.split(r"^debugfs: .*\n", run("debugfs", "-f", "-", volume.image, script=script), flags=re.MULTILINE)[1:]


def _inodes(volume: _Volume, paths: list[bytes]) -> Iterator[_Inode]:
    told = _debugfs(volume, (b'stat "/%s"' % path for path in paths))
    numbers = [int(re.findall(r"^Inode: (\d+)", one, re.MULTILINE)[0]) for one in told]
    lies = _debugfs(volume, (b"imap <%d>" % ino for ino in numbers))
    wide = re.search(r"^Inode size:\s*(\d+)", volume.text, re.MULTILINE)
    length = int(wide[1]) if wide else 128
    for ino, stat, imap in zip(numbers, told, lies, strict=True):
        size = re.search(r"Size: (\d+)", stat)
        place = re.search(r"group (\d+)\s+located at block (\d+), offset (0x[0-9a-f]+)", imap)
        assert size, stat
        assert place, imap
        start = volume.offset + int(place[2]) * volume.block + int(place[3], 16)
        pieces, maps = _map(volume, stat, int(size[1]))
        yield _Inode(
            ino,
            int(size[1]),
            (start, start + length),
            (start, start + min(length, OWN_BYTES)),
            int(place[1]),
            pieces,
            maps,
        )


def _map(volume: _Volume, stat: str, size: int) -> tuple[tuple[Piece, ...], Ranges]:
    """`(0-11):100-111, (IND):112, (12):113` or `(ETB0):99, (0-5):100-105` as pieces of the file and map blocks."""
    _, found, text = stat.partition("EXTENTS:\n") if "EXTENTS:\n" in stat else stat.partition("BLOCKS:\n")
    pieces: list[Piece] = []
    maps: list[Range] = []
    for kind, first, _, low, high in PIECES.findall(text.split("TOTAL")[0]) if found else ():
        if kind:
            maps.append(volume.place(int(low), int(low)))
            continue
        start, end = volume.place(int(low), int(high or low))
        at = int(first) * volume.block
        pieces.append(Piece(at, min(end - start, size - at), start))
    return tuple(pieces), tuple(maps)


def _entries(volume: _Volume, inodes: dict[bytes, _Inode], numbers: dict[bytes, int]) -> Iterator[tuple[bytes, Range]]:
    """Where each name stands in the blocks of its directory: header and name."""
    with volume.image.open("rb") as file:
        for path in {path.rpartition(b"/")[0] for path in inodes if path}:
            for piece in inodes[path].pieces:
                file.seek(piece.image_offset - volume.offset)
                content = file.read(piece.length)
                at = 0
                while at < len(content):
                    ino, length, name_bytes = struct.unpack_from("<IHB", content, at)
                    name = content[at + 8 : at + 8 + name_bytes]
                    child = path + b"/" + name if path else name
                    if ino and numbers.get(child) == ino:
                        start = piece.image_offset + at
                        yield child, (start, start + 8 + name_bytes)
                    at += length
