"""Which unread sectors at the end of an optical medium are no damage."""

from __future__ import annotations

import pytest

from ntt.model import LostStructure, Route, Volume, VolumeStatus
from ntt.ranges import Ranges
from ntt.readers.detection.run_out import run_out, unread_in_use
from ntt.readers.surface import Account

SECTOR = 2048


def volume(sectors: int, fstype: str = "iso9660", *, index: int = 1, raw: int = 0) -> Volume:
    size = sectors * SECTOR
    return Volume(index, "none", 0, size, fstype, Route.ISO9660, VolumeStatus.READ, sector_bytes=raw)


def sectors(*ranges: tuple[int, int], of: int = SECTOR) -> Ranges:
    return tuple((start * of, end * of) for start, end in ranges)


def test_two_sectors_behind_the_volume_are_run_out() -> None:
    assert run_out([volume(1000)], sectors((1000, 1002)), 1002 * SECTOR, ()) == sectors((1000, 1002))


def test_padding_and_run_out_are_told_apart_from_damage_before_them() -> None:
    unread = sectors((500, 501), (990, 1152))
    assert run_out([volume(1000)], unread, 1152 * SECTOR, ()) == sectors((1000, 1152))


def test_padding_that_the_volume_claims_is_run_out_unless_something_lies_there() -> None:
    unread = sectors((900, 1002))
    assert run_out([volume(1000)], unread, 1002 * SECTOR, sectors((0, 920))) == sectors((920, 1002))


def test_no_more_than_the_last_152_sectors_are() -> None:
    assert run_out([volume(1000)], sectors((100, 1000)), 1000 * SECTOR, ()) == sectors((848, 1000))


def test_where_the_volumes_end_long_before_the_medium_none_are() -> None:
    assert run_out([volume(1000)], sectors((1000, 1152)), 1152 * SECTOR, ()) == sectors((1000, 1152))
    assert run_out([volume(1000)], sectors((1001, 1153)), 1153 * SECTOR, ()) == ()


def test_what_lies_behind_the_end_that_a_volume_claims_is_none() -> None:
    found = run_out([volume(1000)], sectors((1000, 1002)), 1002 * SECTOR, sectors((990, 1001)))
    assert found == sectors((1001, 1002))


@pytest.mark.parametrize("fstype", ["ext4", "unknown", "audio", "hfsplus"])
def test_a_medium_that_holds_anything_else_has_none(fstype: str) -> None:
    assert run_out([volume(1000), volume(10, fstype)], sectors((1000, 1002)), 1002 * SECTOR, ()) == ()


def test_without_volumes_there_is_none() -> None:
    assert run_out([], sectors((1000, 1002)), 1002 * SECTOR, ()) == ()


def test_without_an_account_of_what_is_in_use_there_is_none() -> None:
    assert run_out([volume(1000)], sectors((1000, 1002)), 1002 * SECTOR, None) == ()


def test_raw_sectors_are_counted_as_such() -> None:
    unread = sectors((998, 1002), of=2352)
    in_use = sectors((998, 1000), of=2352)
    assert run_out([volume(1000, raw=2352)], unread, 1002 * 2352, in_use) == sectors((1000, 1002), of=2352)


def test_a_volume_that_claims_more_than_the_medium_leaves_none() -> None:
    assert run_out([volume(2000)], sectors((1000, 1002)), 1002 * SECTOR, ()) == ()


def test_the_smallest_discs_have_it_too() -> None:
    assert run_out([volume(30)], sectors((28, 32)), 32 * SECTOR, sectors((0, 29))) == sectors((29, 32))


def test_in_use_is_what_any_volume_says_with_its_structures() -> None:
    volumes = [volume(1000), volume(1000, "udf", index=2)]
    lost = LostStructure("anchor", -1, True, sectors((999, 1000)))
    accounts = {1: Account((), sectors((5, 6))), 2: Account((lost,), sectors((7, 8)))}
    assert unread_in_use(volumes, accounts) == sectors((5, 6), (7, 8), (999, 1000))


@pytest.mark.parametrize("second", [None, Account((), None)])
def test_one_volume_without_an_account_leaves_it_unknown(second: Account | None) -> None:
    accounts = {1: Account((), ())} | ({} if second is None else {2: second})
    assert unread_in_use([volume(10), volume(10, index=2)], accounts) is None
