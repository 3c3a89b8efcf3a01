"""A program under a pseudo terminal: keys go in, and what a person would see comes out (pyte)."""

from __future__ import annotations

from collections.abc import Callable

import pyte

from machine.link import Link, Program

ROWS, COLUMNS = 24, 80


class Terminal:
    """`program.stdout` is what the program wrote, `lines()` what stands on the screen now."""

    def __init__(self, program: Program, rows: int, columns: int) -> None:
        self.program = program
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._shown = 0

    def lines(self) -> list[str]:
        """The rows from the top, without trailing spaces."""
        self._stream.feed(bytes(self.program.stdout[self._shown :]))
        self._shown = len(self.program.stdout)
        return [row.rstrip() for row in self._screen.display]

    def resized(self, rows: int, columns: int) -> None:
        """The person's side of it: what is written from now on is for a screen of this size."""
        self.lines()
        self._screen.resize(rows, columns)

    async def keys(self, text: str) -> None:
        """As typed: Enter is \\r, Ctrl-C is \\x03."""
        await self.program.send(text.encode())

    async def until_shows(self, text: str, limit_s: float = 60.0) -> list[str]:
        """The rows once one of them holds the text."""
        return await self.until(lambda rows: any(text in row for row in rows), f"{text!r} on the screen", limit_s)

    async def until(self, fits: Callable[[list[str]], bool], what: str, limit_s: float = 60.0) -> list[str]:
        await self.program.until(lambda: fits(self.lines()), what, limit_s)
        return self.lines()


async def open_terminal(link: Link, argv: tuple[str, ...], rows: int = ROWS, columns: int = COLUMNS) -> Terminal:
    return Terminal(await link.start(("env", "TERM=xterm-256color", *argv), (rows, columns)), rows, columns)
