"""This machine -> what a reader of the figures has to know of it; nothing that names it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bench.commands import CommandFailed, run
from bench.record import Machine
from ntt import __version__

VERSION_COMMANDS = (
    ("ddrescue", "--version"),
    ("restic", "version"),
    ("borg", "--version"),
    ("b3sum", "--version"),
    ("cp", "--version"),
    ("psql", "--version"),
    ("zstd", "--version"),
)


def machine() -> Machine:
    """Asked before anything is measured: the load must not be our own."""
    return Machine(
        processor=_field("/proc/cpuinfo", "model name") or os.uname().machine,
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=int(_field("/proc/meminfo", "MemTotal").split()[0]) * 1024,
        kernel=os.uname().release,
        load=os.getloadavg()[0],
        versions=(f"ntt {__version__}", *_versions()),
    )


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text("utf-8", "replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _versions() -> list[str]:
    found: list[str] = []
    for argv in VERSION_COMMANDS:
        if shutil.which(argv[0]) is None:
            continue
        try:
            first = run(*argv).stdout.decode(errors="replace").splitlines()[0]
        except (CommandFailed, IndexError):
            continue
        number = next(
            (word.strip("v,") for word in first.replace("*", "").split() if word.strip("v")[:1].isdigit()), ""
        )
        found.append(f"{argv[0]} {number}")
    return found
