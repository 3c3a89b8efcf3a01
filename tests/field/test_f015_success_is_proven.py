"""F015: success was logged at the same instant as the start."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from catalogue import Catalogue
from media_images import iso_image, noise, written

from ntt.errors import EXIT_FAILED
from ntt.model import Stage

CONTENTS: dict[str | bytes, bytes] = {f"{number}.bin": noise(50_000 + number, number) for number in range(40)}


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    return iso_image(tmp_path / "disc.iso", written(tmp_path / "tree", CONTENTS))


def test_f015_durations_are_real_and_stamps_lie_within_the_stage_that_proved_them(
    catalogue: Catalogue, disc: Path
) -> None:
    (report,) = catalogue.ingest(disc).media
    assert report.complete
    runs = {row["stage"]: row for row in catalogue.rows("SELECT * FROM stage_run ORDER BY id")}
    assert list(runs) == ["identify", "enumerate", "copy", "archive"]
    for run in runs.values():
        assert run["state"] == "ok"
        assert run["seconds"] > 0
        assert abs((run["ended_at"] - run["started_at"]).total_seconds() - run["seconds"]) < 1
    (medium,) = catalogue.media()
    for stage, stamp in (("enumerate", "enum_done"), ("copy", "copy_done"), ("archive", "archive_done")):
        assert runs[stage]["started_at"] < medium[stamp] <= runs[stage]["ended_at"], stage


def test_f015_a_failed_stage_is_said_to_have_failed_and_stops_what_depends_on_it(
    catalogue: Catalogue, disc: Path
) -> None:
    catalogue.one(disc)
    catalogue.rows("DELETE FROM outcome")
    catalogue.rows("UPDATE medium SET copy_done = NULL")
    # the proof finds a file without an outcome, though every worker answered
    catalogue.rows(
        """CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN IF NEW.ino = (SELECT min(ino) FROM node WHERE (mode & 61440) = 32768) THEN RETURN NULL; END IF;
                 RETURN NEW; END $$"""
    )
    catalogue.rows("CREATE TRIGGER lose BEFORE INSERT ON outcome FOR EACH ROW EXECUTE FUNCTION lose()")
    result = catalogue.ingest(disc)
    assert result.exit_status == EXIT_FAILED
    assert (Stage.COPY, "failed") in catalogue.heard.ends
    assert Stage.ARCHIVE not in [stage for stage, _ in catalogue.heard.ends]
    (medium,) = catalogue.media()
    assert (medium["copy_done"], medium["archive_done"]) == (None, None)
    (last,) = catalogue.rows("SELECT state, error FROM stage_run ORDER BY id DESC LIMIT 1")
    assert last["state"] == "failed"
    assert "could not be brought to an end" in last["error"]
    catalogue.rows("DROP TRIGGER lose ON outcome")
    again = catalogue.command("ingest", disc, "--no-archive", "--json")
    assert again.status == 0, again.stderr
    assert msgspec.json.decode(again.stdout)["failures"] == []
