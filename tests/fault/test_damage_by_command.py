"""Planned bad sectors, through `ntt ingest --map` and `ntt problems --json`: files and ranges are those of the tools.

One disk has a volume of each kind, each under a plan of its own, so that one run of the commands judges all.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from damage_ext import ext_image
from damage_ext import tree_of as ext_tree_of
from damage_ext import truth_of as ext_truth_of
from damage_fat import MIB, fat_image, known, tree_of
from damage_iso import genisoimage, source_tree, under
from damage_iso import truth_of as iso_truth_of
from damage_ntfs import NtfsTruth, ntfs_image
from damage_plans import Piece, TrueDirectory, TrueFile, TrueLink, Truth, lost_of, plans
from database_server import TEMPLATE, DatabaseServer
from ntt_runs import RUN_LIMIT_S, Machine
from partitioned_images import placed, sfdisk

from ntt.model import Volume, VolumeStatus
from ntt.operations.problems import FileProblem
from ntt.ranges import Range, Ranges, difference, intersection, normalised, total, within
from ntt.tools.mapfile import mapfile_of, mapfile_text

PLANS, SEED = 12, 2_026
AT_ONCE = 2
SECTOR = 512
WITH_PROBLEMS = 1


class Finding(msgspec.Struct):
    kind: str
    volume: int | None = None
    name: str | None = None


class Findings(msgspec.Struct):
    findings: tuple[Finding, ...] = ()


class Told(msgspec.Struct):
    """What is read here of the document of `ntt problems --json`."""

    volumes: tuple[Volume, ...]
    files: tuple[FileProblem, ...]
    problems: Findings


@dataclass(frozen=True, slots=True)
class Part:
    """A volume of the disk at byte `at`. `shorts`: by what other name each path may be told."""

    kind: str
    image: Path
    truth: Truth
    shorts: dict[bytes, bytes]
    at: int = 0

    def under(self, bad: Ranges) -> Truth:
        return under(self.truth, bad) if self.kind == "iso9660" else self.truth


@dataclass(frozen=True, slots=True)
class Disk:
    image: Path
    parts: tuple[Part, ...]

    def kind_at(self, offset: int) -> str:
        return next(part.kind for part in self.parts if part.at == offset)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Disk:
    folder = tmp_path_factory.mktemp("disk")
    at, parts = MIB, []
    for part in _parts(folder):
        parts.append(Part(part.kind, part.image, part.truth, part.shorts, at))
        at += -(-part.image.stat().st_size // MIB) * MIB
    image = placed(folder / "disk", {part.at: part.image for part in parts}, at + MIB)
    lines = [f"start={part.at // SECTOR}, size={part.image.stat().st_size // SECTOR}" for part in parts]
    sfdisk(image, ["label: gpt", *lines], {})
    return Disk(image, tuple(parts))


def _parts(folder: Path) -> Iterator[Part]:
    tree = ext_tree_of(folder / "ext4 tree")
    image = ext_image(folder / "ext4", tree, "ext4", "20M", "-b", "1024")
    yield Part("ext4", image, ext_truth_of(image, tree), {})
    for bits, kib, large in ((12, 1440, 60_000), (32, 34_000, 300_000)):
        image = folder / f"fat{bits}"
        facts = known(image, fat_image(image, bits, tree_of(large), folder / f"tree{bits}", kib))
        yield Part(f"fat{bits}", image, facts.truth, facts.shorts)
    image = ntfs_image(folder / "ntfs", folder / "ntfs tree")
    yield Part("ntfs", image, NtfsTruth(image).truth(), {})
    tree = source_tree(folder / "iso tree")
    image = genisoimage(folder / "disc.iso", tree)
    yield Part("iso9660", image, iso_truth_of(image, tree), {})


@pytest.mark.slow
def test_files_and_ranges_told_by_the_commands_equal_what_the_tools_of_each_file_system_say(
    disk: Disk, database_server: DatabaseServer, tmp_path: Path
) -> None:
    chosen = [plans(part.truth, PLANS, SEED) for part in disk.parts]
    rounds = [tuple(of_part[number].bad for of_part in chosen) for number in range(PLANS)]

    judged: Counter[str] = Counter()

    def wrong_in(number: int) -> list[str]:
        told = _told(disk, rounds[number], database_server, tmp_path / str(number))
        starts = {volume.index: volume.offset_bytes for volume in told.volumes}
        judged.update(disk.kind_at(starts[file.volume]) for file in told.files)
        return [
            f"{part.kind}, {plans_of[number].name}, {bad}: {complaint}"
            for part, plans_of, bad in zip(disk.parts, chosen, rounds[number], strict=True)
            for complaint in _complaints(part, told, bad)
        ]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        wrong = [complaint for found in pool.map(wrong_in, range(PLANS)) for complaint in found]
    assert not wrong, "\n".join(wrong)
    hit = [bad for bads in rounds for bad in bads if bad]
    assert len(hit) > 0.9 * PLANS * len(disk.parts), "nearly every plan has bad sectors"
    assert min(judged[part.kind] for part in disk.parts) > 2, "of each kind files are told"


def _told(disk: Disk, bads: tuple[Ranges, ...], server: DatabaseServer, folder: Path) -> Told:
    """A catalogue of its own: else each image would be another pass over the medium of the one before."""
    bad = normalised((start + part.at, end + part.at) for part, one in zip(disk.parts, bads, strict=True)
                     for start, end in one)  # fmt: skip
    size_bytes = disk.image.stat().st_size
    folder.mkdir()
    map_path = folder / "map"
    map_path.write_text(mapfile_text(mapfile_of(difference(((0, size_bytes),), bad), size_bytes, bad)))
    with server.database(TEMPLATE) as url:
        machine = Machine(folder / "home", url)
        ended = machine.ingest(disk.image, map_path=map_path, options=("--no-archive",))
        assert ended.status == WITH_PROBLEMS, ended.stderr
        (medium,) = msgspec.json.decode(ended.stdout)["media"]
        argv = [sys.executable, "-m", "ntt", "problems", medium["medium_hash"], "--json"]
        argv += ["--home", str(machine.home), "--database", url]
        said = subprocess.run(argv, env=machine.environment(), capture_output=True, timeout=RUN_LIMIT_S)
    assert said.returncode == WITH_PROBLEMS, said.stderr
    return msgspec.json.decode(said.stdout, type=Told)


def _complaints(part: Part, told: Told, bad: Ranges) -> Iterator[str]:
    volumes = [volume for volume in told.volumes if volume.offset_bytes == part.at]
    truth = part.under(bad)
    unreadable = any(lost_of(record, bad) for record in truth.structures)
    if not volumes or volumes[0].status is not VolumeStatus.READ:
        if not unreadable:
            yield f"it was not read: {volumes}"
        return
    (volume,) = volumes
    judge = _Judge(truth, bad)
    full = {short: path.rpartition(b"/")[2] for path, short in part.shorts.items()}
    files = {
        b"/".join(full.get(name, name) for name in file.raw.split(b"/")): file
        for file in told.files
        if file.volume == volume.index
    }
    yield from judge.files(files)
    silent = not any(f.kind == "metadata_unread" and f.volume == volume.index for f in told.problems.findings)
    if silent:
        yield from (f"the listing is not said to be incomplete: {lost}" for lost in judge.lost_names())


class _Judge:
    def __init__(self, truth: Truth, bad: Ranges) -> None:
        self._truth = truth
        self._bad = bad
        self._all_in_doubt = any(lost_of(record, bad) for record in truth.structures)

    def files(self, told: dict[bytes, FileProblem]) -> Iterator[str]:
        for path, truth in self._truth.files.items():
            yield from self._file(path, truth, told.get(path))
        for path, link in self._truth.links.items():
            hit = bool(intersection(normalised(link.stored), self._bad))
            if hit and path not in told and not self._may_be_missing(path, link) and not self._lost(link):
                yield f"{path!r}: its target was not read, and nothing is said"
        for path in told.keys() - self._truth.files.keys():
            thing = self._truth.links.get(path) or self._truth.directories.get(path)
            stored = normalised(thing.stored) if isinstance(thing, TrueLink) else ()
            if thing is None or not (self._lost(thing) or intersection(stored, self._bad)):
                yield f"{path!r} is told and is no file"

    def _file(self, path: bytes, truth: TrueFile, told: FileProblem | None) -> Iterator[str]:
        expected = normalised(one for piece in truth.pieces for one in self._damage(piece))
        stored = normalised((piece.file_offset, piece.file_offset + piece.length) for piece in truth.pieces)
        if told is None:
            if (expected or self._lost(truth)) and not self._may_be_missing(path, truth):
                yield f"{path!r} is not told, and is damaged at {expected}"
        elif self._lost(truth):
            if told.status == "damaged" and difference(expected, told.damaged_ranges):
                yield f"{path!r}: damage is missing from {told.damaged_ranges}: {expected}"
        elif not expected:
            yield f"{path!r} is told as {told.status} {told.damaged_ranges} ({told.reason}), and is whole"
        elif not difference(stored, expected):
            if told.status != "failed":
                yield f"{path!r}: none of its bytes was read, and it is told as {told.status}"
        elif (told.status, told.damaged_ranges) != ("damaged", expected):
            yield f"{path!r}: told as {told.status} {told.damaged_ranges} ({told.reason}), it is damaged at {expected}"

    def lost_names(self) -> Iterator[str]:
        """Directories of which names are lost."""
        for path, directory in self._truth.directories.items():
            lost = intersection(normalised(directory.names), self._bad)
            if lost:
                yield f"{path!r} at {lost}"

    def _lost(self, thing: TrueFile | TrueDirectory | TrueLink) -> bool:
        return any(lost_of(record, self._bad) for record in thing.records)

    def _may_be_missing(self, path: bytes, thing: TrueFile | TrueDirectory | TrueLink) -> bool:
        """Something that leads to it was not read."""
        if self._all_in_doubt:
            return True
        while path:
            path = path.rpartition(b"/")[0]
            directory = self._truth.directories[path]
            if total(intersection(normalised(thing.entry or directory.names), self._bad)):
                return True
            if self._lost(directory) or (not thing.entry and self._lost(thing)):
                return True
            thing = directory
        return False

    def _damage(self, piece: Piece) -> Iterator[Range]:
        for start, end in within(self._bad, *piece.place):
            shift = piece.file_offset - piece.image_offset
            if piece.image_length:
                yield piece.file_offset, piece.file_offset + piece.length
            else:
                yield start + shift, end + shift
