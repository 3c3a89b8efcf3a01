"""What is told of a pass: before ddrescue says anything, what it says, and that it says nothing more."""

from __future__ import annotations

from pathlib import Path

import pytest

from ntt.rescue.source import Source, SourceKind
from ntt.rescue.telling import Progress, Teller
from ntt.tools.ddrescue import Status

SOURCE = Source(Path("/dev/sr9"), SourceKind.OPTICAL, 1 << 20, 2048, direct=False)
SHOWN = Status(
    position=4096, rescued_bytes=2048, bad_bytes=2049, non_trimmed_bytes=100, read_errors=7, bad_areas=1,
    rate_per_s=10, average_per_s=20, remaining_s=30, since_success_s=5, phase="Scraping failed blocks... (forwards)",
    non_scraped_bytes=11,
)  # fmt: skip


class Clock:
    """`time.monotonic`, as the test wants it."""

    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("time.monotonic", made)
    return made


def test_the_words_of_ddrescue_become_those_of_the_pass(clock: Clock) -> None:
    told: list[Progress] = []
    teller = Teller("files", SOURCE, 8192, 8192, told.append)
    teller.begin()
    teller.saw(SHOWN)
    assert [one.rescued_bytes for one in told] == [8192, 8192 + 2048]
    reading = told[-1].reading
    assert (reading.task, reading.phase, reading.position) == ("files", "scrape", 4096)
    assert (reading.bad_sectors, reading.bad_bytes, reading.postponed_bytes, reading.read_errors) == (2, 2049, 111, 7)
    assert (reading.rate_per_s, reading.remaining_s, reading.nothing_read_s, reading.silent_s) == (10, 30, 5, 0)
    assert told[-1].work.bytes_total == SOURCE.size_bytes
    assert told[-1].work.reading == reading


def test_silence_is_told_every_second_and_ends_with_the_next_word(clock: Clock) -> None:
    told: list[Progress] = []
    teller = Teller("everything", SOURCE, 0, 0, told.append)
    teller.begin()
    for _ in range(40):  # it is asked more often than it has something to tell
        clock.now_s += 0.2
        teller.tell_if_silent(clock.now_s)
    assert len(told) in (8, 9)
    assert told[-1].reading.silent_s == pytest.approx(8, abs=1)
    assert told[-1].reading.nothing_read_s is None
    teller.saw(SHOWN)
    assert told[-1].reading.silent_s == 0
    clock.now_s += 60
    teller.tell_if_silent(clock.now_s)
    assert (told[-1].reading.silent_s, told[-1].reading.nothing_read_s) == (60, 65)


def test_no_more_is_told_to_be_rescued_than_there_is(clock: Clock) -> None:
    told: list[Progress] = []
    teller = Teller("everything", SOURCE, 0, SOURCE.size_bytes, told.append)
    teller.saw(SHOWN)
    assert told[-1].rescued_bytes == SOURCE.size_bytes
