"""A database that is lost, or lost its blobs -> the catalogue again, from the store and the archives."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ntt.db.connection import Database
from ntt.db.repairing import Repairing
from ntt.db.schema import catalogue_mark
from ntt.db.undo import UndoFile
from ntt.errors import StoreError
from ntt.operations.from_archives import Revived, from_archives
from ntt.operations.reindexing import Reindexer
from ntt.operations.repair import Workshop
from ntt.store.layout import StoreLayout
from ntt.store.mending import adopt


class RebuildReport(msgspec.Struct, frozen=True):
    """`contents` and `packs` are in the catalogue now, `rotten` contents are not what their names say.

    `media` are in the catalogue again; those of `waiting` lack the contents of that many files.
    """

    contents: int
    packs: int
    rotten: tuple[str, ...]
    media: tuple[str, ...]
    waiting: dict[str, int]
    refusals: tuple[str, ...]

    @property
    def clean(self) -> bool:
        return not (self.rotten or self.waiting or self.refusals)


async def rebuild(shop: Workshop, *, archives: bool, advance: Callable[[int], None]) -> RebuildReport:
    """The store's contents into the catalogue; with `archives` its media, too. What is there stays as it is."""
    undo = UndoFile(shop.settings.home / "undo", "reindex")
    try:
        reindexer = Reindexer(shop.database, shop.store, Repairing(shop.database, undo))
        await reindexer.everything(advance)
    finally:
        undo.close()
    async with shop.database.connection() as connection:
        await connection.execute("ANALYZE blob")
    revived = Revived()
    if archives:
        revived = await from_archives(shop.database, shop.settings.archive_dir, shop.work, advance)
    done = reindexer.done
    return RebuildReport(
        contents=len(done.taken),
        packs=len(done.packs),
        rotten=tuple(done.rotten),
        media=tuple(revived.media),
        waiting=revived.waiting,
        refusals=tuple(revived.refusals),
    )


async def require_own_store(database: Database, store: StoreLayout, *, may_adopt: bool) -> None:
    """StoreError where the store is another catalogue's, or not there; an empty catalogue may take it over."""
    async with database.connection() as connection:
        mark, has_contents = await catalogue_mark(connection)
        empty = not has_contents and not await connection.fetchval("SELECT EXISTS (SELECT FROM medium)")
    if may_adopt and empty:
        if not store.packs.is_dir() and not store.blobs.is_dir():
            raise StoreError(f"there is no store in {store.root}", "name the store with NTT_STORE or --home")
        adopt(store, mark)
        return
    store.prepare()
    store.belong_to(mark, has_contents=has_contents)
