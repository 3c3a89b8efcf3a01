"""F006: no disc was in the drive, and it went on with an empty hash."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from catalogue import Catalogue, Ended
from faulty_source import Plan, faulty_source
from media_images import MIB

NO_DISC = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/cdrom.h>
#include <stdarg.h>
/* Every drive says that nothing is in it. */
int ioctl(int fd, unsigned long request, ...)
{
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (request == CDROM_DRIVE_STATUS)
        return ANSWER;
    int (*next)(int, unsigned long, ...) = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
    return next(fd, request, argument);
}
"""
IN_MACHINE = 'mount --bind "$1" /sys/dev/block; shift; exec "$@"'


def refused(catalogue: Catalogue, ended: Ended) -> str:
    """The one line; there is no row and no file."""
    assert ended.status != 0
    assert "Traceback" not in ended.stderr
    (line,) = ended.complaints
    assert catalogue.media() == []
    assert [catalogue.value(f"SELECT count(*) FROM {name}") for name in ("image_pass", "sighting", "blob")] == [0, 0, 0]
    below = [catalogue.home / name for name in ("images", "archives", "store/blobs", "store/packs")]
    assert [path for folder in below for path in folder.rglob("*") if path.is_file()] == []
    return line


@contextmanager
def loop_device(file: Path) -> Iterator[Path]:
    argv = ["losetup", "-r", "-f", "--show", file]
    device = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield Path(device)
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


@pytest.mark.parametrize("options", [(), ("--effort", "normal")], ids=["as it is", "imaged"])
def test_f006_a_file_of_zero_bytes_is_no_medium(options: tuple[str, ...], catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "empty.img").touch()
    line = refused(catalogue, catalogue.command("ingest", *options, tmp_path / "empty.img"))
    assert "empty.img is empty: zero bytes are no medium" in line


def test_f006_a_device_of_zero_bytes_is_no_medium(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with loop_device(tmp_path / "empty") as device:
        ended = catalogue.command("ingest", device)
    assert ended.status == 3
    assert f"{device} is empty: zero bytes are no medium" in refused(catalogue, ended)


@pytest.mark.parametrize("gone", ["ENOMEDIUM", "ENXIO"])
def test_f006_a_drive_that_says_that_nothing_is_in_it_is_believed(
    gone: str, catalogue: Catalogue, tmp_path: Path
) -> None:
    (tmp_path / "medium").write_bytes(bytes(MIB))
    with faulty_source(tmp_path / "medium", Plan(gone=gone), tmp_path / "faulty") as source:
        source.command("vanish")
        ended = catalogue.command("ingest", "--effort", "normal", source.path)
    assert ended.status == 3
    assert "insert a medium and try again" in refused(catalogue, ended)


@pytest.mark.parametrize(
    ("answer", "said"), [("CDS_NO_DISC", "no disc is in the drive"), ("CDS_TRAY_OPEN", "the tray is open")]
)
def test_f006_an_optical_drive_without_a_disc_is_not_read(
    answer: str, said: str, catalogue: Catalogue, tmp_path: Path
) -> None:
    """A drive may keep the size of the disc that was in it before, and even give its sectors."""
    (tmp_path / "medium").write_bytes(bytes(MIB))
    (tmp_path / "no_disc.c").write_text(NO_DISC)
    library = tmp_path / "no_disc.so"
    argv = ["gcc", "-shared", "-fPIC", f"-DANSWER={answer}", "-o", library, tmp_path / "no_disc.c"]
    subprocess.run(argv, check=True)
    with loop_device(tmp_path / "medium") as device:
        drive = tmp_path / "machine/host0/block/sr0"
        (drive / "device").mkdir(parents=True)
        (drive / "device" / "type").write_text("5\n")
        (tmp_path / "seen").mkdir()
        number = (Path("/sys/class/block") / device.name / "dev").read_text().strip()
        (tmp_path / "seen" / number).symlink_to(drive)
        argv = ["unshare", "--mount", "sh", "-ec", IN_MACHINE, "sh", tmp_path / "seen", "env", f"LD_PRELOAD={library}"]
        argv += [sys.executable, "-m", "ntt", "ingest", device, "--home", catalogue.home, "--database", catalogue.url]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    ended = Ended(done.returncode, done.stdout, done.stderr)
    assert ended.status == 3
    line = refused(catalogue, ended)
    assert said in line
    assert "insert a medium and try again" in line
