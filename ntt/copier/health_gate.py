"""What is known of a volume before it is copied -> go on, go on with a warning, read the rest only, or leave it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ntt.model import Volume
from ntt.ranges import Ranges, total, within

NOT_TRIED = "not tried: "  # how the reason of every file begins that was left by a refusal
OVERRIDE = "`ntt retry HASH --apply` or `ntt ingest --despite-problems` tries all the same"


class Way(enum.Enum):
    """`REST`: files on what was not read are not tried, all others are. `REFUSE`: no file of the volume is."""

    GO = "go"
    WARN = "warn"
    REST = "rest"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Known:
    """Problems that earlier attempts at the medium left: volumes, and whether many of its files failed."""

    refused: frozenset[int] = frozenset()
    unstable: frozenset[int] = frozenset()
    many_errors: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """`reason` is a sentence for people; empty for `GO`."""

    way: Way
    reason: str = ""

    @property
    def degraded(self) -> bool:
        """Little works here: its files get few attempts."""
        return self.way is not Way.GO


def decided(volume: Volume, unread: Ranges, known: Known, *, despite_problems: bool) -> Decision:
    """The worst of what is known counts. With `despite_problems` what would be refused is a warning."""
    refusal = _refusal(volume, unread, known)
    if refusal:
        return Decision(Way.WARN, refusal) if despite_problems else Decision(Way.REFUSE, refusal)
    if volume.index in known.unstable:
        return Decision(Way.WARN, f"volume {volume.index}: its mount broke off more than once before")
    missing = total(_missing(volume, unread))
    if missing:
        text = f"volume {volume.index}: {missing:,} of its bytes were not read; files that lie there are not tried"
        return Decision(Way.REST, text)
    if known.many_errors:
        return Decision(Way.WARN, f"volume {volume.index}: many files of the medium could not be read before")
    return Decision(Way.GO)


def _refusal(volume: Volume, unread: Ranges, known: Known) -> str:
    if volume.index in known.refused:
        return f"volume {volume.index}: its mount kept breaking off, time after time"
    if volume.size_bytes and total(_missing(volume, unread)) == volume.size_bytes:
        return f"volume {volume.index}: not one of its bytes was read"
    return ""


def _missing(volume: Volume, unread: Ranges) -> Ranges:
    """Of raw sectors, which lie elsewhere than their numbers say, nothing is known."""
    if volume.sector_bytes:
        return ()
    return within(unread, volume.offset_bytes, volume.offset_bytes + volume.size_bytes)
