"""An ext2/3/4 superblock -> what the file system says of itself: sizes, dates, counts, state, and what is odd."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from ntt.model import VolumeFacts
from ntt.readers.base import ImageSource
from ntt.readers.ext.superblock import OLD_FIRST_INO

STATE_VALID, STATE_ERRORS, STATE_ORPHANS = 0x1, 0x2, 0x4
COMPAT_JOURNAL, COMPAT_ORPHAN_FILE = 0x4, 0x1000
INCOMPAT_RECOVER, INCOMPAT_EA_INODE, INCOMPAT_ENCRYPT, INCOMPAT_CASEFOLD = 0x4, 0x400, 0x10000, 0x20000
RO_COMPAT_PROJECT = 0x2000
# filetype, recovery, meta_bg, extents, 64bit, mmp, flex_bg, ea_inode, csum_seed, largedir, inline_data, encrypt, fold
INCOMPAT_KNOWN = 0x2 | 0x4 | 0x10 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x8000 | 0x10000 | 0x20000
INCOMPAT_NAMES = {0x1: "compression", 0x8: "journal_dev", 0x1000: "dirdata"}
SYSTEMS = {1: "GNU/Hurd", 2: "Masix", 3: "FreeBSD", 4: "Lites"}


class _Fields(NamedTuple):
    """Little-endian numbers of the superblock by name; "ext4 Data Structures and Algorithms", section Super Block."""

    raw: bytes

    def u8(self, at: int) -> int:
        return self.raw[at]

    def u16(self, at: int) -> int:
        return int.from_bytes(self.raw[at : at + 2], "little")

    def u32(self, at: int) -> int:
        return int.from_bytes(self.raw[at : at + 4], "little")

    def wide(self, low: int, high: int) -> int:
        """A block count; its upper half counts only with the feature 64bit."""
        return self.u32(low) | (self.u32(high) << 32 if self.incompat & 0x80 else 0)

    def time(self, low: int, high: int) -> int | None:
        """Seconds from 1970; None if it was never set. `high` is the place of bits 32..39."""
        return self.u32(low) | self.u8(high) << 32 or None

    @property
    def revision(self) -> int:
        return self.u32(76)

    @property
    def compat(self) -> int:
        return self.u32(92) if self.revision else 0

    @property
    def incompat(self) -> int:
        return self.u32(96) if self.revision else 0

    @property
    def ro_compat(self) -> int:
        return self.u32(100) if self.revision else 0

    @property
    def first_ino(self) -> int:
        return self.u32(84) if self.revision else OLD_FIRST_INO


def ext_facts(source: ImageSource, offset_bytes: int, fstype: str, label: str) -> VolumeFacts:
    """One read. Never raises: what cannot be read is None, with a sentence.

    `entries` are the inodes in use from the first that is not reserved on, without those that hold quotas and
    orphans: `lost+found` counts. A file system that was not unmounted may have written its counts long before.
    """
    try:
        raw = source.read(offset_bytes + 1024, 1024)
    except (OSError, OverflowError) as error:
        return VolumeFacts(fstype, label, oddities=(f"the superblock cannot be read: {error}",))
    fields = _Fields(raw)
    block_bytes = 1024 << min(fields.u32(24), 6)
    blocks, free = fields.wide(4, 336), fields.wide(12, 344)
    oddities = list(_oddities(fields, fstype))
    entries = _entries(fields)
    if entries is None:
        oddities.append("the superblock's inode counts contradict each other")
    if free > blocks:
        oddities.append("the superblock counts more free blocks than there are")
    times = [moment for moment in (fields.time(44, 629), fields.time(48, 628)) if moment is not None]
    return VolumeFacts(
        fstype,
        label,
        serial=str(UUID(bytes=raw[104:120])) if any(raw[104:120]) else "",
        created_s=fields.time(264, 630),
        modified_s=max(times, default=None),
        block_bytes=block_bytes,
        size_bytes=blocks * block_bytes,
        used_bytes=(blocks - free) * block_bytes if free <= blocks else None,
        free_bytes=free * block_bytes if free <= blocks else None,
        entries=entries,
        state="dirty" if _is_dirty(fields) else "clean",
        journal_pending=bool(fields.incompat & INCOMPAT_RECOVER),
        oddities=tuple(oddities),
    )


def _is_dirty(fields: _Fields) -> bool:
    return fields.u16(58) & (STATE_VALID | STATE_ERRORS) != STATE_VALID or bool(fields.incompat & INCOMPAT_RECOVER)


def _entries(fields: _Fields) -> int | None:
    """None if the counts contradict each other."""
    first, hidden = fields.first_ino, 0
    if fields.compat & COMPAT_ORPHAN_FILE:
        hidden += fields.u32(640) >= first
    if fields.ro_compat & RO_COMPAT_PROJECT:
        hidden += fields.u32(620) >= first
    used = fields.u32(0) - fields.u32(16) - (first - 1) - hidden
    return used if fields.u32(16) <= fields.u32(0) and used >= 0 else None


def _oddities(fields: _Fields, fstype: str) -> Iterator[str]:
    yield from _state_oddities(fields)
    system = fields.u32(72)
    if system:
        yield f"it was created by {SYSTEMS.get(system, f'an unknown system (number {system})')}, not by Linux"
    if fields.u16(90) and fields.revision:
        yield f"the first superblock is a backup's copy (of group {fields.u16(90)}): it was repaired once"
    unknown = fields.incompat & ~INCOMPAT_KNOWN
    if unknown:
        named = [INCOMPAT_NAMES.get(bit, f"0x{bit:x}") for bit in (1 << n for n in range(32)) if unknown & bit]
        yield f"it has features that its reader does not know: {', '.join(named)}"
    if fields.incompat & INCOMPAT_ENCRYPT:
        yield "it may hold encrypted files (fscrypt)"
    if fields.incompat & INCOMPAT_CASEFOLD:
        yield "some of its folders may take names in any case"
    if fields.incompat & INCOMPAT_EA_INODE:
        yield "long extended attributes have inodes of their own: its count of entries includes them"
    if fstype != "ext2" and fields.compat & COMPAT_JOURNAL and not fields.u32(224):
        yield "its journal lies on another device"
    if fields.u16(52):
        where = fields.raw[136:200].split(b"\0")[0].decode("utf-8", "replace")
        yield f"mounted {_times(fields.u16(52))} since it was last checked" + (f", last on {where}" if where else "")


def _state_oddities(fields: _Fields) -> Iterator[str]:
    state = fields.u16(58)
    if fields.incompat & INCOMPAT_RECOVER:
        yield "its journal was not replayed: the latest changes, and its counts, may be missing or stale"
    elif not state & STATE_VALID:
        yield "it was not unmounted: the latest changes, and its counts, may be missing or stale"
    if state & STATE_ERRORS:
        yield "its driver found errors in it"
    if state & STATE_ORPHANS or fields.u32(232):
        yield "files were deleted while they were open: some of its inodes in use have no name"
    errors = fields.u32(404)
    if errors:
        last = fields.time(460, 633)
        when = "" if last is None else f", the last {_day(last)}"
        yield f"its driver counted {errors:,} errors{when}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _day(moment: int) -> str:
    try:
        return f"on {datetime.fromtimestamp(moment, UTC):%Y-%m-%d}"
    except (OverflowError, ValueError, OSError):
        return f"at second {moment} from 1970"
