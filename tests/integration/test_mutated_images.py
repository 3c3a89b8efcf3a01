"""Two thousand hostile images, each looked at as a worker does: every one ends soon, with an outcome, and in bounds.

Some are damaged by chance (`hostile_images`), the others are built to do harm (`hostile_cases`). What fails is named
with its seed; `python -m hostile_all` makes that image again.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hostile_all import BASES, CASES, FAMILIES, made_bases, made_cases
from hostile_bases import DISC_CUE
from hostile_images import mutated as mutated  # for the tests of single readers
from hostile_trial import MEMORY_BYTES, WORST, Verdict

SEEDS = 58
PROCESSES = 2
PEAK_BYTES = MEMORY_BYTES // 4  # these images are small
IN_C = (*(name for name in BASES if name.startswith(("fat", "ex", "ntfs", "tar", "cpio", "7z", "mbr", "gpt"))), "made")
SPEAK_OF_THEMSELVES = ("bridge", "raw", "udf-metadata", "udf-virtual", "apm", "tar", "tar.gz", "cpio", "zip", "7z")
NOT_READ = ("apfs", "ext4-inline")  # by no reader: mounts are what is left for them
Wanted = tuple[str, int | None, str]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The images while they are whole."""
    return made_bases(tmp_path_factory.mktemp("bases"))


def tried(wanted: Sequence[Wanted], folder: Path) -> list[Verdict]:
    """What comes of (image, seed, cue sheet) each, by some processes side by side."""
    found: list[Verdict] = []
    shares = [wanted[number::PROCESSES] for number in range(PROCESSES) if wanted[number::PROCESSES]]
    children: list[subprocess.Popen[bytes]] = []
    for number, share in enumerate(shares):
        orders, answers = folder / f"orders-{number}", folder / f"answers-{number}"
        orders.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in share))
        with orders.open("rb") as stdin, answers.open("wb") as stdout:
            argv = [sys.executable, "-m", "hostile_trial"]
            children.append(subprocess.Popen(argv, stdin=stdin, stdout=stdout, env={"PYTHONPATH": ":".join(sys.path)}))
    for number, child in enumerate(children):
        assert child.wait() == 0, "it outlives whatever becomes of an image"
        lines = (folder / f"answers-{number}").read_bytes().splitlines()
        found += [msgspec.json.decode(line, type=Verdict) for line in lines]
    assert len(found) == len(wanted)
    return found


def require_bounds(verdicts: Sequence[Verdict]) -> None:
    """No exception but the readers' own, no hang, no more memory than small images need; C may die now and then."""
    bad = [verdict for verdict in verdicts if verdict.outcome in ("traceback", "wall")]
    assert not bad, "\n\n".join(f"{v.image} seed {v.seed}: {v.outcome} {v.detail}" for v in bad[:5])
    largest = max(verdicts, key=lambda verdict: verdict.peak_bytes)
    assert largest.peak_bytes < PEAK_BYTES, largest
    died = [verdict for verdict in verdicts if verdict.outcome in ("signal", "memory")]
    assert len(died) <= max(1, len(verdicts) // 100), died
    assert all(Path(verdict.image).stem.split("-")[0] in IN_C for verdict in died), died


def test_there_are_two_thousand_of_them() -> None:
    assert len(CASES) + SEEDS * len(BASES) >= 2000


def test_the_images_are_read_without_complaint_while_they_are_whole(bases: dict[str, Path], tmp_path: Path) -> None:
    cue = (bases["raw"].parent / DISC_CUE).read_text()
    verdicts = tried([(str(path), None, cue if name == "raw" else "") for name, path in bases.items()], tmp_path)
    for verdict in verdicts:
        name = Path(verdict.image).name
        expected = "problems" if name in (*SPEAK_OF_THEMSELVES, *NOT_READ) else "ok"
        assert verdict.outcome == expected, verdict
        assert verdict.entries > 12 or name in NOT_READ, verdict


@pytest.mark.slow
@pytest.mark.parametrize("base", BASES)
def test_images_damaged_by_chance_end_in_outcomes(base: str, bases: dict[str, Path], tmp_path: Path) -> None:
    cue = (bases["raw"].parent / DISC_CUE).read_text() if base == "raw" else ""
    wanted: list[Wanted] = [(str(bases[base]), seed, cue if seed % 2 else "") for seed in range(SEEDS)]
    verdicts = tried(wanted, tmp_path)
    require_bounds(verdicts)
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    assert outcomes["problems"] + outcomes["read_error"] > SEEDS // 10, f"hardly any damage was noticed: {outcomes}"


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_images_built_to_do_harm_end_in_outcomes(family: str, bases: dict[str, Path], tmp_path: Path) -> None:
    cases = [case for case in CASES.values() if case.change.__module__ == family]
    images = made_cases(cases, bases, tmp_path / "cases")
    verdicts = tried([(str(images[case.name]), None, case.cue) for case in cases], tmp_path)
    require_bounds(verdicts)
    assert {verdict.outcome for verdict in verdicts} <= set(WORST)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_no_image_that_is_built_to_do_harm_loses_names_in_silence(
    family: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    quiet = [name for name in BASES if name not in (*SPEAK_OF_THEMSELVES, *NOT_READ)]
    whole = {Path(v.image).name: v.entries for v in tried([(str(bases[name]), None, "") for name in quiet], tmp_path)}
    cases = [case for case in CASES.values() if case.change.__module__ == family and case.base in quiet]
    images = made_cases(cases, bases, tmp_path / "cases")
    verdicts = tried([(str(path), None, "") for path in images.values()], tmp_path)
    silent = [
        verdict
        for verdict in verdicts
        if verdict.outcome == "ok" and verdict.entries < whole[CASES[Path(verdict.image).stem].base]
    ]
    assert not silent, silent
