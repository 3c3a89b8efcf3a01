"""What NTT told of an image with bad sectors against the truth -> everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from damage_trial import File, Told
from damage_truth import Piece, TrueDirectory, TrueFile, TrueLink, Truth, lost_of

from ntt.model import OutcomeStatus, VolumeStatus
from ntt.ranges import Range, Ranges, difference, intersection, normalised, within


def complaints(truth: Truth, told: Told, bad: Ranges) -> list[str]:
    """Everything that is wrong with what was told when `bad` was not read; empty if it was told right."""
    return list(_Judge(truth, told, bad).all())


class _Judge:
    def __init__(self, truth: Truth, told: Told, bad: Ranges) -> None:
        self._truth = truth
        self._told = told
        self._bad = bad
        self._volume_lost = any(lost_of(record, bad) for record in truth.structures)
        self._lost = normalised(
            one
            for found in told.lost.values()
            for structure in found
            if not structure.spare
            for one in structure.ranges
        )

    def all(self) -> Iterator[str]:
        if not any(volume.status is VolumeStatus.READ for volume in self._told.volumes):
            if not self._volume_lost and not self._hit(self._truth.table):
                yield f"no volume was read: {[volume.finding for volume in self._told.volumes]}"
            return
        if any(self._told.failures.values()) and not self._volume_lost and not self._root_lost():
            yield f"a volume failed: {self._told.failures}"
        yield from self._listings()
        yield from self._missing()
        yield from self._structures()
        yield from self._account()

    def _hit(self, places: Iterable[Range]) -> bool:
        return bool(intersection(normalised(places), self._bad))

    def _root_lost(self) -> bool:
        return self._record_lost(self._truth.directories[b""])

    def _record_lost(self, thing: TrueFile | TrueDirectory | TrueLink) -> bool:
        return any(lost_of(record, self._bad) for record in thing.records)

    def _listings(self) -> Iterator[str]:
        for (_, path), file in self._told.files.items():
            truth = self._truth.files.get(path)
            if truth is not None:
                yield from self._file(path, truth, file)
            elif not self._may_be_of_any_type(path) or file.status is not OutcomeStatus.FAILED:
                yield f"{path!r} is listed and does not exist"
        for (_, path), target in self._told.links.items():
            link = self._truth.links.get(path)
            if link is None:
                yield f"link {path!r} is listed and does not exist"
            elif target and target != link.target:
                yield f"link {path!r} was told as {target!r}"
            elif not target and not self._hit(link.stored) and not self._record_lost(link):
                yield f"link {path!r} was told without its target"
        known = self._truth.directories
        yield from (f"directory {one!r} does not exist" for one in self._told.directories.values() if one not in known)

    def _may_be_of_any_type(self, path: bytes) -> bool:
        """What it is, its lost record would have told."""
        thing = self._truth.directories.get(path) or self._truth.links.get(path)
        return thing is not None and self._record_lost(thing)

    def _file(self, path: bytes, truth: TrueFile, file: File) -> Iterator[str]:
        expected = normalised(one for piece in truth.pieces for one in self._damage(piece))
        stored = normalised((piece.file_offset, piece.file_offset + piece.length) for piece in truth.pieces)
        where = f"{path!r}, {file.status} {file.damaged} ({file.reason})"
        if intersection(file.unread, self._bad) != file.unread:
            yield f"{where}: told as unread what was read: {file.unread}"
        if file.status is not OutcomeStatus.COPIED and not file.unread:
            yield f"{where}: without the unread bytes that are its cause"
        if self._record_lost(truth):
            yield from self._without_record(where, truth, file, expected)
        elif expected and not difference(stored, expected):
            if file.status is not OutcomeStatus.FAILED:
                yield f"{where}: none of its bytes was read"
        elif (
            file.status is not (OutcomeStatus.DAMAGED if expected else OutcomeStatus.COPIED) or file.damaged != expected
        ):
            yield f"{where}: expected damage is {expected}"
        elif file.content is None or not _agrees(file.content, truth.content, expected):
            yield f"{where}: its content is another"

    def _without_record(self, where: str, truth: TrueFile, file: File, expected: Ranges) -> Iterator[str]:
        if file.status is OutcomeStatus.COPIED:
            yield f"{where}: told clean, and its record was not read"
        if file.status is OutcomeStatus.DAMAGED:
            if difference(expected, file.damaged):
                yield f"{where}: damage is missing from {expected}"
            if file.content is None or not _agrees(file.content, truth.content, file.damaged):
                yield f"{where}: its content is another where it is told sound"

    def _damage(self, piece: Piece) -> Iterator[Range]:
        for start, end in within(self._bad, *piece.place):
            shift = piece.file_offset - piece.image_offset
            if piece.image_length:
                yield piece.file_offset, piece.file_offset + piece.length
            else:
                yield start + shift, end + shift

    def _missing(self) -> Iterator[str]:
        listed = {path for _, path in self._told.files} | {path for _, path in self._told.links}
        listed |= set(self._told.directories.values())
        for path, thing in self._truth.named().items():
            if path and path not in listed:
                why = list(self._excuses(path, thing))
                if not why:
                    yield f"{path!r} is not listed"
                elif not intersection(normalised(why), self._lost):
                    yield f"{path!r} is not listed, and none of {why} is told lost, which names {self._lost}"

    def _excuses(self, path: bytes, thing: TrueFile | TrueDirectory | TrueLink) -> Iterator[Range]:
        """Bad places for the sake of which it may be missing: one of them must be told."""
        for record in self._truth.structures:
            yield from lost_of(record, self._bad)
        for above in _above(path):
            directory = self._truth.directories[above]
            needed = thing.entry or directory.names
            yield from intersection(normalised(needed), self._bad)
            for record in (*directory.records, *(() if thing.entry else thing.records)):
                yield from lost_of(record, self._bad)
            thing = directory

    def _structures(self) -> Iterator[str]:
        truth = self._truth
        for found in self._told.lost.values():
            for lost in found:
                if not lost.ranges or intersection(lost.ranges, self._bad) != lost.ranges:
                    yield f"told lost, and was read: {lost}"
        records = normalised(one for thing in truth.named().values() for record in thing.records for one in record)
        names = normalised(one for directory in truth.directories.values() for one in directory.names)
        volume = normalised(one for record in truth.structures for one in record)
        known = normalised((*records, *names, *volume, *truth.doubtful))
        surplus = difference(self._lost, known)
        if surplus:
            yield f"told lost, and is no structure that matters: {surplus}"
        yield from self._silences()

    def _silences(self) -> Iterator[str]:
        """Of what is listed, all that is lost must be told."""
        truth = self._truth
        directories = set(self._told.directories.values())
        listed = {path for _, path in (*self._told.files, *self._told.links)} | directories
        for path, thing in truth.named().items():
            lost = normalised(one for record in thing.records for one in lost_of(record, self._bad))
            if path in listed and difference(lost, self._lost):
                yield f"what says where {path!r} lies is lost at {lost}, which was not told"
        for path, directory in truth.directories.items():
            if path in directories:
                silent = difference(intersection(directory.names, self._bad), self._lost)
                if silent and not self._record_lost(directory):
                    yield f"names of directory {path!r} are lost at {silent}, which was not told"

    def _account(self) -> Iterator[str]:
        truth = self._truth
        if truth.used is None or self._told.unread_used == {} or self._volume_lost:
            return
        found = normalised(one for told in self._told.unread_used.values() for one in told or ())
        expected = intersection(truth.used, self._bad)
        if any(lost_of(record, self._bad) for record in truth.account):
            if difference(expected, found):
                yield f"used and unread, and not told so: {difference(expected, found)}"
        elif any(told is None for told in self._told.unread_used.values()):
            yield "the account of what is in use was not read"
        elif found != expected:
            yield f"unread and in use is {expected}, told was {found}"


def _above(path: bytes) -> Iterator[bytes]:
    """The directories on the way to the root, the root last."""
    while path:
        path = path.rpartition(b"/")[0]
        yield path


def _agrees(content: bytes, truth: bytes, damaged: Ranges) -> bool:
    """Equal outside of `damaged`, and zeros inside."""
    if len(content) != len(truth):
        return False
    expected = bytearray(truth)
    for start, end in damaged:
        expected[start:end] = bytes(min(end, len(truth)) - start)
    return bytes(expected) == content
