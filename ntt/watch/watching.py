"""Drive events and the operator's commands -> every drive at work on its own, and a queue for what needs no drive.

A drive that is slow or hangs delays nobody else: each has a task, and what is asked of a drive has a time limit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from ntt.board import Command, Panel, Queued, Wish
from ntt.drives import Drive, DriveEvent
from ntt.errors import DatabaseError, MediumError
from ntt.model import Order
from ntt.watch.hall import Hall
from ntt.watch.jobs import Job
from ntt.watch.one_drive import OneDrive

EVENTS = 32  # of one drive that waits for its turn
SETTLE_S = 60.0  # with --once: how long to wait for a medium where none is in yet: a bad one spins up for long
ROOMS_EVERY_S = 5.0
ANSWER_LIMIT_S = 10.0


class Watching:
    """Routes events to drives. `unfinished`: images of earlier runs whose drive is not needed any more."""

    def __init__(self, hall: Hall, unfinished: Sequence[tuple[str, Order]]) -> None:
        self._hall = hall
        self._unfinished = unfinished
        self._drives: dict[str, OneDrive] = {}
        self._events: dict[str, MemoryObjectSendStream[DriveEvent]] = {}

    async def run(self, events: MemoryObjectReceiveStream[DriveEvent], commands: AsyncIterator[Command]) -> None:
        """Until the operator quits, the store or the database fails, or, with `once`, all that was inserted is done."""
        async with anyio.create_task_group() as drives, anyio.create_task_group() as background:
            for title, order in self._unfinished:
                background.start_soon(self._go_on, title, order)
            drives.start_soon(self._obey, commands, background)
            drives.start_soon(self._route, events, drives, background)
            drives.start_soon(self._look_at_rooms)
            await self._until_done()
            for stream in self._events.values():
                stream.close()
            drives.cancel_scope.cancel()

    async def _until_done(self) -> None:
        """Nothing runs any more, and nothing new is to come."""
        hall = self._hall
        if hall.options.once:
            with anyio.move_on_after(SETTLE_S) as settling:
                while not (self._busy or hall.board.finished or hall.halted):
                    await hall.changed.wait()
            if settling.cancelled_caught and not hall.jobs:
                raise MediumError(f"no medium was inserted within {SETTLE_S:.0f} s", "`ntt devices` shows the drives")
        while not ((hall.halted or hall.options.once) and not hall.jobs and not self._busy):
            await hall.changed.wait()

    @property
    def _busy(self) -> bool:
        return any(drive.busy for drive in self._drives.values())

    async def _go_on(self, title: str, order: Order) -> None:
        """What an earlier run imaged and did not bring to its end."""
        hall = self._hall
        queued = Queued(title)
        hall.board.queue.append(queued)
        try:
            await hall.run(Job(title, queued, None, hall.note), order)
        finally:
            hall.board.queue.remove(queued)

    async def _route(
        self, events: MemoryObjectReceiveStream[DriveEvent], drives: TaskGroup, background: TaskGroup
    ) -> None:
        async for event in events:
            key = event.drive.key
            if key not in self._drives:
                self._add(event.drive, drives, background)
            # a drive that is busy and gets more events than fit holds up nobody: the newest state comes again
            try:
                self._events[key].send_nowait(event)
            except anyio.WouldBlock:
                self._hall.note(f"{event.drive.node}: too many events at once", problem=True)
            self._hall.nudge()

    def _add(self, drive: Drive, drives: TaskGroup, background: TaskGroup) -> None:
        panel = Panel(drive)
        self._hall.board.panels[drive.key] = panel
        self._drives[drive.key] = one = OneDrive(self._hall, panel, background)
        send, receive = anyio.create_memory_object_stream[DriveEvent](EVENTS)
        self._events[drive.key] = send
        drives.start_soon(one.run, receive)

    async def _obey(self, commands: AsyncIterator[Command], background: TaskGroup) -> None:
        async for command in commands:
            match command.wish:
                case Wish.QUIT:
                    self._hall.stop()
                case Wish.PAUSE | Wish.ENOUGH | Wish.EJECT | Wish.LABEL:
                    drive = self._drives.get(command.drive)
                    if drive is not None:
                        background.start_soon(_do, drive, command)

    async def _look_at_rooms(self) -> None:
        while True:
            self._hall.board.rooms = await anyio.to_thread.run_sync(self._hall.rooms.all)
            self._hall.board.database = await self._database_state()
            await anyio.sleep(ROOMS_EVERY_S)

    async def _database_state(self) -> str:
        database = self._hall.database
        started = anyio.current_time()
        try:
            with anyio.fail_after(ANSWER_LIMIT_S):
                async with database.connection() as connection:
                    await connection.execute("SELECT 1")
        except (TimeoutError, DatabaseError):
            return f"{database.where} gives no answer"
        return f"{database.where}, {1000 * (anyio.current_time() - started):.1f} ms"


async def _do(drive: OneDrive, command: Command) -> None:
    match command.wish:
        case Wish.PAUSE:
            drive.pause()
        case Wish.ENOUGH:
            drive.enough()
        case Wish.EJECT:
            await drive.eject()
        case Wish.LABEL:
            await drive.label(command.text)
        case Wish.QUIT:
            return
