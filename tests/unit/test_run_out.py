"""Which unread sectors at the end of an optical medium are no damage."""

from __future__ import annotations

import pytest

from ntt.model import Route, Volume, VolumeStatus
from ntt.ranges import Ranges
from ntt.readers.detection.run_out import run_out

SECTOR = 2048


def volume(sectors: int, fstype: str = "iso9660", *, offset: int = 0, raw: int = 0) -> Volume:
    size = sectors * SECTOR
    return Volume(1, "none", offset, size, fstype, Route.ISO9660, VolumeStatus.READ, sector_bytes=raw)


def sectors(*ranges: tuple[int, int], of: int = SECTOR) -> Ranges:
    return tuple((start * of, end * of) for start, end in ranges)


def test_two_blocks_behind_the_volume_are_run_out() -> None:
    assert run_out([volume(1000)], sectors((1000, 1002)), 1002 * SECTOR) == sectors((1000, 1002))


def test_padding_and_run_out_are_told_apart_from_damage_inside_of_the_volume() -> None:
    unread = sectors((500, 501), (990, 1152))
    assert run_out([volume(1000)], unread, 1152 * SECTOR) == sectors((1000, 1152))


def test_no_more_than_the_last_152_sectors_are() -> None:
    assert run_out([volume(1000)], sectors((1000, 5000)), 5000 * SECTOR) == sectors((4848, 5000))


def test_what_any_volume_claims_is_none() -> None:
    found = run_out([volume(1000), volume(1001, "udf")], sectors((999, 1002)), 1002 * SECTOR)
    assert found == sectors((1001, 1002))


@pytest.mark.parametrize("fstype", ["ext4", "unknown", "audio", "hfsplus"])
def test_a_medium_that_holds_anything_else_has_none(fstype: str) -> None:
    assert run_out([volume(1000), volume(10, fstype)], sectors((1000, 1002)), 1002 * SECTOR) == ()


def test_without_volumes_there_is_none() -> None:
    assert run_out([], sectors((1000, 1002)), 1002 * SECTOR) == ()


def test_raw_sectors_are_counted_as_such() -> None:
    unread = sectors((998, 1002), of=2352)
    assert run_out([volume(1000, raw=2352)], unread, 1002 * 2352) == sectors((1000, 1002), of=2352)


def test_a_volume_that_claims_more_than_the_medium_leaves_none() -> None:
    assert run_out([volume(2000)], sectors((1000, 1002)), 1002 * SECTOR) == ()
