"""The user, the groups and the capabilities of a process -> those of nobody; it still dies with its parent."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator

from ntt.confinement import kernel

NOBODY = 65534
CAP_DAC_READ_SEARCH = 2
_CAPABILITIES = 64  # more than any kernel has


def become_nobody(*, reads_mounts: bool) -> Iterator[str]:
    """Root becomes an ordinary user without any capability; what could not be given up is yielded as a sentence.

    `reads_mounts` keeps exactly CAP_DAC_READ_SEARCH, if it is there: files below a mount keep their owners
    and modes, and all of them are to be read. Ends the process when its parent is gone by then.
    """
    parent = os.getppid()  # still the one that setpriv bound it to: a change of user undoes that
    root = os.geteuid() == 0
    kept = 1 << CAP_DAC_READ_SEARCH if root and reads_mounts else 0
    if root:
        _drop_bounding_set()
        kernel.prctl(kernel.PR_CAP_AMBIENT, kernel.PR_CAP_AMBIENT_CLEAR_ALL)
        if kept:
            kernel.prctl(kernel.PR_SET_KEEPCAPS, 1)
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        except OSError as error:  # a container may have one user only
            yield f"workers stay the user that NTT is: {error.strerror}"
    try:
        kernel.keep_capabilities(kept)
    except OSError:
        kernel.keep_capabilities(0)
        yield "workers read below mounts only what everybody may: CAP_DAC_READ_SEARCH is not there to be kept"
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # no core file with a user's data in it, and nobody else looks in
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _drop_bounding_set() -> None:
    for capability in range(_CAPABILITIES):
        try:
            kernel.prctl(kernel.PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.EPERM):  # behind the last; or not ours to drop: then not held
                return
            raise
