"""F013: COPY died at row 2,492,007 of 3,000,636, because of control characters in a name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from catalogue import Catalogue
from media_images import contents_below, ext4_image, iso_image, written

EVERY_BYTE = [bytes([byte]) for byte in range(1, 256) if byte != 0x2F]
NAMES = [
    *(b"name " + byte for byte in EVERY_BYTE),
    *(byte + b" name" for byte in EVERY_BYTE),
    b"tab\tline\ncarriage\rboth\r\n",
    b"back\\slash",
    b"\\N",
    b"\\.",
    b"'single' \"double\" `back`",
    b'{curly,"array"}',
    b"latin1-caf\xe9",
    b"half \xc3",
    b"surrogate \xed\xa0\x80",
    b"overlong \xc0\xaf",
    "e\u0301 and \u00e9".encode(),
    "right \u202eto left".encode(),
    b"\x1b]0;title\x07\x1b[2J",
    b" ",
    b"-rf",
    b"...",
]


@pytest.mark.parametrize("make", [ext4_image, iso_image])
def test_f013_names_are_bytes(catalogue: Catalogue, tmp_path: Path, make: Callable[[Path, Path], Path]) -> None:
    tree = written(tmp_path / "tree", {b"names/" + name: b"content of " + name for name in NAMES})
    if make is ext4_image:
        tree = written(tree, {b"\xff" * 255: b"longest"})
    source = contents_below(tree)
    report = catalogue.one(make(tmp_path / "medium.img", tree))
    paths = set(catalogue.paths(report.medium_hash)) - {b"lost+found"}
    assert paths == set(source)
    assert report.files == len([content for content in source.values() if content is not None])
    stored = catalogue.files(report.medium_hash)
    assert stored == {path: content for path, content in source.items() if content is not None}
    restored = contents_below(catalogue.restored(report.medium_hash))
    restored.pop(b"lost+found", None)
    assert restored == source
