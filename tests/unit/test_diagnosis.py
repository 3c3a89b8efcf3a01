"""What a failing read is called, how often it is tried, and what follows: decided without reading anything."""

from __future__ import annotations

import errno

import pytest

from ntt.copier.diagnosis import Action, Check, Failure, action_on, class_of
from ntt.copier.diagnosis_kernel_log import check_of
from ntt.copier.diagnosis_policy import (
    DEGRADED_ATTEMPTS,
    DEGRADED_FROM_FILES,
    HEALTHY_ATTEMPTS,
    PATIENCE_S,
    Fault,
    Patience,
    Step,
    Tries,
)
from ntt.copier.health_gate import Known, Way, decided
from ntt.model import Route, Volume, VolumeStatus

EIO, ENXIO = Fault("OSError", errno.EIO, "a", 0), Fault("OSError", errno.ENXIO, "b", 0)
FURTHER = Fault("OSError", errno.EIO, "a", 1 << 20)
NONSENSE = Fault("ReadError", None, "bad chain", 0)
VOLUME = Volume(0, "none", 1024, 4096, "xfs", Route.KERNEL, VolumeStatus.READ)


@pytest.mark.parametrize(
    ("number", "check"),
    [
        (errno.EIO, Check.IO_ERROR),
        (errno.ENXIO, Check.IO_ERROR),
        (errno.ENOENT, Check.MISSING_FILE),
        (errno.ESTALE, Check.MISSING_FILE),
        (errno.EACCES, Check.PERMISSION_ERROR),
        (errno.EPERM, Check.PERMISSION_ERROR),
        (errno.EMFILE, None),
    ],
)
def test_an_error_is_classed_by_its_number(number: int, check: Check | None) -> None:
    assert class_of(number) is check


def attempts(faults: list[Fault], limit: int, first: int = 1, elapsed_s: float = 0.0) -> tuple[int, Step]:
    """Which attempt is the last before something else happens, and what happens then."""
    tries = Tries(first, limit)
    step = Step.AGAIN
    for number in range(1000):
        step = tries.failed(faults[number % len(faults)], elapsed_s)
        if step is not Step.AGAIN:
            break
    return tries.count, step


@pytest.mark.parametrize(
    ("faults", "limit", "first", "elapsed_s", "last", "step"),
    [
        ([EIO], HEALTHY_ATTEMPTS, 1, 0.0, 3, Step.END),
        ([EIO], DEGRADED_ATTEMPTS, 1, 0.0, 3, Step.END),
        ([EIO, ENXIO], HEALTHY_ATTEMPTS, 1, 0.0, 10, Step.CHECKPOINT),
        ([EIO, FURTHER], HEALTHY_ATTEMPTS, 1, 0.0, 10, Step.CHECKPOINT),
        ([EIO, ENXIO], HEALTHY_ATTEMPTS, 11, 0.0, 50, Step.END),
        ([EIO], HEALTHY_ATTEMPTS, 11, 0.0, 13, Step.END),
        ([EIO, EIO, ENXIO], HEALTHY_ATTEMPTS, 11, 0.0, 50, Step.END),
        ([EIO, ENXIO], DEGRADED_ATTEMPTS, 1, 0.0, 5, Step.END),
        ([EIO, ENXIO], DEGRADED_ATTEMPTS, 11, 0.0, 11, Step.END),
        ([NONSENSE], HEALTHY_ATTEMPTS, 1, 0.0, 1, Step.END),
        ([EIO, ENXIO], HEALTHY_ATTEMPTS, 1, PATIENCE_S, 1, Step.END),
        ([EIO, ENXIO], 1, 1, 0.0, 1, Step.END),
    ],
)
def test_attempts_are_bounded_and_the_same_error_thrice_is_the_answer(
    faults: list[Fault], limit: int, first: int, elapsed_s: float, last: int, step: Step
) -> None:
    assert attempts(faults, limit, first, elapsed_s) == (last, step)


def test_a_medium_on_which_little_works_gets_few_attempts() -> None:
    patience = Patience(degraded=False)
    for _ in range(DEGRADED_FROM_FILES):
        assert patience.limit == HEALTHY_ATTEMPTS
        patience.gave_up()
    assert patience.limit == DEGRADED_ATTEMPTS
    assert Patience(degraded=True).limit == DEGRADED_ATTEMPTS


