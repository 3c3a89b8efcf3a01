"""F001: a load of millions of rows was followed by hours of slow queries, because there were no statistics."""

from __future__ import annotations

from pathlib import Path

import msgspec
from catalogue import Catalogue
from media_images import iso_image, written


def test_f001_a_load_leaves_statistics_behind(catalogue: Catalogue, tmp_path: Path) -> None:
    tree = written(tmp_path / "tree", {f"file {n}": b"%d" % n for n in range(300)})
    report = catalogue.one(iso_image(tmp_path / "disc.iso", tree))
    rows = catalogue.rows("SELECT relname, reltuples FROM pg_class WHERE relname IN ('node', 'name')")
    assert {row["relname"]: row["reltuples"] for row in rows} == {"node": report.paths, "name": report.paths}
    assert report.paths == 301
    columns = catalogue.rows("SELECT DISTINCT tablename FROM pg_stats WHERE tablename IN ('node', 'name')")
    assert len(columns) == 2


def test_f001_the_size_and_speed_of_a_load_are_recorded(catalogue: Catalogue, tmp_path: Path) -> None:
    tree = written(tmp_path / "tree", {f"file {n}": b"%d" % n for n in range(300)})
    catalogue.one(iso_image(tmp_path / "disc.iso", tree))
    (run,) = catalogue.rows("SELECT * FROM stage_run WHERE stage = 'enumerate'")
    counts = msgspec.json.decode(run["counts"], type=dict[str, int])
    assert run["state"] == "ok"
    assert counts["paths"] == counts["nodes"] == 301
    assert counts["files"] == 300
    assert run["seconds"] > 0
    assert abs((run["ended_at"] - run["started_at"]).total_seconds() - run["seconds"]) < 1
    assert counts["paths_per_s"] >= int(301 / run["seconds"]), "the rate is taken before the row is closed"
