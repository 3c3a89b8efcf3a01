"""An audio track becomes a WAV file, whole and durable, or a reason. There is no drive for audio discs here: a program
that says and writes what cdparanoia does stands in its place; cdparanoia itself is asked for what needs no disc."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from ntt import proc
from ntt.devices.audio import RipLimits, RipProgress, rip
from ntt.drives import Drive, DriveKind, Track
from ntt.tools.cdparanoia import rip_argv, version_argv, version_of

DRIVE = Drive(Path("/dev/sr0"), DriveKind.OPTICAL, "key", "a drive")
TRACK = Track(2, 1, 100, 10, audio=True)
WHOLE = 44 + 10 * 2352
ALL_WROTE = "".join(f"##: -2 [wrote] @ {sector * 1176 + 1175}\\n" for sector in range(100, 110))


@pytest.fixture
def cdparanoia(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its folder comes first in PATH; the test writes the rest of the script, with the target as `$target`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder / "cdparanoia"


def does(program: Path, script: str) -> None:
    program.write_text(f'#!/bin/sh\nfor target in "$@"; do :; done\n{script}\n')
    program.chmod(0o755)


async def test_a_track_is_kept_when_it_is_whole(cdparanoia: Path, tmp_path: Path) -> None:
    does(cdparanoia, f'printf "{ALL_WROTE}##: -1 [finished] @ 1\\n" >&2; head -c {WHOLE} /dev/zero >"$target"')
    shown: list[RipProgress] = []
    ripped = await rip(DRIVE, TRACK, tmp_path / "02.wav", shown.append)
    assert (ripped.path, ripped.size_bytes, ripped.problem, ripped.skipped) == (tmp_path / "02.wav", WHOLE, "", ())
    assert shown[-1] == RipProgress(TRACK, 10, 0)
    assert [one.done for one in shown] == sorted({one.done for one in shown})
    assert sorted(one.name for one in tmp_path.iterdir()) == ["02.wav", "bin"]


async def test_what_could_not_be_read_is_named(cdparanoia: Path, tmp_path: Path) -> None:
    skips = "".join(f"##: 6 [skip] @ {sector * 1176}\\n" for sector in (99, 103, 103, 109))
    does(cdparanoia, f'printf "{skips}{ALL_WROTE}" >&2; head -c {WHOLE} /dev/zero >"$target"')
    ripped = await rip(DRIVE, TRACK, tmp_path / "02.wav", lambda _: None)
    assert ripped.path is not None
    assert ripped.skipped == (0, 3, 9)
    assert ripped.problem == "track 2: 3 of 10 sectors could not be read"


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (f'head -c {WHOLE - 1} /dev/zero >"$target"', f"{WHOLE - 1:,} bytes were written, {WHOLE:,} are in the table"),
        ('echo "Unable to open disc." >&2; exit 1', "track 2: Unable to open disc."),
        ("exit 3", "track 2: cdparanoia ended with status 3"),
        (":", "cannot be written to"),
    ],
)
async def test_a_track_that_is_not_whole_is_not_kept(
    cdparanoia: Path, tmp_path: Path, script: str, problem: str
) -> None:
    does(cdparanoia, script)
    ripped = await rip(DRIVE, TRACK, tmp_path / "02.wav", lambda _: None)
    assert ripped.path is None
    assert problem in ripped.problem
    assert ripped.next_step
    assert [one.name for one in tmp_path.iterdir()] == ["bin"]


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        (RipLimits(track_s=60, stall_s=0.5), "track 2: nothing was read for 0 s"),
        (RipLimits(track_s=0.5, stall_s=60), "track 2: not done after 0 s"),
    ],
)
async def test_a_track_that_never_ends_is_given_up(
    cdparanoia: Path, tmp_path: Path, limits: RipLimits, problem: str
) -> None:
    does(cdparanoia, 'echo x >"$target"; while :; do echo "##: 0 [read] @ 5" >&2; sleep 0.1; done')
    with anyio.fail_after(30):
        ripped = await rip(DRIVE, TRACK, tmp_path / "02.wav", lambda _: None, limits)
    assert (ripped.path, ripped.problem) == (None, problem)
    assert [one.name for one in tmp_path.iterdir()] == ["bin"]


async def test_without_cdparanoia_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ripped = await rip(DRIVE, TRACK, tmp_path / "02.wav", lambda _: None)
    assert (ripped.path, ripped.problem) == (None, "cdparanoia is not installed")
    assert ripped.next_step == "`apt install cdparanoia`"


async def test_the_real_cdparanoia_is_of_a_kind_that_is_known_and_takes_the_arguments(tmp_path: Path) -> None:
    version = await proc.run(version_argv(), timeout_s=20)
    assert version_of((version.stdout + version.stderr).decode()) == "III release 10.2"
    nothing = tmp_path / "no-drive"
    ended = await proc.run(rip_argv(nothing, 1, tmp_path / "01.wav"), timeout_s=20)
    assert ended.status == 1
    said = ended.stderr.decode()
    assert "Sending all callbacks to stderr" in said
    assert "USAGE" not in said


async def test_a_drive_that_is_not_there_is_a_reason(tmp_path: Path) -> None:
    drive = Drive(tmp_path / "no-drive", DriveKind.OPTICAL, "key", "gone")
    ripped = await rip(drive, TRACK, tmp_path / "02.wav", lambda _: None)
    assert ripped.path is None
    assert ripped.problem.startswith("track 2: ")
    assert list(tmp_path.iterdir()) == []
