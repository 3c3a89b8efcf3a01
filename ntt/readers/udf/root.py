"""File set descriptor -> the address of the root directory; where it is lost, a search for one or the other."""

from __future__ import annotations

from collections.abc import Iterator

from ntt.readers.base import ReadError
from ntt.readers.udf.entries import DIRECTORY, LongAd
from ntt.readers.udf.space import UdfSpace
from ntt.readers.udf.tags import FILE_SET, tag_kind

_MOST_FILE_SETS = 64
_SEARCHED_BLOCKS = 4096
_ROOT_ID = 0  # the unique id that only the root directory has (UDF 3.2.1)


def root_directory(space: UdfSpace, file_sets: LongAd) -> tuple[LongAd, str]:
    """Of the file set with the highest number (ECMA-167, 4/8.3.1), and what is doubtful about it or "".

    ReadError if the root directory is not found.
    """
    found, why = _in_sequence(space, file_sets)
    if found is not None:
        return found, ""
    for partition in reversed(range(len(space.partitions))):  # virtual and metadata partitions come last
        found = _searched(space, partition)
        if found is not None:
            return found, f"{why}: the root directory was found by searching, it may be an old one"
    raise ReadError(why)


def _in_sequence(space: UdfSpace, where: LongAd) -> tuple[LongAd | None, str]:
    best: tuple[int, LongAd] | None = None
    why = "the file set descriptor is not there"
    seen: set[int] = set()
    while where.size_bytes and where.ino not in seen and len(seen) < _MOST_FILE_SETS:
        seen.add(where.ino)
        following = LongAd(0, 0, 0)
        try:
            for number, raw in _file_sets(space, where):
                if best is None or best[0] <= number:
                    best = (number, LongAd.parse(raw, 400))
                following = LongAd.parse(raw, 448)
        except ReadError as error:
            why = f"the file set descriptor is not readable ({error})"
        where = following
    return (best[1] if best else None), why


def _file_sets(space: UdfSpace, where: LongAd) -> Iterator[tuple[int, bytes]]:
    """Each with its number, until a block that holds none."""
    for block in range(where.block, where.block + min(-(-where.size_bytes // space.block_bytes), _MOST_FILE_SETS)):
        position, raw = space.block(where.partition, block)
        space.require_read(position, position + 512)
        if tag_kind(raw, block) != FILE_SET:
            return
        yield int.from_bytes(raw[40:44], "little"), raw


def _searched(space: UdfSpace, partition: int) -> LongAd | None:
    """The last file set among the first blocks of the partition, else the first directory with the root's own id."""
    root: LongAd | None = None
    last: LongAd | None = None
    for block in range(_SEARCHED_BLOCKS):
        try:
            _, raw = space.block(partition, block)
            if raw[:2] == FILE_SET.to_bytes(2, "little") and tag_kind(raw, block) == FILE_SET:
                last = LongAd.parse(raw, 400)
            elif root is None and raw[27] == DIRECTORY:
                entry = space.entry(partition, block)
                if entry.file_type == DIRECTORY and entry.unique_id == _ROOT_ID:
                    root = LongAd(space.block_bytes, block, partition)
        except ReadError:
            continue
    return last or root
