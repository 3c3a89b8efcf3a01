"""How cdparanoia is asked, and what it says: also in pieces, and whatever comes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ntt.tools.cdparanoia import ProgressLines, rip_argv, version_of

SAID = (
    b"Sending all callbacks to stderr for wrapper script\n"
    b"##: 0 [read] @ 58800\n##: 1 [verify] @ 60000\n##: -2 [wrote] @ 1175\n##: -2 [wrote] @ 117599\n"
    b"##: 3 [correction] @ 70000\n##: 5 [scratch repair] @ 70001\n##: 6 [skip] @ 82320\n##: 6 [skip] @ 82321\n"
    b"##: 12 [transport error] @ 90000\n##: -1 [finished] @ 117599\n\nDone.\n\n"
)


def test_a_track_is_asked_for_whole() -> None:
    argv = rip_argv(Path("/dev/sr1"), 7, Path("/images/-x/07.wav"))
    assert argv[0] == "cdparanoia"
    assert argv[-5:] == ["--force-cdrom-device", "/dev/sr1", "--", "7", "/images/-x/07.wav"]


def test_what_it_says_is_understood() -> None:
    lines = ProgressLines()
    now = lines.feed(SAID)
    assert (now.sector, now.corrections, now.skips, now.errors, now.finished) == (100, 2, (70,), 1, True)
    assert lines.last_words == "Done."


@given(st.lists(st.integers(0, len(SAID)), max_size=12))
def test_in_pieces_it_says_the_same(cuts: list[int]) -> None:
    lines = ProgressLines()
    places = [0, *sorted(cuts), len(SAID)]
    for start, end in pairwise(places):
        now = lines.feed(SAID[start:end])
    assert now == ProgressLines().feed(SAID)


@given(st.lists(st.binary(max_size=60) | st.sampled_from([b"##: -2 [wrote] @ ", b"99999999999999999999\n", b"\r"])))
def test_nothing_that_comes_makes_it_fail_or_go_back(pieces: list[bytes]) -> None:
    lines = ProgressLines()
    sectors = [lines.feed(piece).sector for piece in pieces]
    assert sectors == sorted(sectors)


def test_what_never_ends_a_line_is_forgotten() -> None:
    lines = ProgressLines()
    for _ in range(100):
        lines.feed(b"x" * 10_000)
    assert lines.feed(b"\n##: -2 [wrote] @ 1175\n").sector == 1


def test_its_version_is_told() -> None:
    assert version_of("cdparanoia III release 10.2 (September 11, 2008)\n") == "III release 10.2"
    assert version_of("bash: cdparanoia: command not found") is None
