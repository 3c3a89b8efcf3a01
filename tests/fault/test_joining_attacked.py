"""`ntt ingest` of passes that do not fit, of maps left out, of images overwritten, of kills while two are joined."""

from __future__ import annotations

import re
import shlex
import signal
from pathlib import Path

import pytest
from catalogue import Catalogue, Ended
from database_server import TEMPLATE, DatabaseServer
from fault_plan import KillNtt, Send, Strike, steps_of
from faulty_source import Plan, faulty_source
from media_images import MIB, ext4_image, found_at, map_of, noise, run, written
from ntt_runs import Machine

from ntt.ranges import Range, total

SECTOR = 512
BLOCK = 1024
FULL = {f"dir/{n:02}.bin": noise(100_000, n) for n in range(64)} | {
    "a.bin": noise(60_000, 101),
    "dir/c.bin": noise(60_000, 102),
    "dir/sub/in.bin": noise(30_000, 103),
}
TARGET = b"elsewhere/" + b"x" * 100  # too long to lie in the inode


@pytest.fixture
def catalogue(home: Path, database_url: str) -> Catalogue:
    return Catalogue(home, database_url)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 MiB with blocks of 1 KiB, full of files, with a symbolic link."""
    folder = tmp_path_factory.mktemp("disk")
    tree = written(folder / "tree", FULL)
    (tree / "link").symlink_to(TARGET.decode())
    return ext4_image(folder / "g.img", tree, 8, "-b", str(BLOCK), "-m", "0")


def block_of(disk: Path, name: str, number: int = 4) -> Range:
    at = found_at(disk, FULL[name][number * BLOCK : (number + 1) * BLOCK])
    return at, at + BLOCK


def directory_of(disk: Path, path: str) -> Range:
    """The first block of a directory, or of a link's target."""
    at = int(re.findall(r"\d+", run("debugfs", "-R", f"blocks {path}", disk))[0]) * BLOCK
    return at, at + BLOCK


def spoiled(disk: Path, path: Path, *bad: Range) -> Path:
    content = bytearray(disk.read_bytes())
    for start, end in bad:
        content[start:end] = bytes(end - start)
    path.write_bytes(content)
    return path


def mapped(image: Path, path: Path, *bad: Range) -> Path:
    return map_of(path, image.stat().st_size, bad)


def ingest(catalogue: Catalogue, image: Path, *options: str | Path, status: int) -> Ended:
    ended = catalogue.command("ingest", image, *options)
    assert ended.status == status, ended.stderr + ended.stdout
    return ended


def statuses(catalogue: Catalogue) -> dict[bytes, str | None]:
    (medium,) = catalogue.media()
    return {path: stored.status for (_, path), stored in catalogue.tree(medium["medium_hash"]).items()}


def require_whole(catalogue: Catalogue, disk: Path) -> None:
    (medium,) = catalogue.media()
    assert (medium["health"], medium["unread_bytes"]) == ("ok", 0)
    assert Path(medium["image_path"]).read_bytes() == disk.read_bytes()
    found = catalogue.files(medium["medium_hash"])
    assert found == {name.encode(): content for name, content in FULL.items()}
    assert set(statuses(catalogue).values()) == {"copied", None}


# ---------------------------------------------------------------- the map that is left out


def test_a_map_that_is_left_out_is_neither_nothing_nor_a_dead_end(
    catalogue: Catalogue, disk: Path, tmp_path: Path
) -> None:
    """What `ntt status` advises, word for word, is done: the medium is archived, and as damaged as it was."""
    hole = block_of(disk, "a.bin")
    image = spoiled(disk, tmp_path / "z1.img", hole)
    ingest(catalogue, image, "--map", mapped(image, tmp_path / "zm", hole), "--no-archive", status=1)
    (before,) = catalogue.media()
    told = catalogue.command("status", before["medium_hash"]).stdout
    (advised,) = re.findall(r"`(ntt ingest .*?)`", told)
    ended = catalogue.command(*shlex.split(advised)[1:])
    assert ended.status == 1, ended.stderr
    (after,) = catalogue.media()
    assert (after["unread"], after["health"]) == (before["unread"], before["health"])
    assert after["archive_done"] is not None
    assert statuses(catalogue)[b"a.bin"] == "damaged"


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL], ids=["SIGINT", "SIGKILL"])
def test_the_advised_command_works_for_an_image_of_ntt_s_own(
    by: signal.Signals, catalogue: Catalogue, disk: Path, tmp_path: Path
) -> None:
    hole = block_of(disk, "a.bin")
    machine = Machine(catalogue.home, catalogue.url)
    strike = Strike("file", KillNtt() if by is signal.SIGKILL else Send(by), 5)
    with faulty_source(disk, Plan(bad=(hole,)), tmp_path / "drive") as drive:
        stopped = machine.ingest(drive.path, strike, options=("--effort", "quick"))
        assert stopped.status != 1, stopped.stderr
    (medium,) = catalogue.media()
    assert medium["archive_done"] is None
    told = catalogue.command("status", medium["medium_hash"]).stdout
    (advised,) = re.findall(r"`(ntt ingest .*?)`", told)
    ended = catalogue.command(*shlex.split(advised)[1:])
    assert ended.status == 1, ended.stderr
    (after,) = catalogue.media()
    assert (after["medium_hash"], after["unread_bytes"]) == (medium["medium_hash"], medium["unread_bytes"])
    assert after["archive_done"] is not None
    assert statuses(catalogue)[b"a.bin"] in ("damaged", "failed")  # it lies where the first pass skipped
    assert Path(after["image_path"]) == Path(medium["image_path"])


