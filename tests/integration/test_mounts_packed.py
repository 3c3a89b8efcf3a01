"""Packed file systems count their bytes and end within a sector: nothing of their last one is cut off."""

from __future__ import annotations

from pathlib import Path

import pytest
from disk_images import only_volume
from media_images import noise, run, written
from mounting import seen_below, session_of

from ntt.model import Route


@pytest.mark.parametrize("size_bytes", [*range(1, 1025, 128), 5000])
async def test_the_last_file_of_a_packed_volume_is_there(size_bytes: int, tmp_path: Path) -> None:
    contents: dict[str | bytes, bytes] = {"first": noise(3000), "second": noise(size_bytes, 2)}
    tree = written(tmp_path / "tree", contents)
    squashfs, romfs = tmp_path / "squashfs", tmp_path / "romfs"
    run("mksquashfs", tree, squashfs, "-quiet", "-noappend", "-no-progress", "-nopad")
    run("genromfs", "-f", romfs, "-d", tree)
    for image, route in ((squashfs, Route.KERNEL), (squashfs, Route.FUSE), (romfs, Route.FUSE)):
        detected = only_volume(image)
        size = detected.size_bytes
        async with session_of(image, detected.fstype, (route,), tmp_path / "work", size_bytes=size) as (
            session,
            volume,
        ):
            assert session.refused == {}, session.refused
            seen = seen_below(session.mounted[1], volume)
            assert "grub-mount" not in session.mounted[1].how or detected.fstype == "romfs"
        assert seen.problems == ()
        assert {path.decode(): content for path, content in seen.contents.items()} == contents
