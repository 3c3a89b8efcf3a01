"""Contents of the store by what lies there: walked, checked, written back to their places, appended elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from ntt.store.layout import FILE_MODE, BlobLocation, StoreLayout, make_folder, store_errors, sync_folder
from ntt.store.packs import BLOCK_BYTES, member_bytes, member_header, open_pack
from ntt.store.reading import BlobDamaged, BlobReader

NAME_BYTES = 64
CHUNK_BYTES = 1 << 20
_END = bytes(2 * BLOCK_BYTES)


@dataclass(frozen=True, slots=True)
class PackWalk:
    """The members of a pack in order, where the last whole one ends, and whether the pack is sealed.

    `unnamed`: (start: bytes) of members whose header cannot be read; the rows say that they are there.
    """

    members: tuple[BlobLocation, ...]
    end: int
    sealed: bool
    unnamed: dict[int, int]

    def has_place_for(self, blob: BlobLocation) -> bool:
        """Does a member of just its size stand where the blob is said to be?"""
        start = (blob.pack_offset or 0) - BLOCK_BYTES
        if self.unnamed.get(start) == member_bytes(blob.size_bytes):
            return True
        return any(m == blob for m in self.members)


def parsed_header(header: bytes) -> tuple[bytes, int] | None:
    """(hash, size) of a member's header; None when it is not one that NTT writes."""
    try:
        name, size = bytes.fromhex(header[:NAME_BYTES].decode("ascii")), int(header[124:135], 8)
    except ValueError:
        return None
    return (name, size) if header == member_header(header[:NAME_BYTES], size) else None


def walk_pack(layout: StoreLayout, pack_id: int, known: dict[int, int] | None = None) -> PackWalk:
    """From header to header; over one that cannot be read only with `known`, (start: bytes) of members by the rows."""
    members: list[BlobLocation] = []
    unnamed: dict[int, int] = {}
    fd = os.open(layout.pack_path(pack_id), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        size_bytes, at = os.fstat(fd).st_size, 0
        while at < size_bytes:
            member = parsed_header(os.pread(fd, BLOCK_BYTES, at))
            length = member_bytes(member[1]) if member is not None else (known or {}).get(at)
            if length is None or at + length > size_bytes:
                break
            if member is not None:
                members.append(BlobLocation(member[0], member[1], pack_id, at + BLOCK_BYTES))
            else:
                unnamed[at] = length
            at += length
        sealed = at + len(_END) == size_bytes and os.pread(fd, len(_END), at) == _END
    finally:
        os.close(fd)
    return PackWalk(tuple(members), at, sealed, unnamed)


def plain_blobs(layout: StoreLayout) -> Iterator[BlobLocation]:
    """Every plain file that is named and placed as one."""
    for path in layout.blobs.glob("*/*/*"):
        named = len(path.name) == NAME_BYTES and not path.name.strip("0123456789abcdef")
        if named and layout.blob_path(bytes.fromhex(path.name)) == path and path.is_file() and not path.is_symlink():
            yield BlobLocation(bytes.fromhex(path.name), path.stat().st_size, None, None)


def is_whole(layout: StoreLayout, blob: BlobLocation) -> bool:
    """Its content is read and hashed."""
    reader = BlobReader(layout)
    try:
        for _ in reader.chunks(blob):
            pass
    except BlobDamaged:
        return False
    finally:
        reader.close()
    return True


def write_member(layout: StoreLayout, blob: BlobLocation, content: Path) -> None:
    """The member of the blob anew, from a file, at its place, which must be nobody else's; durable on return."""
    assert blob.pack_id is not None and blob.pack_offset is not None, "a plain blob has no place in a pack"
    path, start = layout.pack_path(blob.pack_id), blob.pack_offset - BLOCK_BYTES
    with store_errors(path), content.open("rb") as source, _writable(path) as pack:
        _write(pack, member_header(blob.blob_hash.hex().encode(), blob.size_bytes), start)
        at = blob.pack_offset
        while chunk := source.read(CHUNK_BYTES):
            _write(pack, chunk, at)
            at += len(chunk)
        _write(pack, bytes(-blob.size_bytes % BLOCK_BYTES), at)
        os.fdatasync(pack)


def write_header(layout: StoreLayout, blob: BlobLocation) -> None:
    """The header of a member anew, where its content is what it should be; durable on return."""
    assert blob.pack_id is not None and blob.pack_offset is not None, "a plain blob has no header"
    path = layout.pack_path(blob.pack_id)
    with store_errors(path), _writable(path) as pack:
        header = member_header(blob.blob_hash.hex().encode(), blob.size_bytes)
        _write(pack, header, blob.pack_offset - BLOCK_BYTES)
        os.fdatasync(pack)


def append_member(layout: StoreLayout, pack_id: int, at: int, blob_hash: bytes, content: Path) -> int:
    """Appends a small content to a pack that nobody else writes, at `at`; where it ends then. Durable on return."""
    with store_errors(layout.pack_path(pack_id)):
        data = content.read_bytes()
        fd = open_pack(layout, pack_id, at)
        try:
            header = member_header(blob_hash.hex().encode(), len(data))
            _write(fd, b"".join((header, data, bytes(-len(data) % BLOCK_BYTES))), 0)  # the kernel appends
            os.fdatasync(fd)
        finally:
            os.close(fd)
    return at + member_bytes(len(data))


def write_plain(layout: StoreLayout, blob_hash: bytes, content: Path) -> None:
    """The file becomes the plain blob, in place of what was there. It lies on the store's file system."""
    target = layout.blob_path(blob_hash)
    with store_errors(target):
        content.chmod(FILE_MODE)
        with content.open("rb") as file:
            os.fsync(file.fileno())
        make_folder(target.parent)
        content.rename(target)
        sync_folder(target.parent)


def adopt(layout: StoreLayout, catalogue: str) -> None:
    """The store belongs to this catalogue from now on, which is made from it; to no other one any more."""
    layout.prepare()
    mark = layout.root / f"catalogue-{catalogue}"
    with store_errors(layout.root):
        former = sorted(folder for folder in layout.root.glob("catalogue-*") if folder != mark)
        make_folder(mark)
        for folder in former:
            folder.rmdir()
        sync_folder(layout.root)


def hash_of(path: Path) -> bytes:
    hasher = blake3()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.digest()


@contextmanager
def _writable(path: Path) -> Iterator[int]:
    """A pack opened for writing, whoever owns it; its mode is what it was afterwards."""
    path.chmod(0o644)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    finally:
        path.chmod(FILE_MODE)
    try:
        yield fd
    finally:
        os.close(fd)


def _write(fd: int, data: bytes, at: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(fd, rest, at)
        rest, at = rest[written:], at + written
