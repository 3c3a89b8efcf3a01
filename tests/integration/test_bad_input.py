"""Whatever cannot be ingested ends in one clear line and its exit status; no row, no file, no traceback is left."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from catalogue import Catalogue, Ended, command
from media_images import MIB, iso_image, map_of, noise, run, written

from ntt.errors import EXIT_FAILED, EXIT_OK, EXIT_PROBLEMS, EXIT_USAGE


@pytest.fixture
def catalogue(home: Path, database_url: str) -> Catalogue:
    return Catalogue(home, database_url)


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    tree = written(tmp_path / "tree", {f"file {n:02}": noise(20_000, n) for n in range(20)})
    return iso_image(tmp_path / "disc.iso", tree)


def assert_one_line(ended: Ended, status: int, *words: str) -> None:
    assert ended.status == status, ended
    assert "Traceback" not in ended.stderr
    (complaint,) = ended.complaints
    for word in words:
        assert word in complaint
    assert all(character.isprintable() for character in complaint)


def assert_nothing_left(catalogue: Catalogue) -> None:
    assert catalogue.media() == []
    kept = [path for path in catalogue.home.rglob("*") if path.is_file() and "log" not in path.parts]
    assert kept == []


# ---------------------------------------------------------------- what is no image


def a_folder(path: Path) -> None:
    path.mkdir()


def a_text(path: Path) -> None:
    path.write_text("Dear archivist,\nthis is a letter.\n" * 100)


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


NO_IMAGES = {
    "missing": (lambda path: None, "No such file"),
    "folder": (a_folder, "is a folder"),
    "empty": (Path.touch, "zero bytes are no medium"),
    "text": (a_text, "is a text file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is not a regular file"),
    "dangling": (lambda path: path.symlink_to("nowhere"), "No such file"),
}


@pytest.mark.parametrize(("make", "words"), NO_IMAGES.values(), ids=NO_IMAGES)
def test_what_is_no_image_is_refused(
    catalogue: Catalogue, tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "the image"
    make(path)
    assert_one_line(catalogue.command("ingest", path), EXIT_USAGE, "the image", words)
    assert_nothing_left(catalogue)


def test_a_pipe_is_refused_and_not_waited_for(catalogue: Catalogue, tmp_path: Path) -> None:
    a_pipe(tmp_path / "pipe")
    assert_one_line(catalogue.command("ingest", tmp_path / "pipe"), EXIT_USAGE, "is not a regular file")
    assert_nothing_left(catalogue)


def test_one_bad_image_does_not_keep_the_others_from_their_turn(
    catalogue: Catalogue, disc: Path, tmp_path: Path
) -> None:
    ended = catalogue.command("ingest", tmp_path / "missing", disc)
    assert_one_line(ended, EXIT_FAILED, "missing", "No such file")
    assert [medium["copy_done"] is not None for medium in catalogue.media()] == [True]


def test_an_image_name_that_is_no_text_is_taken(catalogue: Catalogue, disc: Path, tmp_path: Path) -> None:
    odd = os.path.join(os.fsencode(tmp_path), b"disc \xff\xfe\n\x1b[31m.iso")
    os.rename(disc, odd)
    ended = command("ingest", odd, "--home", catalogue.home, "--database", catalogue.url)
    assert ended.status == EXIT_OK, ended
    assert "\x1b" not in ended.stdout + ended.stderr
    again = command("ingest", odd, "--home", catalogue.home, "--database", catalogue.url)
    assert (again.status, "changed   nothing" in again.stdout) == (EXIT_OK, True)
    listed = catalogue.command("list")
    assert listed.status == EXIT_OK
    assert "\x1b" not in listed.stdout


# ---------------------------------------------------------------- what is an image, but not a whole one


@pytest.mark.parametrize("byte", [0x00, 0xF6])
def test_a_blank_image_is_a_medium_with_an_assigned_id_on_which_nothing_was_found(
    catalogue: Catalogue, tmp_path: Path, byte: int
) -> None:
    (tmp_path / "blank.img").write_bytes(bytes([byte]) * MIB)
    ended = catalogue.command("ingest", tmp_path / "blank.img", "--json")
    assert ended.status == EXIT_PROBLEMS, ended
    assert ended.complaints == []
    told = ended.json
    assert isinstance(told, dict)
    (report,) = told["media"]
    assert (report["recognition"], report["files"]) == ("assigned", 0)
    said = " ".join(report["problems"])
    for tried in ("blank", "no file could be listed", "GPT", "MBR", "ISO 9660", "ext", "FAT", "NTFS"):
        assert tried in said, report["problems"]


def test_of_an_image_cut_in_the_middle_is_read_what_lies_inside(catalogue: Catalogue, disc: Path) -> None:
    os.truncate(disc, disc.stat().st_size // 2 // 2048 * 2048)
    ended = catalogue.command("ingest", disc, "--json")
    assert ended.status == EXIT_PROBLEMS, ended
    told = ended.json
    assert isinstance(told, dict)
    (report,) = told["media"]
    assert report["files"] == 20
    assert report["failed"] >= 1
    assert report["damaged"] <= 1
    assert report["stored"] == 20 - report["failed"] >= 10
    assert any("claims" in problem or "truncated" in problem or "beyond" in problem for problem in report["problems"])
    whole = {path: content for path, content in catalogue.files(report["medium_hash"]).items() if content}
    assert whole[b"file 00"] == noise(20_000, 0)


def test_an_image_that_grows_while_it_is_read_is_given_up(catalogue: Catalogue, disc: Path, tmp_path: Path) -> None:
    size_bytes = disc.stat().st_size

    class Growing:
        """Tells the program's progress to somebody who then writes to the image."""

        def stage_started(self, medium: str, stage: object) -> None: ...

        def stage_progress(self, medium: str, stage: object, work: object) -> None:
            os.truncate(disc, size_bytes + 2048)

        def stage_ended(self, medium: str, stage: object, state: str, seconds: float, work: object) -> None: ...

        def note(self, medium: str, text: str, *, problem: bool = False) -> None: ...

    result = Catalogue(catalogue.home, catalogue.url, Growing()).ingest(disc)
    (failure,) = result.failures
    assert failure.exit_status == EXIT_FAILED
    assert "the image changed while it was read" in failure.error
    assert catalogue.media() == []
    again = catalogue.ingest(disc, archive=False)
    assert [report.files for report in again.media] == [20], "once it is finished it is taken"


