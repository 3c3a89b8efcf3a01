"""Image, map and manifest -> `<medium_hash>.tar.zst`, written, synced, read back from the disk, compared."""

from __future__ import annotations

import fcntl
import os
import subprocess
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
from blake3 import blake3

from ntt.errors import MediumError, StoreError
from ntt.proc import Child, running
from ntt.store.layout import FILE_MODE, make_folder, store_errors, sync_folder
from ntt.tools.archiving import tar_create, zstd_compress, zstd_decompress

PIPE_BYTES = 1 << 20
CHUNK_BYTES = 64 << 10  # larger pieces are given back to the kernel and faulted in again, each time
FLUSH_EVERY_S = 0.5
F_SETPIPE_SZ = 1031  # linux/fcntl.h; Python names it from 3.10 on some builds only


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside an archive, and the BLAKE3 of its content as read back."""

    name: str
    size_bytes: int
    content_hash: str


def _pipe() -> tuple[int, int]:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    fcntl.fcntl(writing, F_SETPIPE_SZ, PIPE_BYTES)
    return reading, writing


@dataclass(frozen=True, slots=True)
class ArchivePart:
    """An archive that is durable but does not have its name yet."""

    path: Path
    size_bytes: int


@asynccontextmanager
async def written_archive(
    target: Path, folder: Path, members: AsyncIterator[str], level: int, stall_s: float, advance: Callable[[int], None]
) -> AsyncIterator[ArchivePart]:
    """`members` of `folder`, as they are named -> `<target>.part`, durable, for the body to read back.

    When the body ends well it gets its name, over an older archive if there is one; otherwise it is removed.
    A member is archived as soon as it is named, so the next may still be made meanwhile. `advance` gets the
    bytes that tar has read. StoreError when it cannot be written, MediumError when its sources cannot be read.
    """
    part = target.with_name(target.name + ".part")
    with store_errors(target):
        make_folder(target.parent)
        out = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        fcntl.flock(out, fcntl.LOCK_EX)  # whoever finds it unlocked knows that its writer is gone
    try:
        await _compress(out, folder, members, level, stall_s, advance)
        with store_errors(target):
            os.fchmod(out, FILE_MODE)
            await anyio.to_thread.run_sync(os.fsync, out)
            # what is read back then must come from the disk, not from memory
            os.posix_fadvise(out, 0, 0, os.POSIX_FADV_DONTNEED)
        yield ArchivePart(part, os.fstat(out).st_size)
        with store_errors(target):
            part.rename(target)
            sync_folder(target.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        os.close(out)


async def _compress(
    out: int, folder: Path, members: AsyncIterator[str], level: int, stall_s: float, advance: Callable[[int], None]
) -> None:
    reading, writing = _pipe()
    try:
        async with (
            running(zstd_compress(level), stdin=reading, stdout=out, stderr=subprocess.PIPE) as zstd,
            running(tar_create(str(folder)), stdin=subprocess.PIPE, stdout=writing, stderr=subprocess.PIPE) as tar,
        ):
            os.close(reading)
            os.close(writing)
            reading = writing = -1
            async with anyio.create_task_group() as watch:
                all_named = anyio.Event()
                watch.start_soon(_watch, tar, out, stall_s, advance, all_named)
                watch.start_soon(_flush, out)
                await _name_members(tar, members)
                all_named.set()
                tar_status = await tar.wait()
                zstd_status = await zstd.wait()
                watch.cancel_scope.cancel()
            if zstd_status != 0:
                raise StoreError(f"the archive cannot be written: {await _words(zstd)}", "free space, then run again")
            if tar_status != 0:
                raise MediumError(f"the image cannot be archived: {await _words(tar)}", "run the same command again")
    finally:
        for descriptor in (reading, writing):
            if descriptor >= 0:
                os.close(descriptor)


async def _flush(out: int) -> None:
    """Writes to the disk what is there while the rest is still being compressed: the last sync is short then."""
    while True:
        await anyio.to_thread.run_sync(os.fdatasync, out)
        await anyio.sleep(FLUSH_EVERY_S)


async def _name_members(tar: Child, members: AsyncIterator[str]) -> None:
    assert tar.process.stdin is not None
    try:
        async for name in members:
            await tar.process.stdin.send(name.encode() + b"\0")
    except anyio.BrokenResourceError:
        return  # tar has ended; its status says why
    await tar.process.stdin.aclose()


async def _watch(tar: Child, out: int, stall_s: float, advance: Callable[[int], None], all_named: anyio.Event) -> None:
    seen, idle_s = (-1, -1), 0.0
    while True:
        await anyio.sleep(0.25)
        now = (_bytes_read(tar.pid), os.fstat(out).st_size)
        # tar may wait for a member that is still being made, a large manifest
        idle_s = idle_s + 0.25 if now == seen and all_named.is_set() else 0.0
        seen = now
        advance(max(0, now[0]))
        if idle_s > stall_s:
            raise StoreError(f"archiving made no progress for {stall_s:.0f} s", "is the disk answering?")


def _bytes_read(pid: int) -> int:
    try:
        words = Path(f"/proc/{pid}/io").read_text().split()
    except OSError:
        return -1  # it has ended
    return int(words[1])


async def _words(child: Child) -> str:
    text = b""
    if child.process.stderr is not None:
        async for chunk in child.process.stderr:
            text = (text + chunk)[-1000:]
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"{child.argv[0]} ended with status {child.process.returncode}"


def _untold(_: int) -> None:
    pass


async def read_members(
    archive: Path, keep: Mapping[str, Path] | None = None, advance: Callable[[int], None] = _untold
) -> list[Member]:
    """Every member with the hash of its content; those of `keep` are written to files, too, which are there then.

    `advance` is told, in a thread, of bytes that were unpacked; it may wait there. MediumError when the archive is
    damaged or no archive, StoreError when a file cannot be written.
    """
    async with _decompressed(archive) as (zstd, reading):
        try:
            members = await anyio.to_thread.run_sync(
                _hash_members, reading, keep or {}, advance, abandon_on_cancel=True
            )
        except (tarfile.TarError, OSError) as error:
            raise MediumError(f"archive {archive.name} is damaged: {error}") from error
        if await zstd.wait() != 0:
            raise MediumError(f"archive {archive.name} is damaged: {await _words(zstd)}")
    return members


@asynccontextmanager
async def _decompressed(archive: Path) -> AsyncIterator[tuple[Child, int]]:
    reading, writing = _pipe()
    try:
        async with running(zstd_decompress(str(archive)), stdout=writing, stderr=subprocess.PIPE) as zstd:
            os.close(writing)
            writing = -1
            yield zstd, reading
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)


def _hash_members(reading: int, keep: Mapping[str, Path], advance: Callable[[int], None]) -> list[Member]:
    members: list[Member] = []
    with (
        os.fdopen(os.dup(reading), "rb", buffering=CHUNK_BYTES) as stream,
        tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK_BYTES) as tar,
    ):
        for info in tar:
            content = tar.extractfile(info)
            if content is None:
                continue
            hasher = blake3()
            with _written(keep.get(info.name)) as write:
                while chunk := content.read(CHUNK_BYTES):
                    hasher.update(chunk)
                    write(chunk)
                    advance(len(chunk))
            members.append(Member(info.name, info.size, hasher.hexdigest()))
        while stream.read(CHUNK_BYTES):
            pass  # zstd must come to its end to check its checksum
    return members


@contextmanager
def _written(path: Path | None) -> Iterator[Callable[[bytes], object]]:
    if path is None:
        yield lambda _: None
        return
    with store_errors(path):
        file = path.open("wb")

    def write(chunk: bytes) -> None:
        with store_errors(path):
            file.write(chunk)

    with file:
        yield write


async def pass_member(archive: Path, name: str, take: Callable[[bytes], None]) -> None:
    """Passes the content of one member to `take`, in order; MediumError when it is not there or damaged."""
    if not await pass_members(archive, {name: take}):
        raise MediumError(f"archive {archive.name} holds no {name}")


async def pass_members(archive: Path, takers: Mapping[str, Callable[[bytes], None]]) -> set[str]:
    """Passes the contents of members to who takes them, in threads; the names of those that are there.

    Nothing is read behind the last of them. MediumError when the archive is damaged; what a taker raises, but for an
    OSError: that is taken for the archive's.
    """
    async with _decompressed(archive) as (_, reading):
        try:
            return await anyio.to_thread.run_sync(_pass_members, reading, takers, abandon_on_cancel=True)
        except (tarfile.TarError, OSError) as error:
            raise MediumError(f"archive {archive.name} is damaged: {error}") from error


def _pass_members(reading: int, takers: Mapping[str, Callable[[bytes], None]]) -> set[str]:
    found: set[str] = set()
    with (
        os.fdopen(os.dup(reading), "rb", buffering=CHUNK_BYTES) as stream,
        tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK_BYTES) as tar,
    ):
        for info in tar:
            take = takers.get(info.name)
            content = tar.extractfile(info) if take is not None and info.name not in found else None
            if take is None or content is None:
                continue
            while chunk := content.read(CHUNK_BYTES):
                take(chunk)
            found.add(info.name)
            if len(found) == len(takers):
                break
    return found
