"""Contents -> where NTT and a worker together would put them: a pack, or a file of their own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from blake3 import blake3

from ntt.store.layout import StoreLayout
from ntt.store.packs import PackWriter, member_bytes, open_pack
from ntt.store.plain import PlainBlobFile, PlainBlobWriter


class FilledPack:
    """A pack that one test writes; `end` is where the next content goes."""

    def __init__(self, store: StoreLayout, pack_id: int, at: int) -> None:
        self.pack_id = pack_id
        self.end = at
        self._writer = PackWriter(open_pack(store, pack_id, at), "the pack")

    def append(self, contents: Sequence[bytes]) -> list[int]:
        """The offset of each content."""
        self._writer.append([(blake3(content).digest(), content) for content in contents])
        offsets: list[int] = []
        for content in contents:
            offsets.append(self.end + member_bytes(0))
            self.end += member_bytes(len(content))
        return offsets

    def sync(self) -> None:
        self._writer.sync()

    def close(self) -> None:
        self._writer.close()


def plain_blob(store: StoreLayout, name: str, chunks: Iterable[bytes]) -> bytes:
    """A file of its own for the content; its hash."""
    file = PlainBlobFile(store, name)
    writer = PlainBlobWriter(os.dup(file.fd), "the file")
    for chunk in chunks:
        writer.write(chunk)
    file.keep(writer.digest(), writer.size_bytes)
    writer.close()
    return writer.digest()
