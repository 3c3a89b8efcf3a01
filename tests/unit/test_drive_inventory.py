"""Which drives a machine has: what is touched without being named, and what names each again."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_machine import Machine

from ntt.devices import inventory
from ntt.devices.listing import told_apart
from ntt.drives import DriveKind
from ntt.errors import UsageError

DVD = {"vendor": "HL-DT-ST", "model": "DVDRAM GH24NSD1", "type": "5"}
STICK = {"vendor": "SanDisk", "model": "Cruzer Blade", "type": "0"}
ATA = "pci0000:00/0000:00:1f.2/ata{}"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


async def known(machine: Machine, name: str) -> inventory.Known:
    found = await inventory.known(name, machine.sys, machine.run)
    assert found is not None
    return found


async def test_an_optical_drive_is_one(machine: Machine) -> None:
    machine.scsi(ATA.format(3), "2:0:0:0", "sr0", "11:0", DVD, removable="1")
    found = await known(machine, "sr0")
    assert (found.drive.node, found.drive.kind) == (Path("/dev/sr0"), DriveKind.OPTICAL)
    assert found.drive.title == "HL-DT-ST DVDRAM GH24NSD1"
    assert found.sure


@pytest.mark.parametrize("removable", ["0", "1"])
async def test_a_disk_behind_usb_can_be_pulled_whatever_it_says(machine: Machine, removable: str) -> None:
    machine.scsi(machine.usb("2-1"), "6:0:0:0", "sdb", "8:16", STICK, removable=removable)
    assert (await known(machine, "sdb")).drive.kind is DriveKind.REMOVABLE


async def test_disks_that_stay_in_the_machine_are_fixed(machine: Machine) -> None:
    machine.scsi(ATA.format(1), "0:0:0:0", "sda", "8:0", {"vendor": "ATA", "model": "WDC WD10EZEX", "type": "0"})
    machine.block("pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1", "259:0")
    machine.block("pci0000:00/0000:00:02.0/virtio1/block/vda", "254:0")
    for name in ("sda", "nvme0n1", "vda"):
        assert (await known(machine, name)).drive.kind is DriveKind.DISK
    assert (await known(machine, "sda")).drive.title == "WDC WD10EZEX"


async def test_what_has_no_hardware_of_its_own_is_no_drive(machine: Machine) -> None:
    names = ("loop0", "zram0", "dm-0", "md127", "ram3", "nbd1", "mmcblk0boot0", "mmcblk0rpmb", "mmcblk2gp1")
    for minor, name in enumerate(names):
        machine.block(f"virtual/block/{name}", f"7:{minor}", {"removable": "1"})
        assert (await known(machine, name)).drive.kind is DriveKind.DISK
        assert not inventory.is_drive(name)
    assert all(map(inventory.is_drive, ("sda", "sr0", "fd0", "mmcblk0", "nvme0n1", "vda", "hdc")))


async def test_a_card_can_be_pulled_and_soldered_flash_cannot(machine: Machine) -> None:
    for name, number, kind in (("mmcblk0", "179:0", "MMC"), ("mmcblk1", "179:8", "SD")):
        above = f"pci0000:00/0000:00:1c.0/mmc_host/mmc{name[-1]}/mmc{name[-1]}:0001"
        machine.write(f"devices/{above}", {"type": kind})
        folder = machine.block(f"{above}/block/{name}", number)
        (folder / "device").symlink_to(machine.sys / "devices" / above)
    assert (await known(machine, "mmcblk0")).drive.kind is DriveKind.DISK
    assert (await known(machine, "mmcblk1")).drive.kind is DriveKind.REMOVABLE


async def test_a_floppy_drive_is_removable_and_spared(machine: Machine) -> None:
    machine.block("platform/floppy.0/block/fd0", "2:0", {"removable": "1"})
    found = await known(machine, "fd0")
    assert found.drive.kind is DriveKind.REMOVABLE
    assert found.spins_up


async def test_a_serial_names_a_drive_in_any_port_and_under_any_node(machine: Machine) -> None:
    machine.scsi(ATA.format(3), "2:0:0:0", "sr0", "11:0", DVD, removable="1")
    machine.scsi(ATA.format(5), "4:0:0:0", "sr1", "11:1", DVD, removable="1")
    for number in ("11:0", "11:1"):
        machine.udev(number, ID_SERIAL="HL-DT-ST_DVDRAM_K9AB12345", ID_SERIAL_SHORT="K9AB12345", ID_PATH=number)
    assert (await known(machine, "sr0")).drive.key == (await known(machine, "sr1")).drive.key


async def test_two_drives_of_one_model_without_a_serial_differ(machine: Machine) -> None:
    machine.scsi(ATA.format(3), "2:0:0:0", "sr0", "11:0", DVD, removable="1")
    machine.scsi(ATA.format(5), "4:0:0:0", "sr1", "11:1", DVD, removable="1")
    for number, port in (("11:0", "pci-0000:00:1f.2-ata-3"), ("11:1", "pci-0000:00:1f.2-ata-5")):
        machine.udev(number, ID_SERIAL="HL-DT-ST_DVDRAM_GH24NSD1", ID_PATH=port)
    keys = [(await known(machine, name)).drive.key for name in ("sr0", "sr1")]
    assert keys == ["pci-0000:00:1f.2-ata-3", "pci-0000:00:1f.2-ata-5"]


async def test_without_udev_the_port_names_a_drive_whatever_the_kernel_counts(machine: Machine, tmp_path: Path) -> None:
    machine.scsi(ATA.format(3), "2:0:0:0", "sr0", "11:0", DVD, removable="1")
    later = Machine(tmp_path / "later")
    later.scsi(ATA.format(3), "7:0:0:0", "sr1", "11:1", DVD, removable="1")
    key = (await known(machine, "sr0")).drive.key
    assert key == (await known(later, "sr1")).drive.key == "pci0000:00/0000:00:1f.2/ata3/0:0:0"


@pytest.mark.parametrize("serial", ["000000000000", "0123456789ABCDEF", "1", "1234567890"])
async def test_a_serial_that_a_bridge_makes_up_names_nothing(machine: Machine, serial: str) -> None:
    machine.scsi(machine.usb("2-1", serial), "6:0:0:0", "sdb", "8:16", STICK)
    machine.udev(
        "8:16", ID_SERIAL=f"SanDisk_{serial}-0:0", ID_SERIAL_SHORT=serial, ID_PATH="pci-usb-0:1:1.0-scsi-0:0:0:0"
    )
    assert (await known(machine, "sdb")).drive.key == "pci-usb-0:1:1.0-scsi-0:0:0:0"


async def test_the_slots_of_a_card_reader_differ(machine: Machine) -> None:
    reader = machine.usb("2-1", "A1B2C3D4E5")
    for lun in range(2):
        machine.scsi(reader, f"6:0:0:{lun}", f"sd{'bc'[lun]}", f"8:{16 + 16 * lun}", STICK, removable="1")
    keys = {(await known(machine, name)).drive.key for name in ("sdb", "sdc")}
    assert len(keys) == 2
    assert all("A1B2C3D4E5" in key for key in keys)


async def test_drives_that_share_a_serial_are_told_apart(machine: Machine) -> None:
    for port, address, name, number in (("2-1", "6:0:0:0", "sdb", "8:16"), ("2-2", "7:0:0:0", "sdc", "8:32")):
        machine.scsi(machine.usb(port), address, name, number, STICK)
        machine.udev(number, ID_SERIAL="X_DEADBEEF77", ID_SERIAL_SHORT="DEADBEEF77", ID_PATH=f"usb-{port}")
    found = [await known(machine, name) for name in ("sdb", "sdc")]
    assert [one.drive.key for one in told_apart(found)] == ["X_DEADBEEF77", "X_DEADBEEF77@usb-2-2"]


async def test_a_device_that_went_away_is_not_known(machine: Machine) -> None:
    assert await inventory.known("sdz", machine.sys, machine.run) is None


def test_what_is_no_device_cannot_be_named(machine: Machine, tmp_path: Path) -> None:
    image = tmp_path / "image.iso"
    image.write_bytes(b"x")
    with pytest.raises(UsageError, match=r"is no device; an image file is for `ntt ingest`"):
        inventory.check_named([image], machine.sys)
    inventory.check_named([tmp_path / "not-there-yet"], machine.sys)
