"""A name, a hash or a file of this machine -> every medium and path that has it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import anyio.from_thread
import anyio.to_thread
import msgspec
from blake3 import blake3

from ntt.db.connection import Database
from ntt.db.finding_files import CANDIDATES, Finding, FoundFile
from ntt.db.name_globs import parse_glob
from ntt.db.verifying import StoredBlob
from ntt.errors import UsageError
from ntt.names import as_text, exact, printable
from ntt.operations.located import raw_path

HASH_DIGITS = 64
LEAST_DIGITS = 8  # of what is taken for the beginning of a hash though nobody says so; many words are hex, too
CHUNK_BYTES = 1 << 20
STATUS = {"c": "copied", "d": "damaged", "f": "failed"}
TYPES = {
    stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link", stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "chardev", stat.S_IFBLK: "blockdev", stat.S_IFSOCK: "socket",
}  # fmt: skip


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """A path on a medium. `status`: copied, damaged, failed or pending, of regular files; `blob` is what is stored."""

    medium_hash: str
    human: str
    volume: int
    ino: int
    path: str
    type: str
    size: int
    status: str = ""
    blob: str = ""
    box: str | None = None
    path_b64: str | None = None

    @property
    def raw(self) -> bytes:
        return raw_path(self.path, self.path_b64)


class Search(msgspec.Struct, frozen=True):
    """What one way of taking the question found. `by` is "name", "blob" or "file"; `what` is shown to people.

    `blob`, `size`: the content that was looked for, where one is; `stored`: the store has it. `more`: `places` ends
    at the limit, and there are others.
    """

    by: str
    what: str
    places: tuple[Place, ...]
    more: bool
    blob: str = ""
    size: int = 0
    stored: bool = False


class Where(msgspec.Struct, frozen=True):
    searches: tuple[Search, ...]

    @property
    def found(self) -> bool:
        return any(search.places or search.stored for search in self.searches)


async def where(database: Database, asked: str, kind: str | None, limit: int) -> Where:
    """With `kind` "name", "blob" or "file" `asked` is that; else all that it may be: a regular file of this machine,
    the beginning of a hash from 8 digits on, and a name unless it has a slash, which no name has.

    UsageError for what cannot be any of them, for a file that cannot be read, and for an ambiguous hash.
    """
    if limit < 1:
        raise UsageError(f"a limit of {limit} shows nothing", "give a number from 1 on")
    finding = Finding(database)
    searches: list[Search] = []
    if kind == "file" or (kind is None and _is_file(asked)):
        searches.append(await _by_file(finding, Path(asked), limit))
    digits = asked.lower()
    is_hash = 0 < len(digits) <= HASH_DIGITS and not digits.strip("0123456789abcdef")
    if kind == "blob" and not is_hash:
        raise UsageError(f"{printable(asked)} is not the beginning of a hash", "it has hex digits only, at most 64")
    if kind == "blob" or (kind is None and is_hash and len(digits) >= LEAST_DIGITS):
        searches.append(await _by_hash(finding, digits, limit))
    if kind == "name" or (kind is None and "/" not in asked):
        searches.append(await _by_name(finding, asked, limit))
    if not searches:
        raise UsageError(f"{printable(asked)} is no file of this machine", "a name on a medium has no slash")
    return Where(tuple(searches))


def _is_file(asked: str) -> bool:
    try:
        return Path(asked).is_file()
    except (OSError, ValueError):  # no permission; a NUL
        return False


async def _by_name(finding: Finding, asked: str, limit: int) -> Search:
    name = os.fsencode(asked)
    if not name:
        raise UsageError("nothing is asked for", "give a name, a hash or a file")
    found = await finding.named(parse_glob(name), limit + 1)
    return Search("name", as_text(name), tuple(map(_place, found[:limit])), len(found) > limit)


async def _by_hash(finding: Finding, digits: str, limit: int) -> Search:
    blobs = await finding.blobs(digits)
    if len(blobs) > 1:
        listed = ", ".join(blob.blob_hash.hex() for blob in blobs[: CANDIDATES - 1])
        more = ", ..." if len(blobs) >= CANDIDATES else ""
        raise UsageError(f"{digits} is ambiguous: {listed}{more}", "give more digits, or --name if it is a name")
    return await _content(finding, "blob", digits, blobs[0] if blobs else None, limit)


async def _by_file(finding: Finding, path: Path, limit: int) -> Search:
    size_bytes, blob_hash = await anyio.to_thread.run_sync(_hashed, path)
    blobs = await finding.blobs(blob_hash)
    found = await _content(finding, "file", printable(os.fsencode(path)), blobs[0] if blobs else None, limit)
    return msgspec.structs.replace(found, blob=blob_hash, size=size_bytes)


def _hashed(path: Path) -> tuple[int, str]:
    shown = printable(os.fsencode(path))
    try:
        # without O_NONBLOCK opening a named pipe would wait for its writer for ever
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise UsageError(f"{shown} cannot be opened: {getattr(error, 'strerror', error)}", "check the path") from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise UsageError(f"{shown} is not a regular file", "only those have a content")
        hasher, size_bytes = blake3(), 0
        while chunk := os.read(fd, CHUNK_BYTES):
            anyio.from_thread.check_cancelled()
            hasher.update(chunk)
            size_bytes += len(chunk)
    except OSError as error:
        raise UsageError(f"{shown} cannot be read: {error.strerror}", "copy it elsewhere first") from None
    finally:
        os.close(fd)
    return size_bytes, hasher.hexdigest()


async def _content(finding: Finding, by: str, what: str, blob: StoredBlob | None, limit: int) -> Search:
    if blob is None:
        return Search(by, what, (), more=False)
    found = await finding.holding(blob, limit + 1)
    places = tuple(map(_place, found[:limit]))
    return Search(by, what, places, len(found) > limit, blob.blob_hash.hex(), blob.size_bytes, stored=True)


def _place(file: FoundFile) -> Place:
    kind = "unknown" if file.mode is None else TYPES.get(stat.S_IFMT(file.mode), "other")
    return Place(
        medium_hash=file.medium_hash,
        human=file.human,
        volume=file.volume,
        ino=file.ino,
        path=as_text(file.path),
        type=kind,
        size=file.size,
        status=STATUS.get(file.status, "pending" if kind == "file" else ""),
        blob="" if file.blob_hash is None else file.blob_hash.hex(),
        box=file.box,
        path_b64=exact(file.path),
    )
