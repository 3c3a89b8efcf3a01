"""What a drive says is asked through a child that may hang. There is no optical drive here: its answers are recorded,
and a program that speaks for it gives them."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from own_loop import OwnLoop, own_loop
from speaking_drives import speaking

from ntt.devices.asking import Asking, ask
from ntt.devices.triage import triage
from ntt.drives import Disc, DiscKind, Drive, DriveKind, Slot, Track
from ntt.errors import MediumError

READY = {"slot": "loaded"}
NO_SCSI = [{"error": 1}] * 6
DATA_BY_KERNEL = [{"number": 101}, {"tracks": [[1, 0, False], [170, 300, False]]}, {"number": 0}]
AUDIO_BY_SCSI = [
    {"data": "0000000800000009"},
    {"data": "00200e0101010120" + "00" * 26},
    {"error": 5, "sense": "7000050000000000000000002400"},
    {"data": "001a0102001001000000000000100200000003e80010aa00000007d0"},
    {"data": "000007cf00000800"},
    {"error": 5},
]


@pytest.fixture
def loop() -> Iterator[OwnLoop]:
    with own_loop() as one:
        yield one


def speaks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *interviews: list[dict[str, object]]) -> Drive:
    speaking(monkeypatch, tmp_path, {"sr0": ["".join(json.dumps(one) + "\n" for one in said) for said in interviews]})
    return Drive(Path("/dev/sr0"), DriveKind.OPTICAL, "key", "a drive")


async def test_a_disc_is_told_by_the_drive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    by_kernel = [{"number": 100}, {"error": 5}, {"error": 22}]
    drive = speaks(monkeypatch, tmp_path, [READY, *by_kernel, *AUDIO_BY_SCSI])
    tracks = (Track(1, 1, 0, 1000, audio=True), Track(2, 1, 1000, 1000, audio=True))
    assert await triage(drive, 20) == Disc(DiscKind.AUDIO, "CD-R", tracks, 1, 2000 * 2048)


async def test_where_commands_may_not_be_passed_through_the_kernel_tells(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drive = speaks(monkeypatch, tmp_path, [READY, *DATA_BY_KERNEL, *NO_SCSI])
    expected = Disc(DiscKind.DATA, "", (Track(1, 1, 0, 300, audio=False),), 1, None, 300 * 2048)
    assert await triage(drive, 20) == expected


async def test_a_drive_that_stops_answering_has_told_what_it_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drive = speaks(monkeypatch, tmp_path, [READY, *DATA_BY_KERNEL])
    disc = await triage(drive, 3)
    assert disc.kind is DiscKind.DATA
    assert disc.remarks == ("the drive did not answer all questions in time",)


async def test_a_drive_that_gets_ready_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    not_ready = [{"slot": "not ready yet"}, *[{"error": 5}] * 9]
    drive = speaks(monkeypatch, tmp_path, not_ready, [READY, *DATA_BY_KERNEL, *NO_SCSI])
    assert (await triage(drive, 20)).kind is DiscKind.DATA


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([{"slot": "empty"}, *[{"error": 123}] * 9], "no disc is in /dev/sr0; insert"),
        ([{"slot": "tray open"}, *[{"error": 123}] * 9], "the tray of /dev/sr0 is open; insert"),
        ([{"slot": "not ready yet"}, *[{"error": 5}] * 9], "has not got ready within 2 s; take the disc out"),
        ([], "gives no answer within 2 s; unplug"),
        ([{"slot": 17}], "gives no answer within 2 s; unplug"),
    ],
)
async def test_no_disc_is_no_medium(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answers: list[dict[str, object]], message: str
) -> None:
    drive = speaks(monkeypatch, tmp_path, answers)
    with anyio.fail_after(15), pytest.raises(MediumError, match=message):
        await triage(drive, 2)


async def test_a_stick_is_data_of_its_size(loop: OwnLoop, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    drive = Drive(loop.node, DriveKind.REMOVABLE, "key", "a stick")
    with pytest.raises(MediumError, match="no medium is in"):
        await triage(drive, 20)
    loop.holds(image)
    assert await triage(drive, 20) == Disc(DiscKind.DATA, capacity_bytes=1 << 20)


async def test_a_real_device_that_is_no_optical_drive_refuses_every_optical_question(
    loop: OwnLoop, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    loop.holds(image)
    questions = ["toc", "status", "last_session", "lock", "unlock", "eject", "close_tray", "scsi 46 8 1000"]
    answers = await ask(loop.node, [*questions, "tray", "claimed", "flush", "medium"], 30)
    assert len(answers) == 12
    assert all(answer.error for answer in answers[:8])
    assert answers[8].slot is Slot.LOADED  # it cannot say, and opens
    assert [answer.error for answer in answers[8:]] == [0, 0, 0, 0]
    assert not answers[9].claimed


async def test_no_command_that_writes_is_passed_through(loop: OwnLoop) -> None:
    writing = ["scsi 2a000000000000000100 0 1000", "scsi 04 0 1000", "scsi 55 0 1000", "scsi a1 0 1000"]
    assert [answer.error for answer in await ask(loop.node, writing, 30)] == [1, 1, 1, 1]


async def test_one_that_hangs_is_given_up_in_time(tmp_path: Path) -> None:
    fifo = tmp_path / "drive"
    os.mkfifo(fifo)
    asked = Asking(fifo)
    with anyio.fail_after(10):
        assert await asked.ask(["medium"], 0.5) == []
    assert not asked.hangs  # a signal ends this one: it does not sleep in a driver
    with anyio.fail_after(10), pytest.raises(MediumError, match=f"{shlex.quote(str(fifo))} gives no answer"):
        await triage(Drive(fifo, DriveKind.REMOVABLE, "key", "dead"), 0.5)
