"""What was done with a medium, attempt by attempt, and the media of a box, a label or a state."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sketches import ROOT, Catalogue, Sketch, open_catalogue

from ntt.board import Verdict
from ntt.db.insertions import Insertions
from ntt.db.media import Medium
from ntt.db.reporting import Choice
from ntt.db.runs import StageRuns
from ntt.errors import Interrupted, UsageError
from ntt.model import Stage
from ntt.operations.status import MediumStatus, media_list, medium_status
from ntt.text import status_lines


@pytest.fixture
async def catalogue(database_url: str, home: Path) -> AsyncIterator[Catalogue]:
    async with open_catalogue(database_url, home) as opened:
        yield opened


async def medium_named(catalogue: Catalogue, name: str) -> Medium:
    sketch = Sketch()
    sketch.file(ROOT, name.encode(), b"x")
    return await catalogue.medium(name, {0: sketch})


async def with_history(catalogue: Catalogue) -> MediumStatus:
    """A medium that was inserted, failed to be copied, was stopped, copied, and is being archived."""
    medium = await medium_named(catalogue, "first")
    insertion = await Insertions(catalogue.database).begun("front drive (/dev/sr0)", "A\x1b[1m", "box 7")
    await insertion.of_medium(medium.id)
    await insertion.disc("data")
    runs = StageRuns(catalogue.database)
    for error in (OSError("drive \x1b[31mgone"), Interrupted("stopped at copy")):
        with pytest.raises((OSError, Interrupted)):
            async with runs.attempt(medium.id, Stage.COPY) as attempt:
                attempt.counts.update(files=1234, failed=0)
                raise error
    async with runs.attempt(medium.id, Stage.COPY):
        pass
    await insertion.ended(Verdict.PROBLEMS, "1 file damaged")
    await insertion.ejected()
    await catalogue.execute(
        "INSERT INTO stage_run (medium_id, stage, run_id, host, pid) VALUES ($1, 'archive', 'abc', 'h', 1)", medium.id
    )
    return await medium_status(catalogue.database, medium)


async def test_every_attempt_is_told_with_who_made_it_how_long_it_took_and_how_it_ended(catalogue: Catalogue) -> None:
    status = await with_history(catalogue)
    assert [(a.stage, a.state) for a in status.stages] == [
        ("copy", "failed"), ("copy", "interrupted"), ("copy", "ok"), ("archive", "running"),
    ]  # fmt: skip
    first = status.stages[0]
    assert (first.run_id, first.host, first.pid) == (catalogue.database.run_id, socket.gethostname(), os.getpid())
    assert (first.seconds is not None, first.ended_at is not None, first.counts) == (
        True, True, {"files": 1234, "failed": 0},
    )  # fmt: skip
    lines = [line for line in status_lines(status) if ", pid " in line]
    assert len(lines) == 4
    assert f"run {catalogue.database.run_id}, pid {os.getpid()} on {socket.gethostname()}" in lines[0]
    assert "failed after 0.0 s (files 1,234)" in lines[0]
    assert r"drive \x1b[31mgone" in lines[0]
    assert "stopped at copy" in lines[1]
    assert "running, run abc" in lines[3]


async def test_insertions_stand_between_the_attempts_with_box_label_drive_and_number(catalogue: Catalogue) -> None:
    status = await with_history(catalogue)
    (inserted,) = status.insertions
    assert (inserted.box, inserted.label, inserted.drive) == ("box 7", "A\x1b[1m", "front drive (/dev/sr0)")
    assert (inserted.sequence, inserted.verdict, inserted.ejected_at is not None) == (1, "problems", True)
    (line,) = [line for line in status_lines(status) if " inserted " in line]
    assert r"problems (front drive (/dev/sr0), box box 7, label A\x1b[1m, data, medium 1 of run" in line
    assert line.endswith(": 1 file damaged")
    assert not any("\x1b" in line for line in status_lines(status))


async def test_media_are_listed_by_box_by_what_they_are_called_and_by_state(catalogue: Catalogue) -> None:
    first = await medium_named(catalogue, "Holidays 1999")
    second = await medium_named(catalogue, "work")
    insertion = await Insertions(catalogue.database).begun("sr0", "holiday backup", "B2")
    await insertion.of_medium(second.id)
    await catalogue.execute("UPDATE medium SET copy_done = NULL, problems = '{}' WHERE id = $1", first.id)

    async def listed(choice: Choice) -> list[str]:
        return [medium.medium_hash for medium in (await media_list(catalogue.database, choice)).media]

    assert await listed(Choice()) == [first.medium_hash, second.medium_hash]
    assert await listed(Choice(box="B2")) == [second.medium_hash]
    assert await listed(Choice(box="B")) == []
    assert await listed(Choice(label="HOLIDAY")) == [first.medium_hash, second.medium_hash]
    assert await listed(Choice(label="1999")) == [first.medium_hash]
    assert await listed(Choice(state="listed")) == await listed(Choice(state="problems")) == [first.medium_hash]
    assert await listed(Choice(state="copied", box="B2")) == [second.medium_hash]
    with pytest.raises(UsageError, match="new, listed, copied"):
        await listed(Choice(state="done"))
