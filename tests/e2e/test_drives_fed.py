"""`ntt watch` and real drives: what is put in goes through and comes out, and nothing else happens to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from machine import Drive, Machine, Medium
from machine.machine import HOME
from watched import contents_of, disc, name_of, restores, stick, watching

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

STAMPS_IN_ORDER = """SELECT count(*), bool_and(m.enum_done <= m.copy_done AND m.copy_done <= m.archive_done
    AND m.archive_done <= i.ejected_at) FROM insertion i JOIN medium m ON m.id = i.medium_id
    WHERE i.verdict = 'complete'"""
STORED = "SELECT (SELECT count(*) FROM blob), (SELECT sum(committed_bytes) FROM pack), (SELECT count(*) FROM medium)"
SIZE_BYTES = 1_200_000  # large enough to be a file of its own in the store
KNOWN_LIMIT_S = 30.0  # of the emulated machine's processors, each a tenth of a real one, whatever else this host does
STORM = 'for number in 1 2 3 4 5 6 7 8; do udevadm trigger --action=change --settle "$1"; done'


async def test_disc_after_disc_goes_through_and_comes_out(machine_to_watch: Machine, tmp_path: Path) -> None:
    machine, letters = machine_to_watch, disc(tmp_path, "letters", label="BACKUP")
    await machine.insert(Drive.IDE, letters)  # there before the start
    async with watching(machine) as watch:
        first = await watch.finished(1)
        assert ": complete in" in first, first
        await machine.tray_opened(Drive.IDE)

        before = await watch.ask(STORED)
        began_s = machine.processor_s
        await machine.load(Drive.SCSI, letters)
        again = await watch.finished(2)
        assert ": known in" in again, again
        assert machine.processor_s - began_s < KNOWN_LIMIT_S
        await machine.tray_opened(Drive.SCSI)
        assert await watch.ask(STORED) == before

        other = disc(tmp_path, "other", seed=2, label="BACKUP")
        await machine.load(Drive.IDE, other)
        await machine.succeeds("sh", "-c", STORM, "sh", f"/dev/{await name_of(machine, Drive.IDE)}", limit_s=180)
        second = await watch.finished(3)
        assert ": complete in" in second, second
        await machine.tray_opened(Drive.IDE)
        assert await watch.ask("SELECT count(*) FROM insertion") == "3"
        assert await watch.ask(STAMPS_IN_ORDER) == "2|t"
        hashes = (await watch.ask("SELECT medium_hash FROM medium ORDER BY id")).split()
        assert await watch.quit() == 0
    await restores(machine, hashes[0], contents_of("letters"))
    await restores(machine, hashes[1], contents_of("other", seed=2))


async def test_two_drives_and_a_stick_at_once(machine_to_watch: Machine, tmp_path: Path) -> None:
    machine = machine_to_watch
    one = disc(tmp_path, "one", SIZE_BYTES, seed=1)
    async with watching(machine) as watch:
        await machine.insert(Drive.IDE, Medium(one.image, bad_sectors=(100, 101)))
        await machine.insert(Drive.SCSI, disc(tmp_path, "two", SIZE_BYTES, seed=2))
        await machine.plug_usb(stick(tmp_path, "three", seed=3), "STICK-1")
        for number in (1, 2, 3):
            await watch.finished(number)
        await machine.tray_opened(Drive.IDE)
        await machine.tray_opened(Drive.SCSI)
        names = [await name_of(machine, Drive.IDE), await name_of(machine, Drive.SCSI)]
        damaged, whole = [
            await watch.ask(
                "SELECT i.verdict, i.summary, m.unread_bytes FROM insertion i JOIN medium m ON m.id = i.medium_id"
                f" WHERE i.drive LIKE '%{name})'"
            )
            for name in names
        ]
        assert damaged == f"problems|2 files, 1 damaged|{2 * 2048}"
        assert whole == "complete|2 files|0"
        assert await watch.quit() == 1


async def test_an_empty_drive_is_said_to_be_empty(machine_to_watch: Machine) -> None:
    done = await machine_to_watch.run("ntt", "watch", "--once", "--home", HOME, limit_s=300)
    assert done.status != 0
    assert "no medium was inserted" in done.stderr