# ---------------------------------------------------------------- maps that do not fit


def test_a_map_that_does_not_fit_is_refused(catalogue: Catalogue, disc: Path, tmp_path: Path) -> None:
    size = disc.stat().st_size
    maps = {
        "short": (map_of(tmp_path / "short", size - 2048, []), "does not fit the image: it ends at byte"),
        "long": (map_of(tmp_path / "long", size + 2048, []), "does not fit the image: it says byte"),
        "no map": (written(tmp_path / "x", {"a": b"hello\n"}) / "a", "is not a ddrescue mapfile"),
        "empty": (written(tmp_path / "x", {"b": b""}) / "b", "is not a ddrescue mapfile"),
        "binary": (written(tmp_path / "x", {"c": noise(5000)}) / "c", "is not a ddrescue mapfile"),
        "missing": (tmp_path / "missing", "No such file"),
        "folder": (tmp_path, "Is a directory"),
    }
    assert_one_line(catalogue.command("ingest", disc, "--map", maps["short"][0]), EXIT_USAGE, maps["short"][1])
    for name, (path, words) in maps.items():
        (failure,) = catalogue.ingest(disc, map_path=path).failures
        assert (failure.exit_status, words in failure.error) == (EXIT_USAGE, True), (name, failure)
        assert failure.error.isprintable()
        assert_nothing_left(catalogue)


def test_one_map_for_two_images_is_refused(catalogue: Catalogue, disc: Path, tmp_path: Path) -> None:
    map_path = map_of(tmp_path / "disc.map", disc.stat().st_size, [])
    ended = catalogue.command("ingest", disc, disc, "--map", map_path)
    assert_one_line(ended, EXIT_USAGE, "belong to one image")


# ---------------------------------------------------------------- nowhere to put it


@contextmanager
def small_disk(folder: Path, size_mib: int) -> Iterator[Path]:
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "ntt-test", folder)
    try:
        yield folder
    finally:
        run("umount", folder)


def test_a_disk_without_space_ends_the_run_before_anything_is_begun(
    database_url: str, disc: Path, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "small", 4) as small:
        catalogue = Catalogue(small / "home", database_url)
        assert_one_line(catalogue.command("ingest", disc), EXIT_FAILED, "bytes are free", "free some")
        assert catalogue.media() == []
        assert not [path for path in small.rglob("*.tar*")]


def test_a_disk_that_fills_up_ends_the_run_and_the_next_goes_on(home: Path, database_url: str, tmp_path: Path) -> None:
    tree = written(tmp_path / "tree", {f"{n}": noise(3 * MIB, n) for n in range(24)})
    image = iso_image(tmp_path / "disc.iso", tree)
    with small_disk(tmp_path / "small", 68) as small:
        home.mkdir()
        store = {"NTT_STORE": str(small / "store")}
        catalogue = Catalogue(home, database_url)
        ended = command("ingest", image, "--home", home, "--database", database_url, "--no-archive", env=store)
        assert_one_line(ended, EXIT_FAILED, "no space left on", "run the same command again")
        (medium,) = catalogue.media()
        assert medium["enum_done"] is not None
        assert medium["copy_done"] is None
        assert catalogue.value("SELECT count(*) FROM outcome WHERE status <> 'c'") == 0
        run("mount", "-o", "remount,size=200m", small)
        ended = command("ingest", image, "--home", home, "--database", database_url, "--no-archive", env=store)
        assert ended.status == EXIT_OK, ended.stderr
        assert catalogue.value("SELECT count(*) FROM outcome WHERE status = 'c'") == 24
        assert list((small / "store" / "tmp").iterdir()) == []


