"""Waiting without sleeping: whoever changes something rings, whoever waits looks again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")
LIMIT_S = 60.0


class MachineError(Exception):
    """What was waited for did not come, or the machine is gone; one line."""


class Bell:
    """Rung after every change; only within one event loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.broken = ""

    def ring(self) -> None:
        event, self._event = self._event, asyncio.Event()
        event.set()

    def breaks(self, why: str) -> None:
        """Nothing will come any more: every wait, now and later, ends with MachineError."""
        self.broken = self.broken or why
        self.ring()

    async def until(self, look: Callable[[], Found | None], what: str, limit_s: float = LIMIT_S) -> Found:
        """What `look` returns, once that is not None. MachineError says what was waited for when it does not come."""
        try:
            async with asyncio.timeout(limit_s):
                while (found := look()) is None:
                    if self.broken:
                        raise MachineError(f"waited for {what}: {self.broken}")
                    await self._event.wait()
                return found
        except TimeoutError:
            raise MachineError(f"waited {limit_s:g} s for {what}") from None
