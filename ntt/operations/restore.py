"""Medium -> DEST: the tree as it was, contents read in the order of the store, nothing outside of DEST."""

from __future__ import annotations

import contextlib
import fnmatch
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.to_thread
import msgspec

from ntt.db.connection import Database
from ntt.db.media import Medium
from ntt.db.restoring import RestorePlan, restore_plan
from ntt.errors import UsageError
from ntt.names import printable
from ntt.operations.located import Located, located
from ntt.operations.staging import Allowed, Staging
from ntt.operations.substitutes import Substitutes
from ntt.operations.tally import Note, Tally
from ntt.store.layout import StoreLayout

LISTED = 10_000  # of each kind in a report; the totals count on
ADVANCE_BYTES = 8 << 20


class RestoreReport(msgspec.Struct, frozen=True):
    """`failed`: no content to restore; `skipped`: left out by rule; `altered`: restored, but not quite as it was.

    `damaged` files were restored as they are stored, with ranges that could not be read from the medium; `replaced`
    ones with the content of a whole file that agrees with all that was read of them.
    Each list ends after 10,000; its `_total` counts all. `bytes` are those of `files`, hard links not among them.
    """

    medium_hash: str
    destination: str
    files: int
    bytes: int
    directories: int
    links: int
    hard_links: int
    special: int
    skipped: tuple[Located, ...]
    skipped_total: int
    damaged: tuple[Located, ...]
    damaged_total: int
    failed: tuple[Located, ...]
    failed_total: int
    altered: tuple[Located, ...]
    altered_total: int
    replaced: tuple[Located, ...] = ()
    replaced_total: int = 0

    @property
    def complete(self) -> bool:
        """Is everything there, whole and as it was?"""
        odd = self.skipped_total, self.damaged_total, self.failed_total, self.altered_total, self.replaced_total
        return not any(odd)


class _Listed:
    """Notes of one kind, with their paths, up to a limit."""

    def __init__(self) -> None:
        self.kept: list[Located] = []
        self.total = 0

    def add(self, notes: Sequence[Note], above: dict[tuple[int, int], bytes], prefixes: dict[int, bytes]) -> None:
        self.total += len(notes)
        for note in notes[: max(0, LISTED - len(self.kept))]:
            folder = above.get((note.volume, note.parent_ino), b"")
            path = folder + b"/" + note.name if folder else note.name
            self.kept.append(located(prefixes.get(note.volume, b"") + path, note.reason))


async def restore(
    database: Database,
    store: StoreLayout,
    medium: Medium,
    destination: Path,
    *,
    pattern: bytes | None,
    devices: bool,
    setuid: bool,
    advance: Callable[[int, int], None],
    clean_copies: bool = False,
) -> RestoreReport:
    """Restores `medium`, or what matches the glob `pattern` by its path in its volume (`*` also crosses `/`).

    A directory that matches brings all that is in it. With `clean_copies` a damaged file gets the content of a whole
    one, if exactly one agrees with all that was read of it; the report names each. DEST must not exist or be empty
    (UsageError); it shows nothing until all contents are there, and is empty again when that fails. `advance` gets
    files and bytes so far. StoreError when DEST takes no more.
    """
    substitutes = Substitutes(database, store, medium.id) if clean_copies else None
    fd, made = await anyio.to_thread.run_sync(_open_destination, destination)
    try:
        async with restore_plan(database, medium.id, None if pattern is None else _matcher(pattern)) as plan:
            staging = await anyio.to_thread.run_sync(Staging, fd, store, Allowed(devices, setuid), _teller(advance))
            try:
                report = await _restore(plan, staging, medium, destination, substitutes)
            finally:
                staging.close()
    except BaseException:
        if made:
            with contextlib.suppress(OSError):  # not empty: something was moved into place already
                destination.rmdir()
        raise
    finally:
        os.close(fd)
    advance(report.files, report.bytes)
    return report