@pytest.mark.parametrize("home_is", ["a file", "below a file", "read-only"])
def test_a_home_that_cannot_be_written_is_said(database_url: str, disc: Path, tmp_path: Path, home_is: str) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with small_disk(tmp_path / "small", 1) as small:
        run("mount", "-o", "remount,ro", small)
        home = {"a file": tmp_path / "file", "below a file": tmp_path / "file" / "home", "read-only": small / "home"}
        catalogue = Catalogue(home[home_is], database_url)
        assert_one_line(catalogue.command("ingest", disc), EXIT_FAILED, "cannot be written")
        assert catalogue.media() == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("workers = ", "ntt.toml"),
        ("\xff\xfe", "ntt.toml"),
        ("workers = 0\n", "workers"),
        ("no_such_setting = 1\n", "no_such_setting"),
        ("attempts = 'many'\n", "attempts"),
    ],
)
def test_a_corrupt_settings_file_is_named(catalogue: Catalogue, disc: Path, text: str, words: str) -> None:
    catalogue.home.mkdir()
    (catalogue.home / "ntt.toml").write_bytes(text.encode("latin-1"))
    assert_one_line(catalogue.command("ingest", disc), EXIT_USAGE, words)
    assert catalogue.media() == []


# ---------------------------------------------------------------- no database, or another one


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://127.0.0.1:1/ntt", "cannot be reached"),
        ("postgresql:///ntt?host=/nonexistent&user=ntt", "cannot be reached"),
        ("nonsense", "URL is not understood"),
        ("postgresql://ntt:secret@127.0.0.1:1/ntt", "cannot be reached"),
    ],
)
def test_a_database_that_is_not_there_is_said(home: Path, disc: Path, url: str, words: str) -> None:
    ended = command("ingest", disc, "--home", home, "--database", url)
    assert_one_line(ended, EXIT_FAILED, words)
    assert "secret" not in ended.stderr


def test_a_stopped_server_is_said(home: Path, disc: Path, database_url: str) -> None:
    url = database_url.replace("/postgres/run", "/postgres/run-of-yesterday")
    assert url != database_url
    assert_one_line(command("ingest", disc, "--home", home, "--database", url), EXIT_FAILED, "cannot be reached")


def test_a_database_that_does_not_exist_is_said(home: Path, disc: Path, database_url: str) -> None:
    url = database_url.replace("/test_", "/no_test_", 1)
    assert_one_line(command("ingest", disc, "--home", home, "--database", url), EXIT_FAILED, "does not exist")


@pytest.mark.parametrize(("version", "words"), [(0, "run `ntt db upgrade`"), (99, "older than the database")])
def test_a_database_of_another_version_is_refused(catalogue: Catalogue, disc: Path, version: int, words: str) -> None:
    catalogue.rows("UPDATE ntt_schema SET version = $1", version)
    for arguments in (("ingest", disc), ("audit",)):
        assert_one_line(catalogue.command(*arguments), EXIT_FAILED, words)
    assert catalogue.media() == []


# ---------------------------------------------------------------- which medium?


def test_a_hash_that_nothing_or_too_much_begins_with_is_refused(
    catalogue: Catalogue, disc: Path, tmp_path: Path
) -> None:
    other = iso_image(tmp_path / "other.iso", written(tmp_path / "other", {"other": noise(60_000, 99)}))
    for number, image in enumerate((disc, other)):
        report = catalogue.one(image)
        catalogue.rows(
            "UPDATE medium SET medium_hash = $1 WHERE medium_hash = $2", f"abc{number:029}", report.medium_hash
        )
    target = tmp_path / "out"
    assert_one_line(catalogue.command("restore", "abc", target), EXIT_USAGE, "ambiguous", f"abc{0:029}", f"abc{1:029}")
    assert_one_line(catalogue.command("restore", "def", target), EXIT_USAGE, "no medium begins with def")
    assert_one_line(catalogue.command("restore", "\x1b[2J", target), EXIT_USAGE, "not the beginning of a medium hash")
    assert not target.exists()


def test_an_unknown_command_or_option_is_usage() -> None:
    assert command("insert").status == EXIT_USAGE
    assert command("ingest", "--nonsense", sys.executable).status == EXIT_USAGE
