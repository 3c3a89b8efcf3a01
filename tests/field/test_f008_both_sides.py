"""F008: a disc that says UDF of which only ISO 9660 mounts; a hybrid disc of which only one side was listed."""

from __future__ import annotations

from pathlib import Path

from catalogue import Catalogue
from media_images import iso_image, noise, run, written

CONTENTS: dict[str | bytes, bytes] = {"LETTER.TXT": noise(5_000, 1), "BOX/SCAN.TIF": noise(70_000, 2)}


def contents_of(catalogue: Catalogue, medium_hash: str, volume: int) -> dict[str, bytes | None]:
    tree = catalogue.tree(medium_hash)
    return {path.decode(): one.content for (index, path), one in tree.items() if index == volume and one.type == "file"}


def wanted() -> dict[str, bytes | None]:
    return {str(path): content for path, content in CONTENTS.items()}


def test_f008_both_sides_of_a_udf_bridge_are_read(catalogue: Catalogue, tmp_path: Path) -> None:
    image = iso_image(tmp_path / "bridge.iso", written(tmp_path / "tree", CONTENTS), "-udf")
    report = catalogue.one(image)
    assert [(volume.fstype, volume.status) for volume in report.volumes] == [("iso9660", "read"), ("udf", "read")]
    for volume in report.volumes:
        assert contents_of(catalogue, report.medium_hash, volume.index) == wanted()
    assert report.stored == len(CONTENTS), "the same content is kept once"


def test_f008_a_udf_side_alone_is_read_when_the_iso_side_is_damaged(catalogue: Catalogue, tmp_path: Path) -> None:
    image = iso_image(tmp_path / "bridge.iso", written(tmp_path / "tree", CONTENTS), "-udf")
    content = bytearray(image.read_bytes())
    for sector in range(16, 32):
        if content[sector * 2048 + 1 : sector * 2048 + 6] == b"CD001":
            content[sector * 2048 : (sector + 1) * 2048] = bytes(2048)
    image.write_bytes(bytes(content))
    report = catalogue.one(image)
    assert [(volume.fstype, volume.status) for volume in report.volumes] == [("udf", "read")]
    assert contents_of(catalogue, report.medium_hash, 1) == wanted()


def test_f008_both_sides_of_a_hybrid_mac_disc_are_read_and_share_their_bytes(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    tree = written(tmp_path / "tree", CONTENTS)
    image = tmp_path / "hybrid.iso"
    run("genisoimage", "-quiet", "-r", "-hfs", "-part", "-hfs-volid", "BOX", "-o", image, tree)
    report = catalogue.one(image)
    found = {volume.fstype: volume for volume in report.volumes}
    assert found.keys() == {"iso9660", "hfs"}
    assert all(volume.status == "read" for volume in report.volumes)
    assert contents_of(catalogue, report.medium_hash, found["iso9660"].index) == wanted()
    mac = contents_of(catalogue, report.medium_hash, found["hfs"].index)
    assert {path.upper(): content for path, content in mac.items()}.items() >= wanted().items()
    assert found["hfs"].label == "BOX"
    places = catalogue.rows("SELECT count(DISTINCT first_byte) AS places FROM node WHERE size IN (5000, 70000)")
    assert places[0]["places"] == len(CONTENTS), "both trees point to the same bytes of the image"
