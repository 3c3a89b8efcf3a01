"""Whoever brings a medium to the stages, and what is told on the way: words only."""

from __future__ import annotations

from typing import Protocol

from ntt.imaging import Imaging
from ntt.model import Identity
from ntt.stages.recognise import Recognised


class Escort(Protocol):
    """Whoever brought a medium, and waits for what it lies in."""

    async def opened(self, imaging: Imaging) -> None:
        """It has an image, of which nothing may be read yet."""
        ...

    async def identified(self, identity: Identity) -> None:
        """What the image is; nothing is held yet: it may wait for another one that is the same."""
        ...

    async def recognised(self, found: Recognised) -> None:
        """The medium has its row."""
        ...

    async def source_done(self) -> None:
        """Image and map are durable and checked; the source is not read again in this run."""
        ...


class Once:
    """Says the last word once, however often it is said."""

    def __init__(self, escort: Escort) -> None:
        self._escort = escort
        self._is_done = False

    async def opened(self, imaging: Imaging) -> None:
        await self._escort.opened(imaging)

    async def identified(self, identity: Identity) -> None:
        await self._escort.identified(identity)

    async def recognised(self, found: Recognised) -> None:
        await self._escort.recognised(found)

    async def source_done(self) -> None:
        if not self._is_done:
            self._is_done = True
            await self._escort.source_done()


class Alone:
    """Nobody waits."""

    async def opened(self, imaging: Imaging) -> None:
        del imaging

    async def identified(self, identity: Identity) -> None:
        del identity

    async def recognised(self, found: Recognised) -> None:
        del found

    async def source_done(self) -> None:
        return
