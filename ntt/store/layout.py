"""Where things lie in the store, made with modes that no umask changes."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ntt.errors import StoreError

SMALL_BLOB_LIMIT_BYTES = 1 << 20  # from here on a blob is a plain file
PACK_LIMIT_BYTES = 256 << 20
FOLDER_MODE = 0o755
FILE_MODE = 0o444


@dataclass(frozen=True, slots=True)
class BlobLocation:
    """Where the bytes of a blob are: in a pack at an offset, or (both None) in a plain file of its own."""

    blob_hash: bytes
    size_bytes: int
    pack_id: int | None
    pack_offset: int | None


@dataclass(frozen=True, slots=True)
class StoreLayout:
    """`<root>/packs/<id>.tar`, `<root>/blobs/<aa>/<bb>/<hash>`, `<root>/tmp/` for what is being written."""

    root: Path

    @property
    def packs(self) -> Path:
        return self.root / "packs"

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    def pack_path(self, pack_id: int) -> Path:
        return self.packs / f"{pack_id:08d}.tar"

    def blob_path(self, blob_hash: bytes) -> Path:
        name = blob_hash.hex()
        return self.blobs / name[:2] / name[2:4] / name

    def prepare(self) -> None:
        """Makes the folders that are missing. StoreError if that cannot be."""
        with store_errors(self.root):
            for folder in (self.root, self.packs, self.blobs, self.tmp):
                make_folder(folder)

    def belong_to(self, catalogue: str, *, has_contents: bool) -> None:
        """Ties the store, when it is first used, to the one catalogue that numbers its packs.

        StoreError when it is another catalogue's, or is empty though the catalogue has contents: not mounted.
        """
        mark = self.root / f"catalogue-{catalogue}"
        with store_errors(self.root):
            others = [folder for folder in self.root.glob("catalogue-*") if folder != mark]
            used = any(self.packs.iterdir()) or any(self.blobs.iterdir())
            if not others and not mark.is_dir() and not used and not has_contents:
                make_folder(mark)
        if others or not mark.is_dir():
            what = "belongs to another catalogue" if others or used else "is empty, but the catalogue has contents"
            raise StoreError(f"the store {self.root} {what}", "is its disk mounted? `--home` and NTT_STORE go together")


def make_folder(folder: Path) -> bool:
    """Makes one folder (and its parents) with mode 0755 whatever the umask; True if it was made here."""
    if folder.is_dir():
        return False
    if not folder.parent.is_dir():
        make_folder(folder.parent)
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    folder.chmod(FOLDER_MODE)
    sync_folder(folder.parent)
    return True


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Makes a file that is written to no more, and its name, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(path.parent)


@contextmanager
def store_errors(where: Path | str) -> Iterator[None]:
    """An OSError while writing the store -> a StoreError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(f"no space left on {where}", "free some and run the same command again") from error
        raise StoreError(f"the store cannot be written: {error}", "check the folder and its mount") from error
