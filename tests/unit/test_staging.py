"""The tree of a restore is built and moved into place by whoever restores it, root or not."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ntt.db.restoring import Attributes, PlannedDirectory, PlannedEntry
from ntt.operations.staging import Allowed, Staging
from ntt.store.layout import StoreLayout

NOBODY = 65_534


@pytest.fixture
def nobody(tmp_path: Path) -> Iterator[Path]:
    """A folder of a user without rights, who this process is meanwhile."""
    assert os.geteuid() == 0, "this test gives up root's rights for a while"
    folder = Path("/tmp") / f"ntt-{tmp_path.parent.name}-{tmp_path.name}"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    yield folder
    os.seteuid(0)
    for path, folders, files in os.walk(folder, topdown=False):
        for name in files:
            os.unlink(os.path.join(path, name))
        for name in folders:
            os.rmdir(os.path.join(path, name))
    folder.rmdir()


def directory(number: int, parent: int | None, name: bytes, mode: int) -> PlannedDirectory:
    attributes = Attributes(stat.S_IFDIR | mode, 0, 0, 10**18)
    return PlannedDirectory(number, parent, 0, number, parent or number, name, attributes)


def fifo(parent: int, name: bytes, mode: int = 0o644, kind: int = stat.S_IFIFO) -> PlannedEntry:
    attributes = Attributes(kind | mode, 0, 0, 10**18)
    return PlannedEntry(0, 100 + kind, parent, name, parent, attributes, b"1:3", "", "", None, 0, None, None)


def test_read_only_directories_are_filled_before_they_are_closed(nobody: Path) -> None:
    fd = os.open(nobody, os.O_RDONLY)
    staging = Staging(fd, StoreLayout(nobody), Allowed(devices=True, setuid=False), lambda _: None)
    staging.make_directories([1, 2, 3])
    staging.place([fifo(3, b"pipe"), fifo(3, b"disk", kind=stat.S_IFBLK)])
    closed = [directory(3, 2, b"inner", 0o555), directory(2, 1, b"outer", 0o500), directory(1, None, b"", 0o555)]
    staging.settle(closed, {0: "."})
    staging.finish()
    staging.close()
    os.close(fd)
    assert os.listdir(nobody) == ["outer"]
    for path, mode in (("", 0o555), ("outer", 0o500), ("outer/inner", 0o555)):
        status = (nobody / path).stat()
        assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns, status.st_uid) == (mode, 10**18, NOBODY)
    assert stat.S_ISFIFO((nobody / "outer/inner/pipe").stat().st_mode)
    assert [note.reason for note in staging.tally.skipped] == ["a block device is restored only as root"]
    assert (staging.tally.failed, staging.tally.altered) == ([], [])
