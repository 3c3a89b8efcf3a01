"""F016: 74 finished media had no timestamps, and of those with timestamps only 25 were right."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from catalogue import Catalogue
from media_images import iso_image, noise, written


class Finding(msgspec.Struct):
    kind: str
    medium_hash: str = ""


class Audit(msgspec.Struct):
    findings: list[Finding]


def disc(folder: Path, number: int) -> Path:
    tree = written(folder / f"tree {number}", {f"{name}": noise(3000, number * 10 + name) for name in range(4)})
    return iso_image(folder / f"{number}.iso", tree)


def classes(catalogue: Catalogue) -> dict[str, set[str]]:
    """Medium hash -> kinds of findings."""
    found: dict[str, set[str]] = {}
    for finding in msgspec.json.decode(catalogue.command("audit", "--json").stdout, type=Audit).findings:
        found.setdefault(finding.medium_hash, set()).add(finding.kind)
    return found


@pytest.mark.slow
def test_f016_every_medium_is_classed_and_stamps_follow_the_proof(catalogue: Catalogue, tmp_path: Path) -> None:
    names = ("done", "unstamped", "half", "unlisted", "unarchived", "gone")
    reports = [catalogue.ingest(disc(tmp_path, number)).media[0] for number in range(len(names))]
    of = {name: report.medium_hash for name, report in zip(names, reports, strict=True)}
    stamps = {row["medium_hash"]: row for row in catalogue.media()}

    def change(sql: str, name: str) -> None:
        catalogue.rows(f"{sql} (SELECT id FROM medium WHERE medium_hash = $1)", of[name])

    all_gone = "UPDATE medium SET enum_done = NULL, copy_done = NULL, archive_done = NULL WHERE id ="
    change(all_gone, "unstamped")
    change("DELETE FROM outcome WHERE ino = (SELECT max(ino) FROM outcome) AND medium_id =", "half")
    change(all_gone, "unlisted")
    for table in ("node", "name", "outcome"):
        change(f"DELETE FROM {table} WHERE medium_id =", "unlisted")
    change("UPDATE medium SET archive_done = NULL WHERE id =", "unarchived")
    Path(stamps[of["gone"]]["archive_path"]).unlink()

    found = classes(catalogue)
    assert of["done"] not in found
    assert found[of["unstamped"]] == {"unstamped_rows", "archive_unstamped"}
    assert found[of["half"]] == {"stamped_incomplete"}
    assert "never_loaded" in found[of["unlisted"]]
    assert found[of["unarchived"]] == {"archive_unstamped"}
    assert found[of["gone"]] == {"archive_missing"}

    before = catalogue.media()
    assert catalogue.command("repair").status == 1
    assert catalogue.media() == before, "a dry run by default"
    ended = catalogue.command("repair", "--apply")
    assert ended.status == 0, ended.stdout + ended.stderr
    assert catalogue.command("audit", "--deep").status == 0
    for row in catalogue.media():
        former, name = stamps[row["medium_hash"]], next(n for n, h in of.items() if h == row["medium_hash"])
        assert (row["enum_done"], row["copy_done"]) == (former["enum_done"], former["copy_done"]), name
        assert (row["archive_done"] is None) == (name == "gone")
        marked = {"unstamped": 3, "unlisted": 3, "unarchived": 1}.get(name, 0)
        assert len(row["backfilled"]) == marked, name

    (undo,) = (catalogue.home / "undo").glob("repair-*.jsonl")
    assert catalogue.command("repair", "--undo", undo).status == 0
    assert catalogue.media() == before
    assert catalogue.command("repair", "--apply").status == 0
    assert catalogue.ingest(tmp_path / "5.iso").exit_status == 0
    assert catalogue.value("SELECT count(*) FROM medium WHERE archive_done IS NULL") == 0


def test_f016_a_stamp_is_not_invented(catalogue: Catalogue, tmp_path: Path) -> None:
    """Nobody knows whether these rows are all that the medium has: no archive, no record of their listing."""
    catalogue.one(disc(tmp_path, 1))
    catalogue.rows("UPDATE medium SET enum_done = NULL, copy_done = NULL")
    catalogue.rows("DELETE FROM stage_run WHERE stage = 'enumerate'")
    assert catalogue.command("repair", "--apply").status == 1
    (row,) = catalogue.media()
    assert (row["enum_done"], row["copy_done"], row["backfilled"]) == (None, None, [])
