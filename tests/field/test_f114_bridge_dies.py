"""F114: the USB bridge died after 12 minutes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from catalogue import Catalogue, Ended, command
from faulty_source import Plan, faulty_source
from media_images import MIB, ext4_image, noise, run, written

CONTENTS = {f"{n:02}.bin": noise(100_000, n) for n in range(60)}
BRIDGE = {"idVendor": "152d\n", "idProduct": "0578\n", "manufacturer": "JMicron\n", "serial": "0123456789\n"}
DRIVE = {"vendor": "HL-DT-ST\n", "model": "DVDRAM GU90N\n", "type": "0\n"}
# in a mount namespace of its own the machine seems to have other block devices
IN_MACHINE = 'mount --bind "$1" /sys/dev/block; shift; exec "$@"'
LIMIT_S = 60


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disk")
    return ext4_image(folder / "disk.img", written(folder / "tree", CONTENTS), 16)


@contextmanager
def drive_of(source: Path) -> Iterator[Path]:
    """A block device whose medium is this file."""
    device = run("losetup", "-r", "-f", "--show", source).strip()
    try:
        yield Path(device)
    finally:
        run("losetup", "-d", device)


def behind_a_bridge(device: Path, folder: Path) -> Path:
    """What is to be seen as /sys/dev/block: the device, below a USB bridge."""
    bridge = folder / "devices/pci0000:00/usb2/2-1"
    target = bridge / "2-1:1.0/host4/target4:0:0/4:0:0:0"
    block = target / "block/sdb"
    (block / "queue").mkdir(parents=True)
    for place, attributes in ((bridge, BRIDGE), (target, DRIVE), (block, {"size": "32768\n"})):
        for name, value in attributes.items():
            (place / name).write_text(value)
    (block / "device").symlink_to(target)
    seen = folder / "seen"
    seen.mkdir()
    number = (Path("/sys/class/block") / device.name / "dev").read_text().strip()
    (seen / number).symlink_to(block)
    return seen


def ingested(catalogue: Catalogue, device: Path, seen: Path) -> Ended:
    """`ntt ingest DEVICE`, which is all that is needed for a device to be imaged."""
    argv = [sys.executable, "-m", "ntt", "ingest", device, "--home", catalogue.home, "--database", catalogue.url]
    inside = ["unshare", "--mount", "sh", "-ec", IN_MACHINE, "sh", seen, *argv]
    done = subprocess.run(inside, capture_output=True, text=True, timeout=2 * LIMIT_S, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


def test_f114_a_bridge_that_dies_ends_the_pass_with_the_reason_and_its_name(
    catalogue: Catalogue, disk: Path, tmp_path: Path
) -> None:
    plan = Plan(vanish_after_bytes=9 * MIB)
    with faulty_source(disk, plan, tmp_path / "faulty") as faulty, drive_of(faulty.path) as device:
        seen = behind_a_bridge(device, tmp_path / "machine")
        began_s = time.monotonic()
        ended = ingested(catalogue, device, seen)
        assert time.monotonic() - began_s < LIMIT_S
        assert ended.status == 1, ended.stderr
        died = faulty.counters()

        (medium,) = catalogue.media()
        image, map_path = Path(medium["image_path"]), Path(medium["image_path"]).with_suffix(".map")
        read_bytes = medium["image_bytes"] - medium["unread_bytes"]
        assert 6 * MIB < read_bytes <= 9 * MIB
        assert image.read_bytes()[: 4 * MIB] == disk.read_bytes()[: 4 * MIB]
        assert map_path.is_file()
        (row,) = catalogue.rows("SELECT * FROM image_pass")
        assert (row["name"], row["reason"], row["source"]) == ("everything", "source_gone", str(device))
        assert row["read_errors"] < 100, "no endless retry"
        assert row["bad_bytes"] == 0, "what it failed to give because it was gone is not held bad"
        hardware = msgspec.json.decode(row["hardware"], type=dict[str, str])
        assert (hardware["bridge"], hardware["model"]) == ("152d:0578", "DVDRAM GU90N")
        told = command("problems", medium["medium_hash"], "--home", catalogue.home, "--database", catalogue.url)
        assert told.status == 1
        assert "does not answer any more" in told.stdout
        assert "HL-DT-ST DVDRAM GU90N" in told.stdout
        assert "bridge 152d:0578" in told.stdout
        assert "run the same command again" in told.stdout
        assert faulty.counters().reads == died.reads, "nobody asks it again"

        faulty.command("return")
        ended = ingested(catalogue, device, seen)
        assert ended.status == 0, ended.stderr + ended.stdout
        after = faulty.counters()
        assert after.bytes_read - died.bytes_read < disk.stat().st_size - read_bytes + MIB
    (medium,) = catalogue.media()
    assert Path(medium["image_path"]) == image
    assert medium["health"] == "ok"
    assert image.read_bytes() == disk.read_bytes()
    assert catalogue.files(medium["medium_hash"]) == {name.encode(): content for name, content in CONTENTS.items()}
    assert [row["reason"] for row in catalogue.rows("SELECT * FROM image_pass ORDER BY began_at")][:2] == [
        "source_gone",
        "finished",
    ]
    assert medium["problems"] is None


def test_f114_a_medium_that_goes_with_its_last_byte_is_whole(
    catalogue: Catalogue, bare_database_url: str, disk: Path, tmp_path: Path
) -> None:
    """It was read to the end: nothing of it is missing, and nobody is to read it again."""
    size_bytes = disk.stat().st_size
    with faulty_source(disk, Plan(), tmp_path / "counted") as faulty:
        assert catalogue.command("ingest", "--effort", "normal", "--no-archive", faulty.path).status == 0
        reads = faulty.reads()
    first = next(n for n, read in enumerate(reads) if read.size > 64 << 10)
    last = max(n for n, read in enumerate(reads) if n >= first and read.offset + read.size == size_bytes)
    until = sum(read.size for read in reads[: last + 1])
    other = Catalogue(tmp_path / "other home", bare_database_url)
    with faulty_source(disk, Plan(vanish_after_bytes=until), tmp_path / "faulty") as faulty:
        ended = other.command("ingest", "--effort", "normal", faulty.path)
        assert faulty.counters().is_gone, "the case is only met when it went"
        assert ended.status == 0, ended.stderr + ended.stdout
    (medium,) = other.media()
    assert (medium["health"], medium["problems"]) == ("ok", None)
    assert other.value("SELECT reason FROM image_pass") == "finished"
