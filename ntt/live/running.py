"""The board on a terminal, or as lines; the keyboard back to the watch. Nothing here can hold up or end work."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from io import StringIO

import anyio
from rich.console import Console

from ntt.board import Board, Command, Finished, Phase, Verdict
from ntt.live.desk import Desk, pressed, settled
from ntt.live.keys import Bursts, Decoder, Key, KeyKind
from ntt.live.lines import BoardLines, last_lines
from ntt.live.screen import BoardView, frame
from ntt.live.signals import Happened, terminal_signals
from ntt.live.terminal import Outlet, Terminal, writable

REDRAW_S = 0.25
REPAINT_S = 5.0  # all of it, in case something else wrote to the terminal
_PROBLEMS = frozenset((Verdict.PROBLEMS, Verdict.FAILED))


@asynccontextmanager
async def live_view(board: Board, send: Callable[[Command], None], *, bell: bool = False) -> AsyncIterator[None]:
    """Shows the board while the body runs, and gives `send` what the operator wants; `send` returns at once.

    A screen when standard error (else standard output) is a terminal in the foreground, lines to standard error
    otherwise and once the terminal is gone. `bell`: rings once when a medium is done, twice when there is a problem.
    To be used in the main thread, with stages whose clock is `time.monotonic`. On leaving the terminal is as it was
    before, and how all of it stands is said in lines. Takes SIGHUP: the work goes on.
    """
    name = os.environ.get("TERM", "")
    terminal = next(filter(None, (Terminal.behind(fd, name) for fd in (2, 1))), None)
    with writable(2) as lines:
        showing = _Showing(board, send, terminal, lines, bell=bell)
        try:
            with terminal_signals(showing.leave) as happened:
                showing.start()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(showing.draw, happened)
                    if terminal is not None:
                        tasks.start_soon(showing.listen, terminal)
                    try:
                        yield
                    finally:
                        tasks.cancel_scope.cancel()
        finally:
            showing.finish()


class _Showing:
    def __init__(
        self, board: Board, send: Callable[[Command], None], terminal: Terminal | None, lines: Outlet, *, bell: bool
    ) -> None:
        self._board = board
        self._send = send
        self._terminal = terminal
        self._lines = lines
        self._news = BoardLines()
        self._desk = Desk()
        self._wake = anyio.Event()
        self._canvas = Canvas(terminal, bells=Bells() if bell else None) if terminal is not None else None
        self._also_lines = terminal is None or not os.isatty(2)

    def start(self) -> None:
        if self._canvas is not None:
            self._canvas.enter()

    def leave(self) -> None:
        if self._terminal is not None:
            self._terminal.leave()

    def finish(self) -> None:
        """The last word, in lines; where lines were given all along only what is new."""
        now = time.monotonic()
        if self._terminal is not None:
            self._terminal.leave()
            self._terminal.close()
            self._terminal = None
        if self._also_lines:
            self._say(self._news.news(self._board, now))
        self._say(last_lines(self._board, now))

    async def draw(self, happened: Happened) -> None:
        """By its own clock, and after every key; the board never calls."""
        while True:
            self._desk = settled(self._desk, self._board)
            if happened.hung_up or (self._terminal is not None and self._terminal.gone):
                self._lose("the terminal is gone; the work goes on")
            if self._canvas is not None:
                self._draw_once(self._canvas, happened)
            if self._also_lines:
                self._say(self._news.news(self._board, time.monotonic()))
            self._lines.flush()
            with anyio.move_on_after(REDRAW_S):
                await self._wake.wait()
            self._wake = anyio.Event()

    def _draw_once(self, canvas: Canvas, happened: Happened) -> None:
        if happened.continued:
            happened.continued = False
            canvas.enter()
        try:
            canvas.draw(self._board, self._desk)
        except Exception as error:  # noqa: BLE001 - a screen that cannot be drawn must not end a rescue
            self._lose(f"the screen cannot be drawn, lines instead: {type(error).__name__}: {error}")

    def _lose(self, why: str) -> None:
        """From now on lines, wherever they go."""
        if self._canvas is not None:
            self._canvas = None
            self.leave()
            self._also_lines = True
            self._say([why])

    def _say(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._lines.write(f"{time.strftime('%H:%M:%S')} {line}\n".encode("utf-8", "backslashreplace"))

    async def listen(self, terminal: Terminal) -> None:
        """Keys, until there is no terminal any more."""
        decoder, bursts, last_s = Decoder(), Bursts(), 0.0
        while self._canvas is not None:
            waits = [wait for wait in (decoder.wait_s, bursts.wait_s(time.monotonic())) if wait is not None]
            data: bytes | None = b""
            with anyio.move_on_after(min(waits) if waits else None) as limit:
                await anyio.wait_readable(terminal.fd)
                data = terminal.read()
            if data is None:
                terminal.outlet.gone = True
                self._wake.set()
                return
            now = time.monotonic()
            if data:
                keys, last_s = decoder.feed(data), now
            else:
                keys = decoder.expired() if now - last_s >= (decoder.wait_s or 0.0) else []
            for key in bursts.feed(keys, now):
                self._press(key)
            if not data and not limit.cancelled_caught:
                await anyio.sleep(REDRAW_S)  # in the background: what is typed there is for others

    def _press(self, key: Key) -> None:
        if key.kind is KeyKind.REDRAW and self._canvas is not None:
            self._canvas.forget()
        self._desk, commands = pressed(self._desk, self._board, key)
        for command in commands:
            self._send(command)
        self._desk = settled(self._desk, self._board)
        self._wake.set()


class Bells:
    """How often the bell is still to ring; once per look, so that two are heard as two."""

    def __init__(self) -> None:
        self._finished: list[Finished] | None = None
        self._parked: set[str] = set()
        self._due = 0

    def ring(self, board: Board) -> bool:
        """Is it to ring now?"""
        known, self._finished = self._finished, list(board.finished)
        parked = {key for key, panel in board.panels.items() if panel.phase is Phase.PARKED}
        fresh = [medium for medium in board.finished if known is not None and medium not in known]
        bad = any(medium.verdict in _PROBLEMS for medium in fresh) or bool(parked - self._parked)
        self._parked = parked
        self._due = max(self._due, 2 if bad else 1 if fresh else 0)
        self._due -= 1
        ringing = self._due >= 0
        self._due = max(0, self._due)
        return ringing


class Canvas:
    """What is on a terminal now; only rows that have changed are written again, and only when it takes them."""

    def __init__(self, terminal: Terminal, *, bells: Bells | None) -> None:
        self._terminal = terminal
        self._bells = bells
        self._shown: list[str] = []
        self._size = (0, 0)
        self._painted_s = 0.0
        self._away = False
        self._console = Console(file=StringIO(), force_terminal=True, legacy_windows=False, width=80, height=24)
        self._plain = not (sys.stderr.encoding or "").lower().startswith("utf")

    def enter(self) -> None:
        """Takes the terminal; in the background as soon as it is in the foreground again."""
        self._away = not self._terminal.foreground
        if not self._away:
            self._terminal.enter()
        self.forget()

    def forget(self) -> None:
        self._shown = []

    def draw(self, board: Board, desk: Desk) -> None:
        outlet, size, now = self._terminal.outlet, self._terminal.size(), time.monotonic()
        if self._bells is not None and self._bells.ring(board):
            outlet.write(b"\a")
        outlet.flush()
        if self._away or not self._terminal.foreground:
            self.enter()
        if self._away or not outlet.idle:
            return
        whole = size != self._size or not self._shown or now - self._painted_s >= REPAINT_S
        self._size = size
        self._console.size = size
        view = BoardView(board, *size, now, desk, time.strftime("%H:%M:%S"), self._plain)
        rows = frame(view, self._console)
        pieces = ["\x1b[2J"] if size != self._size else []
        for at, text in enumerate(rows):
            if whole or at >= len(self._shown) or self._shown[at] != text:
                pieces.append(f"\x1b[{at + 1};1H\x1b[0m{text}\x1b[0m")
        if whole:
            self._painted_s = now
        self._shown = rows
        outlet.write("".join(pieces).encode("utf-8", "replace"))
