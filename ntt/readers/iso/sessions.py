"""An optical medium imaged whole -> where each of its ISO 9660 sessions begins, the oldest first.

A session's descriptors lie 16 sectors behind its start, its block numbers count from the disc's start (ECMA-119, 6.2;
SFF-8020, multi-session). Writers of overwritable media put a copy of the newest descriptors at sector 16; xorriso
then keeps those of the first session 32 sectors behind the start (libisoburn, "Emulated multi-session").
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from ntt.ranges import within
from ntt.readers.base import ImageSource
from ntt.readers.iso.lost_descriptor import searched_root
from ntt.readers.iso.records import OWN_IDENTIFIER, SECTOR_BYTES, Geometry

_DESCRIPTORS_AT = 16 * SECTOR_BYTES  # behind the start of a session (ECMA-119, 6.2.1)
_FIRST_COPY = 32 * SECTOR_BYTES
_PRIMARY = b"\x01CD001\x01"
_FOLLOWING = (b"\x00CD001\x01", b"\x02CD001\x01", b"\xffCD001\x01")  # boot record, supplementary, terminator
_RECORD_BYTES = 34
_SCANNED_WHOLE_BYTES = 1229 << 20  # a CD with room to spare; sessions may begin at any sector of it
_ALIGNMENT_BYTES = 16 * SECTOR_BYTES  # of sessions on larger media: their error correction spans 16 sectors
_LOOK_BACK = 64  # such steps from a tree to the descriptors of its session
_CHUNK_BYTES = 4 << 20
_MOST_SESSIONS = 1000
_MOST_STEPS = 400_000  # some seconds; what a session holds is stepped over, this is for what lies between them
_LONGEST_GAP_BYTES = 4 << 30  # behind the last session found; borders between sessions are below 100 MiB


class _Session(NamedTuple):
    start: int  # bytes, from where blocks count
    root: int  # likewise
    end: int  # likewise, as its descriptor claims; what that counts from is not agreed on: the nearer one
    path_table: int  # likewise
    root_block: int
    root_record: bytes


def find_sessions(source: ImageSource, offset_bytes: int, size_bytes: int) -> tuple[int, ...]:
    """Starts of the sessions in bytes from `offset_bytes`, ascending, multiples of 2048; `(0,)` for an ordinary disc.

    Every session counts, also one that a later one replaced in whole or in part. Images inside of files are none:
    their blocks do not count from the disc's start. Reads the image once up to 1.2 GiB. Of a larger one it reads a few
    bytes of every 32 KiB between sessions and behind them, not inside of those found; nothing of one session as
    large as its image.
    OSError if the image file itself cannot be read.
    """
    return sessions_found(source, offset_bytes, size_bytes) or (0,)


def sessions_found(source: ImageSource, offset_bytes: int, size_bytes: int, begin_bytes: int = 0) -> tuple[int, ...]:
    """As `find_sessions`, but only those that start at `begin_bytes` or behind, and empty where there is none."""
    disc = _Disc(source, offset_bytes, min(size_bytes, source.size_bytes - offset_bytes))
    first = disc.session(0) if not begin_bytes else None
    later = list(islice(disc.sessions(first, begin_bytes), _MOST_SESSIONS))
    found = [first, *later] if first is not None else later
    # What stands at sector 16 may be a copy: the session lies where its tree is.
    if first is not None and len(later) > 1 and any(other.root_record == first.root_record for other in later):
        found = later
    trees: dict[int, int] = {}
    for session in found:
        trees.setdefault(session.root, session.start)
    return tuple(sorted(trees.values()))


def names_itself(source: ImageSource, offset_bytes: int, start: int) -> bool:
    """Whether the session at `start` has a root directory that says it lies where blocks from `offset_bytes` put it."""
    disc = _Disc(source, offset_bytes, source.size_bytes - offset_bytes)
    session = disc.session(start)
    return session is not None and disc.is_root(session.root, session.root_block) is True


class _Disc:
    """The part of an image whose blocks count from `offset_bytes`."""

    def __init__(self, source: ImageSource, offset_bytes: int, size_bytes: int) -> None:
        self._source = source
        self._offset_bytes = offset_bytes
        self._size_bytes = size_bytes

    def session(self, start: int) -> _Session | None:
        """The session that begins at `start`, if its descriptor, its root and its path table agree on that."""
        descriptor = self._read(start + _DESCRIPTORS_AT, SECTOR_BYTES)
        if not any(descriptor) and start >= 0 and self._is_unread(start + _DESCRIPTORS_AT, SECTOR_BYTES):
            return self._by_root(start)
        block_bytes = int.from_bytes(descriptor[128:130], "little")
        if descriptor[:7] != _PRIMARY or block_bytes not in (512, 1024, 2048):
            return None
        blocks, root_block = (int.from_bytes(descriptor[at : at + 4], "little") for at in (80, 158))
        table = int.from_bytes(descriptor[140:144], "little") * block_bytes
        root = root_block * block_bytes
        if descriptor[156] < 34 or not descriptor[181] & 0x02 or not start <= root < self._size_bytes:
            return None
        if start and False in (self.is_root(root, root_block), self._lists_root(table, root_block)):
            return None
        end = min(end for end in (blocks * block_bytes, start + blocks * block_bytes) if end > start or not blocks)
        return _Session(start, root, end, table, root_block, descriptor[156:190])

    def _by_root(self, start: int) -> _Session | None:
        """A session whose descriptor was not read, by the first root directory behind it that names its own place."""
        geometry = Geometry(self._offset_bytes, SECTOR_BYTES, self._size_bytes)
        found = searched_root(self._source, geometry, start)
        if found is None:
            return None
        block = found.record.first_block
        root = block * SECTOR_BYTES
        return _Session(start, root, root, root, block, self._read(root, _RECORD_BYTES))

    def sessions(self, first: _Session | None, begin: int) -> Iterator[_Session]:
        """Those that start at `begin` or behind, but not at the disc's start; `first` is what is found there."""
        if self._size_bytes <= _SCANNED_WHOLE_BYTES:
            yield from filter(None, map(self.session, self._every_sector(max(begin, SECTOR_BYTES))))
            return
        newest = self._newest(first) if first is not None else None
        is_copy = first is None or newest is not None or self._is_descriptor(_FIRST_COPY)
        at = max(_aligned(begin if is_copy or first is None else max(first.end, begin)), _ALIGNMENT_BYTES)
        silent_from = at if newest is None else max(at, newest.start)
        for _ in range(_MOST_STEPS):
            if at - silent_from > _LONGEST_GAP_BYTES or at + _DESCRIPTORS_AT >= self._size_bytes:
                return
            session = self.session(at) if self._is_descriptor(at) else None
            at += _ALIGNMENT_BYTES
            if session is not None:
                yield session
                at = max(at, _aligned(session.end))
                silent_from = max(silent_from, at)
        if newest is not None and newest.start >= at:
            yield newest

    def _every_sector(self, begin: int) -> Iterator[int]:
        """Last those whose primary descriptor was not read, by the descriptor that follows it."""
        at = _DESCRIPTORS_AT + begin
        lost: list[int] = []
        while at < self._size_bytes:
            chunk = self._read(at, min(_CHUNK_BYTES, self._size_bytes - at))
            for mark in _FOLLOWING if self._source.unread else ():
                place = chunk.find(mark)
                while place >= 0 and len(lost) < _MOST_SESSIONS:
                    before = at + place - SECTOR_BYTES
                    if place % SECTOR_BYTES == 0 and self._is_unread(before, SECTOR_BYTES):
                        lost.append(before - _DESCRIPTORS_AT)
                    place = chunk.find(mark, place + 1)
            place = chunk.find(_PRIMARY)
            while place >= 0:
                if place % SECTOR_BYTES == 0:
                    yield at + place - _DESCRIPTORS_AT
                place = chunk.find(_PRIMARY, place + 1)
            at += _CHUNK_BYTES
        yield from (start for start in lost if start >= begin)

    def _newest(self, first: _Session) -> _Session | None:
        """The session that sector 16 has a copy of: its own descriptors stand not far before its tree."""
        for place in (first.root, first.path_table):
            last = place - place % _ALIGNMENT_BYTES
            for start in range(last, max(last - _LOOK_BACK * _ALIGNMENT_BYTES, 0), -_ALIGNMENT_BYTES):
                session = self.session(start) if self._is_descriptor(start) else None
                if session is not None and session.root_record == first.root_record:
                    return session
        return None

    def _is_descriptor(self, start: int) -> bool:
        return self._read(start + _DESCRIPTORS_AT, len(_PRIMARY)) == _PRIMARY

    def is_root(self, root: int, root_block: int) -> bool | None:
        """Whether the directory there names itself as lying there; None where it is unread."""
        record = self._read(root, 34)
        if record[32:34] == b"\x01" + OWN_IDENTIFIER and record[25] & 0x02:
            return int.from_bytes(record[2:6], "little") == root_block
        return None if self._is_unread(root, 34) else False

    def _lists_root(self, table: int, root_block: int) -> bool | None:
        """Whether the path table (ECMA-119, 9.4) begins with that root; None where it is unread."""
        record = self._read(table, 10)
        if record[0] == 1 and record[8:9] == OWN_IDENTIFIER:
            return int.from_bytes(record[2:6], "little") == root_block
        return None if self._is_unread(table, 10) else False

    def _is_unread(self, at: int, length: int) -> bool:
        start = self._offset_bytes + at
        return start + length > self._source.size_bytes or bool(within(self._source.unread, start, start + length))

    def _read(self, at: int, length: int) -> bytes:
        return self._source.read(self._offset_bytes + at, length)


def _aligned(position: int) -> int:
    return -(-position // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
