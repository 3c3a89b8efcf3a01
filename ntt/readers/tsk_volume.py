"""The Sleuth Kit on one volume of an image: files by number, their bytes, and the runs they lie in."""

from __future__ import annotations

from collections.abc import Iterator

import pytsk3

from ntt.readers.base import ImageSource, ReadError
from ntt.readers.tsk_extents import HOLE, Run

TYPES = {
    "ext2": pytsk3.TSK_FS_TYPE_EXT_DETECT,
    "ext3": pytsk3.TSK_FS_TYPE_EXT_DETECT,
    "ext4": pytsk3.TSK_FS_TYPE_EXT_DETECT,
    "fat12": pytsk3.TSK_FS_TYPE_FAT12,
    "fat16": pytsk3.TSK_FS_TYPE_FAT16,
    "fat32": pytsk3.TSK_FS_TYPE_FAT32,
    "exfat": pytsk3.TSK_FS_TYPE_EXFAT,
    "ntfs": pytsk3.TSK_FS_TYPE_NTFS,
}
BOOT_MARK, MARKED = b"\x55\xaa", ("fat12", "fat16", "fat32")
LIBRARY_ERRORS = (OSError, OverflowError, RuntimeError)  # the last is what becomes of an OSError in `ImageDoor.read`
CAUSE_LIMIT = 200  # characters of a library's error text that are worth keeping


class ImageDoor(pytsk3.Img_Info):
    """The library's only way to the image: zeros beyond its end, so that truncated images open.

    `mark_at` is the image offset where it insists on 0x55AA, which floppies of the 1980s lack; -1: nowhere.
    """

    def __init__(self, source: ImageSource, size_bytes: int, mark_at: int = -1) -> None:
        self._source = source
        self._size_bytes = size_bytes
        self._mark_at = mark_at
        super().__init__(url="", type=pytsk3.TSK_IMG_TYPE_EXTERNAL)

    def read(self, offset: int, size: int) -> bytes:
        content = self._source.read(offset, size)
        at = self._mark_at - offset
        if self._mark_at < 0 or at < 0 or at + 2 > size:
            return content
        return content[:at] + BOOT_MARK + content[at + 2 :]

    def get_size(self) -> int:
        return self._size_bytes

    def close(self) -> None:
        """The image belongs to whoever opened it."""


def cause_of(error: Exception) -> str:
    """A library error as one short line."""
    return " ".join(str(error).split())[:CAUSE_LIMIT] or type(error).__name__


class TskVolume:
    """One opened file system. ReadError if The Sleuth Kit does not take it."""

    def __init__(self, source: ImageSource, offset_bytes: int, size_bytes: int, fstype: str) -> None:
        self.source = source
        self.offset_bytes = offset_bytes
        self.size_bytes = size_bytes
        self._door, self._fs = self._open(max(source.size_bytes, offset_bytes + size_bytes), fstype)
        self.block_size = self._fs.info.block_size
        self.block_count = self._fs.info.block_count
        own_bytes = self._fs.info.block_count * self.block_size
        if own_bytes > size_bytes:  # a cut partition: the blocks behind its end exist, as zeros
            self.size_bytes = own_bytes
            self._door, self._fs = self._open(max(source.size_bytes, offset_bytes + own_bytes), fstype)
        self.root_ino = self._fs.info.root_inum
        self._cached_ino = -1
        self._cached: pytsk3.File | None = None

    def _open(self, image_bytes: int, fstype: str) -> tuple[ImageDoor, pytsk3.FS_Info]:
        try:
            mark_at = self.offset_bytes + 510 if fstype in MARKED else -1
            door = ImageDoor(self.source, image_bytes, mark_at)
            return door, pytsk3.FS_Info(door, offset=self.offset_bytes, type=TYPES[fstype])
        except LIBRARY_ERRORS as error:
            raise ReadError(cause_of(error)) from None

    def file(self, ino: int) -> pytsk3.File:
        """The file behind a number; the last one stays open. ReadError if it has no readable metadata."""
        if self._cached is None or self._cached_ino != ino:
            self._cached = None
            try:
                found = self._fs.open_meta(inode=ino)
            except LIBRARY_ERRORS as error:
                raise ReadError(cause_of(error)) from None
            if found.info.meta is None:
                raise ReadError(f"inode {ino} has no metadata")
            self._cached, self._cached_ino = found, ino
        return self._cached

    def size(self, ino: int) -> int:
        """Bytes of the file's content as its metadata has it."""
        meta = self.file(ino).info.meta
        return 0 if meta is None else max(meta.size, 0)

    def read(self, ino: int, offset: int, length: int) -> bytes:
        """Exactly `length` bytes of the default content; fewer are a ReadError."""
        file = self.file(ino)
        parts: list[bytes] = []
        missing = length
        try:
            while missing > 0:
                part = file.read_random(offset, missing)
                if not part:
                    raise ReadError(f"content ends {missing} bytes early, at byte {offset}")
                parts.append(part)
                missing -= len(part)
                offset += len(part)
        except LIBRARY_ERRORS as error:
            raise ReadError(cause_of(error)) from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def attribute(self, ino: int, kinds: frozenset[int], limit: int) -> bytes:
        """At most `limit` bytes of the first unnamed attribute of one of these types; empty without one."""
        file = self.file(ino)
        try:
            for found in file:
                if int(found.info.type) in kinds and not found.info.name:
                    length = min(found.info.size, limit)
                    return file.read_random(0, length, int(found.info.type), found.info.id) if length else b""
        except LIBRARY_ERRORS as error:
            raise ReadError(cause_of(error)) from None
        return b""

    def runs(self, ino: int, kinds: frozenset[int], name: bytes | None = None) -> list[Run] | None:
        """The runs of the first attribute of one of these types and this name; None without such an attribute."""
        file = self.file(ino)
        try:
            for attribute in file:
                if int(attribute.info.type) in kinds and (attribute.info.name or None) == name:
                    return [self._run(run) for run in attribute]
        except LIBRARY_ERRORS as error:
            raise ReadError(cause_of(error)) from None
        return None

    def _run(self, run: pytsk3.TSK_FS_ATTR_RUN) -> Run:
        if int(run.flags) != 0:  # sparse, or a filler that reads as zeros
            return Run(run.offset, run.len, HOLE)
        if run.addr + run.len > self._fs.info.block_count:
            raise ReadError(f"{run.len} blocks at {run.addr} lie outside the file system")
        return Run(run.offset, run.len, run.addr)

    def names(self, ino: int) -> Iterator[pytsk3.File]:
        """The entries of a directory as the library lists them, deleted and virtual ones too."""
        try:
            yield from self._fs.open_dir(inode=ino)
        except LIBRARY_ERRORS as error:
            raise ReadError(cause_of(error)) from None

    def close(self) -> None:
        """Forgets the open file; the image stays open, it belongs to the caller."""
        self._cached = None
        self._cached_ino = -1
