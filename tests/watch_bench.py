"""A watch whose drives are files: what lies in a drive is where its link points; the rest of it is real."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from catalogue import Catalogue
from media_images import noise

from ntt.app_watch import watch
from ntt.board import Board, Command, Finished, Panel, Phase, Wish
from ntt.config import Settings
from ntt.drives import Disc, DiscKind, Drive, DriveEvent, DriveKind, Insertion, Release, Removal, Track
from ntt.watch.audio import Ripped
from ntt.watch.hall import Machine
from ntt.watch.options import WatchOptions

LIMIT_S = 60.0
LOOK_S = 0.01


@dataclass
class Bench:
    """A running watch. `ejected`: the drives that were opened, in order."""

    folder: Path
    board: Board = field(default_factory=Board)
    ejected: list[str] = field(default_factory=list)
    discs: dict[str, Disc] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    unreadable: set[int] = field(default_factory=set)
    status: int | None = None
    events: MemoryObjectSendStream[DriveEvent] | None = None
    commands: MemoryObjectSendStream[Command] | None = None
    insertions: int = 0

    def drive(self, name: str) -> Drive:
        return Drive(self.folder / name, DriveKind.OPTICAL, name, f"Drive {name}")

    def panel(self, name: str) -> Panel:
        return self.board.panels[name]

    async def insert(self, name: str, image: Path) -> None:
        drive = self.drive(name)
        drive.node.unlink(missing_ok=True)
        drive.node.symlink_to(image.absolute())
        self.insertions += 1
        assert self.events is not None
        await self.events.send(Insertion(drive, self.insertions))

    async def remove(self, name: str) -> None:
        drive = self.drive(name)
        drive.node.unlink(missing_ok=True)
        assert self.events is not None
        await self.events.send(Removal(drive, pulled=False))

    async def wish(self, wish: Wish, name: str = "", text: str = "") -> None:
        assert self.commands is not None
        await self.commands.send(Command(wish, name, text))

    async def finished(self, number: int) -> Finished:
        """The medium that ended as the `number`th."""
        await self.until(lambda: len(self.board.finished) >= number)
        return self.board.finished[number - 1]

    async def phase(self, name: str, phase: Phase) -> Panel:
        await self.until(lambda: name in self.board.panels and self.panel(name).phase is phase)
        return self.panel(name)

    async def until(self, true: Callable[[], bool]) -> None:
        """Until a condition of the board holds; its state is told when that takes too long."""
        with anyio.move_on_after(LIMIT_S):
            while not true():  # noqa: ASYNC110
                await anyio.sleep(LOOK_S)  # a board tells nobody: the screen looks at it, too
            return
        raise AssertionError(f"not within {LIMIT_S:.0f} s: {self.board}")

    # what a real machine would do

    async def _triage(self, drive: Drive) -> Disc:
        return self.discs.get(drive.key, Disc(DiscKind.DATA))

    async def _eject(self, drive: Drive) -> Release:
        drive.node.unlink(missing_ok=True)
        self.ejected.append(drive.key)
        self.held.discard(drive.key)
        return Release.TRAY_OPEN

    async def _hold(self, drive: Drive, locked: bool) -> None:
        if locked:
            self.held.add(drive.key)
        else:
            self.held.discard(drive.key)

    async def _rip(self, drive: Drive, track: Track, target: Path, show: Callable[[int], None]) -> Ripped:
        if track.number in self.unreadable:
            return Ripped(track, None, "not a sector could be read", "clean the disc")
        target.write_bytes(b"RIFF" + noise(track.sectors * 2352, track.number))
        show(track.sectors)
        return Ripped(track, target, "", "")

    @property
    def machine(self) -> Machine:
        return Machine(self._triage, self._eject, self._hold, self._rip)


@asynccontextmanager
async def watching(
    home: Path, database_url: str, folder: Path, options: WatchOptions | None = None, settings: Settings | None = None
) -> AsyncIterator[tuple[Bench, Catalogue]]:
    """A watch that runs for the body, and is then asked to quit; it ends by itself."""
    folder.mkdir(exist_ok=True)
    bench = Bench(folder)
    send, events = anyio.create_memory_object_stream[DriveEvent](100)
    order, commands = anyio.create_memory_object_stream[Command](100)
    bench.events, bench.commands = send, order
    settings = settings or Settings(home=home, database_url=database_url)

    @asynccontextmanager
    async def drives() -> AsyncIterator[MemoryObjectReceiveStream[DriveEvent]]:
        yield events

    async def run() -> None:
        bench.status = await watch(settings, options or WatchOptions(), bench.board, bench.machine, drives, commands)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        yield bench, Catalogue(home, database_url)
        if bench.status is None:
            await bench.wish(Wish.QUIT)
            await bench.until(lambda: bench.status is not None)
    for stream in (send, events, order, commands):
        stream.close()
