"""`udevadm monitor` in the machine -> its events as they come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from machine.bell import LIMIT_S
from machine.link import Program


@dataclass(frozen=True, slots=True)
class UEvent:
    """What udev told its listeners about one device; `properties` as udev names them."""

    action: str
    devname: str
    properties: dict[str, str]


class UEvents:
    """All since the listener was there."""

    def __init__(self, program: Program) -> None:
        self._program = program

    async def listening(self) -> None:
        """Nothing is missed after this."""
        await self._program.until_says("UDEV - the event which udev sends out")

    def all(self) -> list[UEvent]:
        """Those that have come so far, in order."""
        blocks = self._program.stdout.decode(errors="replace").split("\n\n")[1:-1]
        found = []
        for block in blocks:
            properties = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            found.append(UEvent(properties.get("ACTION", ""), properties.get("DEVNAME", ""), properties))
        return found

    async def one(self, fits: Callable[[UEvent], bool], what: str, limit_s: float = LIMIT_S) -> UEvent:
        """The first that fits, come or to come."""
        await self._program.until(lambda: any(fits(event) for event in self.all()), what, limit_s)
        return next(event for event in self.all() if fits(event))
