"""What the operator wants of a watch: words only."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

from ntt.model import Effort


class EjectAfter(enum.StrEnum):
    """When a medium may leave its drive."""

    IMAGE = "image"  # as soon as its image is durable and checked; the rest is done in the background
    ARCHIVE = "archive"  # when everything is done


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """`devices` empty: every drive with removable media. `once`: end when what is inserted is done."""

    devices: tuple[Path, ...] = ()
    once: bool = False
    eject: bool = True
    eject_after: EjectAfter = EjectAfter.ARCHIVE
    eject_failed: bool = False
    again: bool = False
    trust_look: bool = False  # a few agreeing samples are enough to call a finished medium known
    label: str | None = None
    box: str | None = None
    ask: bool = False
    on_event: str | None = None
    archive: bool = True
    effort: Effort = Effort.NORMAL
    free_space: bool = False
