"""The audio tracks of a disc -> one file to be ingested: a tar of WAV files and a list of what could not be read.

The same tracks read the same way give the same file: members have no dates and no owners.
"""

from __future__ import annotations

import tarfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread

from ntt.drives import Drive, Track
from ntt.errors import MediumError
from ntt.store.layout import store_errors, sync_file

AUDIO_SECTOR_BYTES = 2352
SECTORS_PER_S = 75


@dataclass(frozen=True, slots=True)
class Ripped:
    """A track as a file, None if there is none; `problem` says what is wrong with it."""

    track: Track
    path: Path | None
    problem: str
    next_step: str


Rip = Callable[[Drive, Track, Path, Callable[[int], None]], Awaitable[Ripped]]


def track_list(tracks: Sequence[Track]) -> str:
    """'1 3:02, 2 4:41, ...' for people."""
    return ", ".join(f"{track.number} {_length(track)}" for track in tracks)


async def ripped(
    drive: Drive, tracks: Sequence[Track], folder: Path, rip: Rip, advance: Callable[[int, int], None]
) -> tuple[Path, list[tuple[str, str]]]:
    """`folder`/audio.tar with every track that could be read, and (what, what to do) for each problem.

    `advance` gets bytes done and in all. MediumError when not one track could be read.
    """
    total = sum(track.sectors for track in tracks) * AUDIO_SECTOR_BYTES
    done = 0
    found: list[Ripped] = []
    for track in tracks:
        before = done

        def show(sectors: int, before: int = before) -> None:
            advance(before + sectors * AUDIO_SECTOR_BYTES, total)

        found.append(await rip(drive, track, folder / f"track{track.number:02}.wav", show))
        done = before + track.sectors * AUDIO_SECTOR_BYTES
    problems = [(f"audio track {one.track.number}: {one.problem}", one.next_step) for one in found if one.problem]
    if not any(one.path is not None for one in found):
        listed = track_list(tracks)
        raise MediumError(f"no audio track could be read ({listed}): {found[0].problem}", found[0].next_step)
    target = folder / "audio.tar"
    with store_errors(folder):
        await anyio.to_thread.run_sync(_pack, target, found)
    return target, problems


def _pack(target: Path, found: Sequence[Ripped]) -> None:
    listed = "".join(
        f"track {one.track.number}: {one.track.sectors} sectors of 2352 bytes, {_length(one.track)}, "
        f"begins at sector {one.track.start}" + (f"; {one.problem}" if one.problem else "") + "\n"
        for one in found
    )
    contents = target.with_name("tracks.txt")
    contents.write_text(listed, encoding="utf-8")
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
        for path in [contents, *(one.path for one in found if one.path is not None)]:
            archive.add(path, path.name, filter=_plain)
            path.unlink()
    sync_file(target)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mtime, member.uid, member.gid, member.uname, member.gname, member.mode = 0, 0, 0, "", "", 0o644
    return member


def _length(track: Track) -> str:
    minutes, seconds = divmod(track.sectors // SECTORS_PER_S, 60)
    return f"{minutes}:{seconds:02}"
