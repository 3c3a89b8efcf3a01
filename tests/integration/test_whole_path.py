"""Two thousand files on each kind of medium -> ingested, restored, audited: what comes out is what went in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from blake3 import blake3
from catalogue import Catalogue
from media_images import ext4_image, fat32_image, noise, ntfs_image, written, xorriso_image
from source_tree import EXT4, FAT32, FILES, ISO, NTFS, FileSystem, make_tree, tree_below


@dataclass(frozen=True, slots=True)
class Kind:
    file_system: FileSystem
    fstype: str
    make: Callable[[Path, Path], Path]


KINDS = {
    "ext4": Kind(EXT4, "ext4", lambda image, tree: ext4_image(image, tree, 64)),
    "fat32": Kind(FAT32, "fat32", lambda image, tree: fat32_image(image, tree, 64)),
    "ntfs": Kind(NTFS, "ntfs", lambda image, tree: ntfs_image(image, tree, 64)),
    "iso": Kind(ISO, "iso9660", lambda image, tree: xorriso_image(image, tree)),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_comes_out_is_what_went_in(home: Path, database_url: str, tmp_path: Path, kind: Kind) -> None:
    catalogue = Catalogue(home, database_url)
    tree = make_tree(tmp_path / "tree", kind.file_system)
    image = kind.make(tmp_path / "medium.img", tree)
    image_hash, image_state = blake3(image.read_bytes()).hexdigest(), image.stat()

    ended = catalogue.command("ingest", image, "--json")
    assert ended.status == 0, ended.stderr
    told = ended.json
    assert isinstance(told, dict)
    (report,) = told["media"]
    assert (report["files"], report["damaged"], report["failed"], report["pending"]) == (FILES, 0, 0, 0)
    assert (report["image_hash"], report["health"], report["problems"]) == (image_hash, "ok", [])
    assert [volume["fstype"] for volume in report["volumes"]] == [kind.fstype]

    ended = catalogue.command("restore", report["medium_hash"][:8], tmp_path / "restored")
    assert ended.status == 0, ended.stderr
    source = tree_below(tree, kind.file_system)
    restored = tree_below(tmp_path / "restored", kind.file_system)
    assert restored.keys() == source.keys()
    for path, wanted in source.items():
        assert restored[path] == wanted, path

    ended = catalogue.command("audit")
    assert ended.status == 0, ended.stdout + ended.stderr
    ended = catalogue.command("verify", "--all")
    assert ended.status == 0, ended.stdout + ended.stderr
    assert image.stat() == image_state
    assert blake3(image.read_bytes()).hexdigest() == image_hash

    rows = catalogue.rows("SELECT xmin::text, * FROM outcome ORDER BY ino")
    ended = catalogue.command("ingest", image)
    assert ended.status == 0, ended.stderr
    assert "changed   nothing" in ended.stdout
    assert catalogue.rows("SELECT xmin::text, * FROM outcome ORDER BY ino") == rows

    second = xorriso_image(tmp_path / "second.iso", tree)
    again = catalogue.one(second)
    assert (again.files, again.stored, again.stored_bytes, again.known) == (FILES, 0, 0, FILES)
    assert catalogue.hashes_in_store() == catalogue.hashes_in_catalogue() == catalogue.hashes_referenced()


def test_every_command_that_lists_says_it_in_json(home: Path, database_url: str, tmp_path: Path) -> None:
    catalogue = Catalogue(home, database_url)
    report = catalogue.one(xorriso_image(tmp_path / "disc.iso", written(tmp_path / "tree", {"one": noise(50_000)})))
    listed = catalogue.command("list", "--json").json
    assert isinstance(listed, dict)
    assert [medium["medium_hash"] for medium in listed["media"]] == [report.medium_hash]
    for arguments in (
        ("status", report.medium_hash),
        ("problems", report.medium_hash),
        ("audit",),
        ("verify", "--all"),
    ):
        ended = catalogue.command(*arguments, "--json")
        assert ended.status == 0, ended.stderr
        assert ended.json, arguments
        assert ended.complaints == []
