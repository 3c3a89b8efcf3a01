"""Whole images -> images that someone built to do harm; each case is a function that changes the bytes of one base."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

Change = Callable[[bytearray], None]


@dataclass(frozen=True, slots=True)
class Case:
    """`base` is the name of the image that is changed, or empty: then the bytes are made from nothing."""

    name: str
    base: str
    change: Change
    cue: str = ""


CASES: dict[str, Case] = {}


def hostile(*bases: str, cue: str = "") -> Callable[[Change], Change]:
    """Registers a function as a case for each of the bases, under its own name."""

    def register(change: Change) -> Change:
        for base in bases:
            name = f"{base or 'made'}-{change.__name__.strip('_')}"
            assert name not in CASES
            CASES[name] = Case(name, base, change, cue)
        return change

    return register


def variants(base: str, changes: dict[str, tuple[int, str, int]]) -> None:
    """Cases that set one field: name -> (byte offset, `struct` format, value)."""
    for name, (at, form, value) in changes.items():
        assert f"{base}-{name}" not in CASES
        CASES[f"{base}-{name}"] = Case(f"{base}-{name}", base, lambda image, p=(form, at, value): put(image, *p))


def put(image: bytearray, form: str, at: int, *values: int) -> None:
    struct.pack_into(form, image, at, *values)


def get(image: bytearray, form: str, at: int) -> int:
    (value,) = struct.unpack_from(form, image, at)
    return int(value)
