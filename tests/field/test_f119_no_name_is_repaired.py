"""F119: names with a literal backslash-n or a carriage return were "repaired"."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from catalogue import Catalogue
from media_images import contents_below, ext4_image, iso_image, written

CONTENTS: dict[str | bytes, bytes] = {
    b"\\n.plist": b"backslash, n",
    b"\n.plist": b"line feed",
    b"n.plist": b"n",
    b"a\rb": b"carriage return",
    b"a\\rb": b"backslash, r",
    b"ab": b"neither",
    b"Icon\r": b"custom icon",
    b"Icon": b"icon",
    b"folder\r/Icon\r": b"icon of a folder",
}


@pytest.mark.parametrize("make", [ext4_image, iso_image])
def test_f119_such_names_stay_what_they_are(
    catalogue: Catalogue, tmp_path: Path, make: Callable[[Path, Path], Path]
) -> None:
    report = catalogue.one(make(tmp_path / "medium.img", written(tmp_path / "tree", CONTENTS)))
    assert catalogue.files(report.medium_hash) == CONTENTS
    restored = contents_below(catalogue.restored(report.medium_hash))
    assert {path: content for path, content in restored.items() if content is not None} == CONTENTS
