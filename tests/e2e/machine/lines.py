"""A Unix socket that carries JSON, one document per line: QEMU's monitor and the agent both speak so."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeAlias, TypeVar

import msgspec

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Message = TypeVar("Message")
LINE_BYTES = 1 << 24


class Lines(Generic[Message]):
    """Each line goes to `take` as it comes; `ended` is called once when the other side is gone."""

    def __init__(self, kind: type[Message], take: Callable[[Message], None], ended: Callable[[], None]) -> None:
        self._decoder = msgspec.json.Decoder(kind)
        self._take, self._ended = take, ended
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    async def connect(self, side: socket.socket) -> None:
        reader, self._writer = await asyncio.open_unix_connection(sock=side, limit=LINE_BYTES)
        self._reading = asyncio.create_task(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._take(self._decoder.decode(line))
        except ConnectionError:
            pass
        finally:
            self._ended()

    async def send(self, message: Json) -> None:
        """MachineError is the reader's to tell; a line to one who is gone is lost."""
        assert self._writer is not None
        self._writer.write(msgspec.json.encode(message) + b"\n")
        with suppress(ConnectionError):
            await self._writer.drain()

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading
        if self._writer is not None:
            self._writer.close()
            with suppress(ConnectionError):
                await self._writer.wait_closed()
