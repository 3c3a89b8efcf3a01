"""Two hundred damaged file systems: each walk and read ends within its limits, and only in the readers' own error."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from disk_images import ext_image, fat_image, noise, ntfs_image

SECONDS = 60
CHILD = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
from ntt.model import VolumeStatus, WalkProblem
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.opening import open_volume
from ntt.readers.detection.volumes import detect

def look_at(path):
    source = ImageSource(os.open(path, os.O_RDONLY), ((4096, 8192),))
    for volume in detect(source, source.size_bytes).volumes:
        if volume.status is VolumeStatus.READ:
            reader = open_volume(source, volume)
            try:
                read_all(reader)
            except ReadError:
                pass
            reader.close()
    os.close(source.fd)

def read_all(reader):
    for count, found in enumerate(reader.walk()):
        if count > 20_000:
            return
        if isinstance(found, WalkProblem) or not found.is_regular:
            continue
        try:
            content = reader.read(found.ino, 0, min(found.size, 1 << 20))
            assert len(content) == min(found.size, 1 << 20)
        except ReadError:
            pass
        try:
            extents = reader.extents(found.ino)
            assert sum(extent.file_length for extent in extents) == found.size
        except ReadError:
            pass

for line in sys.stdin:
    look_at(line.rstrip("\\n"))
    print(line.rstrip("\\n"), flush=True)
"""


def mutated(content: bytes, seed: int, used: list[int]) -> bytes:
    """Some bytes of the blocks in use changed: bits flipped, fields set to extremes, blocks swapped or cleared."""
    chance = random.Random(seed)
    damaged = bytearray(content)
    for _ in range(chance.choice((1, 4, 16, 64))):
        at = chance.choice(used) * 512 + chance.randrange(512)
        match chance.randrange(5):
            case 0:
                damaged[at] ^= 1 << chance.randrange(8)
            case 1:
                damaged[at : at + 4] = chance.choice((bytes(4), b"\xff" * 4, b"\xff\xff\xff\x7f"))
            case 2:
                damaged[at] = chance.randrange(256)
            case 3:
                start, other = at & ~511, chance.choice(used) * 512
                damaged[start : start + 512] = damaged[other : other + 512]
            case _:
                start = at & ~511
                damaged[start : start + 512] = bytes(512)
    return bytes(damaged[: len(content)])


def small_image(fstype: str, folder: Path) -> Path:
    tree = folder / "tree"
    (tree / "folder" / "deeper").mkdir(parents=True)
    for index in range(40):
        (tree / "folder" / f"a rather long name {index}.bin").write_bytes(noise(index * 300, index))
    (tree / "folder" / "deeper" / "big").write_bytes(noise(200_000))
    match fstype:
        case "fat12":
            return fat_image(folder / "image", 12, tree, 1440)
        case "ntfs":
            return ntfs_image(folder / "image", tree, 6)
        case _:
            return ext_image(folder / "image", fstype, tree, 4)


@pytest.mark.slow
@pytest.mark.parametrize(("fstype", "seeds"), [("ext4", 60), ("ext2", 40), ("fat12", 50), ("ntfs", 50)])
def test_a_damaged_file_system_ends_in_problems_not_in_a_hang(fstype: str, seeds: int, tmp_path: Path) -> None:
    content = small_image(fstype, tmp_path).read_bytes()
    used = [at // 512 for at in range(0, len(content), 512) if any(content[at : at + 512])]
    paths = [tmp_path / f"{seed}.img" for seed in range(seeds)]
    for seed, path in enumerate(paths):
        path.write_bytes(mutated(content, seed, used))
    pending = [str(path) for path in paths]
    crashed: list[str] = []
    while pending:
        argv = [sys.executable, "-c", CHILD]
        child = subprocess.run(
            argv, input="\n".join(pending) + "\n", capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert "Traceback" not in child.stderr, f"{pending[child.stdout.count(chr(10))]}: {child.stderr}"
        done = child.stdout.split()
        pending = pending[len(done) :]
        if pending:
            assert child.returncode < 0, "a child that stops early was killed by a signal: The Sleuth Kit is C"
            crashed.append(f"{pending.pop(0)}: signal {-child.returncode}")
    assert len(crashed) <= seeds // 10, crashed
