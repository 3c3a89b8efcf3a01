"""NTT's end of a mount helper: started, asked, and ended with all that it mounted."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec

from ntt.errors import MediumError
from ntt.mounts.folders import claim, remove
from ntt.mounts.machine import Machine
from ntt.mounts.messages import MESSAGE_LIMIT_BYTES, Answer, Task
from ntt.mounts.plan import MountLimits
from ntt.proc import Child, running

_ANSWER_S = 15.0  # that an answer may take on top of its attempts: processes that had to be left behind
_LAST_WORDS_BYTES = 4096


class HelperGone(Exception):
    """It died, or does not answer: this link is of no use any more. The text says what is known."""


class Link:
    """One helper. Asked by one task at a time."""

    def __init__(self, child: Child, channel: socket.socket, words_fd: int) -> None:
        self._child = child
        self._channel = channel
        self._words_fd = words_fd
        self._in_step = True

    @property
    def pid(self) -> int:
        return self._child.pid

    async def ask(self, task: Task) -> tuple[Answer, int | None]:
        """Its answer, and the open root directory where there is one; that is the caller's to close.

        HelperGone also when an earlier question was given up before it was answered.
        """
        limit_s = sum(attempt.limit_s for attempt in task.attempts) + _ANSWER_S
        if not self._in_step:
            raise HelperGone("it was left in the middle of an answer")
        self._in_step = False
        message, fds = b"", list[int]()
        try:
            with anyio.fail_after(limit_s):
                self._channel.send(msgspec.json.encode(task))
                await anyio.wait_readable(self._channel)
                message, fds, _, _ = socket.recv_fds(self._channel, MESSAGE_LIMIT_BYTES, 1)
        except TimeoutError:
            raise HelperGone(f"no answer within {limit_s:g} s") from None
        except OSError as error:
            raise HelperGone(self._last_words(error.strerror or "")) from None
        if not message:
            raise HelperGone(self._last_words("it ended"))
        self._in_step = True
        return msgspec.json.decode(message, type=Answer), fds[0] if fds else None

    def _last_words(self, otherwise: str) -> str:
        words = os.pread(self._words_fd, _LAST_WORDS_BYTES, 0).decode(errors="replace").strip().splitlines()
        return words[-1] if words else otherwise

    async def hang_up(self, grace_s: float) -> None:
        """Asks it to end, and waits for that so long; who started it does the rest."""
        self._channel.close()
        with anyio.move_on_after(grace_s, shield=True):
            await self._child.wait()


@asynccontextmanager
async def helper(image_fd: int, work: Path, machine: Machine, limits: MountLimits) -> AsyncIterator[Link]:
    """A helper with a folder of its own in `work`; on leaving, both are gone. MediumError when neither can be had."""
    try:
        folder, lock_fd = await anyio.to_thread.run_sync(claim, work)
    except OSError as error:
        raise MediumError(f"nothing can be mounted: {work}: {error.strerror}", "free space, or another home") from None
    words_fd = os.memfd_create("ntt-mount-helper")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    numbers = (str(image_fd), str(folder), str(lock_fd), machine.namespaces.value, str(limits.reserve_bytes))
    try:
        async with running(
            (sys.executable, "-P", "-m", "ntt.mounts.helper", *numbers),
            stdin=theirs.fileno(),
            stderr=words_fd,
            pass_fds=(image_fd, lock_fd),
            grace_s=limits.grace_s,
        ) as child:
            theirs.close()
            link = Link(child, ours, words_fd)
            try:
                yield link
            finally:
                await link.hang_up(limits.grace_s)
    finally:
        ours.close()
        theirs.close()
        os.close(words_fd)
        with anyio.CancelScope(shield=True), suppress(OSError):
            await anyio.to_thread.run_sync(remove, folder)
        os.close(lock_fd)