@pytest.mark.parametrize(
    ("checks", "undecided", "unread", "action"),
    [
        ({Check.IO_ERROR, Check.MOUNT_OK}, False, False, Action.MAX_RETRIES),
        ({Check.IO_ERROR, Check.MOUNT_OK}, True, False, Action.CONTINUING),
        ({Check.IO_ERROR, Check.MOUNT_OK}, True, True, Action.SKIPPED),
        ({Check.IO_ERROR, Check.LOG_BEYOND_EOF, Check.MOUNT_OK}, True, False, Action.SKIPPED),
        ({Check.BEYOND_EOF, Check.MOUNT_OK}, False, True, Action.SKIPPED),
        ({Check.IO_ERROR, Check.LOG_IO_ERROR, Check.MOUNT_OK}, True, False, Action.CONTINUING),
        ({Check.MISSING_FILE, Check.MOUNT_OK}, False, False, Action.MAX_RETRIES),
        ({Check.PERMISSION_ERROR, Check.MOUNT_OK}, False, False, Action.MAX_RETRIES),
        ({Check.IO_ERROR, Check.MOUNT_MISSING}, False, False, Action.REMOUNTED),
        ({Check.PERMISSION_ERROR, Check.MOUNT_INACCESSIBLE}, True, True, Action.REMOUNTED),
        ({Check.MOUNT_OK}, False, False, Action.SKIPPED),
    ],
)
def test_what_follows_depends_on_what_was_found(
    checks: set[Check], undecided: bool, unread: bool, action: Action
) -> None:
    assert action_on(Failure(frozenset(checks), undecided, unread)) is action


@pytest.mark.parametrize(
    ("record", "check"),
    [
        (b"3,1,5,-;I/O error, dev loop3, sector 8 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 2\n", "io_error"),
        (b"3,1,5,-;Buffer I/O error on dev loop3, logical block 1, async page read\n", "io_error"),
        (b"6,1,5,-;cat: attempt to access beyond end of device\\x0aloop3: rw=0, sector=80, limit=64\n", "beyond_eof"),
        (b"2,1,5,-;EXT4-fs error (device loop3): ext4_lookup:1855: inode #2: comm ls: bad entry\n", "fs_error"),
        (b"1,1,5,-;XFS (loop3): Metadata corruption detected at xfs_dinode_verify\n", "fs_error"),
        (b"3,1,5,-;critical medium error, sector 9\n SUBSYSTEM=block\n DEVICE=b7:3\n", "io_error"),
        (b"3,1,5,-;I/O error, dev loop31, sector 8\n", None),
        (b"3,1,5,-;I/O error, dev loop2, sector 8\n", None),
        (b"3,1,5,-;I/O error, dev myloop3, sector 8\n", None),
        (b"3,1,5,-;I/O error, sector 9\n SUBSYSTEM=block\n DEVICE=b7:31\n", None),
        (b"6,1,5,-;EXT4-fs (loop3): mounted filesystem ro without journal\n", None),
        (b"6,1,5,-;loop3: detected capacity change from 0 to 98304\n", None),
        (b"no record at all loop3 I/O error", None),
        (b"", None),
    ],
)
def test_the_kernel_log_speaks_only_of_the_device_that_a_line_names(record: bytes, check: str | None) -> None:
    found = check_of(record, "loop3", (7, 3))
    assert found == (None if check is None else f"dmesg:{check}")


@pytest.mark.parametrize(
    ("known", "unread", "despite", "way"),
    [
        (Known(), (), False, Way.GO),
        (Known(), ((0, 1024), (5120, 9000)), False, Way.GO),
        (Known(), ((2048, 2560),), False, Way.REST),
        (Known(), ((0, 9000),), False, Way.REFUSE),
        (Known(unstable=frozenset((0,))), (), False, Way.WARN),
        (Known(unstable=frozenset((1,))), (), False, Way.GO),
        (Known(refused=frozenset((0,))), (), False, Way.REFUSE),
        (Known(refused=frozenset((0,))), (), True, Way.WARN),
        (Known(many_errors=True), (), False, Way.WARN),
        (Known(many_errors=True), ((2048, 2560),), False, Way.REST),
    ],
)
def test_known_problems_decide_whether_a_volume_is_read(
    known: Known, unread: tuple[tuple[int, int], ...], despite: bool, way: Way
) -> None:
    decision = decided(VOLUME, unread, known, despite_problems=despite)
    assert decision.way is way
    assert bool(decision.reason) is (way is not Way.GO)
