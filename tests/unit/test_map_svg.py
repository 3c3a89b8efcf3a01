"""A surface as an SVG file: valid XML that needs nothing else, and tells of each place what hovering asks for."""

from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ET

from surfaces import CELLS as FINE
from surfaces import drawn, every_look, medium_of, surface_with, volume_at

from ntt.db.surface import HitFile
from ntt.map_svg import CELLS, COLUMNS, svg_lines, told
from ntt.model import LostStructure
from ntt.operations.surface import Kind, State, SurfaceMap
from ntt.operations.surface_looks import COLOURS, LETTERS

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = b"<script>alert(1)</script>&\"'\x00\x1b[31m\xff]]>\xe2\x80\xae\xef\xbf\xbe.bin"


def tree_of(surface: SurfaceMap) -> ET.Element:
    return ET.fromstring("\n".join(svg_lines(surface)))


def places(root: ET.Element) -> list[tuple[str, str]]:
    """(class, title) of every place of the picture, in order."""
    found = []
    for rect in root.iter(f"{SVG}rect"):
        title = rect.find(f"{SVG}title")
        if title is not None:
            found.append((rect.attrib["class"], title.text or ""))
    return found


def test_every_place_has_the_class_of_its_state_and_kind_and_tells_its_bytes() -> None:
    surface = every_look()
    found = places(tree_of(surface))
    assert [style for style, _ in found] == [f"{cell.state}-{cell.kind}" for cell in surface.cells]
    assert [style for style, _ in found[:16]] == [f"{state}-{kind}" for state in State for kind in Kind]
    assert found[0][1] == "bytes 0-1,023\nrescued; holds structures"
    assert found[2][1] == "bytes 2,048-3,071\nrescued; holds unknown"
    assert found[13][1] == (
        "bytes 13,312-14,335\n1,024 bad\nunread in structures 0, files 1,024, free space 0, unknown 0\n"
        "1,024 of file a <file> & more"
    )
    assert "inode table, volume 0" in found[12][1]
    assert found[15][1].endswith("volume 2")


def test_the_legend_and_the_styles_hold_every_colour_and_the_letters_of_what_is_unread() -> None:
    root = tree_of(every_look())
    (style,) = ["".join(element.itertext()) for element in root.iter(f"{SVG}style")]
    for (state, kind), colour in COLOURS.items():
        assert f".{state}-{kind}{{fill:{colour}}}" in style
    legend = [
        rect.attrib["class"].removeprefix("o ") for rect in root.iter(f"{SVG}rect") if rect.attrib.get("width") == "24"
    ]
    assert legend == [f"{state}-{kind}" for state in State for kind in Kind]
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert {"4,096 bytes4.0 KiB", "3,072 bytes3.0 KiB", "12,288 bytes12.0 KiB"} <= set(texts), "exact ones in titles"
    for state in State:
        for kind in Kind:
            assert (LETTERS[state, kind] in texts) is (state is not State.RESCUED)
    assert {"rescued", "never tried", "unfinished", "bad", "structures", "files", "unknown", "free"} <= set(texts)


def test_the_file_needs_nothing_else_and_runs_nothing() -> None:
    document = "\n".join(svg_lines(every_look()))
    assert document.startswith('<?xml version="1.0" encoding="UTF-8"?>')
    assert not re.search(r"href|url\(|<script|<image|<foreignObject|@import|\bon\w+=", document)
    root = ET.fromstring(document)
    assert {element.tag for element in root.iter()} <= {f"{SVG}{t}" for t in ("svg", "style", "rect", "title", "text")}
    assert "width" not in root.attrib, "it takes what room there is"


def test_hostile_names_stay_text() -> None:
    unread = ((512, 1536),)
    files = [HitFile(0, 9, True, 100, ((512, 1536),))]
    lost = [(0, LostStructure("dir<ectory\x07", 9, True, ((600, 700),)))]
    human = "label </title><script> \x1b]0;owned\x07 " + "x" * 200
    surface = drawn(surface_with(medium_of(4096, unread, human=human), [], {}, lost, files), 8, {(0, 9): HOSTILE})
    document = "\n".join(svg_lines(surface))
    assert all(character >= " " or character == "\n" for character in document)
    assert "\u202e" not in document
    assert "<script" not in document
    root = ET.fromstring(document)
    title = places(root)[1][1]
    assert "file <script>alert(1)</script>&\"'\\x00\\x1b[31m\\xff]]>\\u202e" in title
    assert "dir<ectory\\x07 “" in title
    assert "(only a spare)" in title
    whole = [title.text for text in root.iter(f"{SVG}text") for title in text.findall(f"{SVG}title")]
    assert any(text is not None and "</title><script> \\x1b]0;owned\\x07" in text for text in whole)


def test_a_place_that_many_files_share_names_three_and_counts_the_others() -> None:
    files = [HitFile(0, n, False, n, ((0, n),)) for n in range(1, 9)]
    surface = drawn(surface_with(medium_of(4096, ((0, 512),)), [], {}, [], files), 8)
    assert told(surface.cells[0]).splitlines()[-4:] == [
        "8 of file inode 8", "7 of file inode 7", "6 of file inode 6", "+5 more files",
    ]  # fmt: skip


def test_a_medium_of_one_sector_and_an_empty_one_are_drawn() -> None:
    for size_bytes, count in ((0, 0), (1, 1), (512, 1), (1_474_560, CELLS)):
        assert len(places(tree_of(drawn(surface_with(medium_of(size_bytes)), CELLS)))) == count


def test_rows_are_full_and_nothing_leaves_the_page() -> None:
    root = tree_of(drawn(surface_with(medium_of(1 << 30, ((0, 1 << 20),))), CELLS))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for rect in root.iter(f"{SVG}rect"):
        left, top = float(rect.attrib.get("x", 0)), float(rect.attrib.get("y", 0))
        assert 0 <= left <= left + float(rect.attrib["width"]) <= width
        assert 0 <= top <= top + float(rect.attrib["height"]) <= height
    rows = {rect.attrib["y"] for rect in root.iter(f"{SVG}rect") if rect.find(f"{SVG}title") is not None}
    assert len(rows) == CELLS // COLUMNS
    assert max(float(text.attrib["y"]) for text in root.iter(f"{SVG}text")) <= height


def test_a_hundred_thousand_damaged_files_make_a_file_of_a_browser_s_size() -> None:
    size_bytes, count = 1 << 32, 100_000
    step = size_bytes // count
    files = [HitFile(0, n, False, 512, ((n * step, n * step + 512),)) for n in range(count)]
    unread = tuple(piece for file in files for piece in file.unread)
    surface = surface_with(
        medium_of(size_bytes, unread), [volume_at(0, 0, size_bytes)], {0: ()}, [], files, b"\2" * FINE
    )
    began = time.process_time()
    picture = drawn(surface, CELLS, {(0, n): b"folder/%d" % n * 10 for n in range(count)})
    document = "\n".join(svg_lines(picture))
    assert time.process_time() - began < 4
    assert len(document) < 4 << 20
    assert len(places(ET.fromstring(document))) == CELLS


def test_what_the_picture_does_not_know_is_told() -> None:
    files = [HitFile(0, 9, False, 1024, ())]
    root = tree_of(drawn(surface_with(medium_of(8192, image_bytes=6000), [], {}, [], files), 16))
    texts = " ".join("".join(text.itertext()) for text in root.iter(f"{SVG}text"))
    assert "no map came with the image" in texts
    assert "where 1 file is hit is not known" in texts
