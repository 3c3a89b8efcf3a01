"""A file entry -> what a walk tells of it."""

from __future__ import annotations

import stat

from ntt.readers.base import ReadError
from ntt.readers.nodes import Node
from ntt.readers.udf.attributes import device_numbers, finder_info, link_target
from ntt.readers.udf.entries import FileEntry
from ntt.readers.udf.space import UdfSpace


def node_of(space: UdfSpace, entry: FileEntry) -> Node:
    """ReadError if the entry is of no type that a file can have, or a link without a target."""
    if not entry.mode:
        raise ReadError(f"it is of an unknown type ({entry.file_type})")
    mtime_s, mtime_ns = entry.mtime
    size, target = entry.size, b""
    first_byte = -1
    match stat.S_IFMT(entry.mode):
        case stat.S_IFREG | stat.S_IFDIR:
            first_byte = space.first_byte(entry)
        case stat.S_IFLNK:
            target = link_target(space, entry)
            size = len(target)
        case _:
            target, size = device_numbers(space, entry), 0
    attributes = finder_info(entry) if entry.attributes else ()
    return Node(entry.mode, size, mtime_s, mtime_ns, entry.uid, entry.gid, target, first_byte, attributes)
