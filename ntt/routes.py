"""Which routes are tried for a file system, in which order, and what counts as a reader's disagreement.

Readers come first: no root, no mount, no kernel parser on hostile input, and they know where files lie, so that
damage maps to bytes of files. A mount is the route where there is no reader, and the second opinion on one.
"""

from __future__ import annotations

from ntt.model import Route

_TSK = ("ext2", "ext3", "ext4", "fat12", "fat16", "fat32", "exfat", "ntfs")
_TSK_ONLY = ("apfs", "ufs")
_MOUNTS = (Route.KERNEL, Route.FUSE)
_FEW = 16  # entries that a file system's own count may be off by: hidden files, orphans

ORDER: dict[str, tuple[Route, ...]] = {
    **{fstype: (Route.TSK, *_MOUNTS) for fstype in (*_TSK, *_TSK_ONLY)},
    "iso9660": (Route.ISO9660, *_MOUNTS),
    "hfs": (Route.HFS, *_MOUNTS),
    "hfsplus": (Route.HFS, *_MOUNTS),
    "udf": (Route.UDF, *_MOUNTS, Route.SEVENZIP),
    "archive": (Route.ARCHIVE, Route.SEVENZIP),
    "squashfs": (*_MOUNTS, Route.SEVENZIP),
    "cramfs": (*_MOUNTS, Route.SEVENZIP),
    **{
        fstype: _MOUNTS
        for fstype in ("xfs", "btrfs", "erofs", "f2fs", "jfs", "reiserfs", "nilfs2", "minix", "romfs", "amiga")
    },
}


def order(fstype: str) -> tuple[Route, ...]:
    """The routes for a file system, best first; none for what holds no files or cannot be read at all."""
    return ORDER.get(fstype, ())


def next_routes(fstype: str, after: Route) -> tuple[Route, ...]:
    """The routes that are a second opinion on `after`."""
    routes = order(fstype)
    return routes[routes.index(after) + 1 :] if after in routes else routes


def disagreement(listed: int, counted: int | None, ended_early: str) -> str:
    """Why a listing of `listed` entries is not to be trusted alone; empty when there is no reason.

    `counted` is what the file system itself says is in use (None: it does not say).
    """
    if ended_early:
        return f"the listing ended early: {ended_early}"
    if counted and not listed:
        return f"nothing was listed where the file system counts {counted:,} entries"
    if counted and counted - listed > max(_FEW, counted // 20):
        return f"{listed:,} entries were listed where the file system counts {counted:,}"
    return ""
