"""A driver that takes a request and never answers it: whoever asked cannot even be killed, and NTT goes on."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL
from time import monotonic

import pytest
from media_images import run

from ntt.model import MountedRoot, Route, Volume, VolumeStatus
from ntt.mounts import syscalls
from ntt.readers.lister import Lister
from ntt.readers.messages import Found, Survey

STALL_S, LIMIT_S = 1.5, 40.0
INIT = 26
BUFFER_BYTES = 1 << 20


class Nothing:
    async def take(self, found: Found) -> None:
        assert not found.entries


@contextmanager
def hanging_root(folder: Path) -> Iterator[int]:
    """The root below a driver that says what it is, and answers nothing else. FUSE protocol: linux/fuse.h."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id={os.geteuid()},group_id={os.getegid()},allow_other"
    syscalls.mount(b"hangs", os.fsencode(folder), "fuse", 0, options)
    driver = os.fork()
    if driver == 0:
        try:
            _serve(device)
        finally:
            os._exit(1)
    os.close(device)
    root_fd = os.open(folder, os.O_PATH)
    try:
        yield root_fd
    finally:
        os.kill(driver, SIGKILL)
        os.waitpid(driver, 0)
        os.close(root_fd)
        run("umount", "--lazy", folder)  # the worker that was left behind may still be on its way out


def _serve(device: int) -> None:
    while True:
        request = os.read(device, BUFFER_BYTES)
        _, operation, number, _ = struct.unpack_from("<IIQQ", request)
        if operation == INIT:
            body = struct.pack("<IIIIHHIIHHI28x", 7, 31, 65536, 0, 10, 10, 65536, 1, 0, 0, 0)
            os.write(device, struct.pack("<IiQ", 16 + len(body), 0, number) + body)


@pytest.mark.slow
async def test_a_worker_that_cannot_be_killed_is_left_behind(tmp_path: Path) -> None:
    folder, image = tmp_path / "root", tmp_path / "disc.img"
    folder.mkdir()
    image.write_bytes(bytes(4096))
    image_fd = os.open(image, os.O_RDONLY)
    volume = Volume(1, "none", 0, 4096, "squashfs", Route.FUSE, VolumeStatus.READ)
    began = monotonic()
    try:
        with hanging_root(folder) as root_fd:
            asked = Survey((), 4096, volumes=(volume,), roots={1: MountedRoot(root_fd)})
            listing = await Lister(image_fd, 1 << 30, STALL_S).walk(asked, Nothing())
            assert monotonic() - began < LIMIT_S
    finally:
        os.close(image_fd)
    assert listing.stalled
    assert listing.death.startswith("no progress for")
    assert not listing.walked
