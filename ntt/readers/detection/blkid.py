"""A stretch of an image -> what libblkid calls it: a second voice where our own signatures are silent.

The library reads the descriptor itself, a few hundred KiB at most. Without it nothing is said. It is loaded with
this module: a worker may not open it any more once it is fenced in.
"""

from __future__ import annotations

import ctypes
import os
from typing import NamedTuple

from ntt.model import Route
from ntt.ranges import within
from ntt.readers.base import ImageSource
from ntt.readers.detection.magic_numbers import MOUNTED
from ntt.readers.detection.samples import Recognised
from ntt.routes import order

SUBLKS_LABEL, SUBLKS_UUID, SUBLKS_TYPE, SUBLKS_USAGE, SUBLKS_VERSION = 1 << 1, 1 << 3, 1 << 5, 1 << 7, 1 << 8
FOUND, NOTHING, AMBIVALENT = 0, 1, -2
NAMES_LIMIT = 8
LOOKED_AT_BYTES = 1 << 20  # from either end: farther in the library looks for next to nothing
OUR_NAMES = {
    "vfat": "fat32",
    "affs": "amiga",
    "crypto_luks": "luks",
    "nss": "novell_nss",
    "ext4dev": "ext4",
}
USAGES = {
    "filesystem": "a file system",
    "raid": "a member of an array or a volume manager",
    "crypto": "an encrypted volume",
    "other": "a volume without files",
}


class Named(NamedTuple):
    """The library's own words; empty where it does not say."""

    kind: str
    label: str
    version: str
    usage: str


def _loaded() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libblkid.so.1")
        library.blkid_new_probe.restype = ctypes.c_void_p
        probe, number = ctypes.c_void_p, ctypes.c_int
        library.blkid_free_probe.argtypes = (probe,)
        library.blkid_free_probe.restype = None
        library.blkid_probe_set_device.argtypes = (probe, number, ctypes.c_int64, ctypes.c_int64)
        library.blkid_probe_enable_superblocks.argtypes = (probe, number)
        library.blkid_probe_set_superblocks_flags.argtypes = (probe, number)
        library.blkid_do_safeprobe.argtypes = (probe,)
        library.blkid_do_probe.argtypes = (probe,)
        library.blkid_reset_probe.argtypes = (probe,)
        library.blkid_reset_probe.restype = None
        text, size = ctypes.POINTER(ctypes.c_char_p), ctypes.POINTER(ctypes.c_size_t)
        library.blkid_probe_lookup_value.argtypes = (probe, ctypes.c_char_p, text, size)
    except (OSError, AttributeError):
        return None
    return library


LIBRARY = _loaded()


def names(source: ImageSource, offset_bytes: int, size_bytes: int) -> tuple[Named, ...]:
    """What it finds in the stretch: nothing, one thing, or every candidate where it is of two minds."""
    library = LIBRARY
    size_bytes = min(size_bytes, source.size_bytes - offset_bytes)
    if library is None or type(source) is not ImageSource or size_bytes <= 0:
        return ()  # other sources are views: their descriptor shows other bytes
    if _shows_more(source, offset_bytes, offset_bytes + size_bytes):
        return ()
    probe: int | None = library.blkid_new_probe()
    if not probe:
        return ()
    try:
        if library.blkid_probe_set_device(probe, source.fd, offset_bytes, size_bytes) != 0:
            return ()
        library.blkid_probe_enable_superblocks(probe, 1)
        flags = SUBLKS_LABEL | SUBLKS_UUID | SUBLKS_TYPE | SUBLKS_USAGE | SUBLKS_VERSION
        library.blkid_probe_set_superblocks_flags(probe, flags)
        answer: int = library.blkid_do_safeprobe(probe)
        if answer == FOUND:
            return (_named(library, probe),)
        if answer != AMBIVALENT:
            return ()
        library.blkid_reset_probe(probe)
        found: list[Named] = []
        while len(found) < NAMES_LIMIT and library.blkid_do_probe(probe) == FOUND:
            found.append(_named(library, probe))
        return tuple(found)
    finally:
        library.blkid_free_probe(probe)


def _shows_more(source: ImageSource, start: int, end: int) -> bool:
    """The file holds something where the medium was not read, and where superblocks stand: what, nobody knows."""
    ends = ((start, min(start + LOOKED_AT_BYTES, end)), (max(end - LOOKED_AT_BYTES, start), end))
    holes = (hole for first, behind in ends for hole in within(source.unread, first, behind))
    return any(any(os.pread(source.fd, high - low, low)) for low, high in holes)


def _named(library: ctypes.CDLL, probe: int) -> Named:
    return Named(*(_value(library, probe, key) for key in (b"TYPE", b"LABEL", b"VERSION", b"USAGE")))


def _value(library: ctypes.CDLL, probe: int, key: bytes) -> str:
    text, size = ctypes.c_char_p(), ctypes.c_size_t()
    if library.blkid_probe_lookup_value(probe, key, ctypes.byref(text), ctypes.byref(size)) != 0 or not text.value:
        return ""
    return text.value.decode("utf-8", "replace")


def second_voice(source: ImageSource, offset_bytes: int, size_bytes: int) -> Recognised | None:
    """The volume as the library names it; with a reader's route if we have one for that name."""
    found = [named for named in names(source, offset_bytes, size_bytes) if named.kind]
    if not found:
        return None
    first = found[0]
    fstype = first.kind.lower()
    fstype = OUR_NAMES.get(fstype, fstype)
    routes = order(fstype)
    if len(found) == 1 and routes and routes[0].is_reader:
        return Recognised(fstype, routes[0], 0, remarks=(f"recognised by libblkid alone, as {first.kind}",))
    version = f", version {first.version}" if first.version else ""
    usage = USAGES.get(first.usage, "something")
    called = " or ".join(dict.fromkeys(named.kind for named in found))
    finding = f"{usage} that libblkid calls {called}{version}: no reader here opens it"
    mounted = first.usage == "filesystem"
    step = MOUNTED if mounted else "read it with the tools of its own system, on a copy, and ingest what it holds"
    return Recognised(fstype, Route.NONE, 0, finding, step)
