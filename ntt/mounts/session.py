"""Volumes that no reader opens -> folders to read them below, which nobody else sees, for as long as the session lasts.

One helper process makes and holds the mounts (`ntt.mounts.helper`) and hands over an open directory for each. When
the session ends, when the helper dies or when NTT is killed, mounts, loop devices, drivers and copies are gone.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from ntt.model import Route, TreeKind, Volume
from ntt.mounts.drivers import DRIVERS, Driver
from ntt.mounts.link import HelperGone, Link, helper
from ntt.mounts.machine import Machine, ask_machine
from ntt.mounts.messages import Answer, Task
from ntt.mounts.plan import MountLimits, Plan, mounted_bytes, plan, programs

__all__ = ["MountLimits", "MountSession", "Mounted", "Refused", "TreeKind", "mount_session"]

_EXT_FEATURES_AT, _EXT_NEEDS_RECOVERY = 1024 + 0x60, 4
_ELSEWHERE = "read it on a machine that knows it, or check a copy of the image with the file system's own tools"


@dataclass(frozen=True, slots=True)
class Mounted:
    """`how` says it for people; `root_fd` is an open directory, inheritable, closed when the session ends."""

    volume: int
    route: Route
    how: str
    root_fd: int
    kind: TreeKind
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """Every route that was tried, with its reason, and what would read the volume."""

    tried: tuple[str, ...]
    next_step: str


class MountSession:
    """Each volume is in `mounted` or in `refused`."""

    def __init__(
        self,
        image_fd: int,
        work: Path,
        machine: Machine,
        limits: MountLimits,
        volumes: Sequence[Volume],
        plans: Mapping[int, Plan],
    ) -> None:
        self.mounted: dict[int, Mounted] = {}
        self.refused: dict[int, Refused] = {}
        self._image_fd = image_fd
        self._work = work
        self._machine = machine
        self._limits = limits
        self._volumes = {volume.index: volume for volume in volumes}
        self._plans = plans
        self._stack = AsyncExitStack()
        self._link: Link | None = None

    async def reopen(self, index: int) -> Mounted | Refused:
        """The volume mounted (anew, when reading below it broke off); its former `root_fd` is closed."""
        self._forget(index)
        volume, way = self._volumes[index], self._plans[index]
        if not way.attempts:
            return self._refuse(index, ())
        try:
            answer, root_fd = await self._ask(Task(index, volume.offset_bytes, mounted_bytes(volume), way.attempts))
        except HelperGone as why:
            await self.close_helper()
            return self._refuse(index, (f"mount helper: {why}",))
        refusals = tuple(f"{way.attempts[at].how}: {why}" for at, why in enumerate(answer.refusals))
        if answer.stuck:
            refusals = (*refusals, f"{answer.stuck} processes hang in the kernel until this machine is restarted")
        if root_fd is None or answer.attempt is None:
            return self._refuse(index, refusals)
        done = way.attempts[answer.attempt]
        os.set_inheritable(root_fd, True)
        remarks = (*refusals, *answer.remarks, *self._journal(volume))
        mounted = Mounted(index, done.route, done.how, root_fd, done.kind, remarks)
        self.mounted[index] = mounted
        return mounted

    async def _ask(self, task: Task) -> tuple[Answer, int | None]:
        if self._link is None:
            self._link = await self._stack.enter_async_context(
                helper(self._image_fd, self._work, self._machine, self._limits)
            )
        return await self._link.ask(task)

    def _journal(self, volume: Volume) -> tuple[str, ...]:
        """ext4, "Super Block": s_feature_incompat, the bit that says the journal is needed."""
        if volume.fstype not in ("ext3", "ext4"):
            return ()
        flags = os.pread(self._image_fd, 4, volume.offset_bytes + _EXT_FEATURES_AT)
        needed = int.from_bytes(flags, "little") & _EXT_NEEDS_RECOVERY
        return ("its journal was not replayed: what was written last may be missing or incomplete",) if needed else ()

    def _refuse(self, index: int, tried: tuple[str, ...]) -> Refused:
        way = self._plans[index]
        self.refused[index] = Refused((*tried, *way.impossible), "; or ".join(way.steps) or _ELSEWHERE)
        return self.refused[index]

    def _forget(self, index: int) -> None:
        self.refused.pop(index, None)
        former = self.mounted.pop(index, None)
        if former is not None:
            os.close(former.root_fd)

    async def close_helper(self) -> None:
        """What it mounted is gone with it; the next question starts another."""
        self._link = None
        with anyio.CancelScope(shield=True):
            await self._stack.aclose()
        self._stack = AsyncExitStack()

    async def close(self) -> None:
        await self.close_helper()  # first: closing a directory below a driver that hangs may wait for it
        for index in tuple(self.mounted):
            self._forget(index)


@asynccontextmanager
async def mount_session(
    image_fd: int,
    image_bytes: int,
    volumes: Sequence[Volume],
    routes: Mapping[int, tuple[Route, ...]],
    work: Path,
    limits: MountLimits,
    drivers: Sequence[Driver] = DRIVERS,
) -> AsyncIterator[MountSession]:
    """Mounts each of the volumes by the first of its routes that works; `work` is a folder that may be written to.

    A volume that cannot be mounted is a value. MediumError when no folder or no helper can be had. The image is
    open for reading; its path does not matter. On leaving, nothing is left but what the kernel does not let go of.
    """
    machine = await ask_machine(programs(drivers))
    plans = {v.index: plan(v, routes[v.index], machine, image_bytes, limits, drivers) for v in volumes}
    session = MountSession(image_fd, work, machine, limits, volumes, plans)
    try:
        for volume in volumes:
            await session.reopen(volume.index)
        yield session
    finally:
        await session.close()
