"""What a survey is asked and what it answers, between NTT and the worker process that walks an image."""

from __future__ import annotations

import msgspec

from ntt.model import Entry, Layout, LostStructure, MountedRoot, Route, Volume, WalkProblem
from ntt.ranges import Ranges


class Survey(msgspec.Struct, frozen=True, tag=True):
    """What to look at: the unread bytes of the image, and how large the medium claims to be.

    `cue` is the text of the cue sheet beside the image, or empty; `file_name` is what that calls the image. With
    `volumes` the layout is known already: only these are walked. `roots`: by volume index, of
    those that are read by path. `only`: volumes by other routes than this one are not walked.
    """

    unread: Ranges
    claimed_bytes: int
    cue: str = ""
    file_name: str = ""
    volumes: tuple[Volume, ...] | None = None
    roots: dict[int, MountedRoot] = {}
    only: Route | None = None


class LayoutFound(msgspec.Struct, frozen=True, tag=True):
    """The first answer, unless the layout was known already."""

    layout: Layout


class Found(msgspec.Struct, frozen=True, tag=True):
    """Entries of one volume, parents before children."""

    volume: int
    entries: tuple[Entry, ...]
    problems: tuple[WalkProblem, ...]


class VolumeEnded(msgspec.Struct, frozen=True, tag=True):
    """A volume's walk is over; `failure` is empty, or says why it ended early.

    `counted`: the entries that the file system itself counts, None where it does not say. `journal_pending`: its
    journal holds changes that were not replayed. The rest is as in `ntt.readers.surface.Account`.
    """

    volume: int
    failure: str
    counted: int | None = None
    journal_pending: bool = False
    lost: tuple[LostStructure, ...] = ()
    unread_used: Ranges | None = None
    cells: bytes = b""


class SurveyDone(msgspec.Struct, frozen=True, tag=True):
    """Always the last answer of a survey that went through to its end."""


FromSurvey = LayoutFound | Found | VolumeEnded | SurveyDone
