"""One drive, looked at in every order that was seen in the field -> exactly what happened, once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntt.devices.debouncing import Debouncer, Look, Timing
from ntt.drives import Drive, DriveEvent, DriveKind, EjectRequest, Insertion, Refusal, Removal, Slot

DRIVE = Drive(Path("/dev/sr0"), DriveKind.OPTICAL, "key", "a drive")
TIMING = Timing(settle_s=3, retry_s=1, patience_s=10, refused_s=3, rarest_s=60)
MOUNTED = ("it is mounted at /mnt", "`umount /mnt`")
WAITED = ("the drive has not got ready in 10 s", "take the medium out, clean it, try it again or in another drive")
IN, OUT, PULLED = "in", "out", "pulled"


@dataclass(frozen=True)
class At:
    """At second `s` the drive says `slot`; `g`: generation."""

    s: float
    slot: Slot
    g: int = 0
    refusal: tuple[str, str] | None = None
    held: bool = False
    size: int = 0


def run(looks: list[At], *, pulled_at_the_end: bool = False) -> list[tuple[float, object]]:
    """Looks at the times given, and whenever the machine wants to, with what was found last."""
    debouncer = Debouncer(DRIVE, TIMING)
    happened: list[tuple[float, object]] = []
    last = looks[0]
    due: float | None = None

    def look(now_s: float) -> None:
        nonlocal due
        step = debouncer.looked(Look(last.slot, (last.g,), last.size, last.refusal), now_s, held=last.held)
        happened.extend((now_s, short(event)) for event in step.events)
        assert step.again_s is None or step.again_s > now_s
        due = step.again_s

    for this, until_s in zip(looks, [*(one.s for one in looks[1:]), looks[-1].s + 30], strict=True):
        last = this
        look(this.s)
        while due is not None and due < until_s:
            look(due)
    if pulled_at_the_end:
        happened.extend((until_s, short(event)) for event in debouncer.gone().events)
    return happened


def short(event: DriveEvent) -> object:
    match event:
        case Insertion(_, number):
            return f"in {number}"
        case Removal(_, pulled):
            return PULLED if pulled else OUT
        case Refusal(_, reason, _):
            return reason
        case EjectRequest():
            return "button"


E, T, N, L, X = Slot.EMPTY, Slot.OPEN, Slot.NOT_READY, Slot.LOADED, Slot.SILENT
CASES: dict[str, tuple[list[At], list[tuple[float, object]]]] = {
    "an empty drive": ([At(0, E)], []),
    "present at the start": ([At(0, L)], [(3, "in 1")]),
    "two change events for one disc": ([At(0, E), At(10, L, 1), At(12, L, 2)], [(15, "in 1")]),
    "four change events for one disc": (
        [At(0, T), At(10, N, 1), At(10.1, N, 2), At(12, N, 3), At(14, L, 4)],
        [(17, "in 1")],
    ),
    "an event before the disc is readable": ([At(0, E), At(10, N, 1), At(18, L, 1)], [(18, "in 1")]),
    "events of partitions and udev without a new generation": (
        [At(0, E), At(10, L, 1), At(10.2, L, 1), At(11, L, 1), At(20, L, 1), At(21, L, 1)],
        [(13, "in 1")],
    ),
    "taken out": ([At(0, L), At(20, T, 1)], [(3, "in 1"), (20, OUT)]),
    "taken out, told three times": ([At(0, L), At(20, T, 1), At(20.1, E, 2), At(22, E, 3)], [(3, "in 1"), (20, OUT)]),
    "another disc": ([At(0, L), At(20, T, 1), At(30, N, 2), At(36, L, 3)], [(3, "in 1"), (20, OUT), (39, "in 2")]),
    "swapped between two looks": ([At(0, L, 1), At(20, L, 2)], [(3, "in 1"), (20, OUT), (23, "in 2")]),
    "swapped, and told twice": (
        [At(0, L, 1), At(20, L, 2), At(22, L, 3)],
        [(3, "in 1"), (20, OUT), (25, "in 2")],
    ),
    "put in and out again before it settled": ([At(0, E), At(10, L, 1), At(12, T, 2)], []),
    "a reset while a damaged disc is read in a locked tray": (
        [At(0, L, 1), At(20, L, 2, held=True), At(22, N, 3, held=True), At(24, L, 4, held=True), At(40, L, 4)],
        [(3, "in 1")],
    ),
    "another size in a locked tray": (
        [At(0, L, 1, size=5), At(20, L, 2, held=True, size=6)],
        [(3, "in 1"), (20, OUT), (23, "in 2")],
    ),
    "a size that is not known for a moment": (
        [At(0, L, 1, size=5), At(20, L, 2, held=True, size=0)],
        [(3, "in 1")],
    ),
    "yanked out of a locked tray": ([At(0, L, 1), At(20, T, 2, held=True)], [(3, "in 1"), (20, OUT)]),
    "never gets ready": ([At(0, N)], [(10, WAITED[0])]),
    "gets ready after all": ([At(0, N), At(25, L)], [(10, WAITED[0]), (25, "in 1")]),
    "spins up again while it is read": ([At(0, L), At(10, N), At(20, L)], [(3, "in 1")]),
    "falls silent while it is read": ([At(0, L), At(10, X), At(20, L)], [(3, "in 1")]),
    "is silent": ([At(0, X)], []),
    "is mounted": ([At(0, L, 1, MOUNTED)], [(3, MOUNTED[0])]),
    "is mounted, told once, then unmounted": (
        [At(0, L, 1, MOUNTED), At(10, L, 1, MOUNTED), At(20, L, 1)],
        [(3, MOUNTED[0]), (20, "in 1")],
    ),
    "is mounted before it settled": ([At(0, L, 1), At(2, L, 1, MOUNTED)], [(3, MOUNTED[0])]),
    "is mounted, and another is put in that is mounted too": (
        [At(0, L, 1, MOUNTED), At(10, L, 2, MOUNTED)],
        [(3, MOUNTED[0]), (13, MOUNTED[0])],
    ),
    "is refused for another reason": (
        [At(0, L, 1, MOUNTED), At(10, L, 1, ("swap", "no"))],
        [(3, MOUNTED[0]), (10, "swap")],
    ),
    "is mounted, taken out": ([At(0, L, 1, MOUNTED), At(10, E, 2)], [(3, MOUNTED[0])]),
    "is mounted while it is read": ([At(0, L, 1), At(10, L, 1, MOUNTED)], [(3, "in 1")]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_happened_is_told_once(case: str) -> None:
    looks, expected = CASES[case]
    assert run(looks) == expected


def test_a_stick_that_is_pulled_is_told_so_and_an_empty_reader_is_not() -> None:
    assert run([At(0, L)], pulled_at_the_end=True) == [(3, "in 1"), (30, PULLED)]
    assert run([At(0, E)], pulled_at_the_end=True) == []
    assert run([At(0, L, 1, MOUNTED)], pulled_at_the_end=True) == [(3, MOUNTED[0])]


def test_the_button_is_passed_on() -> None:
    assert Debouncer(DRIVE, TIMING).pressed().events == (EjectRequest(DRIVE),)


def test_numbers_go_on_where_they_were() -> None:
    debouncer = Debouncer(DRIVE, TIMING, number=7)
    debouncer.looked(Look(L), 0)
    assert debouncer.looked(Look(L), 3).events == (Insertion(DRIVE, 8),)
    assert debouncer.number == 8


def test_a_silent_drive_is_asked_ever_more_rarely() -> None:
    debouncer = Debouncer(DRIVE, TIMING)
    waits = [debouncer.looked(Look(X), 0).again_s for _ in range(12)]
    assert waits[:3] == [2, 4, 8]
    assert waits[-1] == 60


_looks = st.builds(
    At,
    st.floats(0.01, 20),
    st.sampled_from(Slot),
    st.integers(0, 3),
    st.sampled_from([None, None, None, MOUNTED]),
    st.booleans(),
    st.sampled_from([0, 5, 6]),
)


@given(st.lists(_looks, min_size=1, max_size=40))
def test_insertions_and_removals_take_turns_whatever_comes(looks: list[At]) -> None:
    now_s = 0.0
    timed: list[At] = []
    for one in looks:
        now_s += one.s
        timed.append(At(now_s, one.slot, one.g, one.refusal, one.held, one.size))
    told = [
        what for _, what in run(timed, pulled_at_the_end=True) if what in (OUT, PULLED) or str(what).startswith("in ")
    ]
    assert [what in (OUT, PULLED) for what in told] == [at % 2 == 1 for at in range(len(told))]
    assert len(told) % 2 == 0
    assert [what for what in told if str(what).startswith("in ")] == [f"in {n + 1}" for n in range(len(told) // 2)]
