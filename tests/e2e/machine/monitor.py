"""QEMU's monitor (QMP): commands with answers, and every event in the order in which it came."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable

import msgspec

from machine.bell import LIMIT_S, Bell, MachineError
from machine.lines import Json, Lines


class Refusal(msgspec.Struct, rename={"kind": "class", "words": "desc"}):
    kind: str = ""
    words: str = ""


class Event(msgspec.Struct, frozen=True, rename={"name": "event"}):
    name: str
    data: dict[str, object] = {}


class Message(msgspec.Struct):
    """One of: the greeting, an event, an answer to the command of this id."""

    id: int = 0
    answer: object = msgspec.field(name="return", default=None)
    error: Refusal | None = None
    event: str = ""
    data: dict[str, object] = {}
    greeting: object = msgspec.field(name="QMP", default=None)


class Monitor:
    """Commands may be given by several tasks at once."""

    def __init__(self) -> None:
        self.bell = Bell()
        self.events: list[Event] = []
        self._answers: dict[int, Message] = {}
        self._numbers = itertools.count(1)
        self._lines = Lines(Message, self._take, lambda: self.bell.breaks("the machine ended"))

    async def connect(self, side: socket.socket) -> None:
        await self._lines.connect(side)
        await self.do("qmp_capabilities")

    def _take(self, message: Message) -> None:
        if message.event:
            self.events.append(Event(message.event, message.data))
        elif message.id:
            self._answers[message.id] = message
        self.bell.ring()

    async def do(self, command: str, arguments: dict[str, Json] | None = None) -> object:
        """The answer, with all events before it in `events`; MachineError when QEMU refuses."""
        number = next(self._numbers)
        await self._lines.send({"execute": command, "id": number, "arguments": arguments or {}})
        message = await self.bell.until(lambda: self._answers.pop(number, None), f"an answer to {command}")
        if message.error is not None:
            raise MachineError(f"{command}: {message.error.words}")
        return message.answer

    async def event(
        self, name: str, since: int, fits: Callable[[dict[str, object]], bool], limit_s: float = LIMIT_S
    ) -> Event:
        """The first event of that name, at or after the place `since` in `events`, that fits."""

        def look() -> Event | None:
            return next((event for event in self.events[since:] if event.name == name and fits(event.data)), None)

        return await self.bell.until(look, f"the event {name}", limit_s)

    async def close(self) -> None:
        await self._lines.close()
