"""A small UDF volume of any kind, and where its blocks lie in the image."""

from __future__ import annotations

import random

from udf_images import FIRST_BLOCK, SPARABLE, UdfWriter
from udf_items import DIRECTORY, Item, edited

BLOCK = 2048
FIRST = FIRST_BLOCK * BLOCK
EXPECTED = {b"one": b"content of one", b"two": b"2" * 5000, b"folder/three": b"content of three"}


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def simple(kind: str = "plain", revision: int = 0x0201) -> UdfWriter:
    writer = UdfWriter(kind, revision=revision)
    data = "short" if kind in ("plain", SPARABLE) else "long"
    folder = Item("folder", kind=DIRECTORY, ads=data, children=[Item("three", EXPECTED[b"folder/three"], ads=data)])
    writer.root.children = [
        Item("one", EXPECTED[b"one"], ads="embedded"),
        Item("two", EXPECTED[b"two"], ads=data),
        folder,
    ]
    return writer


def at_block(block: int) -> int:
    """Image offset of a block of the partition."""
    return FIRST + block * BLOCK


def damaged(image: bytes, *blocks: int) -> bytes:
    """The image with these blocks of the partition zeroed."""
    return edited(image, [(at_block(block), bytes(BLOCK)) for block in blocks])
