"""Catalogue -> what the unread bytes of a medium mean: one sentence, the directories, every pass, what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from ntt.db.connection import Database
from ntt.db.damage import Damage, LostPart, Unread
from ntt.db.media import Medium
from ntt.db.summary import COPYING
from ntt.model import PassEnd, PassRecord, Stage
from ntt.names import as_text, exact
from ntt.operations.located import raw_path

NAMED = 5  # in a sentence
LISTED = 1_000
DIRECTORY = "directory"
_NOT_OF_FILES = frozenset((Stage.IMAGE.value, Stage.IDENTIFY.value, "imaging", "join", COPYING))
HARMLESS = {
    "free": "in free space",
    "spare": "in second copies and journals",
    "unclaimed": "where no listed file lies",
    "run_out": "in the run-out sectors at the end of the disc",
}
_MEANINGS = {
    PassEnd.FINISHED: "all that was to be tried was tried",
    PassEnd.ENOUGH: "as much was read as was asked for",
    PassEnd.NO_PROGRESS: "nothing moved for too long",
    PassEnd.HOPELESS: "at its rate it would not have ended",
    PassEnd.SOURCE_GONE: "the medium, drive or bridge did not answer any more",
    PassEnd.NO_SPACE: "the disk with the images is full",
    PassEnd.STOPPED: "it was stopped by the operator",
    PassEnd.FAILED: "ddrescue could not go on",
}
_FIRST_STEPS = {
    PassEnd.NO_PROGRESS: "clean the medium, or put it into another drive",
    PassEnd.HOPELESS: "put the medium into another drive",
    PassEnd.SOURCE_GONE: "connect medium and drive again, or use another drive",
    PassEnd.NO_SPACE: "make room on the disk with the images",
}


class HitDirectory(msgspec.Struct, frozen=True, omit_defaults=True):
    """A directory of which `unread_bytes` were not read: names in it may be missing."""

    path: str
    volume: int
    ino: int
    unread_bytes: int
    path_b64: str | None = None

    @property
    def raw(self) -> bytes:
        return raw_path(self.path, self.path_b64)


class PassReport(msgspec.Struct, frozen=True):
    """One run of ddrescue over the medium. All counts are bytes but `read_errors`.

    `wanted_bytes` of what was unread were to be read, `read_bytes` of it were; `rescued_bytes`, `bad_bytes`: of the
    whole medium after it, read, and tried but not read. `end` is a word for scripts, `meaning` and `detail` say it to
    people. `hardware`: what the medium was read through, as far as it could be had.
    """

    name: str
    began_at: datetime
    seconds: float
    source: str
    hardware: dict[str, str]
    wanted_bytes: int
    read_bytes: int
    rescued_bytes: int
    bad_bytes: int
    read_errors: int
    end: str
    meaning: str
    detail: str


class DamageReport(msgspec.Struct, frozen=True):
    """`verdict` and `next_steps` are sentences; `structures`: unread bytes of the file systems by what they are of.

    `directories`: the worst first, at most a thousand of `directories_total`. `passes`: in the order in which they
    began; none of an image that was made elsewhere.
    """

    verdict: str
    structures: dict[str, int]
    directories: tuple[HitDirectory, ...]
    directories_total: int
    passes: tuple[PassReport, ...]
    next_steps: tuple[str, ...]

    @property
    def doubt(self) -> str:
        """Why the listing may be incomplete; empty when nothing that was not read makes it so."""
        return listing_doubt(self.structures, self.directories, self.directories_total)


class FileFacts(msgspec.Struct, frozen=True):
    """What became of the files. `remarks`: something was found that leaves a doubt whether all are listed.

    `copies`: medium -> how many of the damaged files it seems to hold whole; None: nobody looked. `doubtful`: so many
    more may be damaged.
    """

    damaged: int
    failed: int
    remarks: bool
    copies: Mapping[str, int] | None = None
    doubtful: int = 0

    @property
    def all_whole(self) -> bool:
        return not (self.damaged or self.failed or self.doubtful)


class _Found(msgspec.Struct, frozen=True):
    stage: str = ""


class _Summary(msgspec.Struct, frozen=True):
    findings: tuple[_Found, ...] = ()


def leave_doubt(problems: object) -> bool:
    """Is there anything in `medium.problems` besides how it was imaged and recognised?"""
    found = msgspec.convert(problems or {}, _Summary, strict=False).findings
    return any(finding.stage not in _NOT_OF_FILES for finding in found)


async def damage_report(database: Database, medium: Medium, unread: Unread, files: FileFacts) -> DamageReport:
    damage = Damage(database)
    parts = await damage.structures(medium.id) if unread.structures else []
    passes = await damage.passes(medium.id)
    by_kind: dict[str, int] = {}
    for part in parts:
        by_kind[part.what] = by_kind.get(part.what, 0) + part.unread_bytes
    directories = _directories(parts)
    shown = tuple(directories[:LISTED])
    doubt = listing_doubt(by_kind, shown, len(directories))
    return DamageReport(
        verdict=_unfinished(medium) or _verdict(unread, files, doubt),
        structures=by_kind,
        directories=shown,
        directories_total=len(directories),
        passes=tuple(map(_pass, passes)),
        next_steps=tuple(_next_steps(medium, unread, files, passes)),
    )


def _directories(parts: Sequence[LostPart]) -> list[HitDirectory]:
    sizes: dict[tuple[int, int], int] = {}
    paths: dict[tuple[int, int], bytes] = {}
    for part in parts:
        if part.what == DIRECTORY and part.path is not None:
            key = part.volume, part.ino
            sizes[key] = sizes.get(key, 0) + part.unread_bytes
            paths[key] = part.path
    worst = sorted(sizes, key=lambda key: (-sizes[key], key))
    return [HitDirectory(as_text(paths[key]) or "/", *key, sizes[key], exact(paths[key])) for key in worst]


def _pass(record: PassRecord) -> PassReport:
    return PassReport(
        name=record.name,
        began_at=datetime.fromtimestamp(record.began_s, UTC),
        seconds=round(record.seconds, 3),
        source=record.source,
        hardware=record.hardware,
        wanted_bytes=record.wanted_bytes,
        read_bytes=record.rescued_after - record.rescued_before,
        rescued_bytes=record.rescued_after,
        bad_bytes=record.bad_bytes,
        read_errors=record.read_errors,
        end=record.end.value,
        meaning=_MEANINGS[record.end],
        detail=record.detail,
    )


def listing_doubt(structures: Mapping[str, int], directories: Sequence[HitDirectory], directories_total: int) -> str:
    """What the listing may lack, in half a sentence; empty when nothing of the file systems themselves is unread."""
    if not structures:
        return ""
    if directories:
        named = ", ".join(directory.path for directory in directories[:NAMED])
        more = directories_total - min(len(directories), NAMED)
        word = "directory" if directories_total == 1 else "directories"
        return f"the listing may be incomplete: {word} {named}" + (f" and {more:,} more" if more else "")
    whose = ", ".join(sorted(structures))
    return f"the listing may be incomplete: {sum(structures.values()):,} bytes of file systems were not read ({whose})"


def harmless_places(unread: Mapping[str, int]) -> str:
    """Where unread bytes lie that no file misses: 'in free space and in second copies and journals: harmless'."""
    return f"{' and '.join(words for kind, words in HARMLESS.items() if kind in unread)}: harmless"


def _unfinished(medium: Medium) -> str:
    if medium.enum_done is None:
        return "its files are not listed yet"
    return "not all of its files are copied yet" if medium.copy_done is None else ""


def _verdict(unread: Unread, files: FileFacts, doubt: str) -> str:
    kinds = unread.bytes_by_kind()
    hit = [
        f"{count:,} files {word}"
        for count, word in (
            (files.damaged, "are damaged"),
            (files.failed, "are failed"),
            (files.doubtful, "may be damaged"),
        )
        if count
    ]
    if doubt:
        return "; ".join([doubt, *hit])
    if unread.unknown:
        unknown = f"{kinds['unknown']:,} bytes were not read of which nobody knows what they hold: files may be missing"
        return "; ".join([unknown, *hit])
    if hit:
        return f"{' and '.join(hit)}; all other listed files are whole"
    whole = "all listed files are whole" if files.remarks else "all files are whole"
    if not kinds:
        return whole
    return f"{whole}; the unread bytes lie {harmless_places(kinds)}"


def _next_steps(medium: Medium, unread: Unread, files: FileFacts, passes: Sequence[PassRecord]) -> list[str]:
    if medium.enum_done is None:
        return ["run the same `ntt ingest` again: only what is listed tells which of its files are hit"]
    steps = ["run the same `ntt ingest` again to go on"] if _unfinished(medium) else []
    for medium_hash, count in sorted((files.copies or {}).items(), key=lambda held: (-held[1], held[0]))[:NAMED]:
        steps.append(f"{count:,} of the damaged files may be whole on medium {medium_hash[:8]}: see each file")
    if files.copies is None and (files.damaged or files.doubtful):
        steps.append(f"`ntt problems {medium.medium_hash[:8]}` looks for whole copies of damaged files on other media")
    if not unread.harmless or not files.all_whole:
        steps += _read_again(passes)
    elif passes and unread.bytes_by_kind().keys() - {"run_out"}:
        steps.append(f"nothing for the files; `{_command(passes[-1], '--free-space')}` reads the rest too")
    return steps


def _read_again(passes: Sequence[PassRecord]) -> list[str]:
    if not passes:
        return [
            "clean the medium and read it again, in another drive if possible: `ntt ingest DEVICE`, or "
            "`ntt ingest IMAGE --map MAP` of another pass; what either of them has read is joined"
        ]
    last = passes[-1]
    first = _FIRST_STEPS.get(last.end, "clean the medium, or put it into another drive")
    steps = [f"{first}, then `{_command(last)}`: what was read is not read again"]
    if last.end in (PassEnd.FINISHED, PassEnd.ENOUGH):
        steps.append(f"`{_command(last, '--effort deep')}` tries harder")
    return steps


def _command(record: PassRecord, options: str = "") -> str:
    return " ".join(filter(None, ("ntt ingest", options, shlex.quote(record.source))))
