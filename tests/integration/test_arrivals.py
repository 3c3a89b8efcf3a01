"""Real devices come and go, by the kernel's own announcements: each insertion is told once, and nothing is missed."""

from __future__ import annotations

import ctypes.util
import subprocess
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import anyio
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream
from own_loop import OwnLoop, own_loop

from ntt.devices import arrivals, polling
from ntt.devices.arrivals import arriving
from ntt.devices.debouncing import Timing
from ntt.devices.listing import drives
from ntt.devices.uevents import Announcement
from ntt.drives import Drive, DriveEvent, DriveKind, EjectRequest, Insertion, Refusal, Removal, Slot
from ntt.errors import UsageError

LIMIT_S = 60
QUICK = Timing(settle_s=0.5, refused_s=0.3)
SIZE = 1 << 20


@pytest.fixture
def loop() -> Iterator[OwnLoop]:
    with own_loop() as one:
        yield one


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> None:
    """NTT does not look by itself: what it does not learn from the kernel's announcements it never learns."""
    monkeypatch.setattr(polling, "POLL_MS", 10**9)
    monkeypatch.setattr(arrivals, "_RESCAN_S", 10**6)


def run(*argv: str | Path, told: bytes = b"", check: bool = True) -> None:
    subprocess.run(argv, input=told, check=check)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(bytes(SIZE))
    return path


def drive_of(loop: OwnLoop) -> Drive:
    return Drive(loop.node, DriveKind.DISK, f"virtual/{loop.name}", "disk")


async def next_of(events: MemoryObjectReceiveStream[DriveEvent]) -> DriveEvent:
    with anyio.fail_after(LIMIT_S):
        return await events.receive()


async def test_a_medium_that_is_present_at_the_start_is_told(announced: None, loop: OwnLoop, image: Path) -> None:
    loop.holds(image)
    async with arriving([loop.node], timing=QUICK) as events:
        assert await next_of(events) == Insertion(drive_of(loop), 1)


async def test_what_comes_and_goes_is_told_in_order_and_with_new_numbers(
    announced: None, loop: OwnLoop, image: Path
) -> None:
    drive = drive_of(loop)
    async with arriving([loop.node], timing=QUICK) as events:
        for number in (1, 2, 3):
            loop.holds(image)
            assert await next_of(events) == Insertion(drive, number)
            loop.holds_nothing()
            assert await next_of(events) == Removal(drive, pulled=False)


async def test_many_announcements_of_one_insertion_are_one_insertion(
    announced: None, loop: OwnLoop, image: Path
) -> None:
    async with arriving([loop.node], timing=QUICK) as events:
        loop.announces()
        loop.holds(image)
        for _ in range(4):
            loop.announces()
        assert await next_of(events) == Insertion(drive_of(loop), 1)
        for _ in range(4):
            loop.announces()
        loop.holds_nothing()
        assert await next_of(events) == Removal(drive_of(loop), pulled=False)


async def test_a_medium_that_is_swapped_unseen_is_removed_and_inserted(
    announced: None, loop: OwnLoop, image: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"\1" * SIZE)
    loop.holds(image)
    async with arriving([loop.node], timing=QUICK) as events:
        assert await next_of(events) == Insertion(drive_of(loop), 1)
        loop.holds_instead(other)
        assert await next_of(events) == Removal(drive_of(loop), pulled=False)
        assert await next_of(events) == Insertion(drive_of(loop), 2)


async def test_what_a_locked_drive_says_of_changes_is_not_believed(
    announced: None, loop: OwnLoop, image: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"\1" * SIZE)
    loop.holds(image)
    held = set[str]()
    async with arriving([loop.node], held=held, timing=QUICK) as events:
        assert await next_of(events) == Insertion(drive_of(loop), 1)
        held.add(drive_of(loop).key)
        loop.holds_instead(other)
        loop.holds_nothing()
        assert await next_of(events) == Removal(drive_of(loop), pulled=False)
        loop.holds(image)
        assert await next_of(events) == Insertion(drive_of(loop), 2)


async def test_a_named_device_may_come_later_and_by_a_link(announced: None, image: Path, tmp_path: Path) -> None:
    link = tmp_path / "by-id"
    with own_loop(add=False) as loop:
        link.symlink_to(loop.node)
        async with arriving([link], timing=QUICK) as events:
            loop.added()
            loop.holds(image)
            assert await next_of(events) == Insertion(drive_of(loop), 1)
            loop.holds_nothing()
            assert await next_of(events) == Removal(drive_of(loop), pulled=False)
            loop.removed()
            loop.added()
            loop.holds(image)
            assert await next_of(events) == Insertion(drive_of(loop), 2)


