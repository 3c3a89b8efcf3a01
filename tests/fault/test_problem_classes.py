"""Every class of problem, provoked by its real cause, is found in `medium.problems` and by the documented queries."""

from __future__ import annotations

import html
import json
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from catalogue import Catalogue, command
from catalogue_state import rows
from failing_image import Failing, failing_image
from fault_plan import Die, Hang, Run, Strike
from media_images import ext4_image, found_at, map_of, noise, run, written
from ntt_runs import Machine

DOCUMENT = Path(__file__).parents[2] / "docs" / "queries.md"
CONTENTS: dict[str | bytes, bytes] = {f"{number:02}.bin": noise(20_000 + number, number) for number in range(12)}
VICTIM = "07.bin"
PACKED_FILES = 80
ALONE = "tsk"  # a mount would be a second opinion
# ends the driver that a run of ours started, and no other: it mounts below our home
END_DRIVER = """for p in /proc/[0-9]*; do
    [ "$(cat $p/comm 2>/dev/null)" = squashfuse ] || continue
    tr '\\0' '\\n' <$p/cmdline | grep -qF "$1/work/" && kill -9 ${p#/proc/} || true
done"""


@pytest.fixture
def catalogue(home: Path, database_url: str) -> Catalogue:
    return Catalogue(home, database_url)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return ext4_image(tmp_path / "stick.img", written(tmp_path / "tree", CONTENTS))


def place(image: Path, name: str = VICTIM) -> int:
    return found_at(image, CONTENTS[name])


def problems(url: str) -> dict[str, object]:
    ((found,),) = rows(url, "SELECT problems FROM medium")
    return {} if found is None else json.loads(found)


def kinds_found(url: str) -> list[str]:
    """Of the findings in the summary, in their order."""
    found = rows(url, "SELECT f->>'kind' AS kind FROM medium, jsonb_array_elements(problems->'findings') f")
    return [row["kind"] for row in found]


def page(url: str) -> str:
    """What `ntt problems --html` writes of the only medium, as it is read."""
    ((medium_hash,),) = rows(url, "SELECT medium_hash FROM medium")
    with TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        done = command("problems", str(medium_hash), "--html", file, "--home", folder, "--database", url)
        assert done.status in (0, 1), done.stderr
        text = html.unescape(re.sub(r"<[^>]*>", " ", file.read_text("utf-8")))
    return " ".join(text.split())


def documented(url: str, piece: str) -> list[Mapping[str, object]]:
    """The rows of the one documented query that holds this piece, run as it is written there."""
    blocks = re.findall(r"^```sql\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    statements = [part for block in blocks for part in textwrap.dedent(block).split(";\n") if piece in part]
    (statement,) = statements
    return [dict(row) for row in rows(url, statement)]


def the_event(url: str) -> dict[str, object]:
    """The only event: the same in the summary and by the documented query."""
    (found,) = documented(url, "AS event_count")
    assert found["event_count"] == 1
    (event,) = json.loads(str(found["?column?"]))
    summary = problems(url)
    assert summary["diagnostic_events"] == [event]
    assert summary["diagnostic_events_total"] == 1
    assert documented(url, "AS action, COUNT(*)") == [{"action": event["action"], "count": 1}]
    shown = page(url)
    assert [word for word in (*event["checks"], event["action"]) if word not in shown] == []
    return dict(event)


# ---------------------------------------------------------------- reads that fail


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("EIO", "detected_io_error"),
        ("ENODEV", "detected_io_error"),
        ("ESTALE", "detected_missing_file"),
        ("EACCES", "detected_permission_error"),
    ],
)
def test_a_read_that_always_fails_is_classed_by_its_error_and_given_up_after_three_attempts(
    catalogue: Catalogue, disk: Path, name: str, check: str
) -> None:
    at = place(disk)
    with failing_image(disk, Failing(start=at, end=at + 512, names=(name,))) as medium:
        result = catalogue.ingest(medium, archive=False, only_route=ALONE)
    assert not result.failures, result.failures
    assert result.exit_status == 1
    event = the_event(catalogue.url)
    assert (event["path"], event["action"], event["retry_count"]) == (VICTIM, "max_retries", 3)
    assert event["checks"] == [check, "mount_check:ok", "max_retries_exceeded"]
    (failed,) = catalogue.rows("SELECT attempts, reason FROM outcome WHERE status = 'f'")
    assert failed["attempts"] == 3


def test_what_heals_is_copied_and_the_checkpoint_is_history(catalogue: Catalogue, disk: Path) -> None:
    at = place(disk)
    plan = Failing(start=at, end=at + 512, names=("EIO", "ENXIO"), times=12)
    with failing_image(disk, plan) as medium:
        result = catalogue.ingest(medium, archive=False, only_route=ALONE)
    assert not result.failures, result.failures
    event = the_event(catalogue.url)
    assert (event["action"], event["retry_count"]) == ("continuing", 10)
    assert catalogue.value("SELECT max(attempts) FROM outcome") == 13
    assert set(problems(catalogue.url)) == {"diagnostic_events", "diagnostic_events_total"}
    (report,) = result.media
    assert catalogue.files(report.medium_hash)[VICTIM.encode()] == CONTENTS[VICTIM]


