"""A surface as lines on a terminal: places, letters, colours and what is said above them."""

from __future__ import annotations

import itertools
import time
import tracemalloc

import pytest
from rich.color import Color, ColorSystem
from surfaces import CELLS, drawn, every_look, map_text_of, medium_of, surface_with, volume_at

from ntt.db.surface import HitFile
from ntt.map_text import LABEL_COLUMNS, Span, head_lines, legend_rows, list_lines, map_rows, picture_rows, picture_size
from ntt.model import LostStructure
from ntt.operations.surface import ByKind, Kind, State, SurfaceMap
from ntt.operations.surface_looks import COLOURS, LETTERS, letter_of
from ntt.operations.surface_plot import Parts, Plot, Worst
from ntt.ranges import Ranges, total
from ntt.tools.mapfile import parse_mapfile
from ntt.tools.unread_blocks import unread_blocks

KIB = 1024
# Machado, Oliveira, Fernandes: "A Physiologically-based Model for Simulation of Color Vision Deficiency", 2009,
# at full severity: protanopia, deuteranopia, tritanopia; in linear RGB
SIGHTS = (
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
)
Sight = tuple[tuple[float, ...], ...]


def text_of(row: tuple[Span, ...]) -> str:
    return "".join(span.text for span in row)


def summary_lines(surface: SurfaceMap) -> list[str]:
    return [*head_lines(surface), *list_lines(surface)]


def letters(surface: SurfaceMap) -> str:
    return "".join(map(letter_of, surface.cells))


# ---------------------------------------------------------------- what is counted


def test_every_state_and_kind_has_a_letter_and_a_colour_of_its_own() -> None:
    looks = list(itertools.product(State, Kind))
    assert list(LETTERS) == list(COLOURS) == looks
    assert len(set(LETTERS.values())) == len(set(COLOURS.values())) == len(looks) == 16
    assert letters(every_look())[:16] == "=:-.1234tfneTFNE"


def seen(colour: str, sight: Sight) -> tuple[float, float, float]:
    """CIE 1976 L*a*b* of an sRGB colour as somebody sees it."""
    values = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    red, green, blue = (min(max(sum(a * b for a, b in zip(row, linear, strict=True)), 0), 1) for row in sight)
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883
    fx, fy, fz = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


@pytest.mark.parametrize("sight", SIGHTS, ids=["all cones", "no red", "no green", "no blue"])
def test_the_colours_stay_apart_for_everybody(sight: Sight) -> None:
    places = {look: seen(colour, sight) for look, colour in COLOURS.items()}
    for one, other in itertools.combinations(places, 2):
        apart = sum((a - b) ** 2 for a, b in zip(places[one], places[other], strict=True)) ** 0.5
        assert apart >= 14, (one, other)


def test_the_colours_stay_different_where_a_terminal_has_only_256() -> None:
    shown = {Color.parse(colour).downgrade(ColorSystem.EIGHT_BIT).number for colour in COLOURS.values()}
    assert len(shown) == 16


def test_the_parts_of_a_surface_follow_each_other_and_none_is_below_a_sector() -> None:
    for size_bytes, wanted in ((1_474_560, 4096), (10_000_019, 4096), (513, 7), (1, 1), (1 << 43, 100)):
        parts = Parts(size_bytes, wanted)
        assert 1 <= parts.count <= wanted
        begins = [parts.begins(part) for part in range(parts.count + 1)]
        assert (begins[0], begins[-1]) == (0, size_bytes)
        assert begins == sorted(set(begins))
        for part in range(parts.count):
            assert parts.at(begins[part]) == parts.at(begins[part + 1] - 1) == part
    assert Parts(1_474_560, 4096).count == 2880
    assert drawn(surface_with(medium_of(0)), 64).cells == ()


def test_unread_blocks_are_those_that_the_strict_parser_finds() -> None:
    text = "\r\n".join(
        [
            "# Mapfile", "0x120 ? 1", "# pos size status", "0x200 0x100 +", "  0x300\t512 -  # bad", "02400 01000 /",
            "1792 0x100 *", "", "2048 1 ?", "2049 0xFF +",
        ]
    )  # fmt: skip
    mapfile = parse_mapfile(text, "map")
    found = list(unread_blocks(text))
    strict = [(b.start, b.start + b.size, b.status) for b in mapfile.blocks if b.status != "+"]
    assert found == [(0, 0x200, "?"), *strict]


def test_a_map_that_the_quick_reader_does_not_understand_leaves_nothing_looking_rescued() -> None:
    unread = ((0, 1024), (4096, 8192))
    text = map_text_of((0, 1024, "-"), (1024, 4096, "+"), (4096, 8192, "-"), (8192, 16384, "+")).replace("\n", "\r")
    assert parse_mapfile(text, "map").unread == unread
    surface = drawn(surface_with(medium_of(16384, unread, text)), 32)
    assert (surface.bytes.unread, surface.bytes.rescued) == (5120, 16384 - 5120)
    assert [cell.state is not State.RESCUED for cell in surface.cells] == [
        at in (0, 1, *range(8, 16)) for at in range(32)
    ]


