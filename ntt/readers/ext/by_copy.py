"""A volume whose superblock was not read -> the one that a copy of it tells, if what it describes stands there."""

from __future__ import annotations

import stat

from ntt.readers.base import ImageSource, ReadError
from ntt.readers.ext.backups import with_descriptors, with_superblock
from ntt.readers.ext.groups import ROOT, ExtGroups
from ntt.readers.ext.inodes import ExtInodes
from ntt.readers.ext.superblock import SUPERBLOCK_AT, SUPERBLOCK_BYTES, ExtSuperblock


def superblock_by_copy(source: ImageSource, offset_bytes: int, end_bytes: int) -> ExtSuperblock | None:
    """None if the superblock was read, and where a copy is left from an earlier use: its root is then no directory.

    A root that was not read either is no objection. OSError if the image cannot be read.
    """
    patched = with_superblock(source, offset_bytes, end_bytes)
    if patched is source:
        return None
    superblock = ExtSuperblock.parse(patched.read(offset_bytes + SUPERBLOCK_AT, SUPERBLOCK_BYTES))
    if superblock is None:
        return None
    groups = ExtGroups(with_descriptors(patched, offset_bytes, superblock), offset_bytes, superblock)
    try:
        root = ExtInodes(patched, offset_bytes, groups).inode(ROOT)
    except ReadError as error:
        return superblock if error.unread else None
    return superblock if stat.S_ISDIR(root.mode) and root.is_live else None
