"""The mount helper: an open image and tasks on a socket -> root directories of mounts that nobody else sees.

`ntt-mount-helper IMAGE_FD FOLDER LOCK_FD NAMESPACES RESERVE_BYTES`, a SOCK_SEQPACKET socket as standard input.
Each message is a `Task`, answered by an `Answer` with the open root directory beside it. Every attempt is made in
a process with namespaces of its own, so that a driver or a mount(2) that never returns is left behind, and all
that belongs to an attempt ends with its process: mounts, loop devices, drivers. All end with the helper, which ends
when the other end of the socket is closed, is told to (SIGTERM), or when its parent dies. It has no policy.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from time import monotonic

import msgspec

from ntt.model import Route
from ntt.mounts import syscalls
from ntt.mounts.attempting import Refused, Setting, carry_out
from ntt.mounts.folders import remove
from ntt.mounts.messages import MESSAGE_LIMIT_BYTES, Answer, Attempt, Namespaces, Outcome, Task

_GRACE_S = 2.0  # for a process that was killed; one that is stuck in the kernel never ends
_HANG_UP = select.POLLHUP | select.POLLRDHUP | select.POLLERR


class _Over(Exception):
    """Nobody wants the mounts any more."""


class Helper:
    """Serves one session; `wake_fd` becomes readable when it is to end."""

    def __init__(self, channel: socket.socket, wake_fd: int, setting: Setting) -> None:
        self._channel = channel
        self._wake_fd = wake_fd
        self._setting = setting
        self._mounted: dict[int, tuple[int, socket.socket]] = {}  # volume -> its process, and the line to it
        self._stuck = 0

    def serve(self) -> None:
        """Until it is over; every process that an attempt left has ended then, or is stuck in the kernel."""
        decoder = msgspec.json.Decoder(Task)
        with suppress(_Over):
            while True:
                self._wait(self._channel, select.POLLIN, None)
                message = self._channel.recv(MESSAGE_LIMIT_BYTES)
                if not message:
                    break
                self._answer(decoder.decode(message))
        for pid, line in self._mounted.values():
            self._end(pid, line)

    def _answer(self, task: Task) -> None:
        if task.volume in self._mounted:  # it broke, and is asked for again
            self._end(*self._mounted.pop(task.volume))
        refusals: list[str] = []
        for position, attempt in enumerate(task.attempts):
            outcome, root = self._attempt(task, attempt)
            if root is not None:
                self._send(Answer(task.volume, position, tuple(refusals), outcome.remarks, self._stuck), [root])
                os.close(root)
                return
            refusals.append(outcome.refusal)
        self._send(Answer(task.volume, None, tuple(refusals), (), self._stuck), [])

    def _send(self, answer: Answer, fds: list[int]) -> None:
        try:
            socket.send_fds(self._channel, [msgspec.json.encode(answer)], fds)
        except OSError:
            for fd in fds:
                os.close(fd)
            raise _Over from None

    def _attempt(self, task: Task, attempt: Attempt) -> tuple[Outcome, int | None]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        helper = os.getpid()
        pid = os.fork()
        if pid == 0:
            _alone(helper, self._setting, task, attempt, theirs)
        theirs.close()
        root: int | None = None
        outcome = Outcome(f"no answer within {attempt.limit_s:g} s")
        try:
            if self._wait(ours, select.POLLIN, attempt.limit_s):
                outcome, root = _received(ours)
        finally:
            if root is None:
                ended = self._end(pid, ours)
            else:
                self._mounted[task.volume] = (pid, ours)
        if root is None and not ended:
            outcome = Outcome(f"{outcome.refusal}; the kernel does not let go of it")
        return outcome, root

    def _wait(self, line: socket.socket, events: int, limit_s: float | None) -> bool:
        """Until something happens on the line; False when nothing did in time. `_Over` when all is to end."""
        poll = select.poll()
        poll.register(self._channel, _HANG_UP)
        poll.register(self._wake_fd, select.POLLIN)
        poll.register(line, events | _HANG_UP)
        deadline = None if limit_s is None else monotonic() + limit_s
        while True:
            left_ms = None if deadline is None else max(0, int((deadline - monotonic()) * 1000))
            happened = dict(poll.poll(left_ms))
            if self._wake_fd in happened or happened.get(self._channel.fileno(), 0) & _HANG_UP:
                raise _Over
            if happened:
                return True
            if deadline is not None and monotonic() >= deadline:
                return False

    def _end(self, pid: int, line: socket.socket) -> bool:
        """Ends an attempt's processes; False when one of them is stuck in the kernel and was left."""
        line.close()
        os.kill(pid, signal.SIGTERM)  # it kills what it started, and ends when all of that is gone
        watch = os.pidfd_open(pid)
        poll = select.poll()
        poll.register(watch, select.POLLIN)
        gone = bool(poll.poll(_GRACE_S * 1000))
        os.close(watch)
        if not gone:
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self._stuck += not gone
        return gone