def test_without_a_map_what_lies_behind_the_end_of_the_image_is_unread() -> None:
    surface = drawn(surface_with(medium_of(8192, image_bytes=6000)), 16)
    assert surface.bytes.untried == 2192
    assert [cell.bytes.untried for cell in surface.cells[10:]] == [0, 144, 512, 512, 512, 512]


def test_what_is_free_on_one_volume_and_unknown_on_another_is_not_called_free() -> None:
    unread = ((0, 8192),)
    volumes = [volume_at(0, 0, 6144), volume_at(1, 4096, 8192)]
    surface = drawn(surface_with(medium_of(8192, unread), volumes, {0: ((1024, 2048),), 1: None}), 16)
    assert surface.unread == ByKind(structures=0, files=1024, unknown=4096, free=3072)
    assert [cell.kind for cell in surface.cells] == (
        [Kind.FREE] * 2 + [Kind.FILES] * 2 + [Kind.FREE] * 4 + [Kind.UNKNOWN] * 8
    )
    assert [cell.volume for cell in surface.cells] == [0] * 12 + [1] * 4


def test_a_byte_of_structures_is_not_counted_again_as_a_file() -> None:
    unread = ((512, 1536),)
    lost = [(0, LostStructure("directory", 5, False, ((512, 1024),)))]
    files = [HitFile(0, 9, False, 100, ((700, 1536),))]
    surface = drawn(surface_with(medium_of(4096, unread), [], {}, lost, files), 8, {(0, 5): b"folder"})
    assert surface.unread == ByKind(structures=512, files=512, unknown=0, free=0)
    assert [cell.kind for cell in surface.cells[1:3]] == [Kind.STRUCTURES, Kind.FILES]
    assert surface.cells[1].structures[0].words == "directory “folder”, volume 0"
    assert [file.lost_bytes for cell in surface.cells[1:3] for file in cell.files] == [324, 512]


def test_an_older_hit_that_was_read_since_colours_nothing() -> None:
    files = [HitFile(0, 9, False, 1024, ((0, 1024),))]
    surface = drawn(surface_with(medium_of(4096, ((512, 1024),)), [], {}, [], files), 8)
    assert [cell.state for cell in surface.cells[:2]] == [State.RESCUED, State.UNTRIED]
    assert surface.unread.files == 512


def test_the_worst_of_a_place_are_those_that_lose_most_there_and_all_are_counted() -> None:
    parts = Parts(4096, 4)
    owners: list[Ranges] = [
        ((0, 100), (200, 300), (1000, 4096)), ((0, 150),), ((0, 4096),), ((50, 60),), ((0, 160), (1024, 1025)), (),
    ]  # fmt: skip
    worst = Worst(parts, owners)
    assert worst.of[0] == [(1024, 2), (224, 0), (160, 4)]
    assert worst.of[1] == [(1024, 0), (1024, 2), (1, 4)]
    assert worst.counts == [5, 3, 2, 2]


def test_a_hundred_thousand_files_over_the_whole_surface_cost_no_more_than_their_number() -> None:
    count = 100_000
    began = time.process_time()
    worst = Worst(Parts(1 << 32, CELLS), [((0, 1 << 32),)] * count)
    assert time.process_time() - began < 5
    assert set(worst.counts) == {count}
    assert {tuple(owner for _, owner in of) for of in worst.of[1:-1]} == {(0, 1, 2)}


