"""What is wrong with a medium: which bytes of which files, and on which other medium the file stands whole."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from blake3 import blake3
from sketches import ROOT, Catalogue, Sketch, open_catalogue

from ntt.config import Settings
from ntt.damage_text import problems_lines
from ntt.db.loading import Problem
from ntt.db.locks import LockSpace, advisory_lock
from ntt.db.media import Media
from ntt.db.runs import StageRuns
from ntt.db.summary import Problems
from ntt.model import Stage
from ntt.operations.doctor import State, doctor
from ntt.operations.problems import problems_report
from ntt.operations.problems_overview import problems_overview
from ntt.operations.status import media_list, medium_status
from ntt.text import doctor_lines, list_lines, overview_lines, status_lines

WHOLE = bytes(range(256)) * 40
LARGE = os.urandom((1 << 20) + 5000)


def damaged(data: bytes, *ranges: tuple[int, int]) -> bytes:
    cut = bytearray(data)
    for start, end in ranges:
        cut[start:end] = bytes(end - start)
    return bytes(cut)


@pytest.fixture
async def catalogue(database_url: str, home: Path) -> AsyncIterator[Catalogue]:
    async with open_catalogue(database_url, home) as opened:
        yield opened


async def test_the_document_has_the_documented_shape(catalogue: Catalogue) -> None:
    sketch = Sketch()
    folder = sketch.directory(ROOT, b"folder")
    hit = sketch.file(folder, b"caf\xe9", damaged(WHOLE, (512, 1024)), damaged=((512, 1024),))
    lost = sketch.file(folder, b"lost", None, reason="its inode lies on unread sectors")
    sketch.file(folder, b"fine", b"fine")
    medium = await catalogue.medium("bad", {0: sketch})
    report = msgspec.json.decode(
        msgspec.json.encode(await problems_report(catalogue.database, medium, catalogue.store))
    )
    assert report.keys() == {
        "medium_hash", "health", "problems", "volumes", "files", "events_total", "unread", "files_whole", "damage",
        "is_done", "human", "message", "unended", "events", "stages", "next_steps",
    }  # fmt: skip
    assert (report["medium_hash"], report["health"], report["events_total"]) == (medium.medium_hash, "ok", 1)
    assert report["problems"]["error_files_total"] == 2
    assert report["volumes"][0]["fstype"] == "ext4"
    assert report["files"] == [
        {
            "path": "folder/caf�", "path_b64": base64.b64encode(b"folder/caf\xe9").decode(), "volume": 0, "ino": hit,
            "size": len(WHOLE), "status": "damaged", "damaged_ranges": [[512, 1024]], "clean_copies": [],
            "reason": "512 of its 10,240 bytes could not be read from the medium",
        },
        {
            "path": "folder/lost", "volume": 0, "ino": lost, "size": 100, "status": "failed", "damaged_ranges": [],
            "reason": "its inode lies on unread sectors", "clean_copies": [],
        },
    ]  # fmt: skip


async def test_a_medium_without_problems_says_so(catalogue: Catalogue) -> None:
    sketch = Sketch()
    sketch.file(ROOT, b"fine", b"fine")
    medium = await catalogue.medium("good", {0: sketch})
    report = await problems_report(catalogue.database, medium, catalogue.store)
    assert (report.problems, report.files, report.events_total) == ({}, (), 0)
    assert list(problems_lines(report))[-1] == "nothing was found wrong with its files"
    overview = await problems_overview(catalogue.database)
    assert (overview.media, overview.media_total) == ((), 1)
    assert list(overview_lines(overview)) == ["no problems on any of 1 media"]


@pytest.mark.parametrize("data", [WHOLE, LARGE], ids=["in a pack", "as a plain file"])
async def test_clean_copies_agree_with_every_byte_that_could_be_read(catalogue: Catalogue, data: bytes) -> None:
    ranges = ((100, 200), (len(data) - 50, len(data)))
    bad, good = Sketch(), Sketch()
    bad.file(ROOT, b"hit", damaged(data, *ranges), damaged=ranges)
    good.file(ROOT, b"whole", data)
    good.file(ROOT, b"whole too", damaged(data, (120, 130)))  # differs only where nothing is known
    good.file(ROOT, b"one byte off", damaged(data, (300, 301)) if data[300] else b"x" + data[1:])
    good.file(ROOT, b"damaged itself", damaged(data, (150, 160)), damaged=((150, 160),))
    good.file(ROOT, b"longer", data + b"x")
    medium = await catalogue.medium("bad", {0: bad})
    other = await catalogue.medium("good", {0: good})
    (file,) = (await problems_report(catalogue.database, medium, catalogue.store)).files
    assert {(copy.medium_hash, copy.raw) for copy in file.clean_copies} == {
        (other.medium_hash, b"whole"), (other.medium_hash, b"whole too"),
    }  # fmt: skip
    assert blake3(data).hexdigest() in {copy.blob for copy in file.clean_copies}
    without = await problems_report(catalogue.database, medium)
    assert without.files[0].clean_copies == ()


async def test_nothing_agrees_with_a_file_of_which_nothing_was_read(catalogue: Catalogue) -> None:
    bad, good = Sketch(), Sketch()
    bad.file(ROOT, b"hit", bytes(1000), damaged=((0, 1000),))
    good.file(ROOT, b"hit", b"x" * 1000)
    medium = await catalogue.medium("bad", {0: bad})
    await catalogue.medium("good", {0: good})
    (file,) = (await problems_report(catalogue.database, medium, catalogue.store)).files
    assert file.clean_copies == ()


async def test_a_copy_that_the_store_lost_is_not_offered(catalogue: Catalogue) -> None:
    bad, good = Sketch(), Sketch()
    bad.file(ROOT, b"hit", damaged(LARGE, (0, 10)), damaged=((0, 10),))
    good.file(ROOT, b"whole", LARGE)
    medium = await catalogue.medium("bad", {0: bad})
    await catalogue.medium("good", {0: good})
    catalogue.store.blob_path(blake3(LARGE).digest()).unlink()
    (file,) = (await problems_report(catalogue.database, medium, catalogue.store)).files
    assert file.clean_copies == ()


async def test_the_lines_say_what_where_how_much_and_what_next(catalogue: Catalogue) -> None:
    bad, good = Sketch(), Sketch()
    bad.file(ROOT, b"evil\x1b[2J\nname", damaged(WHOLE, (512, 1024)), damaged=((512, 1024),))
    bad.file(ROOT, b"lost", None, reason="unreadable \x1b]0;owned\x07")
    good.file(ROOT, b"whole", WHOLE)
    medium = await catalogue.medium("bad \x1b[31m", {0: bad})
    await catalogue.medium("good", {0: good})
    await Problems(catalogue.database).replace(
        medium.id, "enumerate", [Problem("bad_record", "a \x1b record", "try another drive", 0, 5, b"\x1bname")]
    )
    report = await problems_report(catalogue.database, medium, catalogue.store)
    overview = await problems_overview(catalogue.database)
    text = "\n".join([*problems_lines(report), *overview_lines(overview)])
    assert not any(character in text for character in "\x1b\x07\r")
    for piece in (
        "evil\\x1b[2J\\nname", "512 bytes (5.00 %) not read: bytes 512-1,023", "whole in medium", "1 files failed",
        "1 files damaged, 512 bytes of them not read", "next: try another drive", "a \\x1b record",
    ):  # fmt: skip
        assert piece in text
    assert [m.medium_hash for m in overview.media] == [medium.medium_hash]


async def test_the_status_tells_every_attempt_and_what_to_do_next(catalogue: Catalogue) -> None:
    sketch = Sketch()
    sketch.file(ROOT, b"fine", b"fine")
    sketch.file(ROOT, b"failed", None, reason="unreadable")
    sketch.file(ROOT, b"pending", None)
    medium = await catalogue.medium("disc", {0: sketch})
    runs = StageRuns(catalogue.database)
    with pytest.raises(ValueError, match="broken"):
        async with runs.attempt(medium.id, Stage.COPY):
            raise ValueError("broken \x1b")
    async with runs.attempt(medium.id, Stage.COPY) as attempt:
        attempt.counts["files"] = 2
    status = await medium_status(catalogue.database, medium)
    assert [(a.stage, a.state, a.error) for a in status.stages] == [
        ("copy", "failed", "broken \x1b"), ("copy", "ok", None),
    ]  # fmt: skip
    assert (status.counts.paths, status.counts.files, status.counts.copied, status.counts.failed, status.pending) == (
        4, 3, 1, 1, 1,
    )  # fmt: skip
    assert status.next_action == f"run `ntt ingest {medium.image_path}` again to go on with copying"
    assert msgspec.json.decode(msgspec.json.encode(status))["stages"][1]["counts"] == {"files": 2}
    assert "\x1b" not in "".join(status_lines(status))
    async with advisory_lock(catalogue.database, LockSpace.MEDIUM, medium.id, "the medium"):
        busy = await medium_status(catalogue.database, medium)
    assert busy.worked_on_by is not None
    assert busy.next_action.startswith("wait: ntt ")


async def test_the_list_knows_when_a_medium_is_complete(catalogue: Catalogue) -> None:
    sketch = Sketch()
    sketch.file(ROOT, b"fine", b"fine")
    medium = await catalogue.medium("disc", {0: sketch})
    (line,) = (await media_list(catalogue.database)).media
    assert line.next_action.endswith("to archive it")
    await catalogue.execute("UPDATE medium SET archive_done = now(), archived_image_hash = image_hash")
    listed = await media_list(catalogue.database)
    assert listed.media[0].next_action == "complete"
    (text,) = list_lines(listed)
    assert text.startswith(medium.medium_hash[:8])
    assert (
        await medium_status(catalogue.database, await Media(catalogue.database).by_id(medium.id))
    ).next_action == "complete"


async def test_the_doctor_names_what_is_missing_and_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = await doctor(Settings(home=tmp_path / "not" / "there"))
    states = {check.name: check.state for check in report.checks}
    assert {"python", "pytsk3", "tar", "zstd", "setpriv", "ddrescue", "postgresql", "server user"} <= states.keys()
    assert report.ready
    monkeypatch.setenv("PATH", str(tmp_path))
    bare = await doctor(Settings(home=tmp_path, database_url="postgresql:///x"))
    checks = {check.name: check for check in bare.checks}
    assert (checks["zstd"].state, checks["zstd"].install) == (State.MISSING, "`apt install zstd`")
    assert (checks["ddrescue"].state, checks["ddrescue"].install) == (State.WARNING, "`apt install gddrescue`")
    assert (checks["smartctl"].state, checks["smartctl"].install) == (State.WARNING, "`apt install smartmontools`")
    assert not bare.ready
    assert any("apt install zstd" in line for line in doctor_lines(bare))


@pytest.mark.parametrize(
    ("script", "state", "found", "install"),
    [
        ("echo GNU ddrescue 1.27", State.OK, "version 1.27 in ", ""),
        ("echo GNU ddrescue 1.30", State.OK, "; the tests run with 1.27", ""),
        ("echo GNU ddrescue 1.19", State.WARNING, "version 1.19 in ", "1.22 or newer (1.27 is tested)"),
        ("echo dd_rescue 1.99", State.WARNING, "is not GNU ddrescue", "`apt install gddrescue`"),
        ("exit 1", State.WARNING, "is not GNU ddrescue", "`apt install gddrescue`"),
    ],
)
async def test_the_doctor_knows_the_version_of_ddrescue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, state: State, found: str, install: str
) -> None:
    program = tmp_path / "bin" / "ddrescue"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    report = await doctor(Settings(home=tmp_path, database_url="postgresql:///x"))
    (check,) = [check for check in report.checks if check.name == "ddrescue"]
    assert check.state is state
    assert found in check.found
    assert install in check.install
    assert bool(check.install) is (state is not State.OK)


async def test_the_doctor_finds_folders_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    report = await doctor(Settings(home=tmp_path, store=tmp_path / "file" / "store", database_url="postgresql:///x"))
    (store,) = [check for check in report.checks if check.name == "store"]
    assert store.state is State.MISSING
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
