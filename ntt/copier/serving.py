"""The worker's side of copying: batches in, hashes out; the new ones into the pack, durable, then said so."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

from ntt.copier.messages import Batch, FromWorker, Hashed, Keep, Kept, Read, StoreFailed, ToWorker
from ntt.copier.reading import BatchReader, Content, LargeFile
from ntt.errors import StoreError


class Pack(Protocol):
    pack_id: int
    end: int

    def append(self, blobs: Sequence[tuple[bytes, bytes]]) -> list[int]: ...

    def sync(self) -> None: ...

    def close(self) -> None: ...


class Keepable(LargeFile, Protocol):
    def keep(self) -> None: ...


class Server:
    """Answers `Batch` and `Keep`. Contents wait in memory (small) or in a temp file (large) for their `Keep`."""

    def __init__(
        self,
        reader: BatchReader,
        open_pack: Callable[[int, int], Pack],
        keep_large: Callable[[LargeFile], None],
    ) -> None:
        self._reader = reader
        self._open_pack = open_pack
        self._keep_large = keep_large
        self._pack: Pack | None = None
        self._waiting: OrderedDict[int, list[tuple[Read, Content]]] = OrderedDict()

    def answer(self, message: ToWorker) -> FromWorker:
        try:
            match message:
                case Batch():
                    found = list(self._reader.read(message))
                    self._waiting[message.number] = found
                    return Hashed(message.number, tuple(read for read, _ in found))
                case Keep():
                    return self._keep(message)
        except StoreError as error:
            return StoreFailed(str(error))

    def _keep(self, message: Keep) -> Kept:
        found = self._waiting.pop(message.number)
        new = set(message.new)
        small: list[tuple[bytes, bytes]] = []
        for index, (read, content) in enumerate(found):
            if isinstance(content, bytes):
                if index in new:
                    small.append((read.blob_hash, content))
            elif content is not None:
                if index in new:
                    self._keep_large(content)
                else:
                    content.discard()
        places = iter(self._append(small, message))
        offsets = tuple(next(places) if found[index][0].in_pack else -1 for index in message.new)
        return Kept(message.number, offsets, self._pack.end if self._pack else message.pack_at)

    def _append(self, small: list[tuple[bytes, bytes]], message: Keep) -> list[int]:
        if not small:
            return []
        if self._pack is None or self._pack.pack_id != message.pack_id:
            if self._pack is not None:
                self._pack.close()
            self._pack = self._open_pack(message.pack_id, message.pack_at)
        offsets = self._pack.append(small)
        self._pack.sync()
        return offsets
