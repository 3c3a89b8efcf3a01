"""A worker process that has imported all it needs -> one that can compute, and use what it was handed; for good."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Sequence

import msgspec

from ntt.confinement import kernel
from ntt.confinement.landlock import restrict
from ntt.confinement.rights import become_nobody
from ntt.confinement.system_calls import limit_system_calls

OPEN_FILES = 256


class Confined(msgspec.Struct, frozen=True, tag=True):
    """`missing`: the layers that this machine does not offer, a sentence each."""

    missing: tuple[str, ...]


def confine(memory_bytes: int, roots: Sequence[int], *, reads_mounts: bool) -> Confined:
    """Limits, no network, no rights, no files but below the directories `roots`, few system calls; in this order.

    Each layer stands for itself. What is not there is told, never fatal: the next layer may still be.
    """
    _limit_resources(memory_bytes)
    return Confined(tuple(_layers(roots, reads_mounts=reads_mounts)))


def _limit_resources(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


def _layers(roots: Sequence[int], *, reads_mounts: bool) -> Iterator[str]:
    if os.geteuid() == 0:
        try:
            kernel.unshare(kernel.CLONE_NEWNET)
        except OSError as error:
            yield f"workers share the network of this machine: {error.strerror}"
    yield from become_nobody(reads_mounts=reads_mounts)
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))  # after the change of user: root is not bound by it
    try:
        restrict(roots)
    except OSError as error:
        yield f"no Landlock in this kernel, which keeps workers from files: {error.strerror}"
    try:
        limit_system_calls(reads_mounts=reads_mounts)
    except OSError as error:
        yield f"workers may make any system call: {error.strerror}"
