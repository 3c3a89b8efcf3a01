"""A file whose attempts failed -> what is recorded of it, and whether it is tried again; in NTT's own process."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ntt.copier.diagnosis import FROM_WORKERS, Action, Check, Failure, action_on
from ntt.copier.diagnosis_kernel_log import KernelLog
from ntt.copier.diagnosis_policy import Patience
from ntt.copier.messages import FileJob, Read
from ntt.errors import NttError
from ntt.model import DiagnosticEvent, MountedRoot, Volume, VolumeStatus

MESSAGE_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found and what follows; `again` is the job to do then, None: the failure is the file's outcome."""

    action: Action
    checks: tuple[str, ...]
    again: FileJob | None = None


class SessionBroken(NttError):
    """What the files of a volume are read through is not there any more: no file is to blame, all wait for it.

    `event` is what is recorded of the file in hand once it is open again.
    """

    def __init__(self, volume: int, event: DiagnosticEvent) -> None:
        super().__init__(f"what volume {volume} is read through broke off: {event.message}")
        self.volume = volume
        self.event = event


class Examiner:
    """Of one session: `volumes` and `roots` are what is open in it, `patience` is kept for the whole medium."""

    def __init__(self, volumes: Collection[Volume], roots: Mapping[int, MountedRoot], patience: Patience) -> None:
        self._open = frozenset(volume.index for volume in volumes if volume.status is VolumeStatus.READ)
        self._log = KernelLog(devices_of(roots))
        self._patience = patience

    @property
    def limit(self) -> int:
        """Attempts that a file gets in all."""
        return self._patience.limit

    def mark(self) -> int:
        """This moment in the kernel's log."""
        return self._log.mark()

    def examine(self, job: FileJob, read: Read, mark: int, worker: str) -> Verdict:
        """A failed `read` of a batch that was given out at `mark`. SessionBroken when it is not the file's fault."""
        checks = tuple(dict.fromkeys((*read.checks, *self._log.since(mark, job.volume))))
        if job.volume not in self._open:
            return Verdict(Action.SKIPPED, checks)
        action = action_on(Failure(frozenset(checks), read.undecided, bool(read.unread)))
        match action:
            case Action.REMOUNTED:
                raise SessionBroken(job.volume, event_of(job, read, Verdict(action, checks), worker))
            case Action.CONTINUING:
                again = FileJob(job.volume, job.ino, job.size, job.attempt + read.retries + 1, job.path)
                return Verdict(action, checks, again)
            case Action.MAX_RETRIES:
                self._patience.gave_up()
                return Verdict(action, (*checks, Check.MAX_RETRIES_EXCEEDED))
            case Action.SKIPPED:
                return Verdict(action, checks)

    def close(self) -> None:
        self._log.close()


def event_of(job: FileJob, read: Read, verdict: Verdict, worker: str) -> DiagnosticEvent:
    return DiagnosticEvent(
        volume=job.volume,
        ino=job.ino,
        retry_count=job.attempt + read.retries,
        checks=verdict.checks,
        action=verdict.action.value,
        worker=worker,
        error_type=read.error_type,
        message=read.reason[:MESSAGE_CHARACTERS],
    )


def told_truly(job: FileJob, read: Read, limit: int) -> bool:
    """Are these checks and attempts such as a worker can come to?"""
    last = max(limit, job.attempt)
    return 0 <= read.retries <= last - job.attempt and FROM_WORKERS.issuperset(read.checks)


def devices_of(roots: Mapping[int, MountedRoot]) -> dict[int, tuple[int, int]]:
    """Volume -> the block device that it is mounted from, where the file system names one."""
    found: dict[int, tuple[int, int]] = {}
    for index, root in roots.items():
        try:
            device = os.fstat(root.fd).st_dev
        except OSError:  # of a driver that is gone
            continue
        if os.major(device):  # 0: of a driver, or of a file system that has several
            found[index] = (os.major(device), os.minor(device))
    return found
