"""Bad sectors on FAT and exFAT media: what is told of each file is what mtools and The Sleuth Kit say lies there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from damage_fat import MIB, SECTOR, Known, exfat_image, fat_image, known, rotted, sectors_of, tree_of, under_full_names
from damage_plans import complaints, plans
from damage_trial import Told, told_of
from partitioned_images import placed, sfdisk

from ntt.model import OutcomeStatus, VolumeStatus
from ntt.ranges import Ranges, intersection, normalised

KINDS = ("fat12", "fat16", "fat32", "exfat")
PLANS = 15
LARGE = b"large file of many clusters"


@dataclass(frozen=True, slots=True)
class Medium:
    image: Path
    known: Known

    def told(self, bad: Ranges) -> Told:
        return told_of(self.image, bad)

    def complaints(self, bad: Ranges, image: Path | None = None) -> list[str]:
        told, silent = under_full_names(self.known, told_of(image or self.image, bad))
        return [*silent, *complaints(self.known.truth, told, bad)]


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Medium]:
    folder = tmp_path_factory.mktemp("fat")
    found: dict[str, Medium] = {}
    for bits, kib, large in ((12, 1440, 60_000), (16, 4500, 300_000), (32, 34_000, 300_000)):
        image = folder / f"fat{bits}"
        left = fat_image(image, bits, tree_of(large), folder / f"tree{bits}", kib)
        offset = 0
        if bits == 32:
            offset = MIB
            disk = placed(folder / "disk", {}, 36 * MIB)
            image = sfdisk(disk, ["label: dos", "label-id: 0x12345678", "start=2048, type=c"], {MIB: image})
        found[f"fat{bits}"] = Medium(image, known(image, left, offset))
    left = exfat_image(folder / "exfat", tree_of(200_000))
    return found | {"exfat": Medium(folder / "exfat", known(folder / "exfat", left))}


@pytest.mark.parametrize("kind", KINDS)
def test_planned_bad_sectors_are_told_file_by_file_as_the_tools_have_them(kind: str, media: dict[str, Medium]) -> None:
    medium = media[kind]
    assert not medium.complaints(())
    wrong = [
        f"{plan.name}, {plan.bad}: {complaint}"
        for plan in plans(medium.known.truth, PLANS, seed=4)
        for complaint in medium.complaints(plan.bad)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("kind", ["fat12", "fat16", "fat32"])
def test_a_sector_of_one_table_is_not_missed_while_the_other_was_read(kind: str, media: dict[str, Medium]) -> None:
    """Every other sector of the first, the ones between of the second."""
    medium = media[kind]
    first, second = medium.known.truth.account[0]
    turns = [(first, second)[number % 2][0] + at for number, at in enumerate(range(0, first[1] - first[0], SECTOR))]
    bad = normalised((at, at + SECTOR) for at in turns)
    told = medium.told(bad)
    assert not medium.complaints(bad)
    assert {file.status for file in told.files.values()} == {OutcomeStatus.COPIED}
    lost = [one for found in told.lost.values() for one in found]
    assert lost and all(one.spare for one in lost)
    assert not [problem for _, problem in told.problems]


@pytest.mark.parametrize("kind", ["fat12", "fat16", "fat32"])
def test_of_a_file_whose_chain_is_cut_the_clusters_before_are_kept(kind: str, media: dict[str, Medium]) -> None:
    medium = media[kind]
    truth = medium.known.truth.files[LARGE]
    entry = truth.records[60]
    bad = sectors_of(entry)
    told = medium.told(bad).of(LARGE)
    assert told is not None and told.status is OutcomeStatus.DAMAGED
    first = next(number for number, record in enumerate(truth.records) if intersection(record, bad))
    start = (first + 1) * SECTOR  # of what comes behind the first cluster whose entry is lost
    assert told.damaged == ((start, len(truth.content)),)
    assert told.content == truth.content[:start] + bytes(len(truth.content) - start)
    assert told.unread and intersection(told.unread, bad) == told.unread, "these, read again, would help"
    lost = [one.ranges for one in medium.told(bad).lost_of("FAT") if not one.spare]
    assert lost == [bad], "of each copy"
    assert not medium.complaints(bad)


@pytest.mark.parametrize("kind", ["fat12", "fat16", "fat32", "exfat"])
def test_without_any_table_files_of_one_cluster_are_read_and_no_other_is_clean(
    kind: str, media: dict[str, Medium]
) -> None:
    medium = media[kind]
    bad = normalised(medium.known.truth.account[0]) if kind != "exfat" else medium.known.truth.doubtful[2:]
    told = medium.told(bad)
    assert not medium.complaints(bad)
    small = told.of(b"deep/inner/ONE.BIN")
    assert small is not None and small.status is OutcomeStatus.COPIED
    clean = {path for (_, path), file in told.files.items() if file.status is OutcomeStatus.COPIED}
    listed = {path for _, path in told.files}
    assert clean == {path for path, file in medium.known.truth.files.items() if not file.records} & listed
    cut = {told.directories[1, one.ino] for one in told.lost_of("directory")}
    assert b"many" in cut and not cut & {b"deep", b"deep/inner"}, "whose ends are in their first clusters"


@pytest.mark.parametrize("kind", ["fat32", "exfat"])
def test_a_volume_whose_boot_sector_was_not_read_is_opened_by_the_backup(kind: str, media: dict[str, Medium]) -> None:
    medium = media[kind]
    boot, backup = medium.known.truth.structures[0]
    told = medium.told((boot,))
    assert not medium.complaints((boot,))
    assert {file.status for file in told.files.values()} == {OutcomeStatus.COPIED}
    assert [(one.what, one.spare) for one in told.lost_of("boot sector")] == [("boot sector", True)]
    gone = medium.told((boot, backup))
    assert [(one.status, "could not be read" in one.finding) for one in gone.volumes] == [(VolumeStatus.FINDING, True)]
    assert not gone.files


@pytest.mark.parametrize("kind", ["fat12", "fat16"])
def test_a_lost_boot_sector_without_backup_is_the_finding(kind: str, media: dict[str, Medium]) -> None:
    (volume,) = media[kind].told(((0, SECTOR),)).volumes
    assert volume.status is VolumeStatus.FINDING
    assert volume.finding.startswith("its first sector, which would tell what it is, could not be read")
    assert "image the medium again" in volume.next_step


@pytest.mark.parametrize("kind", ["fat12", "fat16", "fat32"])
def test_a_long_name_of_which_a_part_was_not_read_is_never_told_as_another_one(
    kind: str, media: dict[str, Medium]
) -> None:
    """Each sector of a directory of several clusters in turn."""
    medium = media[kind]
    seen = 0
    for start, end in medium.known.truth.directories[b"many"].names:
        for at in range(start, end, SECTOR):
            bad = ((at, at + SECTOR),)
            told = medium.told(bad)
            assert not medium.complaints(bad)
            seen += sum(problem.kind == "bad_record" and "short" in problem.detail for _, problem in told.problems)
            listed = [path for _, path in told.files if path.startswith(b"many/")]
            assert len(listed) > 40 - 8, "what comes behind the sector is listed"
    assert seen > 5


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_image_holds_where_nothing_was_read_is_never_looked_at(
    kind: str, media: dict[str, Medium], tmp_path: Path
) -> None:
    medium = media[kind]
    for number, plan in enumerate(plans(medium.known.truth, 9, seed=9)):
        image = rotted(medium.image, plan.bad, tmp_path / str(number))
        told, other = medium.told(plan.bad), told_of(image, plan.bad)
        assert (told.files, told.problems, told.lost) == (other.files, other.problems, other.lost), plan
        assert not medium.complaints(plan.bad, image), plan
        image.unlink()


def test_the_table_that_alone_is_kept_up_to_date_is_read_and_no_other_stands_in_for_it(
    media: dict[str, Medium], tmp_path: Path
) -> None:
    """Microsoft, "FAT: General Overview of On-Disk Format", BPB_ExtFlags."""
    truth = media["fat32"].known.truth
    first, _ = truth.account[0]
    raw = bytearray(media["fat32"].image.read_bytes())
    raw[MIB + 40] = 0x81  # the second one
    raw[first[0] + 12 : first[1]] = bytes(first[1] - first[0] - 12)
    image = tmp_path / "image"
    image.write_bytes(raw)
    assert {file.status for file in told_of(image, ()).files.values()} == {OutcomeStatus.COPIED}
    cut = told_of(image, sectors_of((truth.files[LARGE].records[200][1],))).of(LARGE)
    assert cut is not None and cut.status is OutcomeStatus.DAMAGED


def test_a_set_of_records_that_lies_across_clusters_leads_to_its_file_on_exfat(media: dict[str, Medium]) -> None:
    truth = media["exfat"].known.truth
    names = truth.directories[b"many"].names
    cluster = 1024
    across = [
        path
        for path, file in truth.files.items()
        if len(file.entry) > 1 or any(start // cluster != (end - 1) // cluster for start, end in file.entry)
    ]
    assert len(across) > 2 and len(names) > 1
    told = media["exfat"].told(())
    assert {file.status for (_, path), file in told.files.items() if path in across} == {OutcomeStatus.COPIED}
