"""Bad sectors on NTFS: what NTT tells of each file equals what the file system's own tools make of the same sectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from damage_ntfs import NtfsTruth, ntfs_image
from damage_plans import Truth, complaints, plans

from ntt.model import OutcomeStatus, VolumeStatus
from ntt.ranges import Range, normalised
from tests.damage_trial import Told, told_of

PLANS, SEED = 50, 4_2026
MIRRORED = 4


@dataclass(frozen=True, slots=True)
class Medium:
    image: Path
    tools: NtfsTruth
    truth: Truth

    def record(self, number: int, start: int = 0, end: int = 1024) -> Range:
        return self.tools.place(number, start, end)

    def number(self, name: str) -> int:
        """The record of a file, by its name without folders."""
        (found,) = (one.number for one in self.tools.records.values() if name in one.names)
        return found


@pytest.fixture(scope="module")
def medium(tmp_path_factory: pytest.TempPathFactory) -> Medium:
    folder = tmp_path_factory.mktemp("ntfs")
    tools = NtfsTruth(ntfs_image(folder / "image", folder / "tree"))
    return Medium(tools.image, tools, tools.truth())


def told_without(medium: Medium, *bad: Range) -> Told:
    """What is told when these bytes were not read; it must agree with the truth in everything."""
    told = told_of(medium.image, normalised(bad))
    assert complaints(medium.truth, told, normalised(bad)) == []
    return told


def files(told: Told) -> dict[bytes, OutcomeStatus]:
    return {path: file.status for (_, path), file in told.files.items()}


def copied(medium: Medium) -> dict[bytes, OutcomeStatus]:
    return dict.fromkeys(medium.truth.files, OutcomeStatus.COPIED)


def test_a_whole_image_is_told_whole(medium: Medium) -> None:
    told = told_without(medium)
    assert files(told) == copied(medium)
    assert told.problems == []
    assert told.lost == {1: ()}


def test_what_is_told_of_fifty_plans_of_bad_sectors_equals_the_truth(medium: Medium) -> None:
    wrong = {
        plan.name: found
        for plan in plans(medium.truth, PLANS, SEED)
        if (found := complaints(medium.truth, told_of(medium.image, plan.bad), plan.bad))
    }
    assert wrong == {}


@pytest.mark.parametrize("sectors", [1, 16])
def test_without_its_boot_sector_a_volume_is_read_by_the_copy_at_its_end(medium: Medium, sectors: int) -> None:
    told = told_without(medium, (0, sectors * 512))
    assert [volume.status for volume in told.volumes] == [VolumeStatus.READ]
    assert files(told) == copied(medium)
    assert [lost.spare for lost in told.lost_of("boot sector")] == [True]


def test_without_both_boot_sectors_nothing_is_read_and_nothing_made_up(medium: Medium) -> None:
    size = medium.truth.size_bytes
    told = told_without(medium, (0, 512), (size - 512, size))
    assert [volume.status for volume in told.volumes] == [VolumeStatus.FINDING]
    assert told.files == {}


def test_the_first_records_are_read_from_their_mirror(medium: Medium) -> None:
    told = told_without(medium, *(medium.record(number) for number in range(MIRRORED)))
    assert files(told) == copied(medium)
    assert {lost.spare for lost in told.lost_of("master file table")} == {True}


def test_without_the_first_record_and_its_mirror_the_volume_is_not_read(medium: Medium) -> None:
    mirror = medium.tools.mirror_at
    told = told_without(medium, medium.record(0), (mirror, mirror + 1024))
    assert told.files == {}
    assert [volume.status for volume in told.volumes] == [VolumeStatus.FINDING]


@pytest.mark.parametrize("number", [*range(MIRRORED, 5), *range(6, 12)])
def test_each_record_of_the_file_system_itself_may_be_unread(medium: Medium, number: int) -> None:
    """Compressed files too: The Sleuth Kit, which refuses a volume without some of these, unpacks them."""
    assert files(told_without(medium, medium.record(number))) == copied(medium)


def test_a_file_without_its_record_has_a_name_and_fails_with_the_bytes_that_were_not_read(medium: Medium) -> None:
    lost = medium.record(medium.number("large.bin"))
    told = told_without(medium, lost)
    file = told.of(b"large.bin")
    assert file is not None
    assert (file.status, file.unread) == (OutcomeStatus.FAILED, (lost,))
    assert files(told) == {**copied(medium), b"large.bin": OutcomeStatus.FAILED}


def test_a_sector_that_a_record_does_not_use_is_no_damage(medium: Medium) -> None:
    number = medium.number("large.bin")
    assert medium.tools.records[number].used <= 512
    told = told_without(medium, medium.record(number, 512, 1024))
    assert files(told) == copied(medium)
    assert [lost.spare for lost in told.lost_of("master file table")] == [True]


def test_content_in_a_record_is_damaged_from_the_sector_on_that_was_not_read(medium: Medium) -> None:
    path = next(path for path, file in medium.truth.files.items() if path[:5] == b"many/" and len(file.content) > 500)
    number = medium.number(path[5:].decode())
    told = told_without(medium, medium.record(number, 512, 1024))
    file = told.of(path)
    assert file is not None
    assert file.status is OutcomeStatus.DAMAGED
    (start, end), *more = file.damaged
    assert (start > 0, end, more) == (True, len(medium.truth.files[path].content), [])


def test_a_piece_of_a_file_is_lost_with_the_record_that_names_its_place_and_the_rest_is_read(medium: Medium) -> None:
    record = medium.tools.records[medium.number("fragments")]
    second = record.of(0x80)[1]
    told = told_without(medium, medium.record(second.record))
    file = told.of(b"fragments")
    assert file is not None
    assert file.status is OutcomeStatus.DAMAGED
    first, end = second.runs[0][0], record.of(0x80)[2].runs[0][0]
    assert first * 4096 - 6 * 4096 <= file.damaged[0][0] <= first * 4096
    assert file.damaged[-1][1] <= end * 4096
    assert files(told) == {**copied(medium), b"fragments": OutcomeStatus.DAMAGED}
    assert [lost.ino for lost in told.lost_of("attribute list")] == [record.number]


def test_a_file_without_its_attribute_list_fails(medium: Medium) -> None:
    record = medium.tools.records[medium.number("fragments")]
    ((_, cluster, _),) = record.of(0x20)[0].runs
    told = told_without(medium, (cluster * 4096, cluster * 4096 + 512))
    assert files(told) == {**copied(medium), b"fragments": OutcomeStatus.FAILED}
    assert [lost.ino for lost in told.lost_of("attribute list")] == [record.number]


def test_a_compressed_unit_that_was_not_read_in_full_reads_as_zeros_and_its_neighbours_as_they_are(
    medium: Medium,
) -> None:
    place = medium.truth.files[b"packed/text"].pieces[2].place
    told = told_without(medium, (place[0], place[0] + 512))
    file = told.of(b"packed/text")
    assert file is not None
    assert file.damaged == ((2 * 65_536, 3 * 65_536),)


@pytest.mark.parametrize("name", ["many", "letters", ""])
def test_names_that_a_directory_has_lost_are_found_by_what_the_files_say_of_themselves(
    medium: Medium, name: str
) -> None:
    own = medium.record(medium.number(name) if name else 5)
    names = medium.truth.directories[name.encode()].names
    blocks = [(start // 512 * 512, -(-end // 512) * 512) for start, end in names if not own[0] <= start < own[1]]
    assert blocks
    told = told_without(medium, *blocks)
    assert files(told) == copied(medium)
    assert [problem.kind for _, problem in told.problems] == ["directory_damaged"]


@pytest.mark.parametrize("name", ["many", "letters", ""])
def test_a_directory_without_its_record_still_holds_its_files(medium: Medium, name: str) -> None:
    number = medium.number(name) if name else 5
    told = told_without(medium, medium.record(number))
    streams = {path for path in medium.truth.files if path.startswith(name.encode() + b":")} if name else set()
    assert files(told) == {path: OutcomeStatus.COPIED for path in medium.truth.files.keys() - streams}
    assert "directory_unreadable" in {problem.kind for _, problem in told.problems}


def test_files_of_a_directory_that_has_lost_its_record_and_its_name_are_listed_under_its_number(
    medium: Medium,
) -> None:
    number = medium.number("many")
    told = told_of(medium.image, normalised((medium.record(number), medium.record(5))))
    inside = {b"%d/%s" % (number, path[5:]) for path in medium.truth.files if path.startswith(b"many/")}
    assert len(inside) == 200
    assert files(told).items() >= dict.fromkeys(inside, OutcomeStatus.COPIED).items()
    assert ("bad_record", number) in {(problem.kind, problem.ino) for _, problem in told.problems}


def test_streams_that_may_be_lost_with_a_part_of_a_record_are_said_and_the_file_itself_is_whole(
    medium: Medium,
) -> None:
    record = medium.tools.records[medium.number("1.txt")]
    first, second = record.of(0x80, "first"), record.of(0x80, "second")
    assert first[0].value_at < 512 < second[0].value_at
    told = told_without(medium, medium.record(record.number, 512, 1024))
    assert files(told)[b"letters/1.txt"] is OutcomeStatus.COPIED
    assert ("bad_record", b"letters/1.txt".rpartition(b"/")[2] + b":") in {
        (problem.kind, problem.name) for _, problem in told.problems
    }


def test_a_record_that_is_not_in_use_is_spare(medium: Medium) -> None:
    told = told_without(medium, medium.record(20))
    assert [(lost.ino, lost.spare) for lost in told.lost_of("master file table")] == [(20, True)]


def test_without_the_map_of_clusters_all_that_was_not_read_counts_as_in_use(medium: Medium) -> None:
    start, end = max(medium.truth.free, key=lambda free: free[1] - free[0])
    free = (start + 4096, start + 8192)
    assert end > free[1]
    told = told_without(medium, medium.record(6), free)
    assert told.unread_used == {1: normalised((medium.record(6), free))}
    assert told_without(medium, free).unread_used == {1: ()}
