"""Which attempts are made for a volume, on which machine, and what is said where there are none."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from media_images import MIB, noise
from mounting import volume_of

from ntt.model import Route
from ntt.mounts.drivers import KERNEL
from ntt.mounts.machine import Machine, ask_machine
from ntt.mounts.messages import Namespaces, Through
from ntt.mounts.plan import MountLimits, Plan, plan, programs
from ntt.mounts.slices import copy_slice

EVERYTHING = Machine(
    Namespaces.MOUNT,
    frozenset(kind.name for kinds in KERNEL.values() for kind in kinds),
    {name: f"/usr/bin/{name}" for name in programs()},
    loops=True,
    fuse=True,
)
ORDINARY = replace(EVERYTHING, namespaces=Namespaces.USER, loops=False)
ROUTES = (Route.KERNEL, Route.FUSE, Route.SEVENZIP)
IMAGE_BYTES = 100 * MIB


def planned(fstype: str, machine: Machine = EVERYTHING, offset: int = 0, size: int = MIB) -> Plan:
    return plan(volume_of(fstype, offset, size), ROUTES, machine, IMAGE_BYTES, MountLimits())


def test_no_journal_is_replayed_and_no_medium_decides_what_an_error_does() -> None:
    options = {kind: [made.options for made in kinds] for kind, kinds in KERNEL.items()}
    for kind in ("ext2", "ext3", "ext4", "jfs", "nilfs2", "exfat", "fat12", "fat16", "fat32"):
        assert all("errors=continue" in given for given in options[kind]), kind
    assert all("noload" in given for given in (*options["ext3"], *options["ext4"]))
    assert all("norecovery" in given for given in options["nilfs2"])
    # without it the kernel refuses a dirty log on a read-only device, and so tells that it is dirty
    assert ["norecovery" in given for given in options["xfs"]] == [False, True]
    assert all("nologreplay" in given for given in options["btrfs"])


def test_routes_are_tried_in_their_order() -> None:
    attempts = planned("squashfs").attempts
    assert [attempt.how for attempt in attempts] == [
        "kernel squashfs (ro)",
        "fuse squashfuse",
        "fuse grub-mount",
        "7z",
    ]
    assert planned("tape").attempts == ()


def test_f008_the_other_side_of_a_bridge_is_tried_and_named() -> None:
    attempts = [attempt for attempt in planned("udf").attempts if attempt.route is Route.KERNEL]
    assert [attempt.name for attempt in attempts] == ["udf", "iso9660"]
    assert attempts[0].remarks == ()
    assert "mounted as iso9660, not as udf" in attempts[1].remarks[0]


def test_a_later_session_of_a_disc_is_asked_for() -> None:
    volume = msgspec.structs.replace(volume_of("iso9660", 0, MIB), session_bytes=300 * 2048)
    made = plan(volume, ROUTES, EVERYTHING, IMAGE_BYTES, MountLimits())
    assert made.attempts[0].options.endswith(",sbsector=300")
    assert [attempt.route for attempt in made.attempts] == [Route.KERNEL, Route.KERNEL]
    assert "it reads the first session only" in made.impossible[0]


def test_raw_sectors_are_nothing_for_a_mount() -> None:
    volume = msgspec.structs.replace(volume_of("udf", -150 * 2352, MIB), sector_bytes=2352, data_at=16)
    assert plan(volume, ROUTES, EVERYTHING, IMAGE_BYTES, MountLimits()).impossible == ("no mount reads raw sectors",)


def test_only_what_ends_early_or_begins_late_is_copied() -> None:
    copied = {
        where: [attempt.how for attempt in made.attempts if attempt.copied]
        for where, made in {
            "whole": planned("squashfs"),
            "late": planned("squashfs", EVERYTHING, MIB),
            "short": planned("squashfs", EVERYTHING, 0, 2 * IMAGE_BYTES),
            "late, without root": planned("squashfs", ORDINARY, MIB),
        }.items()
    }
    assert copied["whole"] == []
    assert copied["late"] == ["7z"]
    # filled up with zeros, which 7z would take for content
    assert copied["short"] == ["kernel squashfs (ro)", "fuse squashfuse", "fuse grub-mount"]
    assert copied["late, without root"] == ["fuse grub-mount", "7z"]


def test_an_ordinary_user_shares_nothing_and_knows_no_owners() -> None:
    for machine, shared in ((EVERYTHING, True), (ORDINARY, False)):
        (attempt,) = [attempt for attempt in planned("ext4", machine).attempts if attempt.name == "fuse2fs"]
        assert ("allow_other" in attempt.argv[2]) is shared
        assert attempt.kind.owners_kept is shared
        assert attempt.through is (Through.LOOP if shared else Through.FILE)


def test_what_is_missing_is_named_with_what_brings_it() -> None:
    nothing = Machine(Namespaces.NONE, frozenset(), {}, loops=False, fuse=False)
    made = planned("squashfs", nothing)
    assert made.attempts == ()
    assert made.impossible == (
        "kernel: it has no squashfs, and no module for it",
        "fuse squashfuse: not installed",
        "fuse grub-mount: not installed",
        "7z: not installed",
    )
    assert made.steps[0] == "install squashfuse (`apt install squashfuse`)"
    made = planned("squashfs", replace(EVERYTHING, fuse=False))
    assert "fuse squashfuse: this user may not open /dev/fuse" in made.impossible


async def test_this_machine_is_asked() -> None:
    machine = await ask_machine(("sh", "no such program"))
    assert set(machine.programs) == {"sh"}
    assert machine.mounts_by_kernel
    assert machine.mounts_by_fuse
    assert {"ext4", "tmpfs", "fuse"} <= machine.kernel_types


# ---------------------------------------------------------------- copies


@pytest.mark.parametrize("offset", [0, 3 * 512, 5 * MIB])
def test_a_copy_holds_what_is_there_and_zeros_behind_it(offset: int, tmp_path: Path) -> None:
    image, copy = tmp_path / "image", tmp_path / "copy"
    with image.open("wb") as file:
        file.write(noise(3 * MIB))
        file.seek(9 * MIB)
        file.write(noise(2 * MIB + 7, 2))
    content = image.read_bytes()
    with image.open("rb") as source, copy.open("w+b") as target:
        copy_slice(source.fileno(), offset, 8 * MIB, target.fileno(), 0)
    assert copy.read_bytes() == content[offset : offset + 8 * MIB].ljust(8 * MIB, b"\0")
    assert os.stat(copy).st_blocks * 512 < 7 * MIB
