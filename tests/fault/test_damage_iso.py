"""Planned bad sectors on ISO 9660 discs: what is told of each file is what the disc's own tools say of the places."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from damage_iso import DESCRIPTOR, SECTOR, genisoimage, source_tree, truth_of, under, xorriso
from damage_plans import Plan, complaints, plans
from damage_trial import Told, told_of

from ntt.model import OutcomeStatus

SEED = 9660


@pytest.mark.parametrize(("make", "count"), [(genisoimage, 40), (xorriso, 20)])
def test_under_every_plan_the_files_and_ranges_told_are_those_that_are_hit(
    make: Callable[[Path, Path], Path], count: int, tmp_path: Path
) -> None:
    tree = source_tree(tmp_path / "tree")
    image = make(tmp_path / "disc.iso", tree)
    truth = truth_of(image, tree)
    behind = max(end for one in truth.directories.values() for _, end in one.names)
    single = [Plan(f"sector {at // SECTOR}", ((at, at + SECTOR),)) for at in range(0, behind, SECTOR)]
    assert any(plan.bad == (DESCRIPTOR,) for plan in single)
    wrong = {
        plan.name: complaints(under(truth, plan.bad), told_of(image, plan.bad), plan.bad)
        for plan in (*plans(truth, count, SEED), *single)
    }
    assert {name: told for name, told in wrong.items() if told} == {}


def listed(told: Told) -> dict[bytes, tuple[OutcomeStatus, bytes | None]]:
    return {path: (file.status, file.content) for (_, path), file in told.files.items()}


@pytest.mark.parametrize("make", [genisoimage, xorriso])
@pytest.mark.parametrize("sectors", [(16, 17), (16, 18), (16, 19), (0, 19)])
def test_without_its_descriptors_a_disc_is_listed_wholly_and_says_so(
    make: Callable[[Path, Path], Path], sectors: tuple[int, int], tmp_path: Path
) -> None:
    image = make(tmp_path / "disc.iso", source_tree(tmp_path / "tree"))
    whole = told_of(image, ())
    told = told_of(image, ((sectors[0] * SECTOR, sectors[1] * SECTOR),))
    assert listed(told) == listed(whole)
    assert told.links == whole.links
    assert [one for one in told.lost_of("volume descriptor") if not one.spare]
    assert any("primary volume descriptor was not read" in problem.detail for _, problem in told.problems)
