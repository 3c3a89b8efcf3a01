"""What a file's extents and the unread bytes of the image say of its content: whole, damaged where, in doubt, lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec

from ntt.copier.damage import certainly_damaged, damaged_ranges, stored_ranges, unread_places
from ntt.copier.diagnosis import Check
from ntt.copier.messages import Read
from ntt.model import Extent, OutcomeStatus
from ntt.ranges import Ranges, difference, normalised, within

NOTHING_READ = "unread: none of its bytes could be read from the medium"
IN_DOUBT = "may hold bytes that were not read: nothing tells where its file system keeps them"


class Placed(Protocol):
    """Knows where its files lie."""

    def extents(self, ino: int) -> Sequence[Extent]: ...


@runtime_checkable
class Blanking(Protocol):
    """A source that gives zeros for what it cannot read of a file for want of unread bytes."""

    @property
    def blanked(self) -> Ranges:
        """Of the file that was read last."""
        ...


class Judge:
    """`image_bytes`: what lies behind them was not read because it is not there."""

    def __init__(self, image_bytes: int) -> None:
        self._image_bytes = image_bytes

    def before(self, source: Placed, ino: int, unread: Ranges) -> Read:
        """What is to be said of a file before it is read; FAILED if there is nothing to read."""
        extents = source.extents(ino) if unread else ()
        damaged = damaged_ranges(extents, unread)
        if not damaged:
            return Read(OutcomeStatus.COPIED, b"", 0, "", (), "", False, (), ())
        places = unread_places(extents, unread)
        lost = certainly_damaged(extents, unread)
        checks = self._causes(extents, lost, unread)
        if lost and not difference(stored_ranges(extents), lost):
            return _nothing(checks, places)
        return Read(OutcomeStatus.DAMAGED, b"", 0, _doubt(damaged, lost), damaged, "", False, checks, places)

    def after(self, source: Placed, ino: int, unread: Ranges, found: Read) -> Read:
        """With what the source could not give after all; FAILED if that is everything."""
        blanked = source.blanked if isinstance(source, Blanking) else ()
        if not blanked:
            return found
        extents = source.extents(ino)
        lost = normalised((*certainly_damaged(extents, unread), *blanked))
        checks = self._causes(extents, lost, unread)
        if not difference(stored_ranges(extents), lost):
            return _nothing(checks, found.unread)
        damaged = normalised((*found.damaged, *blanked))
        return msgspec.structs.replace(
            found, status=OutcomeStatus.DAMAGED, damaged=damaged, reason=_doubt(damaged, lost), checks=checks
        )

    def without_unread(self, source: Placed, ino: int, unread: Ranges, at: int, content: bytes) -> bytes:
        """The content, which begins at `at`, with zeros where it was not read, whatever a mount shows there."""
        whole = bytearray(content)
        for start, end in within(certainly_damaged(source.extents(ino), unread), at, at + len(content)):
            whole[start - at : end - at] = bytes(end - start)
        return bytes(whole)

    def _causes(self, extents: Sequence[Extent], damaged: Ranges, unread: Ranges) -> tuple[str, ...]:
        """Beyond the end of the image, or in what the map says was not read, or both."""
        if not damaged:
            return ()
        beyond = certainly_damaged(extents, within(unread, self._image_bytes, 1 << 62))
        causes: list[str] = [Check.BEYOND_EOF] if beyond else []
        if difference(damaged, beyond):
            causes.append(Check.IO_ERROR)
        return tuple(causes)


def _doubt(damaged: Ranges, lost: Ranges) -> str:
    return IN_DOUBT if difference(damaged, lost) else ""


def _nothing(checks: tuple[str, ...], unread: Ranges) -> Read:
    return Read(OutcomeStatus.FAILED, b"", 0, NOTHING_READ, (), "", False, checks, unread)
