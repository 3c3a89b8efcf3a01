"""The store -> the parts of it that a worker is handed, as open descriptors."""

from __future__ import annotations

from dataclasses import dataclass

from ntt.store.layout import StoreLayout
from ntt.store.packs import open_pack
from ntt.store.plain import PlainBlobFile


@dataclass(frozen=True, slots=True)
class Depot:
    """Every call may raise StoreError, and waits for the disk."""

    layout: StoreLayout

    def open_pack(self, pack_id: int, at: int) -> int:
        return open_pack(self.layout, pack_id, at)

    def new_file(self, name: str) -> PlainBlobFile:
        return PlainBlobFile(self.layout, name)
