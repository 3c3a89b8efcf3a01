"""Small media with all that makes copying hard, and what a rescue of each must come to."""

from __future__ import annotations

import os
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

SECTOR_BYTES = 512
DAMAGED = b"spoiled.bin"


@dataclass(frozen=True, slots=True)
class ExpectedFile:
    """What must be recorded for a path: status letter, BLAKE3 of the content, unread ranges in the file."""

    status: str
    blob: str
    damaged: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class RescueMedium:
    """An image, its map, and what its regular files must come to, by path."""

    image: Path
    map_path: Path | None
    files: dict[bytes, ExpectedFile]
    image_hash: str

    @property
    def unchanged(self) -> bool:
        return blake3(self.image.read_bytes()).hexdigest() == self.image_hash


def damaged_medium(folder: Path) -> RescueMedium:
    """About 600 small files with doubles, three of more than 1 MiB, hard links, symbolic links; one file is damaged."""
    rng = random.Random(4711)
    tree = folder / "tree"
    contents = {f"d{n % 17}/e{n % 5}/file {n}.bin": rng.randbytes(rng.randrange(1, 60_000)) for n in range(540)}
    doubles = {f"double {n}.bin": contents[f"d{n % 17}/e{n % 5}/file {n}.bin"] for n in range(60)}
    large = {f"large {n}.bin": rng.randbytes((1 << 20) + 4096 * n + n) for n in range(3)}
    odd = {"empty": b"", os.fsdecode(b"name \xff\x01"): b"odd", os.fsdecode(DAMAGED): rng.randbytes(40_000)}
    _write_tree(tree, {**contents, **doubles, **large, **odd})
    for number in range(8):
        os.link(tree / f"double {number}.bin", tree / f"hard link {number}.bin")
        os.symlink(f"double {number}.bin", tree / f"soft link {number}")
    image = _ext4(folder / "medium.img", tree, 28, 1024)
    at = image.read_bytes().index(odd[os.fsdecode(DAMAGED)][8192:9216])
    hole = (8192, 8192 + 2 * SECTOR_BYTES)
    files = _expected(tree)
    spoiled = bytearray(odd[os.fsdecode(DAMAGED)])
    spoiled[hole[0] : hole[1]] = bytes(hole[1] - hole[0])
    files[DAMAGED] = ExpectedFile("d", blake3(spoiled).hexdigest(), (hole,))
    map_path = folder / "medium.map"
    map_path.write_text(_map(image.stat().st_size, at, at + hole[1] - hole[0]))
    return RescueMedium(image, map_path, files, blake3(image.read_bytes()).hexdigest())


def many_files_medium(
    folder: Path, files: int, size_bytes: int, seed: int = 7, doubles_of: int | None = None
) -> RescueMedium:
    """`files` of one size without damage; `doubles_of`: the contents are those of that seed, but for one file."""
    rng = random.Random(seed if doubles_of is None else doubles_of)
    tree = folder / f"tree {seed}"
    contents = {f"folder {n // 500}/{n:05}.bin": rng.randbytes(size_bytes) for n in range(files)}
    _write_tree(tree, {**contents, "of its own": str(seed).encode()})
    image = _ext4(folder / f"medium {seed}.img", tree, files * (size_bytes + 4096) // (1 << 20) + 8, files + 64)
    return RescueMedium(image, None, _expected(tree), blake3(image.read_bytes()).hexdigest())


def _write_tree(tree: Path, contents: dict[str, bytes]) -> None:
    for name, content in contents.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def ino_of(image: Path, path: bytes) -> int:
    """The inode number of a path, by debugfs."""
    done = subprocess.run(["debugfs", "-R", f'stat "/{os.fsdecode(path)}"', image], check=True, capture_output=True)
    return int(done.stdout.split(b"Inode: ", 1)[1].split()[0])


def _ext4(image: Path, tree: Path, size_mib: int, inodes: int) -> Path:
    argv = ["mke2fs", "-q", "-F", "-t", "ext4", "-N", str(inodes), "-d", str(tree), str(image), f"{size_mib}M"]
    subprocess.run(argv, check=True, capture_output=True)
    return image


def _expected(tree: Path) -> dict[bytes, ExpectedFile]:
    found: dict[bytes, ExpectedFile] = {}
    root = os.fsencode(tree)
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                with open(path, "rb") as file:
                    found[os.path.relpath(path, root)] = ExpectedFile("c", blake3(file.read()).hexdigest())
    return found


def _map(size_bytes: int, start: int, end: int) -> str:
    lines = ["0x00000000  +  1", f"0x0  0x{start:X}  +", f"0x{start:X}  0x{end - start:X}  -"]
    return "\n".join([*lines, f"0x{end:X}  0x{size_bytes - end:X}  +"]) + "\n"
