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
from ntt.identity import INFORMATIVE_SECTORS, SECTOR_BYTES, assigned_hash, is_informative, look_alike_hash
from ntt.model import AcceptedImage, Identity
from ntt.names import printable, storable
from ntt.ranges import Ranges, difference, intersection, total, within
from ntt.store.archives import pass_member

CHUNK_BYTES = 4 << 20
START_BYTES = 64 << 10  # or a quarter of a small medium: there all media look alike that were formatted alike
Whose = Callable[[Path], str | None]  # the medium that an image of NTT's own is of


class Recognition(enum.StrEnum):
    """`known`: this very image is in the catalogue. `other_pass`: the same medium, read otherwise."""

    NEW = "new"
    KNOWN = "known"
    OTHER_PASS = "other_pass"
    LOOK_ALIKE = "look_alike"
    ASSIGNED = "assigned"


@dataclass(frozen=True, slots=True)
class Recognised:
    """The row of the medium, and a sentence where there is something to say about its identity.

    `guess`: that it is another pass over this medium, only what both have read tells; by how much.
    """

    medium_id: int
    recognition: Recognition
    remark: str = ""
    guess: str = ""


@dataclass(frozen=True, slots=True)
class _Other:
    """A medium that agrees with an image in all that both have read; `objection`: why they may be two all the same."""

    medium: Medium
    both_bytes: int
    objection: str = ""


