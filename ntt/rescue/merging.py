"""Two passes of one medium, from two drives -> one image and map: what either read is read.

Where both read a sector and it is not the same, neither is known to be right: the first's bytes stay, the map calls
the sector bad, and the caller records the disagreement. Flat in memory, and what is merged is never written.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread

from ntt.errors import MediumError, StoreError
from ntt.identity import is_informative
from ntt.ranges import Range, Ranges, difference, intersection, normalised, total
from ntt.rescue.source import Source, SourceKind
from ntt.rescue.working import WorkingImage, WorkingImages
from ntt.tools.mapfile import Mapfile, best_of, mapfile_of, mapfile_text, with_status

WINDOW_BYTES = 1 << 20
DIFFERENT = 0.01  # of what two passes both read and is not empty: more than this that differs, and they are two media
SECTOR_BYTES = 512
DISC_SECTOR_BYTES = 2048
_NOT_HERE = {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}  # copy_file_range: between these two files


@dataclass(frozen=True, slots=True)
class Pass:
    """An image and what its map says of it; it may be shorter than the map (the rest is not read then)."""

    image: Path
    mapfile: Mapfile


@dataclass(frozen=True, slots=True)
class Merged:
    """The map of the new image; `disagreements` are sectors that both passes read, differently.

    `both_bytes`: how much both have read. `objection`: why these are two media, empty if they may be one.
    """

    mapfile: Mapfile
    disagreements: Ranges
    both_bytes: int
    objection: str = ""


async def merged(
    images: WorkingImages,
    first: Path,
    first_unread: Ranges,
    second: Path,
    second_unread: Ranges,
    size_bytes: int,
    telltale: Ranges = (),
) -> tuple[WorkingImage, Merged]:
    """A new image in work, held, and what came of it.

    `size_bytes`: the medium's, at least the larger image's. `telltale`: where the medium says what it is. MediumError
    when an image cannot be read or these are two media, StoreError when there is no room; nothing is left then.
    """
    passes = []
    for path, unread in ((first, first_unread), (second, second_unread)):
        read = difference(((0, size_bytes),), unread)
        passes.append(Pass(path, mapfile_of(read, size_bytes)))
    one, two = passes
    sector_bytes = SECTOR_BYTES if not _is_disc(first) else DISC_SECTOR_BYTES
    working = images.new(Source(second, SourceKind.FILE, size_bytes, sector_bytes, direct=False))
    try:
        result = await anyio.to_thread.run_sync(merge_into, one, two, working.descriptor, sector_bytes, telltale)
        if result.objection:
            raise MediumError(f"{result.objection}: these are two media", "ingest it without --same-as")
        working.put_map(result.mapfile)
    except BaseException:
        working.remove()
        raise
    return working, result


def merge(first: Pass, second: Pass, image: Path, map_path: Path, sector_bytes: int = SECTOR_BYTES) -> Merged:
    """Writes `image` and `map_path`, new files, both durable on return, neither there when it fails. Blocking."""
    part, map_part = image.with_name(image.name + ".part"), map_path.with_name(map_path.name + ".part")
    try:
        target = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            result = merge_into(first, second, target, sector_bytes)
        finally:
            os.close(target)
        _write_text(map_part, mapfile_text(result.mapfile, "Merged from two passes"))
        part.replace(image)
        map_part.replace(map_path)
        for folder in {image.parent, map_path.parent}:
            _sync(folder)
    except BaseException as error:
        part.unlink(missing_ok=True)
        map_part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise StoreError(f"{image} cannot be written: {error.strerror}", "make room, or name another") from error
        raise
    return result


def merge_into(first: Pass, second: Pass, target: int, sector_bytes: int, telltale: Ranges = ()) -> Merged:
    """Fills the empty file `target`, which is durable on return; each byte that both have read is read once.

    Where possible the bytes are shared with the passes instead of copied. MediumError when a pass cannot be read,
    StoreError when `target` cannot be written. Blocking: call it in a thread.
    """
    one, two = _opened(first.image), -1
    try:
        two = _opened(second.image)
        by_one = _there(first.mapfile.rescued, one)
        by_two = _there(second.mapfile.rescued, two)
        best = best_of(_only_there(first.mapfile, by_one), _only_there(second.mapfile, by_two))
        _fill(target, best.end, ((one, by_one), (two, difference(by_two, by_one))))
        both = intersection(by_one, by_two)
        disagreements = _disagreements(one, two, both, sector_bytes)
        trusted = with_status(best, disagreements, "-") if disagreements else best
        objection = _objection(one, two, both, disagreements, telltale) if disagreements else ""
        return Merged(trusted, disagreements, total(both), objection)
    finally:
        for fd in (one, two):
            if fd >= 0:
                os.close(fd)


def _fill(target: int, size_bytes: int, parts: Sequence[tuple[int, Ranges]]) -> None:
    try:
        os.ftruncate(target, size_bytes)
        for fd, ranges in parts:
            for piece in ranges:
                _copy(fd, target, piece)
        os.fsync(target)
    except OSError as error:
        raise StoreError(f"the merged image cannot be written: {error.strerror}", "make room and try again") from error


def _is_disc(path: Path) -> bool:
    """It begins to describe itself as ISO 9660 does (ECMA-119, 8.1)."""
    fd = _opened(path)
    try:
        return os.pread(fd, 6, 16 * DISC_SECTOR_BYTES)[1:] == b"CD001"
    except OSError:
        return False
    finally:
        os.close(fd)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise MediumError(f"{path} cannot be opened: {error.strerror}", "name the image of a pass") from error


def _there(rescued: Ranges, fd: int) -> Ranges:
    """What the map claims beyond the end of the image was not read."""
    return intersection(rescued, ((0, os.fstat(fd).st_size),))


def _only_there(mapfile: Mapfile, there: Ranges) -> Mapfile:
    missing = difference(mapfile.rescued, there)
    return with_status(mapfile, missing, "?") if missing else mapfile


def _copy(source: int, target: int, piece: Range) -> None:
    at, end = piece
    while at < end:
        try:
            copied = os.copy_file_range(source, target, min(end - at, 1 << 30), at, at)
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
            copied = os.pwrite(target, _read(source, at, min(end, at + WINDOW_BYTES)), at)
        if not copied:
            raise MediumError(f"the image of a pass became shorter at byte {at:,}", "nothing was merged; try again")
        at += copied


def _disagreements(one: int, two: int, both: Ranges, sector_bytes: int) -> Ranges:
    found: list[Range] = []
    for start, end in both:
        for at in range(start, end, WINDOW_BYTES):
            stop = min(at + WINDOW_BYTES, end)
            left, right = _read(one, at, stop), _read(two, at, stop)
            if left != right:
                found += _differing_sectors(left, right, at, sector_bytes)
    return intersection(normalised(found), both)


def _objection(one: int, two: int, both: Ranges, disagreements: Ranges, telltale: Ranges) -> str:
    """Empty sectors agree on any two media of a kind: they do not count."""
    told = intersection(disagreements, telltale)
    if told:
        return f"they differ at byte {told[0][0]:,}, where a medium says what it is"
    differing = total(disagreements)
    enough = int(differing / DIFFERENT)
    telling = _telling_bytes(one, two, both, enough)
    if telling >= enough:
        return ""
    return f"{differing:,} of the {telling:,} bytes that both have read, empty sectors left out, differ"


def _telling_bytes(one: int, two: int, both: Ranges, enough: int) -> int:
    """Of sectors that are not one repeated byte in either; counted no further than `enough`."""
    found = 0
    for start, end in both:
        for at in range(start, end, WINDOW_BYTES):
            stop = min(at + WINDOW_BYTES, end)
            left, right = _read(one, at, stop), _read(two, at, stop)
            if left == right and not is_informative(left):
                continue
            for low in range(0, stop - at, SECTOR_BYTES):
                high = min(low + SECTOR_BYTES, stop - at)
                if is_informative(left[low:high]) or is_informative(right[low:high]):
                    found += high - low
            if found >= enough:
                return found
    return found


def _differing_sectors(left: bytes, right: bytes, at: int, sector_bytes: int) -> list[Range]:
    """On sector boundaries of the medium, whatever `at` is."""
    found: list[Range] = []
    for sector in range(at - at % sector_bytes, at + len(left), sector_bytes):
        low, high = max(sector - at, 0), sector + sector_bytes - at
        if left[low:high] != right[low:high]:
            found.append((sector, sector + sector_bytes))
    return found


def _read(fd: int, start: int, end: int) -> bytes:
    content = bytearray()
    while len(content) < end - start:
        try:
            piece = os.pread(fd, end - start - len(content), start + len(content))
        except OSError as error:
            raise MediumError(
                f"the image of a pass cannot be read at byte {start:,}: {error.strerror}", "copy it elsewhere first"
            ) from error
        if not piece:
            raise MediumError(f"the image of a pass became shorter at byte {start:,}", "nothing was merged; try again")
        content += piece
    return bytes(content)


def _write_text(path: Path, text: str) -> None:
    with path.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