def test_errors_that_differ_end_at_fifty_attempts(catalogue: Catalogue, disk: Path) -> None:
    at = place(disk)
    with failing_image(disk, Failing(start=at, end=at + 512, names=("EIO", "ENXIO"))) as medium:
        catalogue.ingest(medium, archive=False, only_route=ALONE)
    assert catalogue.value("SELECT attempts FROM outcome WHERE status = 'f'") == 50
    events = catalogue.rows("SELECT action, retry_count FROM diagnostic_event ORDER BY at, retry_count")
    assert [tuple(event) for event in events] == [("continuing", 10), ("max_retries", 50)]


def test_an_image_that_is_gone_fails_no_file_and_is_gone_on_with(catalogue: Catalogue, disk: Path) -> None:
    with failing_image(disk, Failing(start=0, end=1 << 40, names=("EIO",), times=40)) as medium:
        first = catalogue.ingest(medium, archive=False, only_route=ALONE, workers=1)
        assert first.exit_status != 0
        assert catalogue.value("SELECT count(*) FROM outcome WHERE status = 'f'") == 0
        assert kinds_found(catalogue.url) == ["copy_ended_early", "mount_unstable"]
        assert "copy_ended_early" in page(catalogue.url)
    report = catalogue.one(disk)
    assert (report.pending, report.failed, report.damaged) == (0, 0, 0)
    assert kinds_found(catalogue.url) == []


# ---------------------------------------------------------------- what lies on no medium


def test_an_image_that_was_cut_short_is_detected_and_not_read_there(catalogue: Catalogue, disk: Path) -> None:
    last = max(CONTENTS, key=lambda name: place(disk, str(name)))
    whole = disk.read_bytes()
    disk.write_bytes(whole[: place(disk, str(last)) + 4096])
    report = catalogue.one(disk)
    assert report.damaged + report.failed > 0
    summary = problems(catalogue.url)
    (beyond,) = documented(catalogue.url, "AS beyond_eof_count")
    assert summary["beyond_eof_detected"] is True
    assert summary["skip_count"] == beyond["beyond_eof_count"]
    skipped = documented(catalogue.url, "AS retries")
    assert summary["first_ino"] in [int(str(row["ino"])) for row in skipped]
    assert {row["retries"] for row in skipped} == {"1"}
    assert f"{summary['skip_count']} reads went beyond the end of the image" in page(catalogue.url)
    disk.write_bytes(whole)
    catalogue.one(disk, replace=True)
    after = catalogue.rows("SELECT problems FROM medium WHERE image_bytes = $1", len(whole))
    for (found,) in after:
        assert "beyond_eof_detected" not in (found or "")


def test_a_wrong_map_damages_files_until_the_right_one_is_given(
    catalogue: Catalogue, disk: Path, tmp_path: Path
) -> None:
    at = place(disk)
    wrong = map_of(tmp_path / "wrong.map", disk.stat().st_size, [(at - at % 512 + 512, at - at % 512 + 2048)])
    catalogue.one(disk, wrong)
    event = the_event(catalogue.url)
    assert (event["path"], event["action"], event["retry_count"]) == (VICTIM, "skipped", 1)
    assert event["checks"] == ["detected_io_error"]
    assert problems(catalogue.url)["error_files"]
    assert VICTIM in page(catalogue.url)
    right = map_of(tmp_path / "right.map", disk.stat().st_size, [])
    catalogue.one(disk, right, replace=True)
    after = problems(catalogue.url)
    assert "error_files" not in after
    assert after["diagnostic_events"], "what happened is history"


def test_many_failing_files_are_a_high_error_rate(catalogue: Catalogue, tmp_path: Path) -> None:
    contents: dict[str | bytes, bytes] = {f"{number:03}.bin": noise(4096, number) for number in range(120)}
    image = ext4_image(tmp_path / "many.img", written(tmp_path / "many", contents))
    bad = sorted((at, at + 512) for at in (found_at(image, contents[f"{number:03}.bin"]) for number in range(30)))
    catalogue.one(image, map_of(tmp_path / "many.map", image.stat().st_size, bad))
    summary = problems(catalogue.url)
    rate = {key: summary[key] for key in ("high_error_rate", "error_rate", "errors", "processed")}
    assert rate == {"high_error_rate": True, "error_rate": 0.25, "errors": 30, "processed": 120}
    assert "25.0% of the files failed or are damaged" in page(catalogue.url)
    catalogue.one(image, map_of(tmp_path / "right.map", image.stat().st_size, []), replace=True)
    assert "high_error_rate" not in problems(catalogue.url)