def test_a_pass_that_gains_nothing_goes_on_with_what_is_not_done(
    catalogue: Catalogue, disk: Path, tmp_path: Path
) -> None:
    one, two = block_of(disk, "a.bin"), block_of(disk, "dir/c.bin")
    first, second = spoiled(disk, tmp_path / "1.img", one), spoiled(disk, tmp_path / "2.img", one, two)
    ingest(catalogue, first, "--map", mapped(first, tmp_path / "1.map", one), "--no-archive", status=1)
    ended = ingest(catalogue, second, "--map", mapped(second, tmp_path / "2.map", one, two), status=1)
    assert "nothing was changed" in ended.stderr
    (medium,) = catalogue.media()
    assert medium["archive_done"] is not None
    assert medium["image_path"] == str(first)
    assert medium["unread_bytes"] == total([one])


def test_two_maps_of_one_image_are_one(catalogue: Catalogue, disk: Path, tmp_path: Path) -> None:
    a, c, d = block_of(disk, "a.bin"), block_of(disk, "dir/c.bin"), directory_of(disk, "/dir/sub")
    for name, bad in (("ma", (a,)), ("mb", tuple(sorted((c, d))))):
        catalogue.command("ingest", disk, "--map", mapped(disk, tmp_path / name, *bad))
    require_whole(catalogue, disk)
    ingest(catalogue, disk, "--map", tmp_path / "ma", "--replace", status=1)
    (medium,) = catalogue.media()
    assert medium["unread_bytes"] == total([a])


def test_a_map_that_comes_later_is_the_first_word_on_what_was_read(
    catalogue: Catalogue, disk: Path, tmp_path: Path
) -> None:
    hole = block_of(disk, "a.bin")
    image = spoiled(disk, tmp_path / "u.img", hole)
    ingest(catalogue, image, status=0)
    ingest(catalogue, image, "--map", mapped(image, tmp_path / "u.map", hole), status=1)
    (medium,) = catalogue.media()
    assert (medium["unread_bytes"], medium["health"]) == (total([hole]), "incomplete")
    assert statuses(catalogue)[b"a.bin"] == "damaged"
    assert medium["archive_done"] is not None
    ingest(catalogue, image, status=1)
    assert statuses(catalogue)[b"a.bin"] == "damaged"


# ---------------------------------------------------------------- what a pass adds


def test_a_link_whose_target_was_gained_is_a_link_again(catalogue: Catalogue, disk: Path, tmp_path: Path) -> None:
    a, target = block_of(disk, "a.bin"), directory_of(disk, "/link")
    first = spoiled(disk, tmp_path / "1.img", a, target)
    ingest(catalogue, first, "--map", mapped(first, tmp_path / "1.map", *sorted((a, target))), status=1)
    second = spoiled(disk, tmp_path / "2.img", a)
    ingest(catalogue, second, "--map", mapped(second, tmp_path / "2.map", a), status=1)
    (medium,) = catalogue.media()
    assert medium["unread_bytes"] == total([a])
    link = catalogue.tree(medium["medium_hash"])[1, b"link"]
    assert (link.type, link.link_target) == ("link", TARGET)
    restored = tmp_path / "restored"
    ended = catalogue.command("restore", medium["medium_hash"], restored)
    assert ended.status == 1, ended.stderr  # a.bin is damaged
    assert str((restored / "link").readlink()) == TARGET.decode()


