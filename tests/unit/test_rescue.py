"""The parts of imaging that need no drive: when to stop, what to hash, what to ask for, whom to blame."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from ntt.errors import MediumError
from ntt.identity import ContentScan, ImageState
from ntt.model import Effort, PassEnd
from ntt.ranges import normalised, total, within
from ntt.rescue.comparing import spread
from ntt.rescue.hashing import PrefixHash
from ntt.rescue.passes import first_pass, further_passes
from ntt.rescue.presence import Blame
from ntt.rescue.source import Source, SourceKind, probe
from ntt.rescue.stops import Count, Limits, StopRules
from ntt.stages.identify import IdentifyStage
from ntt.tools.ddrescue import Status, rescue_argv
from ntt.tools.mapfile import Mapfile, mapfile_of, with_status

MIB = 1 << 20


# ---------------------------------------------------------------- when to stop


def shown(rescued: int, errors: int = 0, rate: int = 0, position: int = 0) -> Status:
    return Status(position, rescued, 0, 0, errors, 0, rate, rate, None, None, "")


def rules(**limits: float) -> StopRules:
    chosen = Limits(enough_bytes=None, **limits)
    return StopRules(chosen, 100 * MIB, 512, Count(0.0, 0, 0), 0)


def test_a_pass_that_does_not_move_is_stopped_and_one_that_creeps_is_not() -> None:
    stalled = rules(stall_s=10, hopeless_s=1e9)
    stalled.saw(shown(MIB, position=MIB), 1)
    assert stalled.verdict(10.9) is None
    found = stalled.verdict(11)
    assert found is not None
    assert found[0] is PassEnd.NO_PROGRESS
    creeping = rules(stall_s=10, hopeless_s=1e9)
    for second in range(100):  # the numbers are rounded to megabytes: only the rate shows that it reads
        creeping.saw(shown(MIB, rate=10, position=MIB), second)
        assert creeping.verdict(second) is None
    failing = rules(stall_s=10, hopeless_s=1e9)
    for second in range(0, 100, 9):
        failing.saw(shown(0, errors=second), second)
        assert failing.verdict(second) is None


@pytest.mark.parametrize(("done_per_s", "hopeless"), [(100, True), (2_000, False)])
def test_a_rate_is_hopeless_by_what_is_left(done_per_s: int, hopeless: bool) -> None:
    slow = rules(hopeless_s=24 * 3600, window_s=600)
    for second in range(0, 601, 5):
        assert slow.verdict(0) is None
        slow.counted(Count(second, second * done_per_s, second * done_per_s))
    found = slow.verdict(0)
    assert (found is not None and found[0] is PassEnd.HOPELESS) == hopeless


def test_failing_to_the_end_is_progress_too() -> None:
    scraping = rules(hopeless_s=24 * 3600, window_s=600)
    for second in range(0, 700, 5):
        scraping.counted(Count(second, 0, second * 2_000))
    assert scraping.verdict(0) is None


def test_a_source_is_asked_after_failures_in_a_row_and_then_less_often() -> None:
    asked = [n for n in range(1, 400) if _checked_at(n)]
    assert asked[0] == 16
    several = rules(check_errors=16)
    several.saw(shown(0), 0)
    found = []
    for n in range(1, 400):
        several.saw(shown(0, errors=n), 0)
        if several.to_be_checked(0):
            found.append(n)
    assert found == [16, 64, 256]


def _checked_at(errors: int) -> bool:
    one = rules(check_errors=16)
    one.saw(shown(0, errors=0), 0)
    one.saw(shown(0, errors=errors), 0)
    return one.to_be_checked(0)


def test_few_failures_that_take_long_are_asked_about_too() -> None:
    slow = rules(check_errors=16, check_after_s=30)
    slow.saw(shown(0, errors=0), 0)
    slow.saw(shown(0, errors=4), 29)
    assert not slow.to_be_checked(29)
    assert slow.to_be_checked(30)
    assert not slow.to_be_checked(59)
    assert slow.to_be_checked(60)


# ---------------------------------------------------------------- whom to blame


def painted(text: str) -> Mapfile:
    """One letter per byte."""
    found = mapfile_of((), len(text))
    for status in "*/-+":
        found = with_status(found, normalised((n, n + 1) for n, one in enumerate(text) if one == status), status)
    return found


def letters(mapfile: Mapfile) -> str:
    return "".join(block.status * block.size for block in mapfile.blocks)


def test_what_failed_before_the_last_read_stays_and_what_failed_after_it_does_not() -> None:
    blame = Blame(painted("??????????"))
    for saved in ("+-????????", "+-+-??????", "+-+---????", "+-+----***"):
        blame.saved(painted(saved))
    assert letters(blame.taken_back) == "+-+???????"
    assert total(blame.suspects) == 7


def test_a_pass_that_read_nothing_takes_back_all_its_failures() -> None:
    blame = Blame(painted("+-??"))
    blame.saved(painted("+-*?"))
    blame.saved(painted("+---"))
    assert letters(blame.taken_back) == "+-??"
    assert blame.suspects == ((2, 4),)


@given(st.lists(st.text("?*/-+", min_size=8, max_size=8), min_size=1, max_size=6))
def test_what_was_read_is_never_taken_back(texts: list[str]) -> None:
    blame = Blame(painted(texts[0]))
    grown = texts[0]
    for text in texts[1:]:
        grown = "".join(a if a == "+" else b for a, b in zip(grown, text, strict=True))
        blame.saved(painted(grown))
    assert blame.taken_back.rescued == painted(grown).rescued
    now, then = grown, letters(blame.taken_back)
    changed = {at for at in range(8) if now[at] != then[at] and now[at] != "?"}
    assert {at for start, end in blame.suspects for at in range(start, end)} == changed


# ---------------------------------------------------------------- which sectors to ask for


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 300)), max_size=20),
    st.sampled_from([512, 2048]),
    st.integers(1, 128),
)
def test_sectors_that_are_asked_for_are_whole_were_read_and_are_few(
    pieces: list[tuple[int, int]], sector_bytes: int, count: int
) -> None:
    read = normalised((start * sector_bytes, (start + length) * sector_bytes) for start, length in pieces)
    found = spread(read, sector_bytes, count)
    assert len(found) == len(set(found)) <= count
    assert found == sorted(found)
    assert all(within(read, *one) == (one,) and one[1] - one[0] == sector_bytes for one in found)
    assert bool(found) == bool(read)
    if read and total(read) >= count * sector_bytes:
        assert len(found) == count


# ---------------------------------------------------------------- hashing on the way


async def test_the_hash_of_a_growing_image_is_that_of_the_whole(tmp_path: Path) -> None:
    content = random.Random(1).randbytes(20 * MIB + 77)
    path = tmp_path / "image"
    with path.open("wb") as file, PrefixHash(path, len(content)) as hasher:
        for at in range(0, len(content), 3 * MIB + 11):
            file.write(content[at : at + 3 * MIB + 11])
            file.flush()
            hasher.reaches(file.tell())
        scan = await hasher.finish()
    assert scan is not None
    assert scan.image_hash == blake3(content).hexdigest()
    assert (scan.informative_sectors, scan.fill, scan.state.size_bytes) == (16, None, len(content))


async def test_a_prefix_that_may_have_changed_is_hashed_anew(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(bytes(12 * MIB))
    with PrefixHash(path, 12 * MIB) as hasher:
        hasher.reaches(12 * MIB)
        hasher.begins(4 * MIB)
        with path.open("r+b") as file:
            file.seek(4 * MIB)
            file.write(b"other")
        hasher.reaches(12 * MIB)
        scan = await hasher.finish()
    assert scan is not None
    assert scan.image_hash == blake3(path.read_bytes()).hexdigest()


async def test_an_image_that_is_shorter_than_said_has_no_hash(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(bytes(MIB))
    with PrefixHash(tmp_path / "image", 2 * MIB) as hasher:
        assert await hasher.finish() is None
    with PrefixHash(tmp_path / "not there", 2 * MIB) as hasher:
        assert await hasher.finish() is None


async def test_identify_takes_a_scan_of_this_very_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(random.Random(2).randbytes(MIB))
    with path.open("rb") as file:
        content = ContentScan()
        content.feed(b"something else, to see which is taken")
        scan = content.result(ImageState.of(file.fileno()))
        size = path.stat().st_size
        taken = await IdentifyStage().run(file.fileno(), size, (), lambda done: None, scan)
        assert taken.image_hash == scan.image_hash
        os.utime(path, ns=(1, 1))
        read = await IdentifyStage().run(file.fileno(), size, (), lambda done: None, scan)
        assert read.image_hash == blake3(path.read_bytes()).hexdigest()


# ---------------------------------------------------------------- sources and passes


async def test_a_file_is_a_source_and_what_holds_nothing_is_not(tmp_path: Path) -> None:
    (tmp_path / "medium").write_bytes(bytes(MIB))
    found = await probe(tmp_path / "medium")
    assert (found.kind, found.size_bytes, found.sector_bytes) == (SourceKind.FILE, MIB, 512)
    (tmp_path / "empty").touch()
    with pytest.raises(MediumError, match="zero bytes are no medium"):
        await probe(tmp_path / "empty")
    with pytest.raises(MediumError, match="No such file"):
        await probe(tmp_path / "not there")
    with pytest.raises(MediumError, match="neither a drive nor a file"):
        await probe(Path("/dev/null"))


@pytest.mark.parametrize("kind", list(SourceKind))
def test_every_pass_reads_in_the_sectors_of_its_medium(kind: SourceKind) -> None:
    sector_bytes = 2048 if kind is SourceKind.OPTICAL else 512
    source = Source(Path("/dev/x"), kind, 650 * MIB, sector_bytes, direct=True)
    passes = [first_pass(source, Effort.NORMAL)]
    for effort in Effort:
        for attempt in (1, 2):
            passes += further_passes(source, effort, attempt)
    assert {flags.sector_bytes for flags in passes} == {sector_bytes}
    assert {flags.map_interval_s for flags in passes} == {5}
    assert not (passes[0].trim or passes[0].scrape or passes[0].retries)
    assert not any(flags.scrape or flags.retries for flags in further_passes(source, Effort.QUICK, 1))
    deep = further_passes(source, Effort.DEEP, 1)
    assert any(flags.direct and flags.reverse and flags.retrim and flags.retries == 3 for flags in deep)
    cluster = passes[0].cluster_sectors
    assert cluster is not None
    assert (cluster * sector_bytes <= 16 << 10) == (kind is SourceKind.FLOPPY)
    assert "--cpass=1" in rescue_argv(source.path, Path("i"), Path("m"), passes[0], None)
