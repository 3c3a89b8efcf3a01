"""Discs written in several sessions, by xorriso and genisoimage -> each session and its own tree."""

from __future__ import annotations

import re
from pathlib import Path

from iso_images import opened, run
from raw_discs import contents_below, contents_of, files_of, small_tree, source_of

from ntt.readers.iso.sessions import find_sessions


def sessions(image: Path) -> tuple[int, ...]:
    return tuple(start // 2048 for start in find_sessions(source_of(image), 0, image.stat().st_size))


def told_by_xorriso(image: Path) -> tuple[int, ...]:
    report = run("xorriso", "-report_about", "NOTE", "-indev", f"stdio:{image}", "-toc")
    return tuple(int(start) for start in re.findall(rb"^ISO session  : +\d+ , +(\d+) ,", report, re.M))


def extracted(image: Path, start: int, folder: Path) -> dict[bytes, bytes]:
    """The session's files as xorriso sees them."""
    loaded = ("xorriso", "-load", "sbsector", str(start), "-indev", f"stdio:{image}")
    run(*loaded, "-osirrox", "on", "-extract", "/", folder)
    run("chmod", "-R", "u+rwX", folder)
    return contents_below(folder)


def grown(tmp_path: Path) -> Path:
    """Four sessions: a tree, a file with other content, files removed, a file added."""
    tree = small_tree(tmp_path / "tree")
    image = tmp_path / "grown.iso"
    other = tmp_path / "other"
    other.write_bytes(b"other content " * 999)
    disc = ("xorriso", "-dev", f"stdio:{image}")
    run(*disc, "-joliet", "on", "-map", tree, "/")
    run(*disc, "-joliet", "on", "-map", other, "/big")
    run(*disc, "-joliet", "on", "-rm", "/one byte", "--", "-rm_r", "/folder", "--")
    run(*disc, "-joliet", "on", "-map", other, "/added")
    return image


def test_every_session_that_xorriso_wrote_is_found_also_those_that_hide_files(tmp_path: Path) -> None:
    image = grown(tmp_path)
    found = sessions(image)
    assert len(found) == 4
    assert found == told_by_xorriso(image)
    trees = [contents_of(opened(image, session_bytes=start * 2048)) for start in found]
    assert trees == [extracted(image, start, tmp_path / f"out {start}") for start in found]
    assert trees[0] == contents_below(tmp_path / "tree")
    assert trees[0][b"big"] != trees[1][b"big"] == trees[3][b"added"]
    assert b"folder/deeper/odd" in trees[1]
    assert set(trees[2]) == {b"big", b"empty"}
    assert trees[3] == contents_of(opened(image))  # what stands at sector 16 is the newest


def test_inode_numbers_lead_to_the_files_of_their_session(tmp_path: Path) -> None:
    image = grown(tmp_path)
    for start in sessions(image):
        files = files_of(opened(image, session_bytes=start * 2048))
        assert len({entry.ino for entry in files.values()}) == len(files)
        fresh = opened(image, session_bytes=start * 2048)
        again = {path: fresh.read(entry.ino, 0, entry.size) for path, entry in reversed(files.items())}
        assert again == contents_of(fresh)


def test_a_disc_written_once_has_one_session(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    run("genisoimage", "-quiet", "-r", "-J", "-o", tmp_path / "a.iso", tree)
    run("xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", tmp_path / "b.iso", tree)
    run("xorriso", "-dev", f"stdio:{tmp_path / 'c.iso'}", "-map", tree, "/")  # this one has a copy behind sector 32
    assert [sessions(tmp_path / name) for name in ("a.iso", "b.iso", "c.iso")] == [(0,)] * 3


def second_session(first: Path, tree: Path, block: int, out: Path, *writer: str) -> Path:
    run(*writer, "-R", "-C", f"0,{block}", "-M", first, "-o", out, tree)
    return out


def two_sessions(tmp_path: Path, block: int, *writer: str) -> Path:
    first, image = tmp_path / "first.iso", tmp_path / "disc.iso"
    run("genisoimage", "-quiet", "-R", "-o", first, small_tree(tmp_path / "tree", 1))
    second = small_tree(tmp_path / "tree 2", 2)
    (second / "big").rename(second / "new")
    made = second_session(first, second, block, tmp_path / "second.iso", *writer)
    image.write_bytes(first.read_bytes())
    with image.open("r+b") as disc:
        disc.seek(block * 2048)
        disc.write(made.read_bytes())
    return image


def expected_of_two(tmp_path: Path) -> dict[bytes, bytes]:
    return contents_below(tmp_path / "tree") | contents_below(tmp_path / "tree 2")


def test_sessions_one_after_another_on_a_disc_imaged_whole(tmp_path: Path) -> None:
    for number, writer in enumerate((("genisoimage", "-quiet"), ("xorriso", "-as", "mkisofs", "-quiet"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        image = two_sessions(folder, 12_345 - number * 25, *writer)
        assert sessions(image) == (0, 12_345 - number * 25)
        assert contents_of(opened(image)) == contents_below(folder / "tree")
        both = contents_of(opened(image, session_bytes=sessions(image)[1] * 2048))
        assert both == expected_of_two(folder)


def test_a_large_disc_is_searched_at_steps_of_its_sessions(tmp_path: Path) -> None:
    image = two_sessions(tmp_path, 1_000_000 // 16 * 16, "genisoimage", "-quiet")
    assert image.stat().st_size > 2_000_000_000
    assert sessions(image) == (0, 1_000_000)
    (tmp_path / "grown").mkdir()
    grown_image = grown(tmp_path / "grown")
    found = sessions(grown_image)
    with grown_image.open("r+b") as disc:
        disc.truncate(5_000_000_000)
    assert sessions(grown_image) == found


def test_the_newest_session_of_a_large_disc_whose_first_was_overwritten_is_told_by_its_tree(tmp_path: Path) -> None:
    image = two_sessions(tmp_path, 1_000_000, "genisoimage", "-quiet")
    third = small_tree(tmp_path / "tree 3", 3)
    run("genisoimage", "-quiet", "-R", "-C", "0,1001600", "-o", tmp_path / "third.iso", third)
    made = (tmp_path / "third.iso").read_bytes()
    with image.open("r+b") as disc:  # as growisofs does: the newest descriptors go to sector 16
        disc.seek(1_001_600 * 2048)
        disc.write(made)
        disc.seek(16 * 2048)
        disc.write(made[16 * 2048 : 18 * 2048])
    assert sessions(image) == (1_000_000, 1_001_600)


def test_images_inside_of_files_are_no_sessions(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    for name in ("inner.iso", "another.iso"):
        run("genisoimage", "-quiet", "-r", "-o", tmp_path / name, tree)
        (tmp_path / name).rename(tree / name)
    run("xorriso", "-dev", f"stdio:{tree / 'grown.iso'}", "-map", tree / "folder", "/")
    run("xorriso", "-dev", f"stdio:{tree / 'grown.iso'}", "-map", tree / "big", "/big")
    for writer in (("genisoimage", "-quiet"), ("xorriso", "-as", "mkisofs", "-quiet")):
        image = tmp_path / f"outer {writer[0]}.iso"
        run(*writer, "-r", "-o", image, tree)
        assert sessions(image) == (0,)


def test_a_file_that_pretends_to_be_a_session_of_its_disc_is_none(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    run("genisoimage", "-quiet", "-r", "-o", tmp_path / "model.iso", tree)
    (tree / "zz decoy").write_bytes((tmp_path / "model.iso").read_bytes()[: 40 * 2048])
    image = tmp_path / "x.iso"
    run("genisoimage", "-quiet", "-r", "-o", image, tree)
    whole = bytearray(image.read_bytes())
    at = whole.find(b"\x01CD001\x01", 17 * 2048)
    assert at % 2048 == 0 and at > 17 * 2048
    whole[at : at + 2048] = whole[16 * 2048 : 17 * 2048]  # the very descriptor of this disc: its tree lies before it
    image.write_bytes(whole)
    assert sessions(image) == (0,)


def test_a_session_with_an_unread_root_is_still_one(tmp_path: Path) -> None:
    image = two_sessions(tmp_path, 12_000, "genisoimage", "-quiet")
    start = 12_000 * 2048
    whole = image.read_bytes()
    root = int.from_bytes(whole[start + 16 * 2048 + 158 :][:4], "little") * 2048
    assert root > start
    source = source_of(image, ((root, root + 2048),))
    assert find_sessions(source, 0, source.size_bytes) == (0, start)


def test_blocks_count_from_where_the_disc_begins_in_the_image(tmp_path: Path) -> None:
    image = two_sessions(tmp_path, 12_000, "genisoimage", "-quiet")
    moved = tmp_path / "moved.iso"
    moved.write_bytes(bytes(7 * 512) + image.read_bytes())
    source = source_of(moved)
    assert find_sessions(source, 7 * 512, image.stat().st_size) == (0, 12_000 * 2048)


def test_without_any_descriptor_there_is_the_ordinary_place(tmp_path: Path) -> None:
    image = tmp_path / "zeros"
    image.write_bytes(bytes(100_000))
    assert find_sessions(source_of(image), 0, 100_000) == (0,)
    assert find_sessions(source_of(image), 0, 10 << 30) == (0,)