def test_what_a_short_pass_lacks_is_said(catalogue: Catalogue, disk: Path, tmp_path: Path) -> None:
    hole = block_of(disk, "a.bin")
    first = spoiled(disk, tmp_path / "1.img", hole)
    ingest(catalogue, first, "--map", mapped(first, tmp_path / "1.map", hole), status=1)
    short = tmp_path / "short.img"
    short.write_bytes(disk.read_bytes()[: 6 * MIB])
    ended = catalogue.command("ingest", short)
    gained = total([hole]) if hole[1] <= 6 * MIB else 0
    assert f"it has {gained:,} bytes that were unread then, and lacks {2 * MIB:,} that were read" in ended.stderr


def test_a_good_drive_heals_what_a_map_was_given_for(catalogue: Catalogue, disk: Path, tmp_path: Path) -> None:
    hole, link = block_of(disk, "a.bin"), directory_of(disk, "/link")
    bad = tuple(sorted((hole, link)))
    image = spoiled(disk, tmp_path / "1.img", *bad)
    ingest(catalogue, image, "--map", mapped(image, tmp_path / "1.map", *bad), status=1)
    with faulty_source(disk, Plan(bad=bad), tmp_path / "bad drive") as drive:
        ingest(catalogue, drive.path, "--effort", "quick", status=1)
    with faulty_source(disk, Plan(), tmp_path / "good drive") as drive:
        ingest(catalogue, drive.path, "--effort", "quick", "--free-space", status=0)
    require_whole(catalogue, disk)


# ---------------------------------------------------------------- what is one medium


def test_that_a_join_is_a_guess_is_said_and_stays_said(catalogue: Catalogue, disk: Path, tmp_path: Path) -> None:
    """Two media that differ only where the first was not read: nothing can tell them apart."""
    hole = block_of(disk, "a.bin")
    first = spoiled(disk, tmp_path / "i1.img", hole)
    other = bytearray(disk.read_bytes())
    other[slice(*hole)] = noise(BLOCK, 999)
    (tmp_path / "i3.img").write_bytes(other)
    ingest(catalogue, first, "--map", mapped(first, tmp_path / "i1.map", hole), status=1)
    ended = ingest(catalogue, tmp_path / "i3.img", status=0)
    both = disk.stat().st_size - BLOCK
    guess = f"is a guess: nothing but the {both:,} bytes that both passes have read"
    assert guess in ended.stderr
    (medium,) = catalogue.media()
    assert guess in catalogue.command("problems", medium["medium_hash"]).stdout


def ext4_of_one_file(image: Path, folder: Path, seed: int) -> Path:
    return ext4_image(image, written(folder, {f"file {seed}.bin": noise(38_400, seed)}), 64)


def test_two_nearly_empty_media_are_not_one_whatever_is_said(catalogue: Catalogue, tmp_path: Path) -> None:
    """They differ in less than a hundredth of 64 MiB of zeros."""
    first = ext4_of_one_file(tmp_path / "1.img", tmp_path / "1", 1)
    second = ext4_of_one_file(tmp_path / "2.img", tmp_path / "2", 2)
    ingest(catalogue, first, status=0)
    (medium,) = catalogue.media()
    tree = catalogue.tree(medium["medium_hash"])
    ended = ingest(catalogue, second, "--same-as", medium["medium_hash"][:8], status=3)
    assert "these are two media" in ended.stderr
    assert catalogue.media() == [medium]
    assert catalogue.tree(medium["medium_hash"]) == tree
    assert not list((catalogue.home / "images").glob("*.img"))


def test_what_differs_behind_the_start_counts_against_what_is_not_empty(catalogue: Catalogue, tmp_path: Path) -> None:
    """One file's content of a nearly empty medium, and nothing else, is another one."""
    first = ext4_of_one_file(tmp_path / "1.img", tmp_path / "1", 1)
    at = found_at(first, noise(38_400, 1))
    content = bytearray(first.read_bytes())
    content[at : at + 38_400] = noise(38_400, 2)
    (tmp_path / "2.img").write_bytes(content)
    ingest(catalogue, first, status=0)
    (medium,) = catalogue.media()
    ended = ingest(catalogue, tmp_path / "2.img", "--same-as", medium["medium_hash"][:8], status=3)
    assert "38,400 of the" in ended.stderr
    assert catalogue.media() == [medium]


