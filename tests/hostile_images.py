"""A small image and a seed -> the same image, damaged; always in the same way, so that a failure can be had again.

    PYTHONPATH=tests:tests/integration .venv/bin/python -m hostile_images FOLDER NAME SEED OUT

writes the image NAME of FOLDER (where `hostile_bases` has put it), damaged with SEED, to OUT.
"""

from __future__ import annotations

import mmap
import os
import random
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hostile_repairs import REPAIRS

from ntt.model import VolumeStatus, WalkProblem
from ntt.readers.base import ImageSource, ReadError
from ntt.readers.detection.volumes import detect
from ntt.readers.opening import open_volume

BLOCK = 512
EXTREMES = tuple(
    value.to_bytes(width, order)
    for width in (1, 2, 4, 8)
    for order in ("little", "big")
    for value in (0, 1, (1 << 8 * width) - 1, (1 << 8 * width - 1) - 1, 1 << 8 * width - 1)
)
FEW_BLOCKS = 8
CUTS = 0.08  # of the images end early
REPAIRED = 0.5  # of the images have their checksums made right again


class Canvas:
    """An image with changes laid over it. Nothing is written beyond its end."""

    def __init__(self, content: bytes | mmap.mmap) -> None:
        self._content = content
        self._changed: dict[int, bytearray] = {}
        self.size = len(content)

    def read(self, at: int, length: int) -> bytes:
        if not any(block in self._changed for block in range(at // BLOCK, (at + length - 1) // BLOCK + 1)):
            return self._content[at : at + length]
        found = bytearray(self._content[at : at + length])
        for block in range(at // BLOCK, (at + length - 1) // BLOCK + 1):
            if block in self._changed:
                start = max(block * BLOCK, at)
                part = self._changed[block][start - block * BLOCK : at + length - block * BLOCK]
                found[start - at : start - at + len(part)] = part
        return bytes(found)

    def write(self, at: int, content: bytes) -> None:
        content = content[: max(len(self._content) - at, 0)]
        while content:
            block, inside = divmod(at, BLOCK)
            if block not in self._changed:
                self._changed[block] = bytearray(self._content[block * BLOCK : (block + 1) * BLOCK])
            part = content[: BLOCK - inside]
            self._changed[block][inside : inside + len(part)] = part
            at, content = at + len(part), content[len(part) :]

    def changes(self) -> list[tuple[int, bytes]]:
        return [(block * BLOCK, bytes(content)) for block, content in sorted(self._changed.items())]


@dataclass(frozen=True)
class Base:
    """An image as it was made. `data` are the parts of its file that are no holes."""

    name: str
    content: bytes | mmap.mmap
    data: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, path: Path) -> Base:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
            return cls(path.name, content, tuple(_data_of(file.fileno(), len(content))))

    @cached_property
    def blocks(self) -> list[int]:
        """The blocks that hold something other than the content of files; all in use where these are few."""
        used = {
            at // BLOCK
            for start, end in self.data
            for at in range(start, end, BLOCK)
            if any(self.content[at : at + BLOCK])
        }
        kept = used - set(self._content_blocks())
        return sorted(kept if len(kept) >= FEW_BLOCKS else used)

    def _content_blocks(self) -> Iterator[int]:
        fd = os.memfd_create(self.name)
        try:
            os.ftruncate(fd, len(self.content))
            for start, end in self.data:
                os.pwrite(fd, self.content[start:end], start)
            source = ImageSource(fd)
            for volume in detect(source, source.size_bytes).volumes:
                if volume.status is VolumeStatus.READ:
                    reader = open_volume(source, volume)
                    files = [f for f in reader.walk() if not isinstance(f, WalkProblem) and f.is_regular]
                    for file in files:
                        yield from _blocks_of(reader, file.ino)
                    reader.close()
        finally:
            os.close(fd)


def _blocks_of(reader: object, ino: int) -> Iterator[int]:
    try:
        for extent in reader.extents(ino):
            if extent.image_offset >= 0:
                first = -(-extent.image_offset // BLOCK)
                yield from range(first, (extent.image_offset + extent.image_length) // BLOCK)
    except ReadError:
        return


def _data_of(fd: int, size: int) -> Iterator[tuple[int, int]]:
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # there is a hole up to the end
            return
        at = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, at


def damage(base: Base, seed: int) -> Canvas:
    """Bits, fields, blocks changed, the end cut off; half the time with checksums that are right again."""
    chance = random.Random(f"{base.name} {seed}")
    canvas = Canvas(base.content)
    blocks = base.blocks
    # a neighbourhood, so that several changes meet in one structure
    if chance.random() < 0.3:
        first = chance.randrange(len(blocks))
        blocks = blocks[first : first + 4]
    touched = [_change(canvas, chance, blocks) for _ in range(chance.choice((1, 2, 4, 8, 16, 64)))]
    if chance.random() < REPAIRED:
        for repair in REPAIRS:
            repair(canvas, touched)
    if chance.random() < CUTS:
        canvas.size = chance.choice((chance.randrange(1, canvas.size), chance.choice(blocks) * BLOCK + 1))
    return canvas


def _change(canvas: Canvas, chance: random.Random, blocks: list[int]) -> int:
    """One of them; the block that was changed."""
    block = chance.choice(blocks)
    start, inside = block * BLOCK, chance.randrange(BLOCK)
    match chance.randrange(12):
        case 0 | 1:
            value = canvas.read(start + inside, 1)
            canvas.write(start + inside, bytes((value[0] ^ 1 << chance.randrange(8),)) if value else b"")
        case 2 | 3 | 4 | 5:
            value = chance.choice(EXTREMES)
            canvas.write(start + (inside & -len(value)), value)
        case 6:
            canvas.write(start + inside, bytes((chance.randrange(256),)))
        case 7:
            canvas.write(start, canvas.read(chance.choice(blocks) * BLOCK, BLOCK))
        case 8:
            other = chance.choice(blocks) * BLOCK
            one, two = canvas.read(start, BLOCK), canvas.read(other, BLOCK)
            canvas.write(start, two)
            canvas.write(other, one)
        case 9:
            canvas.write(start, bytes((chance.choice((0, 0, 0xFF)),)) * BLOCK)
        case 10:  # a number that stands somewhere stands elsewhere, too: what refers to one thing refers to another
            width = chance.choice((2, 4, 8))
            source = chance.choice(blocks) * BLOCK + (chance.randrange(BLOCK) & -width)
            canvas.write(start + (inside & -width), canvas.read(source, width))
        case _:
            width = chance.choice((1, 2, 4))
            at = start + (inside & -width)
            value = int.from_bytes(canvas.read(at, width), "little") + chance.choice((-1, 1, 2, 16))
            canvas.write(at, (value % (1 << 8 * width)).to_bytes(width, "little"))
    return block


def written(canvas: Canvas, base: Base, path: Path) -> Path:
    """The damaged image as a file, holes kept."""
    with path.open("wb") as file:
        parts: Iterable[tuple[int, bytes]] = ((start, base.content[start:end]) for start, end in base.data)
        for at, content in (*parts, *canvas.changes()):
            os.pwrite(file.fileno(), content, at)
        file.truncate(canvas.size)
    return path


def sparse_write(path: Path, content: bytes | bytearray) -> Path:
    """A file with these bytes; blocks of zeros are holes."""
    with path.open("wb") as file:
        file.truncate(len(content))
        zeros = bytes(1 << 16)
        for at in range(0, len(content), len(zeros)):
            piece = content[at : at + len(zeros)]
            if piece != zeros[: len(piece)]:
                os.pwrite(file.fileno(), piece, at)
    return path


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


if __name__ == "__main__":
    image = Base.of(Path(sys.argv[1]) / sys.argv[2])
    written(damage(image, int(sys.argv[3])), image, Path(sys.argv[4]))
