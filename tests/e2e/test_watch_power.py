"""`ntt watch` and power cuts: at any point of a run nothing is lost, and nothing is said to be done that is not."""

from __future__ import annotations

import asyncio
import hashlib
import re
from pathlib import Path

import msgspec
import pytest
from machine import Drive, Machine, Medium
from machine.machine import HOME, disk_device
from machine.parts import Parts
from watched import HOME_DISK, commands, contents_of, disc, name_of, until_read, watching

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SIZE_BYTES = 1 << 20
SLOW_PER_S = 400 << 10
POINTS = 10
SECTORS_WHILE_READING = (200, 1000, 1800)
AT_ONCE = 2  # machines; each needs a core


class Cut(msgspec.Struct):
    """The home's disk as a power cut left it, and what the run had said last."""

    disk: Path
    after: str


@pytest.mark.timeout(1500)
async def test_a_power_cut_at_any_point_loses_nothing(
    machine_to_watch: Machine, machine_parts: Parts, tmp_path: Path
) -> None:
    media = {Drive.IDE: disc(tmp_path, "one", SIZE_BYTES, 1), Drive.SCSI: disc(tmp_path, "two", SIZE_BYTES, 2)}
    cuts, hashes = await run_that_is_cut(machine_to_watch, media, tmp_path)
    await machine_to_watch.power_cut()
    chosen = [cuts[index * (len(cuts) - 1) // (POINTS - 1)] for index in range(POINTS)]
    assert len({cut.disk for cut in chosen}) == POINTS, [cut.after for cut in cuts]
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(cut: Cut) -> None:
        async with turns, Machine.restored(machine_parts, tmp_path / f"{cut.disk.name}.machine") as machine:
            await goes_on(machine, cut, media, hashes)
        cut.disk.unlink()

    async with asyncio.TaskGroup() as tasks:
        for cut in chosen:
            tasks.create_task(one(cut))


async def run_that_is_cut(
    machine: Machine, media: dict[Drive, Medium], folder: Path
) -> tuple[list[Cut], dict[Drive, str]]:
    """Two discs go through; the home's disk in the middle of reading, and after each line, and both media's hashes.

    A disk whose machine stands still is what a power cut leaves of it, but for the writes that the cut tears.
    """
    cuts: list[Cut] = []

    async def cut(after: str) -> None:
        cuts.append(Cut(folder / f"cut-{len(cuts)}", after))
        await machine.copy_disk(HOME_DISK, cuts[-1].disk)

    async with watching(machine) as watch:
        for drive, medium in media.items():
            await machine.insert(drive, Medium(medium.image, bytes_per_s=SLOW_PER_S))
        for sectors in SECTORS_WHILE_READING:
            await until_read(machine, await name_of(machine, Drive.SCSI), sectors)
            await cut(f"{sectors} sectors")
        while not all(machine.tray_is_out(drive) for drive in media):
            await cut(await watch.says_more(len(watch.lines)))
            if sum(" complete in " in line for line in watch.lines) == len(media):
                break
        hashes = {
            drive: await watch.ask(
                "SELECT m.medium_hash FROM insertion i JOIN medium m ON m.id = i.medium_id"
                f" WHERE i.drive LIKE '%{await name_of(machine, drive)})'"
            )
            for drive in media
        }
    return cuts, hashes


async def goes_on(machine: Machine, cut: Cut, media: dict[Drive, Medium], hashes: dict[Drive, str]) -> None:
    """What the cut left is sound; the discs, put in again, come to their ends."""
    await machine.install_project()
    await machine.plug_disk(Medium(cut.disk, writable=True), HOME_DISK)
    await machine.succeeds("mount", disk_device(HOME_DISK), HOME)
    for drive, medium in media.items():
        await machine.insert(drive, medium)
    async with watching(machine) as watch:
        for number in (1, 2):
            told = await watch.finished(number)
            assert re.search(": (complete|known) in", told), f"after {cut.after!r}: {told}"
        assert await watch.quit() == 0
    restores = [("restore", medium_hash, f"/tmp/{drive.name}") for drive, medium_hash in hashes.items()]
    did = await commands(machine, ("audit",), ("verify", "--all"), *restores)
    assert [command.status for command in did] == [0] * len(did), f"after {cut.after!r}: {did}"
    for (drive, _), name, seed in zip(media.items(), ("one", "two"), (1, 2), strict=True):
        for path, content in contents_of(name, SIZE_BYTES, seed).items():
            told = await machine.succeeds("sha256sum", f"/tmp/{drive.name}/{path}")
            assert told.split()[0] == hashlib.sha256(content).hexdigest(), f"after {cut.after!r}: {path}"