def test_a_million_blocks_and_a_hundred_thousand_hits_are_drawn_at_once_and_in_little_memory() -> None:
    blocks, sector = 1_000_000, 2048
    size_bytes = blocks * sector
    text = "# Mapfile\n0x0 ? 1\n" + "".join(
        f"0x{at * sector:08X}  0x{sector:08X}  {'+-+*+-+?'[at % 8]}\n" for at in range(blocks)
    )
    files = [
        HitFile(0, n, False, sector, ((10 * n * sector + sector, 10 * n * sector + 2 * sector),))
        for n in range(100_000)
    ]
    medium = medium_of(size_bytes, (), text, unread_bytes=size_bytes // 2)
    surface = surface_with(medium, [volume_at(0, 0, size_bytes)], {0: ()}, [], files, bytes([2]) * CELLS)
    began = time.process_time()
    picture = drawn(surface, CELLS)
    rows = list(map_rows(picture, 64, coloured=True, width=80, height=60))
    took_s = time.process_time() - began
    assert (picture.bytes.bad, picture.bytes.untried, picture.bytes.unfinished) == (
        size_bytes // 4, size_bytes // 8, size_bytes // 8,
    )  # fmt: skip
    assert picture.unread.files + picture.unread.free == size_bytes // 2
    assert len(rows) > 32
    assert took_s < 2 * 2, "twice the two seconds of a machine that has nothing else to do"
    fewer = medium_of(size_bytes, (), text[: len(text) // 4], unread_bytes=size_bytes // 8)
    tracemalloc.start()
    Plot(surface_with(fewer, surface.volumes, {0: ()}), CELLS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20, "the blocks are not held"


# ---------------------------------------------------------------- what is shown


def test_a_place_with_colours_shows_two_parts_and_one_with_letters_one() -> None:
    surface = every_look(24)
    (first, second) = picture_rows(surface.cells, 8, coloured=True)
    assert text_of(first)[LABEL_COLUMNS:] == "▀" * 8
    assert (first[1].front, first[1].back) == (
        COLOURS[State.RESCUED, Kind.STRUCTURES],
        COLOURS[State.UNFINISHED, Kind.STRUCTURES],
    )
    assert (text_of(second)[LABEL_COLUMNS:], second[-1].back) == ("▀" * 8, "")
    assert [text_of(row) for row in picture_rows(surface.cells, 8, coloured=False)] == [
        "    0 bytes =:-.1234",
        "    8.0 KiB tfneTFNE",
        "   16.0 KiB ........",
    ]


def test_the_legend_holds_every_letter_and_every_colour() -> None:
    plain = "\n".join(text_of(row) for row in legend_rows(coloured=False))
    assert set("".join(LETTERS.values())) <= set(plain)
    assert all(word in plain for word in ("rescued", "never tried", "unfinished", "bad", *Kind))
    coloured = [span.front for row in legend_rows(coloured=True) for span in row if span.front]
    assert coloured == list(COLOURS.values())


@pytest.mark.parametrize("coloured", [True, False])
def test_a_terminal_of_24_lines_of_80_holds_the_worst_case(coloured: bool) -> None:
    name = b"deep/" * 30 + "\u30d5\u30a1\u30a4\u30eb".encode() + b"\x1b[31m.bin"
    size_bytes = 1 << 43
    files = [HitFile(0, n, n % 2 == 0, size_bytes - n, ((512 * n, size_bytes),)) for n in range(30)]
    lost = [(0, LostStructure("extent tree", n, False, ((n * 512, size_bytes - 1),))) for n in range(30)]
    surface = surface_with(
        medium_of(size_bytes, ((512, size_bytes),), None, human="label " * 40),
        [],
        {},
        lost,
        [*files, HitFile(0, 31, False, 1, ())],
    )
    columns, rows = picture_size(80, 24)
    picture = drawn(surface, columns * rows * (2 if coloured else 1), {(0, n): name for n in range(40)})
    shown = [text_of(row) for row in map_rows(picture, columns, coloured=coloured, width=80, height=24)]
    assert (columns, rows) == (64, 7)
    assert len(shown) <= 23
    assert all(len(line) + sum(character > "\u3000" for character in line) <= 80 for line in shown)
    assert "\x1b" not in "".join(shown)
    assert any(line.endswith("\\x1b[31m.bin") for line in shown), "the end of a long name is what tells it from others"


def test_the_summary_tells_health_bytes_kinds_and_the_worst_files() -> None:
    assert summary_lines(every_look()) == [
        "medium 9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a  box 12, disc 3: incomplete",
        "  81.25 % of 64.0 KiB rescued; bytes bad 4,096, unfinished 4,096, never tried",
        "    4,096",
        "  unread bytes in structures 3,072, files 3,072, free space 3,072, unknown 3,072",
        "1 file is not whole:",
        "           3,072 bytes  a <file> & more",
        "1 piece of a file system not read:",
        "           3,072 bytes  inode table, volume 0",
    ]


def test_what_is_not_all_rescued_is_never_called_100_percent() -> None:
    size_bytes = 1 << 40
    surface = drawn(surface_with(medium_of(size_bytes, ((0, 1),))), 16)
    assert "  99.99 % of" in "\n".join(summary_lines(surface))
    whole = drawn(surface_with(medium_of(size_bytes, (), map_text_of((0, size_bytes, "+")), health="ok")), 16)
    assert "every byte was read" in "\n".join(summary_lines(whole))
    assert "no map" not in "\n".join(summary_lines(whole))


def test_doubts_are_told() -> None:
    files = [HitFile(0, 9, False, 1024, ())]
    said = "\n".join(summary_lines(drawn(surface_with(medium_of(8192, image_bytes=6000), [], {}, [], files), 16)))
    assert "no map came with the image" in said
    assert "where 1 file is hit is not known" in said
    assert "inode 9" in said


def test_the_sums_of_the_parts_are_those_of_the_medium() -> None:
    surface = every_look()
    assert sum(cell.bytes.unread for cell in surface.cells) == surface.bytes.unread == total(((4 * KIB, 16 * KIB),))
    for kind in ("structures", "files", "free", "unknown"):
        parts = sum(getattr(cell.unread, kind) for cell in surface.cells if cell.unread is not None)
        assert parts == getattr(surface.unread, kind)
