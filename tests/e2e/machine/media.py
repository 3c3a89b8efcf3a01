"""What goes into a drive: an image with its damage and speed -> QEMU's block nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from machine.lines import Json

CD_SECTOR_BYTES = 2048
RULE_SECTOR_BYTES = 512  # what blkdebug counts in
NO_DATA = 61  # ENODATA: the one error that drives report as a medium error


@dataclass(frozen=True, slots=True)
class Medium:
    """An image as a disc, a stick or a disk. What reads one of the `bad_sectors` fails as on bad media.

    `bytes_per_s` holds for reading, None is as fast as it goes; it can be changed while the medium is in use.
    `writable` is for disks: what the machine wrote is in the file, whatever ends the machine.
    """

    image: Path
    bad_sectors: Sequence[int] = ()
    sector_bytes: int = CD_SECTOR_BYTES
    bytes_per_s: int | None = None
    writable: bool = False


def limits(bytes_per_s: int | None) -> dict[str, Json]:
    """A throttle group's limits; the burst is small, so that the speed holds from the first second."""
    if bytes_per_s is None:
        return {"bps-read": 0, "bps-read-max": 0}
    return {"bps-read": bytes_per_s, "bps-read-max": max(bytes_per_s, 1)}


def block_nodes(medium: Medium, name: str) -> dict[str, Json]:
    """`blockdev-add` arguments: file, below raw, below the damage, below the throttle group `name`."""
    # the host does not crash in these tests: nothing is gained by waiting for its disk
    file: dict[str, Json] = {
        "driver": "file",
        "filename": str(medium.image),
        "cache": {"direct": False, "no-flush": medium.writable},
    }
    node: dict[str, Json] = {"driver": "raw", "file": file}
    if medium.bad_sectors:
        rules_per_sector = medium.sector_bytes // RULE_SECTOR_BYTES
        rules: list[Json] = [
            {"event": "none", "iotype": "read", "errno": NO_DATA, "sector": bad * rules_per_sector + part}
            for bad in medium.bad_sectors
            for part in range(rules_per_sector)
        ]
        node = {"driver": "raw", "file": {"driver": "blkdebug", "image": file, "inject-error": rules}}
    return {
        "driver": "throttle",
        "node-name": name,
        "throttle-group": f"{name}-speed",
        "read-only": not medium.writable,
        "file": node,
    }
