"""A path (and a map) that a user named -> an open image whose map fits it, or one clear line why not."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ntt.errors import UsageError
from ntt.model import AcceptedImage, Order
from ntt.names import printable
from ntt.readers.raw.cue_sheet import decode_cue
from ntt.tools.mapfile import Mapfile, parse_mapfile

MAP_LIMIT_BYTES = 256 << 20
CUE_LIMIT_BYTES = 1 << 20
SECTOR_BYTES = 512


@contextmanager
def accepted(order: Order) -> Iterator[AcceptedImage]:
    """Open for the body. UsageError: no such file, a folder, no permission, empty, text, or a map that does not fit."""
    name = printable(os.fsencode(order.image))
    try:
        # without O_NONBLOCK opening a named pipe would wait for its writer for ever
        fd = os.open(order.image, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        hint = "check the path" if error.errno == errno.ENOENT else "check its permissions"
        raise UsageError(f"{name}: {error.strerror}", hint) from None
    try:
        size_bytes = _require_image(fd, name)
        mapfile, text = (None, None) if order.map_path is None else _read_map(order.map_path, size_bytes)
        claimed_bytes = max(size_bytes, mapfile.end if mapfile else 0)
        unread = mapfile.unread if mapfile else ()
        yield AcceptedImage(order.image, fd, claimed_bytes, unread, text, _cue_beside(order.image), order.known_as)
    finally:
        os.close(fd)


def _cue_beside(image: Path) -> str:
    """The text of `disc.cue` beside `disc.bin`; empty if there is none that could be one."""
    try:
        for suffix in (".cue", ".CUE"):
            path = image.with_suffix(suffix)
            if path != image and path.is_file() and path.stat().st_size <= CUE_LIMIT_BYTES:
                return decode_cue(path.read_bytes())
    except OSError:
        return ""  # it only helps: the image itself is what counts
    return ""


def _require_image(fd: int, name: str) -> int:
    status = os.fstat(fd)
    if stat.S_ISDIR(status.st_mode):
        raise UsageError(f"{name} is a folder, not an image", "name the image file")
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{name} is not a regular file", "make an image of it with ddrescue and name that")
    if status.st_size == 0:
        raise UsageError(f"{name} is empty: zero bytes are no medium", "image the medium again")
    try:
        if status.st_size % SECTOR_BYTES and _is_text(os.pread(fd, 1 << 16, 0)):
            sheet = name.lower().endswith(".cue")
            hint = "name the .bin file beside it: its cue sheet is read with it" if sheet else "name the image file"
            raise UsageError(f"{name} is a text file, not an image of a medium", hint)
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}", "copy it with ddrescue first") from None
    return status.st_size


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.end < len(head) - 3:  # a character may be cut at the end of what was read
            return False
        text = head[: error.start].decode()
    return all(character.isprintable() or character in "\n\r\t\f" for character in text)


def _read_map(path: Path, image_bytes: int) -> tuple[Mapfile, str]:
    name = printable(os.fsencode(path))
    try:
        if path.stat().st_size > MAP_LIMIT_BYTES:
            raise UsageError(f"{name} is too large for a ddrescue mapfile", "name the map that ddrescue wrote")
        if not path.is_file() and not path.is_dir():  # reading from a pipe or a device might never end
            raise UsageError(f"{name} is not a regular file", "name the map that ddrescue wrote")
        text = _decoded(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}", "check the path of the map") from None
    if "\0" in text:
        raise UsageError(f"{name} is not a ddrescue mapfile: it holds a NUL", "name the map that ddrescue wrote")
    mapfile = parse_mapfile(text, name)
    if mapfile.end < image_bytes:
        raise UsageError(
            f"the map does not fit the image: it ends at byte {mapfile.end:,}, the image at {image_bytes:,}",
            "name the map that was written with this image",
        )
    rescued = mapfile.rescued
    if rescued and rescued[-1][1] > image_bytes:
        raise UsageError(
            f"the map does not fit the image: it says byte {rescued[-1][1] - 1:,} was rescued, "
            f"the image has {image_bytes:,} bytes",
            "name the map that was written with this image",
        )
    return mapfile, text


def _decoded(content: bytes) -> str:
    """Its comments may hold the names of files, in any encoding; all else is ASCII in each of them."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")
