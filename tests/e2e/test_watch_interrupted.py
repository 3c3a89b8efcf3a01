"""`ntt watch` and what is taken away from it: a button, a yanked disc; what was read counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from machine import Drive, Machine, Medium
from machine.machine import HOME
from watched import contents_of, disc, name_of, restores, sectors_read, stick, until_read, watching

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

LARGE_BYTES = 4 << 20
SLOW_PER_S = 300 << 10
SECTORS_THERE = LARGE_BYTES // 512
SPARE_SECTORS = 3000  # of a look at it, of what is compared before it is gone on with, and of udev's own curiosity
RULES = Path(__file__).parents[2] / "packaging/70-ntt.rules"
PASSES = """SELECT rescued_before, rescued_after, reason FROM image_pass
    WHERE name = 'copy' OR rescued_after > rescued_before ORDER BY began_at"""


async def test_a_yanked_disc_is_gone_on_with_in_the_other_drive(machine_to_watch: Machine, tmp_path: Path) -> None:
    machine, medium = machine_to_watch, disc(tmp_path, "yanked", LARGE_BYTES)
    async with watching(machine) as watch:
        await machine.insert(Drive.IDE, Medium(medium.image, bytes_per_s=SLOW_PER_S))
        await until_read(machine, await name_of(machine, Drive.IDE), SECTORS_THERE // 2)
        await machine.yank(Drive.IDE)
        failed = await watch.finished(1)
        assert ": failed in" in failed, failed
        assert await watch.ask("SELECT verdict, summary <> '', ejected_at IS NULL FROM insertion") == "failed|t|t"

        other = await name_of(machine, Drive.SCSI)
        before = await sectors_read(machine, other)
        await machine.insert(Drive.SCSI, medium)
        done = await watch.finished(2)
        assert ": complete in" in done, done
        await machine.tray_opened(Drive.SCSI)
        passes = [row.split("|") for row in (await watch.ask(PASSES)).splitlines()]
        assert len(passes) >= 2, passes
        rescued = int(passes[0][1])
        assert rescued > LARGE_BYTES // 4
        assert int(passes[1][0]) == rescued
        again = await sectors_read(machine, other) - before
        assert again < (medium.image.stat().st_size - rescued) // 512 + SPARE_SECTORS
        medium_hash = await watch.ask("SELECT medium_hash FROM medium WHERE unread_bytes = 0")
        assert await watch.quit() == 1
    await restores(machine, medium_hash, contents_of("yanked", LARGE_BYTES))


async def test_the_button_of_a_drive_that_is_needed_is_told_and_not_obeyed(
    machine_to_watch: Machine, tmp_path: Path
) -> None:
    machine = machine_to_watch
    await machine.write_file("/etc/udev/rules.d/70-ntt.rules", RULES.read_bytes())
    await machine.succeeds("udevadm", "control", "--reload")
    async with watching(machine) as watch:
        medium = disc(tmp_path, "wanted", LARGE_BYTES)
        await machine.insert(Drive.SCSI, Medium(medium.image, bytes_per_s=SLOW_PER_S))
        await until_read(machine, await name_of(machine, Drive.SCSI), SECTORS_THERE // 2)
        await machine.eject_button(Drive.SCSI)
        await watch.says("still needed")
        assert not machine.tray_is_out(Drive.SCSI)
        await machine.slow(Drive.SCSI, None)
        done = await watch.finished(1)
        assert ": complete in" in done, done
        await machine.tray_opened(Drive.SCSI)
        assert await watch.quit() == 0
    assert (await machine.run("test", "-d", HOME)).status == 0


async def test_a_pulled_stick_is_gone_on_with_when_it_comes_back(machine_to_watch: Machine, tmp_path: Path) -> None:
    machine, medium = machine_to_watch, stick(tmp_path, "pulled", LARGE_BYTES)
    async with watching(machine) as watch:
        slow = Medium(medium.image, sector_bytes=512, bytes_per_s=SLOW_PER_S)
        device = await machine.plug_usb(slow, "STICK-1")
        name = (await machine.succeeds("readlink", "-f", device)).strip().rpartition("/")[2]
        await until_read(machine, name, medium.image.stat().st_size // 512 // 2)
        await machine.pull_usb("STICK-1")
        failed = await watch.finished(1)
        assert ": failed in" in failed, failed

        await machine.plug_usb(medium, "STICK-1")
        done = await watch.finished(2)
        assert ": complete in" in done, done
        passes = [row.split("|") for row in (await watch.ask(PASSES)).splitlines()]
        assert int(passes[0][1]) > medium.image.stat().st_size // 4
        assert int(passes[1][0]) == int(passes[0][1])
        await watch.says(r"safe to remove|powered off")
        medium_hash = await watch.ask("SELECT medium_hash FROM medium WHERE unread_bytes = 0")
    await restores(machine, medium_hash, contents_of("pulled", LARGE_BYTES))
