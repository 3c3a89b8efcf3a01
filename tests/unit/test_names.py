"""Names are bytes: exact in JSON whatever they are, and never able to control a terminal."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntt.names import as_text, exact, is_text, json_printable, printable

CONTROL = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
ANY_TEXT = st.text(st.characters(codec=None))


def assert_harmless(shown: str) -> None:
    assert not [c for c in shown if unicodedata.category(c) in CONTROL]
    shown.encode()


@given(st.binary())
def test_no_bytes_control_a_terminal(name: bytes) -> None:
    assert_harmless(printable(name))


@given(ANY_TEXT)
def test_no_text_controls_a_terminal(text: str) -> None:
    assert_harmless(printable(text))


def test_not_one_character_of_unicode_gets_through_that_could() -> None:
    assert_harmless(printable("".join(map(chr, range(sys.maxunicode + 1)))))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"plain name.txt", "plain name.txt"),
        ("Grüße 日本語".encode(), "Grüße 日本語"),
        (b"\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"),
        (b"two\nlines\r\tand a tab", r"two\nlines\r\tand a tab"),
        (b"back\\slash", r"back\\slash"),
        (b"literal \\n", r"literal \\n"),
        (b"\xff\xfe", r"\xff\xfe"),
        (b"caf\xe9", r"caf\xe9"),
        (b"\x9b31m as Latin-1", r"\x9b31m as Latin-1"),
        ("\u009b31m".encode(), r"\x9b31m"),
        ("gpj.\u202eexe".encode(), r"gpj.\u202eexe"),
        ("\u2028".encode(), r"\u2028"),
        ("\U000e0041".encode(), r"\U000e0041"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),
        (b"\0", r"\x00"),
    ],
)
def test_what_could_is_shown_escaped(name: bytes, shown: str) -> None:
    assert printable(name) == shown


@given(st.binary())
def test_a_name_can_be_had_exactly_from_its_json(name: bytes) -> None:
    encoded = exact(name)
    assert (as_text(name).encode() if encoded is None else b64decode(encoded)) == name
    assert (encoded is None) == is_text(name)
    assert "\0" not in as_text(name), "PostgreSQL and many a reader of JSON do not take it"


def test_only_what_is_no_text_is_given_twice() -> None:
    assert exact("Grüße\n\x1b".encode()) is None
    assert exact(b"caf\xe9") == "Y2Fm6Q=="
    assert as_text(b"caf\xe9") == "caf\N{REPLACEMENT CHARACTER}"
    assert re.fullmatch("[^\0]*", as_text(b"a\0b"))


def test_json_holds_nothing_that_controls_a_terminal_and_means_the_same() -> None:
    value = {"label": "a\u009b31m \u202e cba \U000e0041 é \n \x1b[2J"}
    shown = json_printable(json.dumps(value, ensure_ascii=False))
    assert json.loads(shown) == value
    assert "é" in shown
    assert not any(character in shown for character in "\u009b\u202e\U000e0041\x1b")
