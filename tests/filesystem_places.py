"""Volumes -> whether the places that a route tells of its files hold their contents; and by which driver it mounts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import anyio
import msgspec
from filesystem_verdicts import NONE, Cell
from mounting import LIMITS

from ntt.model import Entry, Extent, Route, Volume
from ntt.mounts.session import Mounted, mount_session
from ntt.mounts.tree import MountedTree
from ntt.readers.base import ImageSource
from ntt.readers.detection.volumes import detect
from ntt.readers.opening import open_volume

PIECE_BYTES = 1 << 20
FEW = 20


@dataclass(frozen=True, slots=True)
class Placed:
    """`how`: the driver or file system type that gives the files; empty of a reader and of what is refused."""

    extents: Cell
    how: str = ""


def volumes_of(image: Path) -> tuple[Volume, ...]:
    sheet = image.with_suffix(".cue")
    with image.open("rb") as file:
        source = ImageSource(file.fileno())
        cue = sheet.read_text() if sheet.exists() and sheet != image else ""
        return detect(source, source.size_bytes, cue, image.name).volumes


def placed_by_reader(image: Path, volume: Volume) -> Placed:
    """Every file's extents, and the bytes there against what the reader itself reads."""
    with image.open("rb") as file:
        source = ImageSource(file.fileno())
        with closing(open_volume(source, volume)) as reader:
            files = [entry for entry in reader.walk() if isinstance(entry, Entry) and entry.is_regular]
            found = (
                _kind(source, volume, reader.extents(entry.ino), _content(reader.read, entry))
                for entry in files
                if entry.size
            )
            return Placed(_cell(found))


def _content(read: Callable[[int, int, int], bytes], entry: Entry) -> bytes:
    return b"".join(read(entry.ino, at, PIECE_BYTES) for at in range(0, entry.size, PIECE_BYTES))


def _kind(source: ImageSource, volume: Volume, extents: Iterable[Extent], content: bytes) -> str:
    kinds: set[str] = set()
    at = 0
    for extent in extents:
        assert extent.file_offset == at, "extents leave no gap and do not overlap"
        at += extent.file_length
        piece = content[extent.file_offset : at]
        if extent.image_offset == -1:
            kinds |= {"wrong"} if any(piece) else set()
        elif extent.vague:
            kinds.add("whole volume" if extent.image_length == volume.size_bytes else "packed units")
        elif not extent.image_length:
            kinds.add("proven by checksums")
        elif extent.image_length == extent.file_length:
            kinds.add(_linear(source, volume, extent, piece))
        else:
            kinds.add("packed units")
    return " and ".join(sorted(kinds) or ["exact"]) if at == len(content) else "wrong"


def _linear(source: ImageSource, volume: Volume, extent: Extent, piece: bytes) -> str:
    there = source.read(extent.image_offset, extent.image_length)
    if there == piece:
        return "exact"
    first = extent.image_offset - volume.offset_bytes
    differing = [first + at for at in range(len(piece)) if there[at] != piece[at]]
    is_sequence = volume.fstype == "ntfs" and all(at % 512 >= 510 for at in differing)
    return "in a record" if is_sequence else "wrong"


NOTES = {
    "in a record": "of a small file that stands in its MFT record, two bytes in 512 stand elsewhere in that record",
    "packed units": "of what is packed, the place of the whole packed piece is known",
    "whole volume": "the route does not say where files lie: damage anywhere in the volume may concern each of them",
    "proven by checksums": "what stands in blocks of the file system itself is read as it was or not at all",
    "wrong": "the bytes there are not the file's",
}


def _cell(kinds: Iterable[str]) -> Cell:
    found = {part for kind in kinds for part in kind.split(" and ")}
    if not found:
        return NONE
    words = {"exact" if kind == "in a record" else kind for kind in found}
    return Cell(", ".join(sorted(words)), "; ".join(NOTES[kind] for kind in sorted(found) if kind in NOTES))


# ---------------------------------------------------------------- mounts


def placed_by_mount(image: Path, volume: Volume, route: Route, work: Path) -> Placed:
    """The same below a mount of its own, as root. What is refused has no places."""
    return anyio.run(_mounted, image, volume, route, work)


async def _mounted(image: Path, volume: Volume, route: Route, work: Path) -> Placed:
    work.mkdir(parents=True, exist_ok=True)
    fd = os.open(image, os.O_RDONLY)
    try:
        size = os.fstat(fd).st_size
        async with mount_session(fd, size, [volume], {volume.index: (route,)}, work, LIMITS) as session:
            mounted = session.mounted.get(volume.index)
            if mounted is None:
                return Placed(NONE)
            how = mounted.how.partition(" (")[0].removeprefix(f"{mounted.route.value} ")
            return Placed(_cell(_kinds_below(ImageSource(fd), volume, mounted)), how)
    finally:
        os.close(fd)


def _kinds_below(source: ImageSource, volume: Volume, mounted: Mounted) -> Iterator[str]:
    as_mounted = msgspec.structs.replace(volume, route=mounted.route)
    paths: dict[int, bytes] = {}
    files: dict[bytes, Entry] = {}
    with closing(MountedTree(mounted.root_fd, as_mounted, mounted.kind, read=source.read)) as tree:
        for entry in tree.walk():
            if isinstance(entry, Entry) and entry.name:
                above = paths.get(entry.parent_ino, b"")
                path = above + b"/" + entry.name if above else entry.name
                if entry.is_directory:
                    paths[entry.ino] = path
                elif entry.is_regular and entry.size:
                    files[path] = entry
        # where a driver knows no places, it knows none of any file
        knows = mounted.kind.extents_known or (mounted.route is Route.KERNEL and volume.fstype == "btrfs")
        looked_at = files if knows else dict(list(files.items())[:FEW])
        for path, entry in looked_at.items():
            tree.locate(entry.ino, path)
            try:
                content = _content(tree.read, entry)
            except OSError:
                continue  # what cannot be read is a failed file, which is told elsewhere
            yield _kind(source, volume, tree.extents(entry.ino), content)
