"""An archive that was read back -> `archive_done`."""

from __future__ import annotations

from ntt.db.connection import Database
from ntt.db.stamps import stamp_archived
from ntt.errors import MediumError


class ArchiveStamps:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def prove_done(self, medium_id: int, path: str, size_bytes: int, read_back_image_hash: str) -> None:
        """MediumError unless copying is done and the image in the archive is the one that was enumerated."""
        async with self._database.connection() as connection:
            done = await stamp_archived(connection, medium_id, path, size_bytes, read_back_image_hash)
        if not done:
            raise MediumError("the archive does not hold the image that was enumerated", "run the same command again")
