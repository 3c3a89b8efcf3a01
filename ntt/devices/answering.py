"""A question to the kernel that may never be answered -> its answer in time, or None: the thread that asks is left.

A read of an attribute of a dead drive or bridge sleeps in the kernel, where nothing can end it. The threads are
daemons, so that they do not keep the program from ending, either.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Generic, TypeVar

import anyio
from anyio import from_thread
from anyio.lowlevel import current_token

T = TypeVar("T")
ATTRIBUTE_BYTES = 65536  # sysfs hands out a page; udev's files are small


class _Question(Generic[T]):
    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._token = current_token()
        self.answered = anyio.Event()
        self.answer: T | None = None

    def run(self) -> None:
        with suppress(OSError):
            self.answer = self._ask()
        with suppress(RuntimeError):  # nobody waits any more: the event loop has ended
            from_thread.run_sync(self.answered.set, token=self._token)


async def answered(ask: Callable[[], T], until_s: float) -> tuple[T | None, bool]:
    """What `ask` returns, or None when it raises OSError; and whether it came back before `anyio.current_time()` was
    `until_s`."""
    question = _Question(ask)
    Thread(target=question.run, name="ntt hardware", daemon=True).start()
    with anyio.CancelScope(deadline=until_s):
        await question.answered.wait()
    return question.answer, question.answered.is_set()


def attribute(path: Path) -> bytes:
    """The beginning of a file, without the white space around it; blocks as long as the kernel does."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, ATTRIBUTE_BYTES).strip(b" \n\t\0")
    finally:
        os.close(fd)
