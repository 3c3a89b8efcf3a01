"""Hostile HFS, HFS+ and Apple partition maps: rings of nodes, folders in each other, forks larger than the world.

Apple, Technical Note TN1150 and "Inside Macintosh: Files"; "Inside Macintosh: Devices" for the map.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from disk_images import noise
from hfs_images import ROOT, HfsPlus, decmpfs, packed_resource
from hostile_cases import get, hostile, put, variants

MOST = 0xFFFFFFFF
BIGGEST = (1 << 63) - 1
HEADER = 1024
PLUS_BLOCK = PLUS_NODE = 1024
CLASSIC_NODE = 512
LEAF, INDEX = 0xFF, 0


def _plus_nodes(image: bytearray, kind: int, height: int) -> list[tuple[int, int]]:
    """(number, offset) of the catalog's nodes of a kind."""
    extents = struct.unpack_from(">16I", image, HEADER + 272 + 16)
    found: list[tuple[int, int]] = []
    number = 0
    for start, count in zip(extents[::2], extents[1::2], strict=True):
        for block in range(start, start + count):
            at = block * PLUS_BLOCK
            if image[at + 8 : at + 10] == bytes((kind, height)):
                found.append((number, at))
            number += 1
    assert found
    return found


def _classic_nodes(image: bytearray, kind: int, height: int) -> list[tuple[int, int]]:
    block, first = get(image, ">I", HEADER + 20), get(image, ">H", HEADER + 28)
    start, count = get(image, ">H", HEADER + 150), get(image, ">H", HEADER + 152)
    base = first * 512 + start * block
    places = [(number, base + number * CLASSIC_NODE) for number in range(count * block // CLASSIC_NODE)]
    return [(number, at) for number, at in places if image[at + 8 : at + 10] == bytes((kind, height))]


Nodes = Callable[[bytearray, int, int], list[tuple[int, int]]]


def _nodes(image: bytearray) -> Nodes:
    return _classic_nodes if image[HEADER : HEADER + 2] == b"BD" else _plus_nodes


@hostile("hfs", "hfsplus")
def leaves_that_follow_themselves(image: bytearray) -> None:
    for number, at in _nodes(image)(image, LEAF, 1):
        put(image, ">I", at, number)


@hostile("hfs", "hfsplus")
def leaves_in_a_ring(image: bytearray) -> None:
    leaves = _nodes(image)(image, LEAF, 1)
    for (_, at), (following, _) in zip(leaves, (*leaves[1:], leaves[0]), strict=True):
        put(image, ">II", at, following, following)


@hostile("hfs", "hfsplus")
def index_nodes_below_themselves(image: bytearray) -> None:
    for height in (2, 3):
        try:
            nodes = _nodes(image)(image, INDEX, height)
        except AssertionError:
            continue
        for number, at in nodes:
            offsets = get(image, ">H", at + 10)
            size = PLUS_NODE if _nodes(image) is _plus_nodes else CLASSIC_NODE
            for record in range(offsets):
                end = get(image, ">H", at + size - 2 * (record + 2))
                put(image, ">I", at + end - 4, number)


@hostile("hfs", "hfsplus")
def nodes_of_65535_records(image: bytearray) -> None:
    for _, at in _nodes(image)(image, LEAF, 1):
        put(image, ">H", at + 10, 0xFFFF)


@hostile("hfs", "hfsplus")
def records_outside_of_their_node(image: bytearray) -> None:
    size = PLUS_NODE if _nodes(image) is _plus_nodes else CLASSIC_NODE
    for _, at in _nodes(image)(image, LEAF, 1):
        for record in range(get(image, ">H", at + 10)):
            put(image, ">H", at + size - 2 * (record + 1), 0xFFFE if record % 2 else 0)


@hostile("hfs", "hfsplus")
def every_folder_is_the_root(image: bytearray) -> None:
    """Of folder records only the number changes, so that many are one."""
    plus = _nodes(image) is _plus_nodes
    size = PLUS_NODE if plus else CLASSIC_NODE
    for _, at in _nodes(image)(image, LEAF, 1):
        for record in range(get(image, ">H", at + 10)):
            start = at + get(image, ">H", at + size - 2 * (record + 1))
            key = 2 + get(image, ">H", start) if plus else (1 + image[start] + 1) & ~1
            data = start + key
            if plus and get(image, ">H", data) == 1:
                put(image, ">I", data + 8, ROOT)
            elif not plus and image[data] == 1:
                put(image, ">I", data + 6, ROOT)


def _tree_header(image: bytearray) -> int:
    return _nodes(image)(image, 1, 0)[0][1]


for name, (offset, form, value) in {
    "tree_65535_high": (14, ">H", 0xFFFF),
    "tree_root_far_away": (16, ">I", MOST),
    "tree_first_leaf_far_away": (24, ">I", MOST),
    "tree_nodes_of_0_bytes": (32, ">H", 0),
    "tree_nodes_of_65535_bytes": (32, ">H", 0xFFFF),
    "tree_of_4_billion_nodes": (36, ">I", MOST),
}.items():

    def _change(image: bytearray, field: tuple[int, str, int] = (offset, form, value)) -> None:
        put(image, field[1], _tree_header(image) + field[0], field[2])

    _change.__name__ = name
    hostile("hfs", "hfsplus")(_change)

variants(
    "hfsplus",
    {
        "block_size_0": (HEADER + 40, ">I", 0),
        "block_size_1": (HEADER + 40, ">I", 1),
        "block_size_2_gib": (HEADER + 40, ">I", 1 << 31),
        "blocks_4_billion": (HEADER + 44, ">I", MOST),
        "catalog_of_8_eib": (HEADER + 272, ">Q", BIGGEST),
        "catalog_of_4_billion_blocks": (HEADER + 272 + 20, ">I", MOST),
        "overflow_of_8_eib": (HEADER + 192, ">Q", BIGGEST),
        "attributes_of_8_eib": (HEADER + 352, ">Q", BIGGEST),
        "embedded_in_itself": (HEADER, ">H", 0x4244),
    },
)
variants(
    "hfs",
    {
        "block_size_0": (HEADER + 20, ">I", 0),
        "block_size_4_gib": (HEADER + 20, ">I", MOST),
        "blocks_65535": (HEADER + 18, ">H", 0xFFFF),
        "first_block_65535": (HEADER + 28, ">H", 0xFFFF),
        "catalog_of_4_gib": (HEADER + 146, ">I", MOST),
        "catalog_of_65535_blocks": (HEADER + 152, ">H", 0xFFFF),
        "overflow_of_4_gib": (HEADER + 130, ">I", MOST),
    },
)


# ---------------------------------------------------------------- written so from the start


def _replace(image: bytearray, volume: HfsPlus, blocks: int = 512) -> None:
    image[:] = volume.image(blocks)


@hostile("")
def hfsplus_folders_in_each_other(image: bytearray) -> None:
    volume = HfsPlus()
    outer = volume.folder(ROOT, "outer")
    inner = volume.folder(outer, "inner")
    itself = volume.folder(ROOT, "itself")
    volume.file(inner, "file", b"x")
    volume.file(itself, "other", b"y")
    for item in volume.items:
        item.parent = {outer: inner, itself: itself}.get(item.cnid, item.parent)
    _replace(image, volume)


@hostile("")
def hfsplus_links_to_links(image: bytearray) -> None:
    volume = HfsPlus()
    private = volume.folder(ROOT, "\0\0\0\0HFS+ Private Data")
    first = volume.next_id
    volume.file(private, f"iNode{first}", finder=b"hlnkhfs+", special=first + 1, mode=0o100444)
    volume.file(private, f"iNode{first + 1}", finder=b"hlnkhfs+", special=first, mode=0o100444)
    for name in ("one", "two", "three"):
        volume.link(ROOT, name, first)
    shared = volume.folder(ROOT, ".HFS+ Private Directory Data\r")
    node = volume.next_id
    volume.folder(shared, f"dir_{node}", mode=0o40700)
    volume.folder_link(node, "itself", node)
    volume.folder_link(ROOT, "door", node)
    _replace(image, volume)


@hostile("")
def hfsplus_compressed_files_that_lie(image: bytearray) -> None:
    volume = HfsPlus()
    for kind in (3, 4, 7, 8, 0xFFFF):
        resource = packed_resource(noise(70_000))
        huge = volume.file(ROOT, f"huge {kind}", resource=resource, owner_flags=0x20)
        volume.attributes.append((huge, "com.apple.decmpfs", decmpfs(kind, BIGGEST, b"\xff" * 20)))
        blocks = bytearray(resource)
        struct.pack_into("<III", blocks, 260, MOST, MOST, MOST)
        table = volume.file(ROOT, f"table {kind}", resource=bytes(blocks), owner_flags=0x20)
        volume.attributes.append((table, "com.apple.decmpfs", decmpfs(kind, 70_000)))
    _replace(image, volume, 1024)


@hostile("hfsplus")
def forks_of_8_eib(image: bytearray) -> None:
    """Every data fork, and of its extents the first, too."""
    for _, at in _plus_nodes(image, LEAF, 1):
        for record in range(get(image, ">H", at + 10)):
            start = at + get(image, ">H", at + PLUS_NODE - 2 * (record + 1))
            data = start + 2 + get(image, ">H", start)
            if get(image, ">H", data) == 2:
                put(image, ">Q", data + 88, BIGGEST)
                put(image, ">II", data + 88 + 12, MOST, 1)
                put(image, ">I", data + 88 + 20, MOST)


# ---------------------------------------------------------------- Apple partition maps


@hostile("apm")
def map_of_4_billion_entries(image: bytearray) -> None:
    for block in (1, 2, 3):
        put(image, ">I", block * 512 + 4, MOST)


@hostile("apm")
def map_of_partitions_that_hold_the_map(image: bytearray) -> None:
    for block in range(1, 60):
        image[block * 512 : (block + 1) * 512] = image[1024:1536]
        put(image, ">III", block * 512 + 4, 59, block % 2, len(image) // 512)


variants(
    "apm",
    {
        "block_size_0": (2, ">H", 0),
        "block_size_65535": (2, ">H", 0xFFFF),
        "partition_of_4_billion_blocks": (1024 + 12, ">I", MOST),
        "partition_far_away": (1024 + 8, ">I", MOST),
    },
)
