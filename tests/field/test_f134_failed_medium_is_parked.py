"""F134: a failure ejected the disc and looped, or blocked all drives."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import msgspec
import pytest
from catalogue import Catalogue
from faulty_source import Plan, faulty_source
from media_images import MIB, ext4_image, noise, written


class Problems(msgspec.Struct):
    findings: list[dict[str, object]]


def problems_of(medium: asyncpg.Record) -> list[dict[str, object]]:
    return msgspec.json.decode(medium["problems"], type=Problems).findings


OPTIONS = ("ingest", "--effort", "normal")


def disk(folder: Path, seed: int) -> tuple[Path, dict[bytes, bytes | None]]:
    contents = {f"{n:02}.bin": noise(100_000, seed + n) for n in range(60)}
    image = ext4_image(folder / f"{seed}.img", written(folder / f"tree {seed}", contents), 16)
    return image, {name.encode(): content for name, content in contents.items()}


def test_f134_a_medium_of_which_nothing_can_be_read_does_not_keep_the_next_from_its_turn(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    bad, _ = disk(tmp_path, 1000)
    good, files = disk(tmp_path, 2000)
    size_bytes = bad.stat().st_size
    with (
        faulty_source(bad, Plan(bad=((0, size_bytes),)), tmp_path / "bad") as first,
        faulty_source(good, Plan(), tmp_path / "good") as second,
    ):
        ended = catalogue.command(*OPTIONS, first.path, second.path)
        assert ended.status == 3, ended.stderr
        (line,) = ended.complaints
        assert "not one byte of medium could be read" in line
        assert "try it in another drive" in line
        tried = first.counters().reads
        assert catalogue.command(*OPTIONS, second.path).status == 0
        assert first.counters().reads == tried, "it is not tried again by itself"
    (medium,) = catalogue.media()
    assert medium["health"] == "ok"
    assert catalogue.files(medium["medium_hash"]) == files
    assert len(list((catalogue.home / "images").glob("*.img"))) == 1, "of the first there is nothing to keep"


@pytest.mark.parametrize("gone", ["EIO", "ENODEV", "removed"])
def test_f134_a_medium_that_goes_is_parked_with_its_reason_and_the_next_is_done(
    gone: str, catalogue: Catalogue, tmp_path: Path
) -> None:
    going, _ = disk(tmp_path, 1000)
    good, files = disk(tmp_path, 2000)
    with (
        faulty_source(going, Plan(vanish_after_bytes=8 * MIB, gone=gone), tmp_path / "going") as first,
        faulty_source(good, Plan(), tmp_path / "good") as second,
    ):
        ended = catalogue.command(*OPTIONS, first.path, second.path)
        assert ended.status == 1, ended.stderr
        tried = first.counters().reads
        assert catalogue.command(*OPTIONS, second.path).status == 0
        assert first.counters().reads == tried, "it is not tried again by itself"
    parked, done = catalogue.media()
    findings = {finding["kind"]: finding["detail"] for finding in problems_of(parked)}
    assert "does not answer any more" in str(findings["imaging_source_gone"])
    assert parked["archive_done"] is None
    assert 4 * MIB <= parked["image_bytes"] - parked["unread_bytes"] <= 8 * MIB
    assert catalogue.files(done["medium_hash"]) == files
    assert done["archive_done"] is not None
    told = catalogue.command("problems").stdout
    assert parked["medium_hash"][:8] in told
    assert done["medium_hash"][:8] not in told