class RecogniseStage:
    """Samples only find candidates, every byte that both passes read decides, and too few of them decide nothing."""

    def __init__(self, database: Database, image_member: Callable[[Medium], str]) -> None:
        self._media = Media(database)
        self._image_member = image_member

    async def run(
        self, image: AcceptedImage, identity: Identity, human: str, label: str | None, whose: Whose
    ) -> Recognised:
        """The medium has a row when this returns. To be called with the image's lock held.

        `human`: what people will call it, `label`: if that is what they said.
        """
        path = storable(str(image.path.absolute()))
        same = await self._media.with_image(identity.image_hash)
        if identity.informative and same:
            return await self._known(same[0], path, identity, image.map_text, whose)
        resumed = [m for m in same if m.image_path == path and m.archive_done is None]
        if resumed:
            return Recognised(resumed[-1].id, Recognition.KNOWN, identity.why_assigned)
        others = await self._others(image, identity, label, whose) if identity.informative else []
        if len(others) == 1 and not others[0].objection:
            return _other_pass(identity, others[0])
        return await self._new(identity, human, path, image.map_text, _doubt(others))

    async def _others(self, image: AcceptedImage, identity: Identity, label: str | None, whose: Whose) -> list[_Other]:
        """Media of which it may be another pass."""
        found = []
        for candidate in await self._media.sharing_samples(identity.samples):
            comparison = await self._compared(image, identity, candidate, whose)
            if comparison is None or not comparison.agrees:
                continue
            labels = await self._media.labels(candidate.id) if label is not None else ()
            objection = ""
            if not comparison.tells:
                objection = "which is too little to tell two media apart that were formatted alike"
            elif labels and label not in labels:
                objection = f"but that one is called {printable(labels[0])}"
            found.append(_Other(candidate, total(comparison.both_read), objection))
        return found

    async def _known(
        self, medium: Medium, path: str, identity: Identity, map_text: str | None, whose: Whose
    ) -> Recognised:
        if identity.unread != medium.unread:
            then, now = f"{medium.unread_bytes:,}", f"{identity.unread_bytes:,}"
            remark = f"this image is in the catalogue with {then} bytes unread by its map; now it is said to be {now}"
            return Recognised(medium.id, Recognition.OTHER_PASS, remark)
        if path != medium.image_path and not await is_intact(medium, whose):
            await self._media.take_image(medium.id, path, identity, map_text)
        return Recognised(medium.id, Recognition.KNOWN)

    async def _new(self, identity: Identity, human: str, path: str, map_text: str | None, doubt: str) -> Recognised:
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
        return Recognised(medium_id, recognition, "; ".join(filter(None, (remark, doubt))))

    async def _compared(
        self, image: AcceptedImage, identity: Identity, candidate: Medium, whose: Whose
    ) -> _Comparison | None:
        """None where there is nothing to compare: the former pass is no longer to be had, or both are whole."""
        both = intersection(_read(identity), _read(candidate))
        if not both or (not identity.unread and not candidate.unread):
            return None  # two whole passes with different hashes are two media
        start_bytes = min(START_BYTES, min(identity.claimed_bytes, candidate.claimed_bytes) // 4)
        if candidate.image_path is not None and Path(candidate.image_path).is_file():
            former = Path(candidate.image_path)
            comparison = _Comparison(image.fd, both, start_bytes)
            # of an image of NTT's own more may have been read since it was hashed
            former_hash = None if whose(former) == candidate.medium_hash else candidate.image_hash
            if await anyio.to_thread.run_sync(_compare, former, comparison, former_hash):
                return comparison
        if candidate.archive_path is not None and Path(candidate.archive_path).is_file():
            comparison = _Comparison(image.fd, both, start_bytes)
            try:
                await pass_member(Path(candidate.archive_path), self._image_member(candidate), comparison.take)
            except MediumError:
                return None
            return comparison
        return None


async def is_intact(medium: Medium, whose: Whose) -> bool:
    """Is the medium's image still what was loaded? A user's file is read for that; NTT knows its own."""
    if medium.image_path is None:
        return False
    path = Path(medium.image_path)
    if not path.is_file():
        return False
    return whose(path) == medium.medium_hash or await anyio.to_thread.run_sync(_hash_of, path) == medium.image_hash


def _hash_of(path: Path) -> str | None:
    hasher = blake3()
    try:
        for chunk in _chunks(path):
            anyio.from_thread.check_cancelled()
            hasher.update(chunk)
    except OSError:
        return None
    return hasher.hexdigest()


def _read(of: Identity | Medium) -> Ranges:
    return difference(((0, of.claimed_bytes),), of.unread)


def _other_pass(identity: Identity, other: _Other) -> Recognised:
    medium = other.medium
    gained = total(difference(_read(identity), _read(medium)))
    lost = total(difference(_read(medium), _read(identity)))
    guess = (
        f"that it is medium {medium.medium_hash[:8]} is a guess: nothing but the {other.both_bytes:,} bytes that both "
        "passes have read, and that are the same, tells so"
    )
    remark = (
        f"another pass over medium {medium.medium_hash[:8]}: it has {gained:,} bytes that were unread then, "
        f"and lacks {lost:,} that were read; {guess}"
    )
    return Recognised(medium.id, Recognition.OTHER_PASS, remark, guess)


def _doubt(others: list[_Other]) -> str:
    """Why it is not taken for one of these, if there are any."""
    if not others:
        return ""
    first = others[0]
    name = f"{first.medium.medium_hash[:8]} ({printable(first.medium.human)})"
    why = first.objection or f"but so it does with {len(others) - 1} more"
    return (
        f"it agrees with medium {name} in the {first.both_bytes:,} bytes that both have read, {why}; if it is the "
        f"same, ingest it with `--same-as {first.medium.medium_hash[:8]}`"
    )


class _Comparison:
    """Takes the former image's bytes in order and compares them with the image's.

    `tells`: enough of what agrees lies behind `start_bytes` and is not empty.
    """

    def __init__(self, fd: int, both_read: Ranges, start_bytes: int) -> None:
        self._fd = fd
        self._start_bytes = start_bytes
        self._at = 0
        self._informative = 0
        self.both_read = both_read
        self.agrees = True

    @property
    def tells(self) -> bool:
        return self._informative >= INFORMATIVE_SECTORS

    def take(self, chunk: bytes) -> None:
        for start, end in within(self.both_read, self._at, self._at + len(chunk)):
            piece = chunk[start - self._at : end - self._at]
            if os.pread(self._fd, end - start, start) != piece:
                self.agrees = False
            first = max(start, self._start_bytes)
            self._count(piece[first + -first % SECTOR_BYTES - start :] if first < end else b"")
        self._at += len(chunk)

    def _count(self, content: bytes) -> None:
        for at in range(0, len(content) - SECTOR_BYTES + 1, SECTOR_BYTES):
            if self.tells:
                return
            self._informative += is_informative(content[at : at + SECTOR_BYTES])


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _compare(former: Path, comparison: _Comparison, former_hash: str | None) -> bool:
    """False where the file is not the former pass any more: images are often made anew under the same name."""
    hasher = blake3()
    try:
        for chunk in _chunks(former):
            anyio.from_thread.check_cancelled()
            if former_hash is not None:
                hasher.update(chunk)
            comparison.take(chunk)
    except OSError:
        return False
    return former_hash is None or hasher.hexdigest() == former_hash