async def _restore(
    plan: RestorePlan, staging: Staging, medium: Medium, destination: Path, substitutes: Substitutes | None
) -> RestoreReport:
    several = await plan.roots() > 1
    lists = {kind: _Listed() for kind in ("skipped", "damaged", "failed", "altered", "replaced")}
    targets: dict[int, str] = {}
    settle = partial(_settle_notes, plan, staging.tally, lists, several)
    try:
        async for ids in plan.directory_ids():
            await anyio.to_thread.run_sync(staging.make_directories, ids)
        async for planned in plan.entries():
            entries = planned if substitutes is None else await substitutes.put_in(planned)
            await anyio.to_thread.run_sync(staging.place, entries)
            await settle()
    except BaseException:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(staging.discard)
        raise
    async for directories in plan.directories():
        for directory in directories:
            targets.setdefault(directory.volume, f"volume-{directory.volume}" if several else ".")
        await anyio.to_thread.run_sync(staging.settle, directories, targets)
        await settle()
    await anyio.to_thread.run_sync(staging.finish)
    await settle()
    return _report(medium, destination, staging.tally, lists)


async def _settle_notes(plan: RestorePlan, tally: Tally, lists: dict[str, _Listed], several: bool) -> None:
    waiting = {
        "skipped": tally.skipped, "damaged": tally.damaged, "failed": tally.failed, "altered": tally.altered,
        "replaced": tally.replaced,
    }  # fmt: skip
    keys = {(n.volume, n.parent_ino) for kind, notes in waiting.items() if lists[kind].total < LISTED for n in notes}
    above = await plan.directory_paths(keys)
    prefixes = {volume: b"volume-%d/" % volume for volume, _ in keys} if several else {}
    for kind, notes in waiting.items():
        lists[kind].add(notes, above, prefixes)
        notes.clear()


def _report(medium: Medium, destination: Path, tally: Tally, lists: dict[str, _Listed]) -> RestoreReport:
    return RestoreReport(
        medium_hash=medium.medium_hash,
        destination=os.fsencode(destination).decode("utf-8", "replace"),
        files=tally.files,
        bytes=tally.bytes,
        directories=tally.directories,
        links=tally.links,
        hard_links=tally.hard_links,
        special=tally.special,
        skipped=tuple(lists["skipped"].kept),
        skipped_total=lists["skipped"].total,
        damaged=tuple(lists["damaged"].kept),
        damaged_total=lists["damaged"].total,
        failed=tuple(lists["failed"].kept),
        failed_total=lists["failed"].total,
        altered=tuple(lists["altered"].kept),
        altered_total=lists["altered"].total,
        replaced=tuple(lists["replaced"].kept),
        replaced_total=lists["replaced"].total,
    )


def _open_destination(destination: Path) -> tuple[int, bool]:
    """(a descriptor of an empty directory, was it made here?)"""
    shown = printable(os.fsencode(destination))
    try:
        made = not destination.exists()
        if made:
            destination.mkdir()
        fd = os.open(destination, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{shown} cannot be restored to: {error.strerror}", "name another folder") from None
    try:
        with os.scandir(fd) as found:
            empty = next(found, None) is None
    except OSError as error:
        os.close(fd)
        raise UsageError(f"{shown} cannot be listed: {error.strerror}", "name another folder") from None
    if not empty:
        os.close(fd)
        raise UsageError(f"{shown} is not empty", "name an empty or a new folder")
    return fd, made


def _matcher(pattern: bytes) -> Callable[[bytes], bool]:
    wanted = pattern.strip(b"/")
    below = wanted + b"/*"
    return lambda path: fnmatch.fnmatchcase(path, wanted) or fnmatch.fnmatchcase(path, below)


def _teller(advance: Callable[[int, int], None]) -> Callable[[Tally], None]:
    told = 0

    def tell(tally: Tally) -> None:
        nonlocal told
        if tally.bytes - told >= ADVANCE_BYTES or tally.bytes < told:
            told = tally.bytes
            anyio.from_thread.check_cancelled()
            anyio.from_thread.run_sync(advance, tally.files, tally.bytes)

    return tell
