"""A file system -> the module that reads its directories and inodes, loaded when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Protocol, cast

from ntt.readers.base import ImageSource, ReadError
from ntt.readers.nodes import Tree

TREES = {
    **dict.fromkeys(("ext2", "ext3", "ext4"), "ntt.readers.ext.tree"),
    **dict.fromkeys(("fat12", "fat16", "fat32", "exfat"), "ntt.readers.fat.tree"),
    "ntfs": "ntt.readers.ntfs.tree",
    "ufs": "ntt.readers.ufs.tree",
}
NO_POOLS = "the volumes of an APFS container are a pool, and pytsk3 opens no pools"


class TreeOpener(Protocol):
    """What such a module has under the name `open_tree`."""

    def __call__(self, source: ImageSource, offset_bytes: int, size_bytes: int, fstype: str, /) -> Tree: ...


def load_trees(fstypes: Iterable[str]) -> None:
    for fstype in fstypes:
        if fstype in TREES:
            import_module(TREES[fstype])


def open_tree(source: ImageSource, offset_bytes: int, size_bytes: int, fstype: str) -> Tree:
    """ReadError if the file system does not open."""
    if fstype not in TREES:
        raise ReadError(NO_POOLS if fstype == "apfs" else f"The Sleuth Kit is not used for {fstype}")
    opener = cast(TreeOpener, import_module(TREES[fstype]).open_tree)
    try:
        return opener(source, offset_bytes, size_bytes, fstype)
    except (OSError, OverflowError) as error:
        raise ReadError(f"the image cannot be read: {error}") from None
