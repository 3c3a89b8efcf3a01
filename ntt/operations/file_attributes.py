"""What stat(2) and the catalogue say of an inode -> owner, mode, extended attributes and time of a restored file."""

from __future__ import annotations

import os
import stat

from ntt.db.restoring import Attributes
from ntt.operations.tally import raise_if_fatal, words_of

OWNER_LIMIT = 2**32 - 1
XATTR_PREFIX = "user."  # what any user may set; Samba and netatalk keep Finder info under the same name


def set_attributes(node: int | bytes, place: int, attributes: Attributes, *, as_root: bool, setuid: bool) -> str:
    """`node` is an open file or directory, or a path below the directory `place`. What could not be set, or nothing.

    StoreError when nothing more can be written there.
    """
    # in this order: a change of owner clears set-uid bits, and any change but that of time may change the time
    directory = None if isinstance(node, int) else place
    follow = isinstance(node, int)
    mode = stat.S_IMODE(attributes.mode) if setuid else attributes.mode & 0o777
    failed = ""
    try:
        if as_root and all(0 <= number < OWNER_LIMIT for number in (attributes.uid, attributes.gid)):
            os.chown(node, attributes.uid, attributes.gid, dir_fd=directory, follow_symlinks=follow)
        if isinstance(node, int):
            failed = _set_extended(node, attributes)
        if not stat.S_ISLNK(attributes.mode):
            os.chmod(node, mode, dir_fd=directory)
        os.utime(node, ns=(attributes.mtime_ns, attributes.mtime_ns), dir_fd=directory, follow_symlinks=follow)
    except (OSError, OverflowError) as error:
        raise_if_fatal(error)
        return f"owner, mode or time could not be set: {words_of(error)}"
    return failed


def _set_extended(fd: int, attributes: Attributes) -> str:
    for name, value in attributes.extended:
        try:
            os.setxattr(fd, XATTR_PREFIX + name, value)
        except OSError as error:
            raise_if_fatal(error)
            return f"its {name} could not be kept beside it: {words_of(error)}"
    return ""