def _received(line: socket.socket) -> tuple[Outcome, int | None]:
    message, fds, _, _ = socket.recv_fds(line, MESSAGE_LIMIT_BYTES, 1)
    if not message:
        return Outcome("the process that tried it ended without a word"), None
    outcome = msgspec.json.decode(message, type=Outcome)
    return outcome, fds[0] if fds else None


def _alone(helper: int, setting: Setting, task: Task, attempt: Attempt, line: socket.socket) -> None:
    """Never returns. Three processes, one the child of the other: this one, which dies with the helper; the first one
    of new namespaces, with which the kernel ends all others in them, drivers too; and the one that may hang."""
    try:
        _die_with_parent()
        if os.getppid() != helper:
            os._exit(1)
        _close_all_but(setting.image_fd, line.fileno())
        alive, dying = os.pipe()
        if setting.namespaces is not Namespaces.NONE:
            syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID)
        first = os.fork()
        if first == 0:
            os.close(dying)
            _first(alive, setting, task, attempt, line)
        else:
            signal.signal(signal.SIGTERM, lambda _number, _frame: os.kill(first, signal.SIGKILL))
            line.close()
            os.waitpid(first, 0)
    except OSError as error:
        with suppress(OSError):
            line.send(msgspec.json.encode(Outcome(f"no namespaces of its own: {error.strerror}")))
    finally:
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
        os._exit(0)


def _first(alive: int, setting: Setting, task: Task, attempt: Attempt, line: socket.socket) -> None:
    """It touches no mount, so that it can always be killed: a process that waits for a driver cannot, until the
    driver was."""
    _die_with_parent()
    os.set_blocking(alive, False)
    with suppress(BlockingIOError):
        os.read(alive, 1)
        return  # the parent was gone before this process was bound to it
    tries = os.fork()
    if tries == 0:
        _die_with_parent()
        _try(setting, task, attempt, line)
        return
    line.close()
    while os.waitpid(-1, 0)[0] != tries:
        pass  # an orphan of a driver


def _try(setting: Setting, task: Task, attempt: Attempt, line: socket.socket) -> None:
    """Reports, and holds what was mounted until the line is cut."""
    try:
        root, remarks = carry_out(setting, task, attempt)
    except Refused as why:
        line.send(msgspec.json.encode(Outcome(str(why))))
        return
    except OSError as error:
        line.send(msgspec.json.encode(Outcome(error.strerror or str(error))))
        return
    os.close(setting.image_fd)
    socket.send_fds(line, [msgspec.json.encode(Outcome("", remarks))], [root])
    os.close(root)
    if attempt.route is Route.SEVENZIP:
        return  # nothing is mounted
    line.recv(1)


def _die_with_parent() -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)


def _close_all_but(*fds: int) -> None:
    """What else the helper has open, its socket to NTT among it, must not live on here."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    kept = sorted({0, 1, 2, *fds})
    for low, high in zip(kept, [*kept[1:], 1 << 16], strict=True):
        os.closerange(low + 1, high)


def _wakened() -> int:
    """A descriptor that becomes readable with SIGTERM and SIGINT."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    return reading


def main() -> None:
    image_fd, folder, _lock_fd, namespaces, reserve_bytes = sys.argv[1:6]
    wake_fd = _wakened()
    # NTT starts it so that it is killed with NTT; it is better asked, because it has a folder to remove
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGTERM)
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    os.set_inheritable(int(image_fd), False)
    setting = Setting(int(image_fd), Path(folder), Namespaces(namespaces), int(reserve_bytes))
    if setting.namespaces is Namespaces.USER:
        syscalls.become_root_of_own_namespace()
    channel = socket.socket(fileno=os.dup(0))
    Helper(channel, wake_fd, setting).serve()
    remove(setting.folder)


if __name__ == "__main__":
    main()
