"""What is hashed on the way goes to the disk on the way, and nothing depends on it."""

from __future__ import annotations

from pathlib import Path

import pytest
from blake3 import blake3

from ntt.identity import WINDOW_BYTES
from ntt.rescue import hashing
from ntt.rescue.hashing import PrefixHash

SIZE_BYTES = 5 * WINDOW_BYTES // 2


async def _hashed(path: Path) -> str:
    with PrefixHash(path, SIZE_BYTES) as hasher:
        hasher.reaches(WINDOW_BYTES)
        scan = await hasher.finish()
    assert scan is not None
    return scan.image_hash


async def test_every_byte_that_was_hashed_is_on_its_way_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "image"
    path.write_bytes(bytes(range(250)) * (SIZE_BYTES // 250 + 1))
    asked: list[tuple[int, int]] = []
    real = hashing._sync_file_range

    def watched(fd: int, offset: int, length: int, flags: int) -> int:
        asked.append((offset, length))
        status: int = real(fd, offset, length, flags)
        assert status == 0, "the kernel takes it"
        return status

    monkeypatch.setattr(hashing, "_sync_file_range", watched)
    assert await _hashed(path) == blake3(path.read_bytes()[:SIZE_BYTES]).hexdigest()
    assert asked == [(0, WINDOW_BYTES), (WINDOW_BYTES, WINDOW_BYTES), (2 * WINDOW_BYTES, WINDOW_BYTES // 2)]


async def test_where_the_file_system_cannot_begin_writing_the_hash_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "image"
    path.write_bytes(bytes(SIZE_BYTES - 1) + b"!")
    monkeypatch.setattr(hashing, "_sync_file_range", lambda *_: -1)
    assert await _hashed(path) == blake3(path.read_bytes()).hexdigest()
