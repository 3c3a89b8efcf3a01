"""The live view of `ntt watch` on real drives that are at work, as it stands on the screen."""

from __future__ import annotations

from pathlib import Path

import pytest
from machine import Drive, Machine, Medium
from machine.machine import HOME
from watched import disc, name_of, stick

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SLOW_PER_S = 40 << 10
SIZE_BYTES = 8 << 20  # minutes
LIMIT_S = 300.0


async def test_three_drives_at_work_are_on_the_screen_of_any_size(machine_to_watch: Machine, tmp_path: Path) -> None:
    machine = machine_to_watch
    names = []
    for number, drive in enumerate(Drive):
        await machine.insert(
            drive, Medium(disc(tmp_path, f"disc{number}", SIZE_BYTES, number).image, bytes_per_s=SLOW_PER_S)
        )
        names.append(await name_of(machine, drive))
    device = await machine.plug_usb(
        Medium(stick(tmp_path, "stick", SIZE_BYTES).image, sector_bytes=512, bytes_per_s=SLOW_PER_S), "S1"
    )
    names.append((await machine.succeeds("readlink", "-f", device)).strip().rpartition("/")[2])

    def all_at_work(rows: list[str]) -> bool:
        return all(any(name in row for row in rows) for name in names) and sum(row.count("%") for row in rows) >= 3

    terminal = await machine.terminal("ntt", "watch", "--home", HOME, "--box", "B-17")
    rows = await terminal.until(all_at_work, "three drives at work", LIMIT_S)
    assert len(rows) == 24 and any("B-17" in row for row in rows)

    await machine.succeeds("stty", "-F", "/dev/pts/0", "rows", "50", "cols", "200")
    terminal.resized(50, 200)
    rows = await terminal.until(
        lambda rows: all_at_work(rows) and any(len(row) > 150 for row in rows), "the larger screen", LIMIT_S
    )
    assert len(rows) == 50 and any("B-17" in row for row in rows)
    await terminal.keys("\x03\x03")
    assert (await terminal.program.wait(LIMIT_S)).status == 130
