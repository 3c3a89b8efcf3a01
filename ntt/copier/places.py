"""Contents of one worker -> their places in the store: a pack that it appends to, or a file of its own each.

The store is opened here, in NTT itself; a worker gets descriptors that are good for nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from anyio import to_thread

from ntt.model import PackFull


class BlobFile(Protocol):
    """Where a large content is written to before it has a name. Its methods wait for the disk."""

    @property
    def fd(self) -> int: ...

    def keep(self, blob_hash: bytes, size_bytes: int) -> None: ...

    def discard(self) -> None: ...


class Depot(Protocol):
    """The store as far as workers are handed parts of it. StoreError; all of it waits for the disk."""

    def open_pack(self, pack_id: int, at: int) -> int:
        """A descriptor that only appends to the pack, from `at` on; what lay behind is gone."""
        ...

    def new_file(self, name: str) -> BlobFile: ...


class Link(Protocol):
    async def hand_over(self, fd: int) -> None: ...


@dataclass(slots=True)
class PackPlace:
    """Where the next content goes; `durable_end` is what the worker has confirmed. `fd`: once it was handed over."""

    pack_id: int
    end: int
    durable_end: int
    fd: int | None = None


class Packs:
    """The packs of one worker after another, one at a time."""

    def __init__(
        self, take_pack: Callable[[], Awaitable[tuple[int, int]]], open_pack: Callable[[int, int], int], limit: int
    ) -> None:
        self._take_pack = take_pack
        self._open_pack = open_pack
        self._limit_bytes = limit
        self._pack: PackPlace | None = None
        self._full: list[PackPlace] = []

    async def room(self, size_bytes: int) -> PackPlace:
        """The pack that so much more goes to."""
        if self._pack is not None and self._pack.end + size_bytes > self._limit_bytes and self._pack.end:
            self._full.append(self._pack)
            self._pack = None
        while self._pack is None:
            pack_id, end = await self._take_pack()
            place = PackPlace(pack_id, end, end)
            if end and end + size_bytes > self._limit_bytes:
                self._full.append(place)
            else:
                self._pack = place
        return self._pack

    async def hand_over(self, pack: PackPlace, link: Link) -> bool:
        """True if the worker had not had it: its descriptor is on the way now."""
        if pack.fd is not None:
            return False
        pack.fd = await to_thread.run_sync(self._open_pack, pack.pack_id, pack.end)
        await link.hand_over(pack.fd)
        return True

    def confirm(self, pack_id: int, end: int) -> bool:
        """The worker says that the pack is durable up to `end`; False if it does not even reach that far."""
        for pack in (*self._full, self._pack):
            if pack is not None and pack.pack_id == pack_id:
                if pack.fd is not None and not end <= os.fstat(pack.fd).st_size <= pack.end:
                    return False
                pack.durable_end = max(pack.durable_end, end)
        return True

    def filled(self, busy: Collection[int]) -> Sequence[PackFull]:
        """Those that nothing more goes to, but for the ones with contents under way; each is told once."""
        done = [pack for pack in self._full if pack.pack_id not in busy]
        for pack in done:
            self._full.remove(pack)
            _close(pack)
        return [PackFull(pack.pack_id, pack.durable_end) for pack in done]

    def take_back(self) -> None:
        """The worker is gone: the pack is back at its last durable end, and no descriptor is left open."""
        for pack in (*self._full, self._pack):
            if pack is not None:
                _close(pack)
                pack.end = pack.durable_end
        self._full.clear()


def _close(pack: PackPlace) -> None:
    if pack.fd is not None:
        os.close(pack.fd)
        pack.fd = None