# ---------------------------------------------------------------- mounts


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Contents of many batches of one worker on a file system that its FUSE driver reads."""
    many = {f"{number:02}.bin": noise(700_000, number) for number in range(PACKED_FILES)}
    tree = written(tmp_path / "packed", dict(many))
    run("mksquashfs", tree, tmp_path / "packed.img", "-quiet", "-noappend", "-no-progress", "-noI", "-noD")
    return tmp_path / "packed.img"


def through_squashfuse(folder: Path, url: str) -> Machine:
    return Machine(folder / "home", url, {"NTT_ONLY_ROUTE": "fuse", "NTT_WORKERS": "1"})


def test_a_driver_that_ends_is_started_again_and_nothing_is_lost(
    tmp_path: Path, database_url: str, packed: Path
) -> None:
    machine = through_squashfuse(tmp_path, database_url)
    end = Run(("sh", "-c", END_DRIVER, "sh", str(machine.home)))
    ended = machine.ingest(packed, Strike("copy fdatasync pack", end))
    event = the_event(database_url)
    assert event["action"] == "remounted"
    assert "mount_check:missing" in str(event["checks"])
    assert rows(database_url, "SELECT count(*) FROM outcome WHERE status = 'c'")[0][0] == PACKED_FILES, ended.stderr
    assert "mount_unstable" not in problems(database_url)


def test_a_driver_that_ends_twice_is_unstable(tmp_path: Path, database_url: str, packed: Path) -> None:
    machine = through_squashfuse(tmp_path, database_url)
    end = Run(("sh", "-c", END_DRIVER, "sh", str(machine.home)))
    # the second batch was read by then, too: of the third, after it was opened again, comes the next
    machine.ingest(packed, Strike("copy fdatasync pack", end), Strike("copy fdatasync pack", end, nth=3))
    summary = problems(database_url)
    assert summary["mount_unstable"] is True
    assert summary["detected_at"]
    assert summary["worker_id"]
    assert "broke more than once" in page(database_url)
    assert documented(database_url, "AS action, COUNT(*)") == [{"action": "remounted", "count": 2}]
    assert rows(database_url, "SELECT count(*) FROM outcome WHERE status = 'c'")[0][0] == PACKED_FILES


def test_what_the_kernel_logged_of_this_device_is_told(catalogue: Catalogue, tmp_path: Path) -> None:
    run("truncate", "-s", "320M", tmp_path / "xfs.img")
    run("mkfs.xfs", "-q", tmp_path / "xfs.img")
    mounted = tmp_path / "writable"
    mounted.mkdir()
    run("mount", "-o", "loop", tmp_path / "xfs.img", mounted)
    try:
        written(mounted, CONTENTS)
    finally:
        run("umount", mounted)
    at = place(tmp_path / "xfs.img")
    plan = Failing(start=at + 4096, end=at + 4608, names=("EIO",), kernel=True)
    with failing_image(tmp_path / "xfs.img", plan) as medium:
        result = catalogue.ingest(medium, archive=False)
    assert not result.failures, result.failures
    event = the_event(catalogue.url)
    assert event["path"] == VICTIM
    for check in ("detected_io_error", "dmesg:io_error", "mount_check:ok"):
        assert check in str(event["checks"])


# ---------------------------------------------------------------- workers, disks


@pytest.mark.parametrize(("action", "check"), [(Die(), "worker_crashed"), (Hang(), "worker_timeout")])
def test_a_worker_that_dies_or_hangs_at_a_file_is_an_event(
    tmp_path: Path, database_url: str, disk: Path, action: Die | Hang, check: str
) -> None:
    machine = Machine(tmp_path / "home", database_url, {"NTT_ONLY_ROUTE": ALONE, "NTT_STALL_S": "2"})
    ino = int(run("debugfs", "-R", f"stat {VICTIM}", disk).split("Inode:")[1].split()[0])
    machine.ingest(disk, Strike(f"file {ino}", action, nth=0))
    event = the_event(database_url)
    assert (event["ino"], event["action"], event["retry_count"]) == (ino, "max_retries", 2)
    assert event["checks"] == [check, "max_retries_exceeded"]


def test_a_full_disk_is_a_problem_of_the_medium_until_it_is_copied(
    tmp_path: Path, database_url: str, packed: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=200m", "ntt-test", small)
    try:
        machine = Machine(tmp_path / "home", database_url, {"NTT_STORE": str(small / "store")})
        fill = Run(("sh", "-c", 'head -c 300M /dev/zero >"$1/ballast" || true', "sh", str(small)))
        machine.ingest(packed, Strike("copy pwritev pack", fill))
        assert kinds_found(database_url) == ["copy_ended_early"]
        assert "no space left" in str(problems(database_url)["findings"])
        assert "no space left" in page(database_url)
        (small / "ballast").unlink()
        again = machine.ingest(packed)
        assert again.status in (0, 1), again.stderr
        assert kinds_found(database_url) == []
    finally:
        run("umount", small)
