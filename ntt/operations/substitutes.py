"""Planned entries -> the same, a damaged content replaced by the one whole content that agrees with all that was read.

Only what is written to DEST changes: the catalogue goes on saying what was read from the medium.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import anyio.to_thread

from ntt.db.connection import Database
from ntt.db.paths import Key
from ntt.db.restoring import PlannedEntry
from ntt.db.troubles import Troubles
from ntt.names import printable
from ntt.operations.clean_copies import Copy, DamagedContent, copies_of, is_telling
from ntt.ranges import total
from ntt.store.layout import StoreLayout

SHORT = 8  # digits of a hash that people type


class Substitutes:
    """Looks for the clean copies of one medium's damaged files."""

    def __init__(self, database: Database, store: StoreLayout, medium_id: int) -> None:
        self._database = database
        self._store = store
        self._medium_id = medium_id

    async def put_in(self, entries: Sequence[PlannedEntry]) -> list[PlannedEntry]:
        """A damaged file without any, with several different, or with too little read to tell, stays as it is.

        The last two get a reason that says so.
        """
        keys = {(entry.volume, entry.ino) for entry in entries if entry.status == "d"}
        if not keys:
            return list(entries)
        damaged = {one.key: one for one in await self._damaged(keys)}
        copies = await copies_of(self._database, self._store, list(damaged.values()))
        return [
            await self._of(entry, damaged[entry.volume, entry.ino], copies[entry.volume, entry.ino])
            if (entry.volume, entry.ino) in damaged
            else entry
            for entry in entries
        ]

    async def _damaged(self, keys: set[Key]) -> list[DamagedContent]:
        found = await Troubles(self._database).damaged_contents(self._medium_id, keys)
        return [DamagedContent(key, blob, damaged) for key, (blob, damaged) in found.items()]

    async def _of(self, entry: PlannedEntry, damaged: DamagedContent, copies: Sequence[Copy]) -> PlannedEntry:
        contents = {copy.blob.id for copy in copies}
        if not contents:
            return entry
        if len(contents) > 1:
            return _kept(entry, f"{len(contents):,} different contents agree with what was read of it: none was taken")
        if not await anyio.to_thread.run_sync(is_telling, self._store, damaged.blob, damaged.damaged):
            return _kept(entry, "a content agrees, but what was read of it is one byte over and over: it was not taken")
        blob, holder = copies[0].blob, copies[0].holder
        read = blob.size_bytes - total(damaged.damaged)
        return dataclasses.replace(
            entry,
            status="c",
            blob_hash=blob.blob_hash,
            blob_size=blob.size_bytes,
            pack_id=blob.pack_id,
            pack_offset=blob.pack_offset,
            taken_from=f"as in medium {holder.medium_hash[:SHORT]}: {printable(holder.path)}, which agrees in all "
            f"{read:,} of {blob.size_bytes:,} bytes that could be read",
        )


def _kept(entry: PlannedEntry, why: str) -> PlannedEntry:
    return dataclasses.replace(entry, reason=f"{entry.reason or 'parts could not be read from the medium'}; {why}")
