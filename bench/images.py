"""A seeded plan -> an ext4 image with that many files, made once and kept in the cache."""

from __future__ import annotations

import os
import random
import shutil
from array import array
from dataclasses import dataclass
from pathlib import Path

from bench.commands import run

VERSION = 1  # of what is generated; a change of anything below makes it another
FILES_PER_FOLDER = 100
SIGMA = 1.5  # of the log-normal sizes: the median is a third of the mean, one file in some thousand has megabytes
BLOCK_BYTES = 4096
VOCABULARY = 5_000
IMAGE_UUID = "6e747400-6265-4e63-8000-000000000001"


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """What is on an image: a quarter of the files are copies of others, half are text, half random bytes."""

    name: str
    files: int
    content_bytes: int
    fstype: str = "ext4"

    @property
    def file_name(self) -> str:
        return f"{self.name}-{self.files}-files-{self.content_bytes}-bytes-v{VERSION}.img"


PLANS = (
    ImagePlan("A", 40_000, 700_000_000),
    ImagePlan("B", 100_000, 350_000_000),
    ImagePlan("C", 10_000, 35_000_000),
)
SMALL_FILES = tuple(ImagePlan(name, 20_000, 70_000_000, name) for name in ("ext4", "fat32", "ntfs", "iso9660"))
QUICK_SMALL_FILES = tuple(ImagePlan(plan.name, 200, 700_000, plan.fstype) for plan in SMALL_FILES)
QUICK_PLANS = (ImagePlan("A", 600, 6_000_000), ImagePlan("B", 1_500, 5_250_000), ImagePlan("C", 150, 525_000))


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """`content` is the number that the content is made from: its own, or that of the file it is a copy of."""

    size: int
    content: int


class Contents:
    """Content by number, the same bytes each time it is asked for."""

    def __init__(self, seed: str) -> None:
        rng = random.Random(seed)
        letters = b"eeeeeeeettttttaaaaaooooiiiinnnnsssshhhrrrddlluucmwfgypbvk"
        vocabulary = [bytes(rng.choices(letters, k=rng.randint(3, 11))) for _ in range(VOCABULARY)]
        weights = [1 / rank for rank in range(1, VOCABULARY + 1)]  # Zipf's law
        self._words = [
            word + rng.choice((b" ",) * 9 + (b".\n",)) for word in rng.choices(vocabulary, weights, k=1 << 16)
        ]
        self._seed = seed

    def is_text(self, number: int) -> bool:
        return random.Random(f"{self._seed} {number}").random() < 0.5

    def content(self, number: int, size: int) -> bytes:
        rng = random.Random(f"{self._seed} {number}")
        if rng.random() >= 0.5:
            return rng.randbytes(size)
        numbers = array("H", rng.randbytes(2 * (size // 4 + 1)))  # no word has less than four bytes
        return b"".join(map(self._words.__getitem__, numbers))[:size]


def planned_files(plan: ImagePlan) -> list[PlannedFile]:
    """Sizes that add up to the plan's, give or take a byte per file."""
    rng = random.Random(f"{plan.name} {plan.files} {plan.content_bytes}")
    copies = set(rng.sample(range(1, plan.files), plan.files // 4))
    originals: list[int] = []
    weights: list[float] = []
    contents: list[int] = []
    for number in range(plan.files):
        if number in copies:
            contents.append(rng.choice(originals))
            weights.append(weights[contents[-1]])
        else:
            originals.append(number)
            contents.append(number)
            weights.append(rng.lognormvariate(0, SIGMA))
    scale = plan.content_bytes / sum(weights)
    return [PlannedFile(round(weight * scale), content) for weight, content in zip(weights, contents, strict=True)]


def cached_image(plan: ImagePlan, cache: Path, work: Path) -> Path:
    """The image's path; made now if it is not there. What is there is whole: it is renamed into place."""
    image = cache / plan.file_name
    if image.exists():
        return image
    tree, part = work / "tree", work / plan.file_name
    try:
        files = planned_files(plan)
        folders = write_tree(plan, files, tree)
        make_ext4_image(part, tree, files, folders)
        os.sync()
        part.rename(image)
    finally:
        shutil.rmtree(tree, ignore_errors=True)
        part.unlink(missing_ok=True)
    return image


def write_tree(plan: ImagePlan, files: list[PlannedFile], tree: Path) -> int:
    rng = random.Random(f"names {plan.name}")
    contents = Contents(f"content {plan.name}")
    folders = (plan.files + FILES_PER_FOLDER - 1) // FILES_PER_FOLDER
    for number in range(folders):
        folder = _folder(tree, number)
        folder.mkdir(parents=True)
    for number, file in enumerate(files):
        kind = "txt" if contents.is_text(file.content) else "jpg"
        name = f"{rng.choice(('report', 'letter to the office', 'img', 'interview', 'scan'))} {number:06}.{kind}"
        path = _folder(tree, number // FILES_PER_FOLDER) / name
        path.write_bytes(contents.content(file.content, file.size))
        time_ns = rng.randrange(1_000_000_000, 1_300_000_000) * 10**9
        os.utime(path, ns=(time_ns, time_ns))
    return folders


def _folder(tree: Path, number: int) -> Path:
    return tree / f"box {number // 100:02}" / f"disc {number // 10 % 10}" / f"part {number % 10}"


def make_ext4_image(image: Path, tree: Path, files: list[PlannedFile], folders: int) -> None:
    inodes = len(files) + 2 * folders + 1_000
    content = sum((file.size + BLOCK_BYTES - 1) // BLOCK_BYTES * BLOCK_BYTES for file in files)
    blocks = (content * 21 // 20 + inodes * 256 + folders * 4 * BLOCK_BYTES + (48 << 20)) // BLOCK_BYTES
    run(
        *("mke2fs", "-q", "-F", "-t", "ext4", "-b", str(BLOCK_BYTES), "-m", "0", "-N", str(inodes), "-J", "size=16"),
        *("-U", IMAGE_UUID, "-E", f"hash_seed={IMAGE_UUID},root_owner=0:0", "-L", "bench", "-d", tree, image),
        str(blocks),
    )
