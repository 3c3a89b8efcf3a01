"""Directories below a mount whose numbers say nothing: one that holds itself is known by what it shows."""

from __future__ import annotations

import stat

from ntt.mounts.directories import Folder, Looks


def looks(*names: bytes) -> Looks:
    found = Looks()
    for name in names:
        found.add(name, stat.S_IFDIR | 0o755, 4096, 1_000_000_000)
    return found


def test_a_directory_that_shows_what_one_above_it_shows_holds_itself() -> None:
    top = Folder(None, b"", 1)
    inner = Folder(top, b"a", 2)
    again = Folder(inner, b"b", 3)
    assert not top.holds_itself(looks(b"a", b"file"))
    assert not inner.holds_itself(looks(b"b", b"other"))
    assert again.holds_itself(looks(b"file", b"a")), "the order of the names does not matter"


def test_a_chain_of_directories_that_hold_nothing_else_is_followed_far() -> None:
    folder = Folder(None, b"", 1)
    deep = 0
    while not folder.holds_itself(looks(b"d")):
        folder = Folder(folder, b"d", deep)
        deep += 1
    assert deep == 4096


def test_empty_directories_are_like_no_other() -> None:
    top = Folder(None, b"", 1)
    assert not top.holds_itself(looks())
    assert not Folder(top, b"a", 2).holds_itself(looks())
