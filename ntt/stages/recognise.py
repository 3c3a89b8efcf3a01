"""Identity -> the medium's row: known, a look-alike of a known one, without an identity of its own, or new."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio.from_thread
import anyio.to_thread
from blake3 import blake3

from ntt.db.connection import Database
from ntt.db.media import Media, Medium
from ntt.errors import MediumError
from ntt.identity import assigned_hash, look_alike_hash
from ntt.model import AcceptedImage, Identity
from ntt.names import storable
from ntt.ranges import Ranges, difference, intersection, total, within
from ntt.store.archives import pass_member

CHUNK_BYTES = 4 << 20


class Recognition(enum.StrEnum):
    """`known`: this very image is in the catalogue. `other_pass`: the same medium, read otherwise."""

    NEW = "new"
    KNOWN = "known"
    OTHER_PASS = "other_pass"
    LOOK_ALIKE = "look_alike"
    ASSIGNED = "assigned"


@dataclass(frozen=True, slots=True)
class Recognised:
    """The row of the medium, and a sentence where there is something to say about its identity."""

    medium_id: int
    recognition: Recognition
    remark: str = ""


class RecogniseStage:
    """Never merges two media: samples only find candidates, every byte that both passes read decides."""

    def __init__(self, database: Database, image_member: Callable[[Medium], str]) -> None:
        self._media = Media(database)
        self._image_member = image_member

    async def run(self, image: AcceptedImage, identity: Identity, human: str) -> Recognised:
        """The medium has a row when this returns. To be called with the image's lock held."""
        path = storable(str(image.path.absolute()))
        same = await self._media.with_image(identity.image_hash)
        if identity.informative and same:
            return await self._known(same[0], path, identity, image.map_text)
        resumed = [m for m in same if m.image_path == path and m.archive_done is None]
        if resumed:
            return Recognised(resumed[-1].id, Recognition.KNOWN, identity.why_assigned)
        if identity.informative:
            for candidate in await self._media.sharing_samples(identity.samples):
                if await self._agrees(image, identity, candidate):
                    return _other_pass(identity, candidate)
        return await self._new(identity, human, path, image.map_text)

    async def _known(self, medium: Medium, path: str, identity: Identity, map_text: str | None) -> Recognised:
        if identity.unread != medium.unread:
            then, now = f"{medium.unread_bytes:,}", f"{identity.unread_bytes:,}"
            remark = f"this image is in the catalogue with {then} bytes unread by its map; now it is said to be {now}"
            return Recognised(medium.id, Recognition.OTHER_PASS, remark)
        if medium.image_path is None or not Path(medium.image_path).exists():
            await self._media.take_image(medium.id, path, identity, map_text)
        return Recognised(medium.id, Recognition.KNOWN)

    async def _new(self, identity: Identity, human: str, path: str, map_text: str | None) -> Recognised:
        if identity.sample_hash is None:
            recognition, medium_hash = Recognition.ASSIGNED, assigned_hash()
            kind, remark = "assigned", f"{identity.why_assigned}; it got an assigned id"
        elif await self._media.exists(identity.sample_hash):
            recognition, medium_hash = (
                Recognition.LOOK_ALIKE,
                look_alike_hash(identity.sample_hash, identity.image_hash),
            )
            kind = "look-alike"
            remark = f"it looks like medium {identity.sample_hash[:8]} at every sample, but its content differs"
        else:
            recognition, medium_hash, kind, remark = Recognition.NEW, identity.sample_hash, "natural", ""
        medium_id = await self._media.create(medium_hash, kind, human, path, identity, map_text)
        return Recognised(medium_id, recognition, remark)

    async def _agrees(self, image: AcceptedImage, identity: Identity, candidate: Medium) -> bool:
        """Do all bytes agree that were read both times? False where the former pass is no longer to be had."""
        both = _both_read(identity, candidate)
        if not both or (not identity.unread and not candidate.unread):
            return False  # two whole passes with different hashes are two media
        if candidate.image_path is not None and Path(candidate.image_path).is_file():
            former = Path(candidate.image_path)
            agree = await anyio.to_thread.run_sync(_files_agree, image.fd, former, both, candidate.image_hash)
            if agree is not None:
                return agree
        if candidate.archive_path is not None and Path(candidate.archive_path).is_file():
            comparison = _Comparison(image.fd, both)
            try:
                await pass_member(Path(candidate.archive_path), self._image_member(candidate), comparison.take)
            except MediumError:
                return False
            return comparison.agrees
        return False


def _both_read(identity: Identity, candidate: Medium) -> Ranges:
    mine = difference(((0, identity.claimed_bytes),), identity.unread)
    return intersection(mine, difference(((0, candidate.claimed_bytes),), candidate.unread))


def _other_pass(identity: Identity, medium: Medium) -> Recognised:
    gained = total(difference(medium.unread, identity.unread))
    lost = total(difference(identity.unread, medium.unread))
    gained -= max(0, medium.claimed_bytes - identity.claimed_bytes)
    return Recognised(
        medium.id,
        Recognition.OTHER_PASS,
        f"another pass over medium {medium.medium_hash[:8]}: it has {max(0, gained):,} bytes that were unread then, "
        f"and lacks {lost:,} that were read",
    )


class _Comparison:
    """Takes the former image's bytes in order and compares them with the image's."""

    def __init__(self, fd: int, both_read: Ranges) -> None:
        self._fd = fd
        self._both_read = both_read
        self._at = 0
        self.agrees = True

    def take(self, chunk: bytes) -> None:
        for start, end in within(self._both_read, self._at, self._at + len(chunk)):
            if os.pread(self._fd, end - start, start) != chunk[start - self._at : end - self._at]:
                self.agrees = False
        self._at += len(chunk)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _files_agree(fd: int, former: Path, both_read: Ranges, former_hash: str) -> bool | None:
    """None where the file is not the former pass any more: images are often made anew under the same name."""
    comparison, hasher = _Comparison(fd, both_read), blake3()
    try:
        for chunk in _chunks(former):
            anyio.from_thread.check_cancelled()
            hasher.update(chunk)
            comparison.take(chunk)
    except OSError:
        return None
    return comparison.agrees if hasher.hexdigest() == former_hash else None
