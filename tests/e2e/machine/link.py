"""The agent in the machine: programs started there, their output as it comes, their end."""

from __future__ import annotations

import base64
import itertools
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from machine.bell import LIMIT_S, Bell, MachineError
from machine.lines import Json, Lines

CHUNK_BYTES = 1 << 15

__all__ = ["Finished", "Link", "MachineError", "Program"]


class Said(msgspec.Struct):
    """A line of the agent, see guest/agent.py."""

    event: str
    id: int = 0
    data: str = ""
    status: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ended; `status` is negative when a signal ended it, as in subprocess."""

    status: int
    stdout: str
    stderr: str


class Program:
    """A program in the machine that was started; what it says collects in `stdout` and `stderr`."""

    def __init__(self, link: Link, number: int, name: str) -> None:
        self.stdout, self.stderr = bytearray(), bytearray()
        self.status: int | None = None
        self.name = name
        self._link, self._number = link, number
        self._failed = ""

    def take(self, said: Said) -> None:
        data = base64.b64decode(said.data)
        match said.event:
            case "out":
                self.stdout += data
            case "err":
                self.stderr += data
            case "exit":
                self.status = said.status
            case _:
                self._failed = data.decode()

    async def until(self, look: Callable[[], bool], what: str, limit_s: float = LIMIT_S) -> None:
        """Returns once `look` is true. MachineError when it is not in time, or the program ended without it."""

        def seen() -> bool | None:
            if look():
                return True
            if self._failed:
                raise MachineError(f"{self.name}: {self._failed}")
            if self.status is not None:
                raise MachineError(f"{self.name} ended with {self.status} before {what}: {self.words()}")
            return None

        try:
            await self._link.bell.until(seen, what, limit_s)
        except MachineError as error:
            raise MachineError(f"{error}; {self.name} said: {self.words()}") from None

    async def until_says(self, text: str, limit_s: float = LIMIT_S) -> None:
        """Returns once the text is in its standard output."""
        await self.until(lambda: text.encode() in self.stdout, repr(text), limit_s)

    def words(self) -> str:
        """The end of what it said, for people."""
        return (self.stdout[-2000:] + self.stderr[-2000:]).decode(errors="replace")

    async def send(self, data: bytes) -> None:
        """To its standard input; returns before it is read."""
        for at in range(0, len(data), CHUNK_BYTES):
            packed = base64.b64encode(data[at : at + CHUNK_BYTES]).decode()
            await self._link.order({"id": self._number, "do": "input", "data": packed})

    async def end_input(self) -> None:
        await self._link.order({"id": self._number, "do": "end-input"})

    async def signal(self, number: signal.Signals) -> None:
        """To it and all that it started in its session's first process group."""
        await self._link.order({"id": self._number, "do": "signal", "number": int(number)})

    async def wait(self, limit_s: float = LIMIT_S) -> Finished:
        """Its end, and that of whatever else holds its outputs."""
        await self.until(lambda: self.status is not None, "its end", limit_s)
        assert self.status is not None
        return Finished(self.status, self.stdout.decode(errors="replace"), self.stderr.decode(errors="replace"))


class Link:
    """One connection to the agent; it breaks when the machine ends."""

    def __init__(self) -> None:
        self.bell = Bell()
        self.ready = False
        self._programs: dict[int, Program] = {}
        self._numbers = itertools.count(1)
        self._lines = Lines(Said, self._take, lambda: self.bell.breaks("the machine ended"))

    async def connect(self, side: socket.socket) -> None:
        await self._lines.connect(side)

    def _take(self, said: Said) -> None:
        if said.event == "ready":
            self.ready = True
        elif (program := self._programs.get(said.id)) is not None:
            program.take(said)
        self.bell.ring()

    async def order(self, message: Json) -> None:
        await self._lines.send(message)

    async def start(self, argv: Sequence[str], size: tuple[int, int] | None = None) -> Program:
        """Started, or soon; under a terminal of that size (rows, columns) if one is given."""
        number = next(self._numbers)
        program = self._programs[number] = Program(self, number, argv[0])
        terminal: Json = None if size is None else [size[0], size[1]]
        words: list[Json] = list(argv)
        await self.order({"id": number, "do": "start", "argv": words, "terminal": terminal})
        return program

    async def close(self) -> None:
        await self._lines.close()
