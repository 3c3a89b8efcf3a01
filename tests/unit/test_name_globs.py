r"""Globs over names that are bytes: `*`, `?` and `\xNN` mean what is written of them, also to PostgreSQL's index."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntt.db.name_globs import parse_glob
from ntt.names import printable


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (b"plain.txt", b"plain.txt"),
        (b"gr\xc3\xbc\xc3\x9f", b"gr\xc3\xbc\xc3\x9f"),
        (rb"caf\xe9", b"caf\xe9"),
        (rb"a\nb\rc\td", b"a\nb\rc\td"),
        (rb"what\?", b"what?"),
        (rb"a\\b", rb"a\b"),
        (rb"C:\foo", rb"C:\foo"),
        (rb"\x5", rb"\x5"),
        (b"foo[1].htm", b"foo[1].htm"),
        (rb"\u202e\U0001f600", "\u202e\U0001f600".encode()),
        (rb"\Uffffffff", rb"\Uffffffff"),
    ],
)
def test_a_text_without_wildcards_is_one_name(asked: bytes, name: bytes) -> None:
    assert parse_glob(asked).exact == name


@given(st.binary(min_size=1, max_size=40).filter(lambda name: not {0x2A, 0x3F} & set(name)))
def test_a_name_is_found_under_the_escapes_that_it_is_shown_with(name: bytes) -> None:
    text = name.decode("utf-8", "surrogateescape")
    if any(0x80 <= ord(character) < 0x100 and printable(character) != character for character in text):
        return  # shown as a byte would be: a control character of Latin-1, a soft hyphen
    assert parse_glob(printable(name).encode()).exact == name


def test_what_a_glob_begins_with_bounds_the_index() -> None:
    glob = parse_glob(b"foto\xff*")
    assert (glob.exact, glob.prefix, glob.first, glob.behind) == (None, b"foto\xff", b"foto\xff", b"fotp")
    assert parse_glob(b"a name that is long*").behind == b"a name that j"
    assert parse_glob(rb"\xff\xff*").behind is None
    assert (parse_glob(b"*.doc").first, parse_glob(b"*.doc").behind) == (b"", None)


def test_like_takes_its_own_wildcards_for_what_they_are() -> None:
    assert parse_glob(b"100%_*\\\\**").like == rb"100\%\_%\\%"
