"""Events of the watch -> the operator's own program, as JSON on its standard input: one run for each, in order.

A hook that fails, hangs or is missing costs nothing but a note.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from ntt import proc
from ntt.errors import NttError, UsageError
from ntt.names import json_printable, printable

HOOK_LIMIT_S = 60.0
QUEUE = 1000
LAST_LIMIT_S = 5.0


class Event(msgspec.Struct, frozen=True):
    """What the hook is told; `event`: inserted, known, reading, problem, done, failed, ejected, refused."""

    event: str
    at: str
    session: str
    drive: str = ""
    sequence: int = 0
    medium: str = ""
    medium_hash: str = ""
    label: str = ""
    box: str = ""
    text: str = ""


class Teller:
    """Takes events without waiting; drops the oldest wish to tell when the hook is a thousand behind."""

    def __init__(self, queue: MemoryObjectSendStream[Event], session: str, note: Callable[[str], None]) -> None:
        self._queue = queue
        self._session = session
        self._note = note

    def tell(
        self,
        event: str,
        *,
        drive: str = "",
        sequence: int = 0,
        medium: str = "",
        medium_hash: str = "",
        label: str = "",
        box: str = "",
        text: str = "",
    ) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        told = Event(event, at, self._session, drive, sequence, medium, medium_hash, label, box, text)
        try:
            self._queue.send_nowait(told)
        except anyio.WouldBlock:
            self._note(f"--on-event is {QUEUE} events behind: {event} of {drive} is not told")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return


def hook_argv(command: str) -> list[str]:
    """The words of `--on-event`; UsageError when they make no command."""
    try:
        argv = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--on-event cannot be read: {error}", "quote it as in a shell") from None
    if not argv:
        raise UsageError("--on-event is empty", "name a program, for example --on-event 'notify-send NTT'")
    return argv


@asynccontextmanager
async def telling(command: str | None, session: str, note: Callable[[str], None]) -> AsyncIterator[Teller]:
    """For the body; what was told last is still given to the hook, for a few seconds."""
    send, receive = anyio.create_memory_object_stream[Event](QUEUE if command else math.inf)
    argv = hook_argv(command) if command else None
    async with anyio.create_task_group() as tasks:
        if argv is None:
            receive.close()
        else:
            tasks.start_soon(_hand_over, argv, receive, note)
        try:
            yield Teller(send, session, note)
        finally:
            send.close()
            tasks.cancel_scope.deadline = anyio.current_time() + LAST_LIMIT_S


async def _hand_over(argv: list[str], events: MemoryObjectReceiveStream[Event], note: Callable[[str], None]) -> None:
    with events:
        async for event in events:
            document = json_printable(msgspec.json.encode(event).decode()).encode() + b"\n"
            why = await _run(argv, document)
            if why:
                note(f"--on-event {argv[0]}: {printable(why)}")


async def _run(argv: list[str], document: bytes) -> str:
    """Why it did not work, "" if it did."""
    try:
        finished = await proc.run(argv, timeout_s=HOOK_LIMIT_S, input_bytes=document)
    except TimeoutError:
        return f"was ended after {HOOK_LIMIT_S:.0f} s"
    except NttError as error:
        return str(error)
    return finished.complaint if finished.status else ""
