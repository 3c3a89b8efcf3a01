"""What is behind a path is told as far as it answers; what does not answer is named and left behind."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from ntt import proc
from ntt.devices.answering import answered
from ntt.devices.hardware import facts_by_smartctl, facts_of_device, hardware_of

USB = "devices/pci0000:00/0000:00:14.0/usb2/2-1"
BRIDGE = {
    "idVendor": "152d\n",
    "idProduct": "0578\n",
    "manufacturer": "JMicron\n",
    "product": "USB to ATA/ATAPI Bridge\n",
    "serial": "0123456789ABCDEF\n",
    "bcdDevice": "0204\n",
    "speed": "5000\n",
}
DRIVE = {
    "vendor": "WDC     \n",
    "model": "WD10EZEX-08WN4A0\n",
    "rev": "1A01\n",
    "type": "0\n",
}
QUEUE = {"rotational": "1\n", "logical_block_size": "512\n", "physical_block_size": "4096\n"}
UDEV = b"S:disk/by-id/usb-x\nI:99\nE:ID_MODEL=WD10EZEX\nE:ID_SERIAL=x\x1b[31m\xff\nE:DEVTYPE=disk\nG:systemd\n"


class Machine:
    """A made-up /sys and /run."""

    def __init__(self, folder: Path) -> None:
        self.sys, self.run = folder / "sys", folder / "run"
        (self.sys / "dev" / "block").mkdir(parents=True)
        (self.run / "udev" / "data").mkdir(parents=True)

    def has(self, place: str, attributes: dict[str, str]) -> Path:
        folder = self.sys / place
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in attributes.items():
            (folder / name).write_text(value)
        return folder

    def has_block(self, number: str, place: str, size: str, queue: dict[str, str] = QUEUE) -> Path:
        folder = self.has(place, {"size": size, "removable": "0\n"})
        (self.sys / "dev" / "block" / number).symlink_to(folder)
        self.has(f"{place}/queue", queue)
        return folder

    async def facts(self, number: str, timeout_s: float = 5) -> dict[str, str]:
        return await facts_of_device(number, timeout_s, sys_root=self.sys, run_root=self.run)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def usb_disk(machine: Machine) -> Path:
    machine.has(USB, BRIDGE)
    machine.has(f"{USB}/2-1:1.0", {"bInterfaceSubClass": "06\n"})
    target = f"{USB}/2-1:1.0/host4/target4:0:0/4:0:0:0"
    disk = machine.has_block("8:16", f"{target}/block/sdb", "1953525168\n")
    machine.has(target, DRIVE)
    (disk / "device").symlink_to(machine.sys / target)
    return disk


OF_USB_DISK = {
    "kind": "disk",
    "device": "8:16",
    "transport": "usb",
    "size_bytes": "1000204886016",
    "rotational": "1",
    "removable": "0",
    "logical_block_bytes": "512",
    "physical_block_bytes": "4096",
    "vendor": "WDC",
    "model": "WD10EZEX-08WN4A0",
    "revision": "1A01",
    "scsi_type": "0",
    "bridge": "152d:0578",
    "bridge_vendor": "JMicron",
    "bridge_product": "USB to ATA/ATAPI Bridge",
    "bridge_serial": "0123456789ABCDEF",
    "bridge_release": "0204",
    "bridge_speed_mbit": "5000",
}


async def test_a_disk_behind_a_usb_bridge_is_told_with_its_bridge(machine: Machine) -> None:
    usb_disk(machine)
    assert await machine.facts("8:16") == OF_USB_DISK


async def test_a_partition_has_its_own_size_and_its_disks_facts(machine: Machine) -> None:
    usb_disk(machine)
    place = f"{USB}/2-1:1.0/host4/target4:0:0/4:0:0:0/block/sdb/sdb1"
    folder = machine.has(place, {"size": "2048\n", "partition": "1\n"})
    (machine.sys / "dev" / "block" / "8:17").symlink_to(folder)
    assert await machine.facts("8:17") == OF_USB_DISK | {"device": "8:17", "size_bytes": "1048576"}


async def test_udevs_properties_are_told_and_cannot_control_a_terminal(machine: Machine) -> None:
    usb_disk(machine)
    (machine.run / "udev" / "data" / "b8:16").write_bytes(UDEV)
    added = {"ID_MODEL": "WD10EZEX", "ID_SERIAL": "x\\x1b[31m\\xff"}
    assert await machine.facts("8:16") == OF_USB_DISK | added


async def test_an_attribute_that_never_answers_costs_only_itself(machine: Machine) -> None:
    disk = usb_disk(machine)
    model = disk / "device" / "model"
    model.unlink()
    os.mkfifo(model)
    with anyio.fail_after(10):
        facts = await machine.facts("8:16", timeout_s=0.5)
    assert facts == {name: value for name, value in OF_USB_DISK.items() if name != "model"} | {"unanswered": "model"}
    os.close(os.open(model, os.O_RDWR | os.O_NONBLOCK))  # lets the thread go that still waits for a writer


async def test_attributes_that_are_missing_or_mad_are_left_out(machine: Machine) -> None:
    disk = usb_disk(machine)
    (disk / "size").write_text("many\n")
    (disk / "device" / "model").write_text("x" * 100_000)
    (disk / "device" / "vendor").write_bytes(b"\n\0 ")
    (disk / "device" / "rev").unlink()
    facts = await machine.facts("8:16")
    assert facts["model"] == "x" * 200
    assert not facts.keys() & {"size_bytes", "vendor", "revision"}


async def test_a_device_that_sysfs_does_not_know_has_no_facts(machine: Machine) -> None:
    assert await machine.facts("8:99") == {"kind": "disk", "device": "8:99"}


@pytest.mark.parametrize("sign", ["name", "type", "udev"])
async def test_an_optical_drive_is_known_by_each_of_its_signs(machine: Machine, sign: str) -> None:
    target = "devices/pci0000:00/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0"
    drive = machine.has_block("11:0", f"{target}/block/{'sr0' if sign == 'name' else 'sdx'}", "1433600\n")
    machine.has(
        target, {"vendor": "HL-DT-ST\n", "model": "DVDRAM GH24NSD1 \n", "type": "5\n" if sign == "type" else ""}
    )
    (drive / "device").symlink_to(machine.sys / target)
    if sign == "udev":
        (machine.run / "udev" / "data" / "b11:0").write_bytes(b"E:ID_CDROM=1\n")
    facts = await machine.facts("11:0")
    assert (facts["kind"], facts["transport"], facts["model"]) == ("optical", "ata", "DVDRAM GH24NSD1")
    assert facts["size_bytes"] == "734003200"
    assert "bridge" not in facts


@pytest.mark.parametrize("sign", ["subclass", "model", "product", "udev"])
async def test_a_usb_floppy_drive_is_known_by_each_of_its_signs(machine: Machine, sign: str) -> None:
    disk = usb_disk(machine)
    if sign == "subclass":
        machine.has(f"{USB}/2-1:1.0", {"bInterfaceSubClass": "04\n"})
    if sign == "model":
        (disk / "device" / "model").write_text("USB-FDU  FDD\n")
    if sign == "product":
        (machine.sys / USB / "product").write_text("USB Floppy Drive\n")
    if sign == "udev":
        (machine.run / "udev" / "data" / "b8:16").write_bytes(b"E:ID_DRIVE_FLOPPY=1\n")
    facts = await machine.facts("8:16")
    assert (facts["kind"], facts["transport"], facts["bridge"]) == ("floppy", "usb", "152d:0578")


async def test_a_floppy_drive_on_the_controller_is_known(machine: Machine) -> None:
    machine.has_block("2:0", "devices/platform/floppy.0/block/fd0", "2880\n", {})
    facts = await machine.facts("2:0")
    assert facts == {
        "kind": "floppy", "device": "2:0", "transport": "floppy", "size_bytes": "1474560", "removable": "0"
    }  # fmt: skip


async def test_an_nvme_drive_tells_serial_and_firmware(machine: Machine) -> None:
    controller = "devices/pci0000:00/0000:00:1d.0/nvme/nvme0"
    disk = machine.has_block("259:0", f"{controller}/nvme0n1", "1000\n")
    machine.has(controller, {"model": "Samsung SSD 980\n", "serial": "S649 \n", "firmware_rev": "2B4Q\n"})
    (disk / "device").symlink_to(machine.sys / controller)
    facts = await machine.facts("259:0")
    assert (facts["transport"], facts["model"], facts["serial"], facts["firmware"]) == (
        "nvme", "Samsung SSD 980", "S649", "2B4Q"
    )  # fmt: skip


async def test_a_file_is_told_by_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"x")
    found = await proc.run(["findmnt", "-n", "-o", "FSTYPE,SOURCE", "-T", str(tmp_path / "image")])
    filesystem, device = found.stdout.decode().split()
    told = await hardware_of(tmp_path / "image")
    assert told == {"kind": "file", "filesystem": filesystem, "device": device.split("[")[0]}
    assert await hardware_of(Path("/proc/self/status")) == {"kind": "file", "filesystem": "proc", "device": "proc"}


async def test_what_is_not_there_is_unknown(tmp_path: Path) -> None:
    assert await hardware_of(tmp_path / "nothing") == {"kind": "unknown"}


SMART = (
    '{"smartctl":{"exit_status":4},"device":{"name":"/dev/sdb","type":"sat","protocol":"ATA"},"model_name":"WDC\\n",'
    '"serial_number":"WD-1","firmware_version":"1A01","form_factor":{"ata_value":3,"name":"2.5 inches"}}'
)


def smartctl(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "smartctl").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "smartctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


async def test_smartctl_is_asked_and_its_exit_status_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "answer").write_text(SMART)
    smartctl(tmp_path, f'echo "$@" > {tmp_path}/asked; cat {tmp_path}/answer; exit 4', monkeypatch)
    assert await facts_by_smartctl(Path("/dev/sdb"), 10) == {
        "smart_model": "WDC",
        "smart_serial": "WD-1",
        "smart_revision": "1A01",
        "smart_protocol": "ATA",
        "smart_form_factor": "2.5 inches",
    }
    assert (tmp_path / "asked").read_text() == "--info --json --nocheck=standby -- /dev/sdb\n"


@pytest.mark.parametrize("script", ["echo no json", "exit 2", """echo '{"device": 7}'""", "echo '[]'"])
async def test_a_smartctl_that_talks_nonsense_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    smartctl(tmp_path, script, monkeypatch)
    assert await facts_by_smartctl(Path("/dev/sdb"), 10) == {}


async def test_a_smartctl_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "never")
    smartctl(tmp_path, f"trap '' TERM; read line < {tmp_path}/never", monkeypatch)
    with anyio.fail_after(10):
        assert await facts_by_smartctl(Path("/dev/sdb"), 0.3) == {"unanswered": "smartctl"}


async def test_without_smartctl_there_is_nothing_to_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await facts_by_smartctl(Path("/dev/sdb"), 10) == {}


async def test_a_question_that_fails_has_no_answer_but_came_back() -> None:
    assert await answered(lambda: os.stat("/nothing at all"), anyio.current_time() + 10) == (None, True)


def test_a_program_ends_though_a_question_is_never_answered(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    program = (
        "import sys, anyio; from pathlib import Path; from ntt.devices.answering import answered, attribute\n"
        "async def main():\n"
        "    print(await answered(lambda: attribute(Path(sys.argv[1])), anyio.current_time() + 0.1))\n"
        "anyio.run(main)"
    )
    argv = [sys.executable, "-c", program, tmp_path / "fifo"]
    ended = subprocess.run(argv, timeout=30, check=True, capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("(None, False)\n", "")


@pytest.mark.parametrize("kind", ["disk", "floppy", "optical", "stuck"])
async def test_only_disks_that_answer_are_asked_by_smartctl(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    disk = usb_disk(machine)
    if kind == "stuck":
        (disk / "removable").unlink()
        os.mkfifo(disk / "removable")
    else:
        (disk / "device" / "type").write_text("5" if kind == "optical" else "0")
        (disk / "device" / "model").write_text("FLOPPY" if kind == "floppy" else "WD10")
    (tmp_path / "answer").write_text(SMART)
    smartctl(tmp_path, f"cat {tmp_path}/answer", monkeypatch)
    os.mknod(tmp_path / "drive", stat.S_IFBLK | 0o600, os.makedev(8, 16))
    with anyio.fail_after(10):
        facts = await hardware_of(tmp_path / "drive", 2, sys_root=machine.sys, run_root=machine.run)
    assert facts["kind"] == ("disk" if kind == "stuck" else kind)
    assert facts["bridge"] == "152d:0578"
    assert facts.get("smart_serial") == ("WD-1" if kind == "disk" else None)
    assert facts.get("unanswered") == ("removable" if kind == "stuck" else None)
    if kind == "stuck":
        os.close(os.open(disk / "removable", os.O_RDWR | os.O_NONBLOCK))
