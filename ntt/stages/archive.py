"""Image + map + manifest -> `<medium_hash>.tar.zst`: written, synced, read back, compared; then `archive_done`."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from ntt.db.archiving import ArchiveStamps
from ntt.db.connection import Database
from ntt.db.manifest import write_manifest
from ntt.db.media import Medium
from ntt.errors import MediumError
from ntt.model import AcceptedImage, Volume
from ntt.store.archives import read_members, written_archive
from ntt.store.layout import store_errors

IMAGE_NAME = "image.img"
MAP_NAME = "image.map"
CUE_NAME = "image.cue"
MANIFEST_NAME = "manifest.jsonl.zst"


@dataclass(frozen=True, slots=True)
class Archived:
    """The archive that was proven: its file, its size, and how many paths its manifest names."""

    path: Path
    size_bytes: int
    paths: int


class ArchiveStage:
    """Archives into `archive_dir`, at zstd `level`; `stall_s` without progress ends the attempt."""

    def __init__(self, database: Database, archive_dir: Path, level: int, stall_s: float) -> None:
        self._database = database
        self._archive_dir = archive_dir
        self._level = level
        self._stall_s = stall_s

    async def run(
        self,
        medium: Medium,
        volumes: tuple[Volume, ...],
        image: AcceptedImage,
        work: Path,
        advance: Callable[[int], None],
    ) -> Archived:
        """`work` is an empty folder of this run. `archive_done` is set when it returns.

        MediumError when what is read back is not what was archived, or not the image that was enumerated.
        """
        folder = work / medium.medium_hash
        folder.mkdir()
        names: list[str] = []
        paths = 0

        async def members() -> AsyncIterator[str]:
            nonlocal paths
            (folder / IMAGE_NAME).symlink_to(image.path.absolute())
            names.append(f"{medium.medium_hash}/{IMAGE_NAME}")
            yield names[-1]
            if medium.map_text is not None:
                with store_errors(folder):
                    (folder / MAP_NAME).write_bytes(medium.map_text.encode())
                names.append(f"{medium.medium_hash}/{MAP_NAME}")
                yield names[-1]
            if image.cue:  # where its tracks lie
                with store_errors(folder):
                    (folder / CUE_NAME).write_bytes(image.cue.encode())
                names.append(f"{medium.medium_hash}/{CUE_NAME}")
                yield names[-1]
            # made while the image is being compressed
            with store_errors(folder):
                paths = await write_manifest(self._database, medium, volumes, folder / MANIFEST_NAME)
            names.append(f"{medium.medium_hash}/{MANIFEST_NAME}")
            yield names[-1]

        target = self._archive_dir / f"{medium.medium_hash}.tar.zst"
        writing = written_archive(target, work, members(), self._level, self._stall_s, advance)
        try:
            async with writing as part:
                await self._compare(medium, folder, part.path, names)
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # the same medium may come again in this run
        await ArchiveStamps(self._database).prove_done(medium.id, str(target), part.size_bytes, medium.image_hash)
        return Archived(target, part.size_bytes, paths)

    async def _compare(self, medium: Medium, folder: Path, archive: Path, names: list[str]) -> None:
        """What the archive holds, read back, against the image's identity and the small files as they lie here."""
        found = {member.name: member.content_hash for member in await read_members(archive)}
        for name in names:
            path = folder / name.split("/", 1)[1]
            expected = medium.image_hash if path.name == IMAGE_NAME else blake3(path.read_bytes()).hexdigest()
            if found.get(name) != expected:
                what = "the image changed since it was enumerated" if path.name == IMAGE_NAME else f"{name} differs"
                raise MediumError(f"the archive read back is not what was archived: {what}", "run again")
        if set(found) != set(names):
            raise MediumError(f"the archive holds {len(found)} members instead of {len(names)}", "run again")


def archive_is_there(medium: Medium) -> bool:
    """Is the recorded archive still a file?"""
    return medium.archive_path is not None and Path(medium.archive_path).is_file()