def test_passes_that_differ_in_a_directory_do_not_take_its_names_away(
    catalogue: Catalogue, disk: Path, tmp_path: Path
) -> None:
    hole, directory = block_of(disk, "a.bin"), directory_of(disk, "/dir/sub")
    first = spoiled(disk, tmp_path / "1.img", hole)
    ingest(catalogue, first, "--map", mapped(first, tmp_path / "1.map", hole), status=1)
    (medium,) = catalogue.media()
    tree = catalogue.tree(medium["medium_hash"])
    second = bytearray(disk.read_bytes())
    second[slice(*directory)] = noise(BLOCK, 5)
    (tmp_path / "2.img").write_bytes(second)
    ended = ingest(catalogue, tmp_path / "2.img", "--same-as", medium["medium_hash"][:8], status=3)
    assert "in.bin would be gone: nothing was joined" in ended.stderr
    assert catalogue.media() == [medium]
    assert catalogue.tree(medium["medium_hash"]) == tree
    assert not list((catalogue.home / "images").glob("*.img"))


def test_a_third_pass_settles_what_two_disagree_about(catalogue: Catalogue, disk: Path, tmp_path: Path) -> None:
    hole, differs = block_of(disk, "a.bin"), block_of(disk, "dir/c.bin")
    first = spoiled(disk, tmp_path / "1.img", hole)
    ingest(catalogue, first, "--map", mapped(first, tmp_path / "1.map", hole), status=1)
    (medium,) = catalogue.media()
    second = bytearray(disk.read_bytes())
    second[differs[0] : differs[0] + SECTOR] = noise(SECTOR, 5)
    (tmp_path / "2.img").write_bytes(second)
    ingest(catalogue, tmp_path / "2.img", "--same-as", medium["medium_hash"][:8], status=1)
    assert "passes_disagree" in str(catalogue.value("SELECT problems FROM medium"))
    ingest(catalogue, disk, "--map", mapped(disk, tmp_path / "3.map"), status=0)
    require_whole(catalogue, disk)
    assert "passes_disagree" not in str(catalogue.value("SELECT problems FROM medium"))


FACTORY = ("-C", "-F12", "-i", "00C0FFEE", "-n", "PREFORMAT")


def floppy(image: Path, folder: Path, seed: int) -> Path:
    folder.mkdir()
    run("mkfs.vfat", *FACTORY, image, "1440")
    (folder / "DATA.BIN").write_bytes(noise(200_000, seed))
    run("touch", "-d", "2000-01-01 00:00:00", folder / "DATA.BIN")
    run("mcopy", "-m", "-i", image, folder / "DATA.BIN", "::")
    return image


@pytest.mark.parametrize("labels", [("Disk 1", "Disk 2"), (None, None)], ids=["labelled", "not labelled"])
def test_two_floppies_of_one_factory_are_two(
    labels: tuple[str | None, str | None], catalogue: Catalogue, tmp_path: Path
) -> None:
    one, two = (floppy(tmp_path / f"{n}.img", tmp_path / f"{n}", n) for n in (1, 2))
    size_bytes, read_bytes = one.stat().st_size, 9 * SECTOR
    first = spoiled(one, tmp_path / "first.img", (read_bytes, size_bytes))
    given = [() if label is None else ("--label", label) for label in labels]
    missing = mapped(first, tmp_path / "first.map", (read_bytes, size_bytes))
    catalogue.command("ingest", first, "--map", missing, *given[0])
    (medium,) = catalogue.media()
    ended = catalogue.command("ingest", two, *given[1])
    assert [row["unread_bytes"] for row in catalogue.media()] == [size_bytes - read_bytes, 0]
    assert f"--same-as {medium['medium_hash'][:8]}" in ended.stderr
    assert catalogue.files(catalogue.media()[1]["medium_hash"]) == {b"DATA.BIN": noise(200_000, 2)}


def test_another_label_is_an_objection(catalogue: Catalogue, disk: Path, tmp_path: Path) -> None:
    hole = block_of(disk, "a.bin")
    first = spoiled(disk, tmp_path / "1.img", hole)
    ingest(catalogue, first, "--map", mapped(first, tmp_path / "1.map", hole), "--label", "Disk 1", status=1)
    (medium,) = catalogue.media()
    ended = ingest(catalogue, disk, "--label", "Disk 2", status=1)
    assert "but that one is called Disk 1" in ended.stderr
    assert [row["medium_human"] for row in catalogue.media()] == ["Disk 1", "Disk 2"]
    ingest(catalogue, disk, "--label", "Disk 2", "--same-as", medium["medium_hash"][:8], status=0)
    assert catalogue.media()[0]["unread_bytes"] == 0


# ---------------------------------------------------------------- images that are gone or other ones


