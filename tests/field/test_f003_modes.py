"""F003: the files of the store were unreadable for others, because root's umask had made them."""

from __future__ import annotations

import stat
from pathlib import Path

from catalogue import Catalogue
from media_images import MIB, ext4_image, noise, written


def test_f003_modes_are_the_same_under_any_umask(catalogue: Catalogue, tmp_path: Path) -> None:
    tree = written(tmp_path / "tree", {"small": b"small", "large": noise(MIB + 1), "program": b"#!/bin/sh\n"})
    (tree / "program").chmod(0o4755)
    (tree / "large").chmod(0o777)
    ended = catalogue.command("ingest", ext4_image(tmp_path / "stick.img", tree), umask=0o077)
    assert ended.status == 0, ended.stderr
    stored = [path for path in (catalogue.store, *catalogue.store.rglob("*"))]
    files = {path: stat.S_IMODE(path.stat().st_mode) for path in stored if path.is_file()}
    assert len(files) == 2, "a pack and a plain file"
    assert set(files.values()) == {0o444}
    assert {stat.S_IMODE(path.stat().st_mode) for path in stored if path.is_dir()} == {0o755}
    (archive,) = (catalogue.home / "archives").iterdir()
    assert stat.S_IMODE(archive.stat().st_mode) == 0o444
    modes = {path: one.mode for (_, path), one in catalogue.tree(catalogue.media()[0]["medium_hash"]).items()}
    assert stat.S_IMODE(modes[b"program"]) == 0o4755, "the modes on the medium are kept in the catalogue"