async def test_a_device_that_was_not_named_is_never_told(announced: None, loop: OwnLoop, image: Path) -> None:
    with own_loop() as other:
        async with (
            arriving([loop.node], timing=QUICK) as events,
            arriving(timing=QUICK) as of_all,
            arriving([other.node], timing=QUICK) as of_other,
        ):
            loop.holds(image)
            assert await next_of(events) == Insertion(drive_of(loop), 1)
            loop.holds_nothing()
            assert await next_of(events) == Removal(drive_of(loop), pulled=False)
            for silent in (of_all, of_other):
                with pytest.raises(anyio.WouldBlock):
                    silent.receive_nowait()


@pytest.fixture
def filesystem(tmp_path: Path) -> Path:
    path = tmp_path / "filesystem"
    path.write_bytes(bytes(4 << 20))
    subprocess.run(["mkfs.ext2", "-q", "-F", path], check=True)
    return path


async def test_what_is_mounted_is_refused_until_it_is_not(
    announced: None, loop: OwnLoop, filesystem: Path, tmp_path: Path
) -> None:
    point = tmp_path / "mounted here"
    point.mkdir()
    loop.holds(filesystem)
    run("mount", "-o", "ro", loop.node, point)
    try:
        async with arriving([loop.node], timing=QUICK) as events:
            refusal = Refusal(drive_of(loop), f"it is mounted at {point}", f"`umount '{point}'`")
            assert await next_of(events) == refusal
            state = [one for one in await drives([loop.node]) if one.drive == drive_of(loop)]
            assert [(one.slot, one.refusal) for one in state] == [(Slot.LOADED, refusal)]
            run("umount", point)
            assert await next_of(events) == Insertion(drive_of(loop), 1)
    finally:
        run("umount", "--quiet", point, check=False)


async def test_what_is_mounted_where_ntt_cannot_see_it_is_refused(
    announced: None, loop: OwnLoop, filesystem: Path, tmp_path: Path
) -> None:
    loop.holds(filesystem)
    script = f"mount -o ro {loop.node} {tmp_path} && echo mounted && read -r _"
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    async with await anyio.open_process(argv) as elsewhere:
        assert elsewhere.stdout is not None
        assert elsewhere.stdin is not None
        with anyio.fail_after(LIMIT_S):
            assert await elsewhere.stdout.receive() == b"mounted\n"
        async with arriving([loop.node], timing=QUICK) as events:
            refusal = await next_of(events)
            assert isinstance(refusal, Refusal)
            assert refusal.reason.startswith("something holds it for itself")
            await elsewhere.stdin.aclose()
            await elsewhere.wait()
            assert await next_of(events) == Insertion(drive_of(loop), 1)


async def test_without_announcements_ntt_looks_itself_and_says_so(
    loop: OwnLoop, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: None)
    monkeypatch.setattr("pyudev._ctypeslib.utils.find_library", lambda _: None)
    said: list[str] = []
    async with arriving([loop.node], say=said.append, timing=QUICK) as events:
        loop.holds(image)
        assert await next_of(events) == Insertion(drive_of(loop), 1)
        loop.holds_nothing()
        assert await next_of(events) == Removal(drive_of(loop), pulled=False)
    assert said == [
        "no announcements of media (No library named udev): NTT looks every 2 s; `apt install libudev1` may bring them"
    ]


async def test_the_button_of_a_locked_tray_is_passed_on(
    loop: OwnLoop, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pressed = anyio.Event()

    async def told(_: object) -> AsyncGenerator[Announcement]:
        await pressed.wait()
        yield Announcement(loop.name, "change", eject_requested=True)
        yield Announcement(lost=True)
        await anyio.sleep_forever()

    monkeypatch.setattr(arrivals, "announcements", told)
    loop.holds(image)
    async with arriving([loop.node], timing=QUICK) as events:
        assert await next_of(events) == Insertion(drive_of(loop), 1)
        pressed.set()
        assert await next_of(events) == EjectRequest(drive_of(loop))


async def test_a_partition_and_a_file_cannot_be_named(image: Path, loop: OwnLoop) -> None:
    with pytest.raises(UsageError, match="is no device"):
        async with arriving([image]):
            pass
    run("sfdisk", "--quiet", "--no-reread", image, told=b",512,L\n")
    loop.holds(image)
    run("partx", "--add", loop.node)
    with pytest.raises(UsageError, match=f"is a partition; name the whole device: /dev/{loop.name}"):
        async with arriving([Path(f"{loop.node}p1")]):
            pass
    run("partx", "--delete", loop.node)


async def test_this_machines_drives_are_listed_and_fixed_ones_left_alone() -> None:
    listed = await drives()
    keys = [state.drive.key for state in listed]
    assert len(keys) == len(set(keys))
    fixed = [state for state in listed if state.drive.kind is DriveKind.DISK]
    assert fixed
    assert {state.refusal.reason if state.refusal else "" for state in fixed} == {"a fixed disk, and not named"}
