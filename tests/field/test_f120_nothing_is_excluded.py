"""F120: every name with `#` was excluded by a default pattern."""

from __future__ import annotations

from pathlib import Path

from catalogue import Catalogue
from media_images import ext4_image, written

SUSPECTS = (
    "#", "#autosave#", "a#b", "dir#/in it", ".DS_Store", "._resource", "Thumbs.db", "desktop.ini", "core", "x.tmp",
    "x.bak", "x~", "~$letter.doc", ".hidden", ".git/config", ".Trash-1000/files/x", "$RECYCLE.BIN/x",
    "System Volume Information/x", "pagefile.sys", "lost+found/x", "__MACOSX/x", "CVS/Entries", "node_modules/x",
    ".nomedia", "*", "?", "[a]", "NUL", "CON.txt", "proc/x", "dev/x", "tmp/x", ".ntt", "x.part",
)  # fmt: skip


def test_f120_nothing_is_excluded_by_its_name(catalogue: Catalogue, tmp_path: Path) -> None:
    contents: dict[str | bytes, bytes] = {name: name.encode() for name in SUSPECTS}
    report = catalogue.one(ext4_image(tmp_path / "stick.img", written(tmp_path / "tree", contents)))
    assert catalogue.files(report.medium_hash) == {str(name).encode(): content for name, content in contents.items()}
    assert (report.files, report.failed, report.damaged) == (len(SUSPECTS), 0, 0)
    assert report.problems == ()
