"""The test machine itself: what its drives, discs, sticks and power cable do is what real ones do."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from machine import Drive, Machine, MachineError, Medium
from machine.machine import HOME
from machine.media import CD_SECTOR_BYTES
from media_images import MIB, found_at, iso_image, noise, run, written

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

BAD_SECTORS = (200, 201, 450)


class DamagedFile(msgspec.Struct):
    path: str
    damaged_ranges: list[tuple[int, int]]


class FoundMedium(msgspec.Struct):
    unread_bytes: int
    files: int
    damaged: int
    failed: int
    worst: list[DamagedFile]


class Report(msgspec.Struct):
    media: list[FoundMedium]


def disc(tmp_path: Path, size_bytes: int = MIB, name: str = "disc") -> Medium:
    """A disc with one file of noise, `large`, and one in a folder."""
    tree = written(tmp_path / f"{name}.tree", {"large": noise(size_bytes), "folder/Grüße.txt": b"Hallo\n"})
    return Medium(iso_image(tmp_path / f"{name}.iso", tree, "-V", name.upper()))


async def hash_of(machine: Machine, path: str) -> str:
    return (await machine.succeeds("sha256sum", path)).split()[0]


def hash_here(path: Path) -> str:
    return run("sha256sum", path).split()[0]


# ---------------------------------------------------------------- programs


async def test_a_program_gets_its_input_and_tells_its_end(machine: Machine) -> None:
    done = await machine.run("sh", "-c", "cat; echo wrong >&2; exit 7", stdin=b"in\n")
    assert (done.status, done.stdout, done.stderr) == (7, "in\n", "wrong\n")
    with pytest.raises(MachineError, match="no-such-program"):
        await machine.run("no-such-program")


async def test_a_large_output_comes_whole(machine: Machine) -> None:
    await machine.write_file("/tmp/noise", noise(MIB))
    assert await machine.read_file("/tmp/noise") == noise(MIB)


async def test_a_terminal_takes_keys_and_shows_a_screen(machine: Machine) -> None:
    script = r"stty size; printf '\033[5;10Hgo? '; read answer; printf '\033[2J\033[3;1Hsaid %s' $answer; exec cat"
    terminal = await machine.terminal("sh", "-c", script, rows=30, columns=100)
    rows = await terminal.until_shows("go?")
    assert rows[0] == "30 100" and rows[4] == " " * 9 + "go?" and len(rows) == 30
    await terminal.keys("yes\r")
    assert (await terminal.until_shows("said yes"))[2] == "said yes"
    await terminal.keys("\x03")
    assert (await terminal.program.wait()).status != 0


async def test_the_clock_is_right_after_restoring(machine: Machine) -> None:
    before = float(run("date", "+%s.%N"))
    there = float(await machine.succeeds("date", "+%s.%N"))
    assert before - 30 < there < float(run("date", "+%s.%N")) + 1


# ---------------------------------------------------------------- discs


async def test_an_inserted_disc_is_told_while_the_kernel_polls(machine: Machine, tmp_path: Path) -> None:
    told = await machine.load(Drive.IDE, disc(tmp_path))
    device = (await machine.succeeds("readlink", "-f", Drive.IDE.device)).strip()
    assert (told.action, told.devname) == ("change", device)
    assert told.properties["DISK_MEDIA_CHANGE"] == "1"


async def test_no_disc_is_told_while_the_kernel_does_not_poll(machine: Machine, tmp_path: Path) -> None:
    await machine.poll_media(0)
    async with machine.uevents() as events:
        await machine.insert(Drive.IDE, disc(tmp_path))
        # a barrier that takes udev longer than any event on its way
        await machine.plug_usb(disc(tmp_path), "BARRIER")
        assert all(event.devname != "/dev/sr0" for event in events.all())
        await machine.poll_media(2000)
        await events.one(lambda event: event.properties.get("ID_CDROM_MEDIA") == "1", "the disc")


async def test_two_drives_are_known_by_their_serial_numbers(machine: Machine, tmp_path: Path) -> None:
    media = {Drive.IDE: disc(tmp_path, name="one"), Drive.SCSI: disc(tmp_path, 2 * MIB, name="two")}
    for drive, medium in media.items():
        await machine.load(drive, medium)
    for drive, medium in media.items():
        assert await hash_of(machine, drive.device) == hash_here(medium.image)


async def test_eject_in_the_machine_opens_the_tray(machine: Machine, tmp_path: Path) -> None:
    await machine.load(Drive.SCSI, disc(tmp_path))
    assert not machine.tray_is_out(Drive.SCSI)
    await machine.succeeds("eject", Drive.SCSI.device)
    await machine.tray_opened(Drive.SCSI)
    assert machine.tray_is_out(Drive.SCSI) and not machine.tray_is_out(Drive.IDE)


@pytest.mark.parametrize("drive", Drive)
async def test_disc_after_disc_is_read_as_it_is(machine: Machine, tmp_path: Path, drive: Drive) -> None:
    for name in ("one", "two", "three"):
        medium = disc(tmp_path, name=name)
        await machine.load(drive, medium)
        assert await hash_of(machine, drive.device) == hash_here(medium.image)
        await machine.succeeds("eject", drive.device)
        await machine.tray_opened(drive)


async def test_the_button_of_a_locked_drive_only_asks_and_udev_obeys(machine: Machine, tmp_path: Path) -> None:
    await machine.load(Drive.IDE, disc(tmp_path))
    await machine.succeeds("mount", "-r", Drive.IDE.device, "/mnt")
    await machine.succeeds("ls", "/mnt/folder")
    async with machine.uevents() as events:
        await machine.eject_button(Drive.IDE)
        await events.one(lambda event: event.properties.get("DISK_EJECT_REQUEST") == "1", "a request to eject")
    # what Debian's rules do, mounted or not
    await machine.tray_opened(Drive.IDE)
    assert (await machine.run("cat", "/mnt/large")).status == 1


async def test_a_yanked_disc_fails_the_reader(machine: Machine, tmp_path: Path) -> None:
    medium = disc(tmp_path, 4 * MIB)
    await machine.load(Drive.SCSI, Medium(medium.image, bytes_per_s=256 << 10))
    reader = await machine.start("dd", f"if={Drive.SCSI.device}", "bs=2048", "iflag=direct")
    await reader.until(lambda: len(reader.stdout) > 100 * CD_SECTOR_BYTES, "the middle of reading")
    await machine.yank(Drive.SCSI)
    done = await reader.wait()
    assert done.status == 1 and "error" in done.stderr
    assert medium.image.read_bytes().startswith(bytes(reader.stdout))


async def test_exactly_the_planned_sectors_are_bad(machine: Machine, tmp_path: Path) -> None:
    image = disc(tmp_path).image
    for drive in Drive:
        await machine.load(drive, Medium(image, bad_sectors=BAD_SECTORS))
        out = f"/tmp/{drive.name}"
        await machine.run("ddrescue", "-d", "-b2048", "-r1", drive.device, f"{out}.image", f"{out}.map", limit_s=240)
        lines = (await machine.read_file(f"{out}.map")).decode().splitlines()
        parts = [line.split() for line in lines if not line.startswith("#")][1:]
        unread = [(int(at, 16), int(size, 16)) for at, size, state in parts if state != "+"]
        assert unread == [(200 * 2048, 2 * 2048), (450 * 2048, 2048)]
        expected = bytearray(image.read_bytes())
        for bad in BAD_SECTORS:
            expected[bad * 2048 : (bad + 1) * 2048] = bytes(2048)
        assert await machine.read_file(f"{out}.image") == expected


async def test_a_slowed_drive_is_slow_until_it_is_not(machine: Machine, tmp_path: Path) -> None:
    medium = disc(tmp_path, 2 * MIB)
    await machine.load(Drive.SCSI, medium)
    await machine.slow(Drive.SCSI, 1024)
    reader = await machine.start("dd", f"if={Drive.SCSI.device}", "bs=16384", "iflag=direct")
    await reader.until(lambda: len(reader.stdout) > 0, "the first bytes")
    # half an hour's worth at this speed
    assert len(reader.stdout) < MIB and reader.status is None
    await machine.slow(Drive.SCSI, None)
    assert (await reader.wait()).status == 0
    assert bytes(reader.stdout) == medium.image.read_bytes()


# ---------------------------------------------------------------- sticks, disks, power


async def test_a_stick_pulled_while_it_is_read_is_gone(machine: Machine, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    run("mkfs.vfat", "-C", stick, "8192")
    async with machine.uevents() as events:
        device = await machine.plug_usb(Medium(stick, sector_bytes=512, bytes_per_s=256 << 10), "STICK-1")
        known = await events.one(lambda event: event.properties.get("ID_FS_TYPE") == "vfat", "the file system")
        reader = await machine.start("dd", f"if={device}", "bs=4096", "iflag=direct")
        await reader.until(lambda: len(reader.stdout) > 65536, "the middle of reading")
        await machine.pull_usb("STICK-1")
        assert (await reader.wait()).status == 1
        await events.one(lambda event: event.action == "remove" and event.devname == known.devname, "its removal")
    assert known.properties["ID_BUS"] == "usb" and known.properties["ID_SERIAL_SHORT"] == "STICK-1"
    assert stick.read_bytes().startswith(bytes(reader.stdout))
    assert (await machine.run("test", "-e", device)).status == 1


async def test_a_power_cut_keeps_what_was_synced_and_nothing_else(machine: Machine, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    run("mke2fs", "-q", "-t", "ext4", disk, "64M")
    device = await machine.plug_disk(Medium(disk, writable=True), "DATA")
    # the kernel writes back after 30 s by itself: not in this test
    await machine.write_file("/proc/sys/vm/dirty_writeback_centisecs", b"0")
    await machine.succeeds("mount", "-o", "commit=300", device, "/mnt")
    await machine.write_file("/mnt/synced", b"kept")
    await machine.succeeds("sync", "/mnt/synced", "/mnt")
    await machine.write_file("/mnt/not-synced", b"lost")
    await machine.power_cut()
    with pytest.raises(MachineError, match="no power"):
        await machine.run("true")
    await machine.power_on()
    await machine.succeeds("mount", device, "/mnt")
    assert (await machine.succeeds("ls", "/mnt")).split() == ["lost+found", "synced"]
    assert await machine.read_file("/mnt/synced") == b"kept"
    assert (await machine.run("ls", "/tmp/noise")).status != 0


# ---------------------------------------------------------------- ntt


async def test_ntt_runs_in_the_machine_and_finds_it_ready(machine_with_ntt: Machine) -> None:
    assert (await machine_with_ntt.succeeds("ntt", "--version")).startswith("ntt ")
    doctor = await machine_with_ntt.run("ntt", "doctor", limit_s=240)
    assert doctor.status == 0, doctor.stdout + doctor.stderr
    assert "this machine is ready" in doctor.stdout


async def test_ntt_rescues_a_disc_in_a_real_drive(machine_with_ntt: Machine, tmp_path: Path) -> None:
    machine, medium = machine_with_ntt, disc(tmp_path)
    await machine.load(Drive.SCSI, medium)
    device = (await machine.succeeds("readlink", "-f", Drive.SCSI.device)).strip()
    done = await machine.run("ntt", "ingest", "--home", HOME, "--json", device, limit_s=400)
    assert done.status == 0, done.stdout + done.stderr
    (known,) = set(re.findall(r'"medium_hash": "([0-9a-f]+)"', done.stdout))
    assert '"image_hash": "' + run("b3sum", "--no-names", medium.image).strip() in done.stdout
    await machine.succeeds("ntt", "restore", "--home", HOME, known, "/tmp/restored", limit_s=200)
    assert await machine.read_file("/tmp/restored/large") == noise(MIB)
    assert await machine.read_file("/tmp/restored/folder/Grüße.txt") == b"Hallo\n"


async def test_ntt_records_exactly_the_bad_sectors_of_a_real_drive(machine_with_ntt: Machine, tmp_path: Path) -> None:
    machine, medium = machine_with_ntt, disc(tmp_path)
    await machine.load(Drive.IDE, Medium(medium.image, bad_sectors=BAD_SECTORS))
    device = (await machine.succeeds("readlink", "-f", Drive.IDE.device)).strip()
    done = await machine.run("ntt", "ingest", "--home", HOME, "--json", device, limit_s=500)
    assert done.status == 1, done.stdout + done.stderr
    (report,) = msgspec.json.decode(done.stdout, type=Report).media
    assert report.unread_bytes == len(BAD_SECTORS) * CD_SECTOR_BYTES
    assert (report.files, report.damaged, report.failed) == (2, 1, 0)
    (damaged,) = report.worst
    at = found_at(medium.image, noise(MIB))
    planned = [(bad * CD_SECTOR_BYTES - at, (bad + 1) * CD_SECTOR_BYTES - at) for bad in (200, 450)]
    assert damaged.damaged_ranges == [(planned[0][0], planned[0][1] + CD_SECTOR_BYTES), planned[1]]
