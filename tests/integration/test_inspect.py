"""`ntt inspect`: says what an image is, as anybody, without a catalogue or a home, and writes nothing at all."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest
from catalogue import Ended, command
from disk_images import ext_image, fat_image, layout_of, noise, ntfs_image, partitioned, portable_tree, run
from media_images import MIB, iso_image, map_of, xorriso_image

from ntt.errors import EXIT_FAILED, EXIT_OK, EXIT_PROBLEMS, EXIT_USAGE

KEYS = ["image", "image_bytes", "claimed_bytes", "unread_bytes", "health", "cue_sheet", "scheme", "remarks", "volumes",
        "ended_early"]  # fmt: skip
VOLUME_KEYS = ["index", "scheme", "offset_bytes", "size_bytes", "fstype", "route", "label", "status", "finding",
               "next_step", "tried", "session_bytes", "sector_bytes", "data_at", "facts", "mounts"]  # fmt: skip
FACTS_KEYS = ["fstype", "label", "serial", "created_s", "modified_s", "block_bytes", "size_bytes", "used_bytes",
              "free_bytes", "entries", "state", "journal_pending", "oddities"]  # fmt: skip


class LookedVolume(msgspec.Struct):
    index: int
    offset_bytes: int
    size_bytes: int
    fstype: str
    route: str
    label: str
    status: str
    finding: str
    next_step: str
    facts: dict[str, object] | None
    mounts: dict[str, list[str]] | None


class Looked(msgspec.Struct):
    """What the tests ask of the JSON document."""

    image_bytes: int
    claimed_bytes: int
    unread_bytes: int
    health: str
    scheme: str
    volumes: list[LookedVolume]


def looked_at(image: Path, *options: str | Path, status: int = EXIT_OK) -> Looked:
    ended = command("inspect", image, "--json", *options)
    assert (ended.status, ended.stderr) == (status, ""), ended
    return msgspec.json.decode(ended.stdout, type=Looked)


def lines_of(image: Path, *options: str | Path, status: int = EXIT_OK) -> list[str]:
    ended = command("inspect", image, *options)
    assert (ended.status, ended.stderr) == (status, ""), ended
    return ended.stdout.splitlines()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return portable_tree(tmp_path / "tree")


def disk(folder: Path, tree: Path, label: str) -> Path:
    """ext4, NTFS, FAT16, one that is blank, one that is LUKS, by either kind of table."""
    parts = {
        1: ext_image(folder / "p1", "ext4", tree, 12),
        2: ntfs_image(folder / "p2", tree, 12),
        3: fat_image(folder / "p3", 16, tree, 20_000),
    }
    starts, sizes = {1: 1, 2: 13, 3: 25, 4: 45}, {1: 12, 2: 12, 3: 20, 4: 2}
    (folder / "p4").write_bytes(b"LUKS\xba\xbe\0\x02" + noise(4096))
    parts[4] = folder / "p4"
    lines = [f"label: {label}", *(f"start={starts[n]}MiB, size={sizes[n]}MiB" for n in starts)]
    return partitioned(
        folder / "disk", "\n".join(lines) + "\n", 48, {starts[n] * MIB: part for n, part in parts.items()}
    )


# ---------------------------------------------------------------- what it says


@pytest.mark.parametrize(("label", "scheme"), [("dos", "mbr"), ("gpt", "gpt")])
def test_every_volume_of_a_disk_is_told(label: str, scheme: str, tree: Path, tmp_path: Path) -> None:
    image = disk(tmp_path, tree, label)
    looked = looked_at(image, status=EXIT_PROBLEMS)
    assert (looked.scheme, looked.image_bytes, looked.claimed_bytes) == (scheme, 48 * MIB, 48 * MIB)
    assert (looked.unread_bytes, looked.health) == (0, "ok")
    volumes = looked.volumes
    assert [(v.index, v.fstype, v.status) for v in volumes] == [
        (1, "ext4", "read"), (2, "ntfs", "read"), (3, "fat16", "read"), (4, "luks2", "finding"),
    ]  # fmt: skip
    assert [v.offset_bytes for v in volumes] == [1 * MIB, 13 * MIB, 25 * MIB, 45 * MIB]
    assert [v.label for v in volumes] == ["ntt label", "ntt lábel", "NTTLABEL", ""]
    serials = [run("blkid", "-p", "-o", "value", "-s", "UUID", tmp_path / f"p{n}").strip() for n in (1, 2, 3)]
    assert [v.facts["serial"] for v in volumes if v.facts is not None] == serials
    assert volumes[3].facts is None
    assert "LUKS2" in volumes[3].finding
    assert "cryptsetup" in volumes[3].next_step


def test_the_text_tells_the_same_within_80_columns(tree: Path, tmp_path: Path) -> None:
    image = disk(tmp_path, tree, "dos")
    lines = lines_of(image, status=EXIT_PROBLEMS)
    assert lines[0] == str(image)
    assert all(len(line) <= 80 for line in lines[1:])
    text = "\n".join(lines)
    for words in (
        "table       mbr, 4 volumes",
        "volume 1: ext4 “ntt label”",
        "12.0 MiB (12,582,912 bytes) from byte 1,048,576 on",
        "NTFS version 3.1",
        "volume 4: luks2",
        "no files can be read from volume 4 here",
    ):
        assert words in text
    assert lines[-1].startswith("no files")
    unwrapped = " ".join(text.split())
    # what of The Sleuth Kit `ntt/readers` loads for which file system
    for words in (
        "read by NTT's own reader beside The Sleuth Kit, which has to take the file system too, without mounting",
        "read by NTT's own reader beside The Sleuth Kit, which unpacks compressed files, without mounting",
        "read by NTT's own reader, without mounting",
    ):
        assert unwrapped.count(words) == 1


def test_an_iso_image_a_floppy_and_a_blank_one_are_told(tree: Path, tmp_path: Path) -> None:
    iso = looked_at(iso_image(tmp_path / "disc.iso", tree, "-V", "BOX_12"))
    assert [(v.fstype, v.route, v.label) for v in iso.volumes] == [("iso9660", "iso9660", "BOX_12")]
    floppy = looked_at(fat_image(tmp_path / "floppy", 12, tree, 1440))
    assert [(v.fstype, v.size_bytes) for v in floppy.volumes] == [("fat12", 1_474_560)]
    (tmp_path / "blank").write_bytes(bytes(MIB))
    blank = looked_at(tmp_path / "blank", status=EXIT_PROBLEMS)
    assert [(v.fstype, v.status) for v in blank.volumes] == [("blank", "finding")]


def test_a_second_session_is_told_as_such(tree: Path, tmp_path: Path) -> None:
    image = xorriso_image(tmp_path / "disc.iso", tree)
    (tmp_path / "later").write_bytes(noise(5000))
    run("xorriso", "-dev", image, "-map", tmp_path / "later", "/later", "--", "-commit")
    looked = looked_at(image)
    expected = layout_of(image)
    assert looked.scheme == expected.scheme
    assert [v.index for v in looked.volumes] == [v.index for v in expected.volumes]


def test_what_the_map_calls_unread_is_the_health(tree: Path, tmp_path: Path) -> None:
    image = ext_image(tmp_path / "image", "ext4", tree, 16)
    size = image.stat().st_size
    mapfile = map_of(tmp_path / "map", size + MIB, [(MIB, MIB + 4096), (size, size + MIB)])
    looked = looked_at(image, "--map", mapfile)
    assert (looked.claimed_bytes, looked.unread_bytes) == (size + MIB, 4096 + MIB)
    assert looked.health == "corrupt"
    text = "\n".join(lines_of(image, "--map", mapfile))
    assert "corrupt: 1,052,672 of 17,825,792 bytes were not read" in text
    assert "the image falls 1,048,576 bytes short" in text


def test_a_truncated_image_is_told_with_what_is_missing(tree: Path, tmp_path: Path) -> None:
    image = fat_image(tmp_path / "image", 32, tree, 70_000)
    os.truncate(image, 10 * MIB)
    looked = looked_at(image, status=EXIT_PROBLEMS)
    (volume,) = looked.volumes
    assert (volume.status, volume.fstype) == ("read", "fat32")
    assert str(70_000 * 1024 - 10 * MIB) in volume.finding.replace(",", "")
    assert volume.facts is not None
    assert volume.facts["size_bytes"] == 70_000 * 1024


def test_a_volume_that_must_be_mounted_is_told_with_what_this_machine_offers(tmp_path: Path) -> None:
    (tmp_path / "xfs").write_bytes(b"XFSB\0\0\x10\0" + noise(MIB))
    looked = looked_at(tmp_path / "xfs", status=EXIT_PROBLEMS)
    (volume,) = looked.volumes
    assert volume.mounts is not None
    kernel = [sentence for sentences in volume.mounts.values() for sentence in sentences if "kernel" in sentence]
    assert kernel, volume.mounts
    if "kernel xfs" in volume.mounts["possible"]:
        assert any(line.startswith("  mountable   kernel xfs") for line in lines_of(tmp_path / "xfs", status=1))
    document = by_nobody("inspect", tmp_path / "xfs", "--json", env={"HOME": str(tmp_path)}).stdout
    (volume,) = msgspec.json.decode(document, type=Looked).volumes
    assert volume.mounts is not None
    assert not any(sentence.startswith("kernel") for sentence in volume.mounts["possible"])


def test_a_cue_sheet_beside_the_image_is_taken_into_account(tree: Path, tmp_path: Path) -> None:
    image = iso_image(tmp_path / "disc.bin", tree)
    sheet = 'FILE "disc.bin" BINARY\n  TRACK 01 MODE1/2048\n    INDEX 01 00:00:00\n'
    (tmp_path / "disc.cue").write_text(sheet)
    assert any("cue sheet" in line for line in lines_of(image))
    (tmp_path / "disc.cue").unlink()
    assert not any("cue sheet" in line for line in lines_of(image))


def test_the_keys_of_the_document_stay(tree: Path, tmp_path: Path) -> None:
    image = disk(tmp_path, tree, "gpt")
    document = msgspec.json.decode(command("inspect", image, "--json").stdout)
    assert list(document) == KEYS
    assert document["image"] == str(image)
    for volume in document["volumes"]:
        assert list(volume) == VOLUME_KEYS
        assert volume["facts"] is None or list(volume["facts"]) == FACTS_KEYS


# ---------------------------------------------------------------- what it refuses


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _: None, "No such file"),
        (Path.mkdir, "is a folder"),
        (Path.touch, "zero bytes are no medium"),
        (os.mkfifo, "is not a regular file"),
        (lambda path: path.write_text("Dear archivist,\n" * 50), "is a text file"),
    ],
)
def test_what_is_no_image_ends_in_one_line(make: Callable[[Path], object], words: str, tmp_path: Path) -> None:
    path = tmp_path / "thing"
    make(path)
    ended = command("inspect", path)
    assert (ended.status, ended.stdout) == (EXIT_USAGE, "")
    (line,) = ended.stderr.splitlines()
    assert words in line


def test_a_map_that_does_not_fit_ends_in_one_line(tree: Path, tmp_path: Path) -> None:
    image = ext_image(tmp_path / "image", "ext4", tree, 16)
    ended = command("inspect", image, "--map", map_of(tmp_path / "map", MIB, []))
    assert ended.status == EXIT_USAGE
    assert "does not fit" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


# ---------------------------------------------------------------- whose it is, and what it leaves


# a user without rights who still reaches an interpreter in root's own folder: in a namespace, root under another number
NOBODY = ("unshare", "--user", "--map-user=65534", "--map-group=65534")


def by_nobody(*arguments: str | Path, env: Mapping[str, str]) -> Ended:
    """`ntt ARGUMENTS` in a process of an ordinary user."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("NTT_")}
    argv = [*NOBODY, sys.executable, "-m", "ntt", *arguments]
    done = subprocess.run(argv, capture_output=True, env={**clean, **env}, timeout=120, check=False)
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def seen(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything below a folder: mode, time of change, content."""
    found: dict[str, tuple[int, int, bytes]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        found[str(path)] = (status.st_mode, status.st_mtime_ns, path.read_bytes() if path.is_file() else b"")
    return found


@pytest.mark.parametrize("mode", [0o555, 0o000], ids=["home may be looked at", "home may not be entered"])
def test_anybody_may_look_at_somebody_elses_image_and_nothing_is_written(mode: int, tree: Path, tmp_path: Path) -> None:
    image = fat_image(tmp_path / "image", 16, tree, 20_000)
    image.chmod(0o444)
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(mode)
    before = seen(tmp_path)
    folders = {"HOME": str(home), "NTT_HOME": str(home), "XDG_DATA_HOME": str(home), "TMPDIR": str(home)}
    ended = by_nobody("inspect", image, "--json", env=folders)
    assert (ended.status, ended.stderr) == (EXIT_OK, "")
    looked = msgspec.json.decode(ended.stdout, type=Looked)
    assert [(v.fstype, v.label) for v in looked.volumes] == [("fat16", "NTTLABEL")]
    home.chmod(0o755)
    assert list(home.iterdir()) == []
    home.chmod(mode)
    assert seen(tmp_path) == before


def test_an_image_that_may_not_be_read_ends_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(bytes(MIB))
    (tmp_path / "image").chmod(0o000)
    ended = by_nobody("inspect", tmp_path / "image", env={"HOME": str(tmp_path)})
    assert ended.status == EXIT_USAGE
    assert "Permission denied" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_no_home_and_no_server_come_about(tree: Path, tmp_path: Path) -> None:
    image = ext_image(tmp_path / "image", "ext4", tree, 16)
    before = seen(tmp_path)
    env = {
        "NTT_HOME": str(tmp_path / "none"),
        "HOME": str(tmp_path / "nowhere"),
        "NTT_DATABASE_URL": "postgresql://x/y",
    }
    ended = command("inspect", image, env=env)
    assert (ended.status, ended.stderr) == (EXIT_OK, "")
    assert seen(tmp_path) == before


# ---------------------------------------------------------------- hostile images


def test_what_could_control_the_terminal_does_not_reach_it(tree: Path, tmp_path: Path) -> None:
    image = ext_image(tmp_path / "image", "ext4", tree, 16)
    with image.open("r+b") as file:
        file.seek(1024 + 120)
        file.write(b"\x1b[2J\x9b31m\r\n\xe2\x80\xae")
    run("debugfs", "-w", "-R", "ssv mnt_count 3", image)
    with image.open("r+b") as file:
        file.seek(1024 + 136)
        file.write(b"/\x1b]0;owned\x07\n")
    text = command("inspect", image).stdout
    assert "\\x1b[2J" in text
    assert "\\x1b]0;owned\\x07\\n" in text
    assert all(character.isprintable() or character == "\n" for character in text)
    assert all(len(line) <= 80 for line in text.splitlines()[1:])


def test_dates_beyond_any_calendar_are_told_as_numbers(tree: Path, tmp_path: Path) -> None:
    image = ntfs_image(tmp_path / "image", tree)
    data = image.read_bytes()
    record = data.find(b"FILE0", data.find(b"FILE0", data.find(b"FILE0", data.find(b"FILE0") + 1) + 1) + 1)
    standard = record + struct.unpack_from("<H", data, record + 20)[0]
    value = standard + struct.unpack_from("<H", data, standard + 20)[0]
    with image.open("r+b") as file:
        file.seek(value)
        file.write(b"\xff" * 7 + b"\x7f")
    assert any("seconds from 1970" in line for line in lines_of(image))


# ---------------------------------------------------------------- a worker that dies

BEFORE_IT_STARTS = """
import ctypes
import ntt.readers.{module}

def stricken(*_):
    while {hangs}:
        pass
    ctypes.string_at(0)

ntt.readers.{module}.{name} = stricken
"""


def struck(folder: Path, module: str, name: str, *, hangs: bool = False) -> dict[str, str]:
    """The environment in which this method of a reader dies by SIGSEGV, as a fault in a library does, or hangs."""
    (folder / "injected").mkdir()
    (folder / "injected" / "sitecustomize.py").write_text(
        BEFORE_IT_STARTS.format(module=module, name=name, hangs=hangs)
    )
    return {"PYTHONPATH": str(folder / "injected"), "NTT_STALL_S": "1"}


@pytest.mark.parametrize(("hangs", "cause"), [(False, "ended with signal 11"), (True, "no progress for 1 s")])
def test_a_worker_that_dies_on_one_volume_leaves_what_it_said_of_the_others(
    hangs: bool, cause: str, tree: Path, tmp_path: Path
) -> None:
    image = disk(tmp_path, tree, "dos")
    ended = command("inspect", image, "--json", env=struck(tmp_path, "fat.tree", "FatTree.facts", hangs=hangs))
    assert ended.status == EXIT_FAILED
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"ntt: {image}: looking at volume 3 failed: ")
    assert cause in line
    looked = msgspec.json.decode(ended.stdout, type=Looked)
    assert [v.fstype for v in looked.volumes] == ["ext4", "ntfs", "fat16", "luks2"]
    assert [v.facts is not None for v in looked.volumes] == [True, True, False, False]


@pytest.mark.parametrize(("hangs", "cause"), [(False, "ended with signal 11"), (True, "no progress for 1 s")])
def test_a_worker_that_dies_before_it_said_anything_ends_in_one_line(
    hangs: bool, cause: str, tree: Path, tmp_path: Path
) -> None:
    image = fat_image(tmp_path / "image", 16, tree, 20_000)
    ended = command("inspect", image, env=struck(tmp_path, "fat.tree", "FatTree.__init__", hangs=hangs))
    assert (ended.status, ended.stdout) == (EXIT_FAILED, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("ntt: image: looking at it failed: ")
    assert cause in line
