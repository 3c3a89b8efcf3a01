"""What must not be touched is refused with the reason, however deep below the disk it is in use."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_machine import Machine

from ntt.devices.refusing import Family, Mount, Usage, family_of, judged, mounts_in

STICK = Family({"8:16": "sdb", "8:17": "sdb1"})


def used(**points: bytes) -> Usage:
    return Usage(tuple(Mount(number.replace("_", ":")[1:], point) for number, point in points.items()))


def test_a_disk_that_nobody_uses_may_be_touched() -> None:
    assert judged(STICK, used(n8_1=b"/", n8_33=b"/mnt")) is None


@pytest.mark.parametrize("point", [b"/", b"/boot", b"/boot/efi", b"/usr", b"/home", b"/var/lib/postgresql"])
def test_the_disk_of_the_running_system_is_refused(point: bytes) -> None:
    refusal = judged(STICK, used(n8_17=point))
    assert refusal is not None
    assert refusal[0] == f"it holds the running system: {point.decode()} is on it"


def test_the_system_counts_more_than_other_mounts() -> None:
    usage = Usage((Mount("8:17", b"/media/me/x"), Mount("8:16", b"/boot"), Mount("8:16", b"/")))
    assert "running system: / is on it" in str(judged(STICK, usage))


def test_a_disk_that_is_swapped_to_is_refused() -> None:
    assert judged(STICK, Usage(swaps=frozenset(("8:17",)))) == (
        "the running system swaps to it",
        "take another drive: this one is never touched",
    )


def test_the_disk_of_the_store_is_refused() -> None:
    usage = Usage((Mount("8:17", b"/data"),), protected=(("8:17", Path("/data/ntt")),))
    assert "NTT itself keeps /data/ntt on it" in str(judged(STICK, usage))


def test_a_mounted_stick_is_refused_with_the_command_that_frees_it() -> None:
    assert judged(STICK, used(n8_17=b"/mnt/two words")) == (
        "it is mounted at /mnt/two words",
        "`umount '/mnt/two words'`",
    )


@pytest.mark.parametrize("point", [b"/media/me/STICK", b"/run/media/me/STICK"])
def test_a_desktop_that_mounts_by_itself_is_named_and_how_to_stop_it(point: bytes) -> None:
    refusal = judged(STICK, Usage((Mount("8:17", point), Mount("8:16", b"/media/me/two"))))
    assert refusal is not None
    assert refusal[0] == f"the desktop has mounted it at {point.decode()} and 1 more"
    assert "`umount /media/me/two`" in refusal[1]
    assert "udisks2" in refusal[1]


def test_no_mount_point_can_control_a_terminal() -> None:
    refusal = judged(STICK, used(n8_17=b"/mnt/\x1b[2J\xff"))
    assert refusal is not None
    assert "\x1b" not in "".join(refusal)
    assert "\\x1b" in refusal[0]


@pytest.mark.parametrize(("holder", "command"), [("md127", "mdadm --stop /dev/md127"), ("dm-3", "vgchange -an")])
def test_a_part_of_something_is_refused(holder: str, command: str) -> None:
    refusal = judged(Family({"8:16": "sdb", "9:127": holder}, (holder,)), Usage())
    assert refusal is not None
    assert refusal[0] == f"it is part of {holder}, which is in use"
    assert command in refusal[1]


def test_a_family_is_the_disk_its_partitions_and_all_that_is_stacked_on_them(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    disk = "pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda"
    machine.block(disk, "8:0")
    part = machine.block(f"{disk}/sda2", "8:2", {"partition": "2"})
    for name, number in (("md0", "9:0"), ("dm-0", "253:0"), ("dm-1", "253:1")):
        machine.block(f"virtual/block/{name}", number)
    (part / "holders").mkdir()
    (part / "holders" / "md0").touch()
    for below in ("dm-0", "dm-1"):
        holders = machine.sys / "block" / "md0" / "holders"
        holders.mkdir(exist_ok=True)
        (holders / below).touch()
    machine.block("virtual/block/sdq", "65:0")
    family = family_of("sda", machine.sys)
    assert family == Family(
        {"8:0": "sda", "8:2": "sda2", "9:0": "md0", "253:0": "dm-0", "253:1": "dm-1"}, ("dm-0", "dm-1", "md0")
    )
    assert "running system" in str(judged(family, used(n253_1=b"/")))


def test_holders_that_hold_each_other_end(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    for name, number, other in (("dm-0", "253:0", "dm-1"), ("dm-1", "253:1", "dm-0")):
        folder = machine.block(f"virtual/block/{name}", number)
        (folder / "holders").mkdir()
        (folder / "holders" / other).touch()
    assert family_of("dm-0", machine.sys).members == {"253:0": "dm-0", "253:1": "dm-1"}


def test_the_mount_table_is_read_and_what_is_no_line_of_it_passed_over() -> None:
    table = (
        b"22 27 8:17 / /mnt/two\\040words rw,relatime shared:1 master:2 - vfat /dev/sdb1 rw\n"
        b"\n"
        b"nonsense\n"
        b"23 27 0:21 / /proc rw - proc proc rw\n"
        b"24 27 0:44 /@ /btrfs rw - btrfs /dev/no-such-device rw\n"
    )
    assert list(mounts_in(table)) == [
        Mount("8:17", b"/mnt/two words"),
        Mount("0:21", b"/proc"),
        Mount("0:44", b"/btrfs"),
    ]
