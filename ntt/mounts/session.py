"""A volume that no reader opens -> a folder to read it below, for as long as the session lasts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ntt.model import Route, Volume


@dataclass(frozen=True, slots=True)
class MountLimits:
    """Seconds for one attempt on one volume."""

    attempt_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Mounted:
    """`how` says it for people; `root_fd` is an open directory, inheritable."""

    volume: int
    route: Route
    how: str
    root_fd: int
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """Every route that was tried, with its reason, and what would read the volume."""

    tried: tuple[str, ...]
    next_step: str


@dataclass(slots=True)
class MountSession:
    mounted: dict[int, Mounted] = field(default_factory=dict)
    refused: dict[int, Refused] = field(default_factory=dict)


@asynccontextmanager
async def mount_session(
    image_fd: int,
    image_bytes: int,
    volumes: Sequence[Volume],
    routes: Mapping[int, tuple[Route, ...]],
    work: Path,
    limits: MountLimits,
) -> AsyncIterator[MountSession]:
    yield MountSession({}, {volume.index: Refused((), "") for volume in volumes})
