"""What breaks off is opened again, so many times; then the file in hand, the volume or the medium is given up."""

from __future__ import annotations

import pytest

from ntt.copier.examining import SessionBroken
from ntt.copier.health_gate import NOT_TRIED, Known
from ntt.copier.session_health import IMAGE_REOPENINGS, REOPENINGS, SessionHealth, broken_session
from ntt.errors import MediumError, StoreError
from ntt.model import DiagnosticEvent, OutcomeStatus, Route, Volume, VolumeStatus

VOLUME = Volume(0, "none", 0, 4096, "squashfs", Route.FUSE, VolumeStatus.READ)


def broken(ino: int) -> SessionBroken:
    checks = ("detected_io_error", "mount_check:missing")
    return SessionBroken(0, DiagnosticEvent(0, ino, 3, checks, "remounted", "w", "OSError", "not connected"))


def health(known: Known | None = None, *, despite_problems: bool = False) -> tuple[SessionHealth, list[str]]:
    said: list[str] = []
    return SessionHealth([VOLUME], (), known or Known(), said.append, despite_problems=despite_problems), said


def test_a_volume_that_keeps_breaking_off_is_closed_with_the_reason_and_the_way_around_it() -> None:
    about, _ = health()
    for ino in range(REOPENINGS):
        about.broke(broken(ino), (0,))
        assert about.gated([VOLUME]) == (VOLUME,)
    about.broke(broken(99), (0,))
    (closed,) = about.gated([VOLUME])
    assert closed.status is VolumeStatus.FINDING
    assert closed.finding.startswith(NOT_TRIED)
    assert "--despite-problems" in closed.finding


def test_once_is_no_instability_and_twice_is() -> None:
    about, _ = health()
    about.broke(broken(1), (0,))
    assert about.unstable == []
    about.broke(broken(2), (0,))
    assert about.unstable == [0]


def test_a_file_that_breaks_the_session_twice_is_given_up_alone() -> None:
    about, _ = health()
    about.broke(broken(7), (0,))
    first = about.told([VOLUME], {0: ()})
    assert first is not None
    assert (len(first.events), first.outcomes) == (1, ())
    about.broke(broken(7), (0,))
    second = about.told([VOLUME], {0: ()})
    assert second is not None
    (outcome,) = second.outcomes
    assert (outcome.ino, outcome.status, outcome.attempts) == (7, OutcomeStatus.FAILED, 2)
    assert "max_retries_exceeded" in outcome.checks
    assert about.blamed == {(0, 7)}
    assert about.told([VOLUME], {0: ()}) is None


def test_nothing_is_said_to_be_open_again_that_is_not() -> None:
    about, _ = health()
    about.broke(broken(7), (0,))
    assert about.told([], {}) is None


def test_an_image_that_is_gone_ends_the_medium_and_fails_no_file() -> None:
    about, _ = health()
    for _ in range(IMAGE_REOPENINGS):
        about.broke(broken(7), ())
    with pytest.raises(MediumError, match="the image cannot be read any more"):
        about.broke(broken(7), ())


def test_what_was_refused_before_stays_so_unless_told_otherwise() -> None:
    known = Known(refused=frozenset((0,)))
    refused, said = health(known)
    assert refused.gated([VOLUME])[0].status is VolumeStatus.FINDING
    assert said
    tried, said = health(known, despite_problems=True)
    assert tried.gated([VOLUME]) == (VOLUME,)
    assert said


def test_another_error_beside_it_is_not_taken_for_a_broken_session() -> None:
    one = broken(1)
    assert broken_session(ExceptionGroup("", [ExceptionGroup("", [one])])) is one
    assert broken_session(ExceptionGroup("", [one, StoreError("full")])) is None
    assert broken_session(StoreError("full")) is None
