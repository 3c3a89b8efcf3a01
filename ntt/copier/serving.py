"""The worker's side of copying: batches in, hashes out; the new ones into the pack, durable, then said so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ntt.copier.messages import Batch, FromWorker, Hashed, Keep, Kept, Read, StoreFailed, ToWorker
from ntt.copier.reading import BatchReader, Content, LargeFile
from ntt.errors import StoreError


class Pack(Protocol):
    def append(self, blobs: Sequence[tuple[bytes, bytes]]) -> None: ...

    def sync(self) -> None: ...

    def close(self) -> None: ...


class Closable(LargeFile, Protocol):
    def close(self) -> None: ...


class Server:
    """Answers `Batch` and `Keep`. Small contents wait in memory for their `Keep`.

    `take_pack` and `take_file` make something of the descriptor that comes with a message.
    """

    def __init__(self, reader: BatchReader, take_pack: Callable[[], Pack], take_file: Callable[[], Closable]) -> None:
        self._reader = reader
        self._take_pack = take_pack
        self._take_file = take_file
        self._pack: Pack | None = None
        self._waiting: dict[int, list[tuple[Read, Content]]] = {}

    def answer(self, message: ToWorker) -> FromWorker:
        try:
            match message:
                case Batch(with_file=True):
                    return Hashed(message.number, tuple(read for read, _ in self._read_large(message)))
                case Batch():
                    found = list(self._reader.read(message))
                    self._waiting[message.number] = found
                    return Hashed(message.number, tuple(read for read, _ in found))
                case Keep():
                    self._keep(message)
                    return Kept(message.number)
        except StoreError as error:
            return StoreFailed(str(error))

    def _read_large(self, message: Batch) -> list[tuple[Read, Content]]:
        file = self._take_file()
        try:
            return list(self._reader.read(message, file))
        finally:
            file.close()

    def _keep(self, message: Keep) -> None:
        found = self._waiting.pop(message.number)
        if message.with_pack:
            if self._pack is not None:
                self._pack.close()
            self._pack = self._take_pack()
        new = [found[index] for index in message.new]
        small = [(read.blob_hash, content) for read, content in new if content is not None]
        if small and self._pack is not None:
            self._pack.append(small)
            self._pack.sync()