def test_the_image_of_a_drive_stays_where_the_user_s_own_was_overwritten(
    catalogue: Catalogue, disk: Path, tmp_path: Path
) -> None:
    image = tmp_path / "u.img"
    image.write_bytes(disk.read_bytes())
    ingest(catalogue, image, "--no-archive", status=0)
    image.write_bytes(noise(8 * MIB, 77))
    with faulty_source(disk, Plan(), tmp_path / "drive") as drive:
        ingest(catalogue, drive.path, "--effort", "quick", "--no-archive", status=0)
    require_whole(catalogue, disk)
    (medium,) = catalogue.media()
    assert Path(medium["image_path"]).parent == catalogue.home / "images"
    ingest(catalogue, Path(medium["image_path"]), status=0)
    assert catalogue.media()[0]["archive_done"] is not None


def test_an_image_of_ntt_s_own_outlives_its_database(
    catalogue: Catalogue, bare_database_url: str, disk: Path, tmp_path: Path
) -> None:
    hole = block_of(disk, "a.bin")
    with faulty_source(disk, Plan(bad=(hole,)), tmp_path / "drive") as drive:
        ingest(catalogue, drive.path, "--effort", "quick", status=1)
    (medium,) = catalogue.media()
    other = Catalogue(tmp_path / "other home", bare_database_url)
    images = {"NTT_IMAGES": str(catalogue.home / "images")}
    assert other.command("ingest", medium["image_path"], env=images).status == 1
    (again,) = other.media()
    kept = ("medium_hash", "unread", "health", "image_path")
    assert [again[name] for name in kept] == [medium[name] for name in kept]


# ---------------------------------------------------------------- killed while two are joined


def joining_steps(machine: Machine, first: tuple[Path, Path], second: tuple[Path, Path]) -> list[Strike]:
    """Of a join that nobody killed, the steps that change something while the rows become those of both."""
    machine.ingest(first[0], map_path=first[1], options=("--no-archive",))
    done = machine.ingest(second[0], map_path=second[1], options=("--no-archive",))
    assert done.status == 1, done.stderr
    strikes: list[Strike] = []
    seen: dict[tuple[str, str], int] = {}
    for step in steps_of(done.counters):
        key = step.kind, step.phase
        seen[key] = seen.get(key, 0) + 1
        if re.match(r"sql (UPDATE|COMMIT|COPY|INSERT|DELETE)", step.kind) and step.phase == "after":
            strikes.append(Strike(step.kind, KillNtt(), seen[key], step.phase))
    refined = next(n for n, strike in enumerate(strikes) if "UPDATE medium SET image_path" in strike.kind)
    return strikes[refined - 1 : refined + 4 : 2]


@pytest.mark.slow
def test_a_join_that_was_killed_is_gone_on_with(
    catalogue: Catalogue, database_server: DatabaseServer, disk: Path, tmp_path: Path
) -> None:
    a, c, d = block_of(disk, "a.bin"), block_of(disk, "dir/c.bin"), directory_of(disk, "/dir/sub")
    passes: list[tuple[Path, Path]] = []
    for name, holes in (("g1", (a, d)), ("g2", (a, c))):
        image = spoiled(disk, tmp_path / f"{name}.img", *holes)
        passes.append((image, mapped(image, tmp_path / f"{name}.map", *sorted(holes))))
    for number, strike in enumerate(joining_steps(Machine(catalogue.home, catalogue.url), *passes)):
        with database_server.database(TEMPLATE) as url:
            mine = Catalogue(tmp_path / f"home{number}", url)
            killed_and_gone_on_with(mine, passes, strike)
            (medium,) = mine.media()
            assert medium["unread_bytes"] == total([a]), strike
            assert medium["archive_done"] is not None, strike
            found = statuses(mine)
            assert {path for path, status in found.items() if status not in ("copied", None)} == {b"a.bin"}, strike
            assert len(list((mine.home / "images").glob("*.img"))) == 1, strike


def killed_and_gone_on_with(mine: Catalogue, passes: list[tuple[Path, Path]], strike: Strike) -> None:
    machine = Machine(mine.home, mine.url)
    (first, first_map), (second, second_map) = passes
    assert machine.ingest(first, map_path=first_map, options=("--no-archive",)).status == 1
    ended = machine.ingest(second, strike, map_path=second_map, options=("--no-archive",))
    assert ended.status == -signal.SIGKILL, strike
    again = machine.ingest(second, map_path=second_map)
    assert again.status == 1, f"{strike}: {again.stderr}"
