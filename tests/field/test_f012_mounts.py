"""F012: 17 loop devices, nine stacked mounts, mounts of deleted images: twenty at once, two killed, nothing left.

Also NB4 and NB5: a replaced image file is the one that is mounted; paths with spaces and quotes work.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from catalogue import Catalogue
from database_server import TEMPLATE, DatabaseServer
from media_images import noise, run, written

RUNS, KILLED = 20, 2
LIMIT_S = 240
HELPER = b"ntt.mounts.helper"


def btrfs_image(image: Path, contents: dict[str | bytes, bytes], tmp_path: Path) -> Path:
    """A file system that no reader here opens: its files are read below a mount."""
    tree = written(tmp_path / f"{image.name}.tree", contents)
    with image.open("wb") as file:
        file.truncate(120 << 20)
    run("mkfs.btrfs", "-q", "--rootdir", tree, image)
    return image


def loop_devices(image: Path) -> list[str]:
    found = run("losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE")
    return [line for line in found.splitlines() if image.name in line]


def helpers() -> list[int]:
    """Of this test's children and theirs: a helper has our session's mark in its command line."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if HELPER in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def children(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield int(child)
            yield from children(int(child))


def has_helper(pid: int) -> bool:
    try:
        return any(child in helpers() for child in children(pid))
    except OSError:
        return False


def mounted_anywhere(image: Path) -> list[str]:
    """Every mount table of the machine that names the image or a folder for mounts of ours."""
    found: set[str] = set()
    for table in Path("/proc").glob("[0-9]*/mounts"):
        try:
            found.update(line for line in table.read_text().splitlines() if " btrfs " in line or image.name in line)
        except OSError:
            continue
    return sorted(found)


def until(condition: object, what: str) -> None:
    assert callable(condition)
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, f"it took too long until {what}"
        os.sched_yield()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_f012_twenty_ingests_at_once_of_which_two_are_killed_leave_nothing(
    database_server: DatabaseServer, tmp_path: Path
) -> None:
    contents: dict[str | bytes, bytes] = {f"box {n // 10}/{n}": noise(2_000, n) for n in range(60)}
    image = btrfs_image(tmp_path / "a disc with 'quotes' and \"more\".img", contents, tmp_path)
    before = {"loops": loop_devices(image), "mounts": mounted_anywhere(image), "helpers": helpers()}
    with ExitStack() as stack:
        urls = [stack.enter_context(database_server.database(TEMPLATE)) for _ in range(RUNS)]
        homes = [tmp_path / f"home {number}" for number in range(RUNS)]
        runs = [
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "ntt", "ingest", image, "--no-archive"),
                    *("--home", home, "--database", url, "--json"),
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            for home, url in zip(homes, urls, strict=True)
        ]
        for victim in runs[:KILLED]:
            until(lambda victim=victim: has_helper(victim.pid) or victim.poll() is not None, "its helper has started")
            assert victim.poll() is None, "it ended before it could be killed"
            victim.send_signal(signal.SIGKILL)
        ended = [process.communicate(timeout=LIMIT_S) for process in runs]
        statuses = [process.returncode for process in runs]
        assert statuses == [-signal.SIGKILL] * KILLED + [0] * (RUNS - KILLED), [err[-300:] for _, err in ended]
        until(lambda: helpers() == before["helpers"], "the helpers of the killed have ended")
        assert loop_devices(image) == before["loops"]
        assert mounted_anywhere(image) == before["mounts"]
        for home, url in zip(homes[:KILLED], urls[:KILLED], strict=True):  # cleaned up at the next start at the latest
            assert Catalogue(home, url).command("ingest", image, "--no-archive").status == 0
        for home, url in zip(homes, urls, strict=True):
            assert sorted((home / "work").iterdir()) == []
            medium = Catalogue(home, url).media()[0]
            files = Catalogue(home, url).files(medium["medium_hash"])
            assert {path.decode(): content for path, content in files.items()} == contents
    assert [loop_devices(image), mounted_anywhere(image), helpers()] == [*before.values()]


def test_f012_an_image_that_was_replaced_is_the_one_that_is_mounted(catalogue: Catalogue, tmp_path: Path) -> None:
    image = btrfs_image(tmp_path / "disc.img", {"first": noise(5_000, 1)}, tmp_path)
    first = catalogue.one(image)
    image.unlink()
    other = btrfs_image(tmp_path / "other.img", {"second": noise(5_000, 2)}, tmp_path)
    other.rename(image)
    second = catalogue.one(image)
    assert first.medium_hash != second.medium_hash
    assert catalogue.files(first.medium_hash) == {b"first": noise(5_000, 1)}
    assert catalogue.files(second.medium_hash) == {b"second": noise(5_000, 2)}
    assert loop_devices(image) == []
