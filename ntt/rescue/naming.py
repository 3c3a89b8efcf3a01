"""Paths of whatever bytes -> names for ddrescue, which writes its command line into the map, as a line of its own.

A name with a line end in it would make the map unreadable, for ddrescue too. Then a descriptor stands for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Names:
    """`source` and what lies in `folder`, as a child is to be told that gets `descriptors`."""

    source: Path
    folder: Path
    descriptors: tuple[int, ...]

    def of(self, path: Path) -> Path:
        """A file of the folder."""
        return self.folder / path.name


@contextmanager
def plain_names(source: Path, folder: Path) -> Iterator[Names]:
    """Valid for the body. Opens nothing that could wait for a drive (O_PATH only finds the file)."""
    held: list[int] = []

    def named(path: Path) -> Path:
        if not any(byte < 0x20 for byte in os.fsencode(path)):
            return path
        with suppress(OSError):  # it is not there any more: whoever opens it says so
            held.append(os.open(path, os.O_PATH | os.O_CLOEXEC))
            return Path(f"/proc/self/fd/{held[-1]}")
        return path

    try:
        yield Names(named(source), named(folder), tuple(held))
    finally:
        for descriptor in held:
            os.close(descriptor)
