"""Hostile discs: ISO 9660 directories in themselves, continuations in rings, UDF chains, sectors and sheets that lie.

ECMA-119, ECMA-167, ECMA-130; SUSP 1.12 and RRIP 1.12.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from hostile_cases import get, hostile, put, variants
from raw_discs import bcd, cue
from udf_images import FIRST_BLOCK, VIRTUAL, UdfWriter
from udf_items import DATA, DIRECTORY, Item, retagged

BLOCK = 2048
PVD = 16 * BLOCK
MOST = 0xFFFFFFFF


# ---------------------------------------------------------------- ISO 9660


def both(number: int) -> bytes:
    return struct.pack("<I", number) + struct.pack(">I", number)


def records(image: bytearray, extent: int, size: int) -> Iterator[int]:
    """Offsets of the records of a directory, `.` and `..` first."""
    at, end = extent * BLOCK, extent * BLOCK + size
    while at < end:
        if not image[at]:
            at = (at // BLOCK + 1) * BLOCK
            continue
        yield at
        at += image[at]


def directories(image: bytearray, root: int = PVD + 156) -> list[tuple[int, int, int, int]]:
    """(offset of its record, extent, size, extent of its parent) of every directory below the root."""
    pending = [(get(image, "<I", root + 2), get(image, "<I", root + 10))]
    found: list[tuple[int, int, int, int]] = []
    while pending:
        parent, parent_size = pending.pop()
        for at in list(records(image, parent, parent_size))[2:]:
            if image[at + 25] & 2:
                extent, size = get(image, "<I", at + 2), get(image, "<I", at + 10)
                found.append((at, extent, size, parent))
                pending.append((extent, size))
    assert found
    return found


def files(image: bytearray) -> list[int]:
    places = [(get(image, "<I", PVD + 158), get(image, "<I", PVD + 166))]
    places += [(extent, size) for _, extent, size, _ in directories(image)]
    found = [at for place in places for at in list(records(image, *place))[2:] if not image[at + 25] & 2]
    assert found
    return found


def move(image: bytearray, at: int, extent: int, size: int | None = None) -> None:
    image[at + 2 : at + 10] = both(extent)
    if size is not None:
        image[at + 10 : at + 18] = both(size)


@hostile("iso")
def directory_in_its_parent_is_its_parent(image: bytearray) -> None:
    for at, _, _, parent in directories(image):
        move(image, at, parent)


@hostile("iso")
def directory_holds_itself(image: bytearray) -> None:
    found = directories(image)
    for at, _, _, parent in found:
        above = next((one for one in found if one[1] == parent), None)
        if above is not None:
            move(image, at, above[1], above[2])


@hostile("iso", "iso-deep")
def every_record_is_the_root(image: bytearray) -> None:
    extent, size = get(image, "<I", PVD + 158), get(image, "<I", PVD + 166)
    for at in (*files(image), *(at for at, *_ in directories(image))):
        move(image, at, extent, size)
        image[at + 25] = 2


@hostile("iso", "iso-deep")
def directories_of_4_gib(image: bytearray) -> None:
    for at, extent, _, _ in directories(image):
        move(image, at, extent, MOST)


@hostile("iso")
def root_of_4_gib(image: bytearray) -> None:
    put(image, "<I", PVD + 166, MOST)
    put(image, ">I", PVD + 170, MOST)


@hostile("iso")
def files_of_4_gib(image: bytearray) -> None:
    for at in files(image)[:4]:
        move(image, at, get(image, "<I", at + 2), MOST)


@hostile("iso")
def directories_that_overlap_by_one_block(image: bytearray) -> None:
    """Each begins one block further on in the same long run."""
    for number, (at, *_) in enumerate(directories(image)):
        move(image, at, 16 + number, 1 << 20)


@hostile("iso")
def files_that_always_go_on(image: bytearray) -> None:
    for at in files(image):
        image[at + 25] |= 0x80


@hostile("iso")
def interleaved_by_255(image: bytearray) -> None:
    for at in files(image):
        image[at + 1] = image[at + 26] = image[at + 27] = 255


@hostile("iso")
def records_of_one_byte(image: bytearray) -> None:
    for _, extent, size, _ in directories(image):
        for at in list(records(image, extent, size))[2:]:
            image[at] = 1


@hostile("iso")
def no_end_of_descriptors(image: bytearray) -> None:
    image[17 * BLOCK :] = image[PVD : PVD + BLOCK] * (len(image) // BLOCK - 17)


def continuations(image: bytearray) -> list[int]:
    found, at = [], -1
    while (at := image.find(b"CE\x1c\x01", at + 1)) >= 0:
        found.append(at)
    assert found
    return found


@hostile("iso-deep", "iso")
def continuations_that_continue_themselves(image: bytearray) -> None:
    for at in continuations(image):
        block, offset = get(image, "<I", at + 4), get(image, "<I", at + 12)
        place = block * BLOCK + offset
        image[place : place + 28] = b"CE\x1c\x01" + both(block) + both(offset) + both(28)
        image[at + 20 : at + 28] = both(28)


@hostile("iso-deep", "iso")
def continuations_of_4_gib(image: bytearray) -> None:
    for at in continuations(image):
        image[at + 20 : at + 28] = both(MOST)


@hostile("iso-deep")
def links_without_end(image: bytearray) -> None:
    """All continuation areas are full of components of one link, and each goes on in the next one."""
    for at in continuations(image):
        place = get(image, "<I", at + 4) * BLOCK
        piece = b"SL\xff\x01\x01" + b"\x01\xf8" + b"c" * 248
        image[place : place + BLOCK] = (
            (piece * 8)[: BLOCK - 28] + b"CE\x1c\x01" + both(place // BLOCK) + both(0) + both(BLOCK)
        )
        image[at + 20 : at + 28] = both(BLOCK)


@hostile("iso-deep")
def relocated_folders_that_are_their_own_children(image: bytearray) -> None:
    root = get(image, "<I", PVD + 158)
    for signature in (b"CL\x0c\x01", b"PL\x0c\x01"):
        at = -1
        while (at := image.find(signature, at + 1)) >= 0:
            image[at + 4 : at + 12] = both(root)


variants(
    "iso",
    {
        "block_size_0": (PVD + 128, "<H", 0),
        "block_size_1": (PVD + 128, "<H", 1),
        "block_size_65535": (PVD + 128, "<H", 0xFFFF),
        "blocks_4_billion": (PVD + 80, "<I", MOST),
        "path_table_of_4_gib": (PVD + 132, "<I", MOST),
        "path_table_far_away": (PVD + 140, "<I", MOST),
        "root_far_away": (PVD + 158, "<I", MOST),
        "root_is_the_descriptor": (PVD + 158, "<I", 16),
        "joliet_root_far_away": (PVD + BLOCK + 158, "<I", MOST),
    },
)


# ---------------------------------------------------------------- UDF


def _folder(name: str, *children: Item) -> Item:
    return Item(name, kind=DIRECTORY, children=list(children))


@hostile("")
def udf_directories_in_a_ring(image: bytearray) -> None:
    writer = UdfWriter(blocks=1024)
    inner = _folder("inner", Item("file", b"x", ads="embedded"))
    outer = _folder("outer", inner)
    inner.children += [Item("loop", same_as=writer.root), Item("itself", same_as=inner), Item("above", same_as=outer)]
    writer.root.children = [outer]
    image[:] = writer.write()


@hostile("")
def udf_allocation_that_goes_on_in_itself(image: bytearray) -> None:
    writer = UdfWriter(blocks=1024)
    chained = Item("chained", bytes(60 * BLOCK), pieces=[(DATA, BLOCK)] * 60, ads_per_block=10)
    folder = _folder("folder", *(Item(f"{'n' * 200}{number}", ads="embedded") for number in range(60)))
    folder.pieces, folder.ads_per_block = [(DATA, BLOCK)] * 10, 3
    writer.root.children = [chained]
    whole = writer.write()
    first = FIRST_BLOCK * BLOCK

    def to_itself(raw: bytearray) -> None:
        count = get(raw, "<I", 20) // 8
        put(raw, "<II", 24 + 8 * (count - 1), 3 << 30 | BLOCK, get(raw, "<I", 12))

    for at in range(first, len(whole), BLOCK):
        if whole[at : at + 2] == b"\x02\x01":
            whole = retagged(whole, at, BLOCK, to_itself)
    image[:] = whole


@hostile("")
def udf_sizes_without_measure(image: bytearray) -> None:
    writer = UdfWriter(blocks=1024)
    writer.root.children = [
        Item("eib", b"x" * 3000, size=(1 << 63) - 1),
        Item("more", b"x" * 3000, size=1 << 63),
        Item("embedded", b"x" * 100, ads="embedded", size=1 << 40),
        Item("link", b"\x05\xff\0\0\x08a", kind=12, ads="embedded", size=1 << 32),
    ]
    image[:] = writer.write()


@hostile("")
def udf_virtual_table_that_names_itself(image: bytearray) -> None:
    writer = UdfWriter(VIRTUAL, blocks=1024)
    writer.root.children = [_folder("folder", Item("file", b"x", ads="embedded"))]
    for item in (writer.root, *writer.root.children):
        item.ads = "long"
    content = bytearray(writer.write())
    at = len(content) - 2 * BLOCK
    content[at + 152 : at + 152 + 4 * len(writer.vat)] = struct.pack("<I", 0) * len(writer.vat)
    image[:] = content


def _each(image: bytearray, kinds: tuple[int, ...], offset: int, form: str, value: int) -> None:
    content = bytes(image)
    for at in range(0, len(content), BLOCK):
        if get(image, "<H", at) in kinds and content[at + 2 : at + 4] in (b"\x02\0", b"\x03\0"):
            content = retagged(content, at, BLOCK, lambda raw: put(raw, form, offset, value))
    image[:] = content


for name, (kinds, offset, form, value) in {
    "anchors_of_4_gib": ((2,), 16, "<I", MOST),
    "anchors_that_name_themselves": ((2,), 20, "<I", 256),
    "partition_of_4_billion_blocks": ((5,), 192, "<I", MOST),
    "partition_far_away": ((5,), 188, "<I", MOST),
    "logical_blocks_of_4_gib": ((6,), 212, "<I", MOST),
    "maps_4_billion": ((6,), 268, "<I", MOST),
    "map_table_of_4_gib": ((6,), 264, "<I", MOST),
    "attributes_of_4_gib": ((261, 266), 208, "<I", MOST),
    "extended_attributes_of_4_gib": ((266,), 208, "<I", MOST),
    "allocation_of_4_gib": ((266,), 212, "<I", MOST),
    "strategy_4096": ((261, 266), 20, "<H", 4096),
}.items():

    def _change(image: bytearray, field: tuple[tuple[int, ...], int, str, int] = (kinds, offset, form, value)) -> None:
        _each(image, *field)

    _change.__name__ = name
    hostile("udf", "udf-metadata", "udf-virtual")(_change)


# ---------------------------------------------------------------- raw sectors and cue sheets


def _addresses(image: bytearray, address: bytes) -> None:
    for at in range(0, len(image) - 2352, 2352):
        if image[at : at + 12] == b"\0" + b"\xff" * 10 + b"\0":
            image[at + 12 : at + 15] = address


@hostile("raw")
def sectors_that_all_have_one_address(image: bytearray) -> None:
    _addresses(image, b"\0\2\0")


@hostile("raw")
def sectors_with_addresses_that_are_none(image: bytearray) -> None:
    _addresses(image, b"\xff\xff\xff")


@hostile("raw")
def sectors_in_reverse(image: bytearray) -> None:
    count = len(image) // 2352
    for index in range(count):
        minutes, rest = divmod(count - index + 150, 75 * 60)
        image[index * 2352 + 12 : index * 2352 + 15] = bytes((bcd(minutes), bcd(rest // 75), bcd(rest % 75)))


@hostile("raw")
def sectors_that_jump_to_the_end_and_back(image: bytearray) -> None:
    for index in range(20, len(image) // 2352, 2):
        image[index * 2352 + 12 : index * 2352 + 15] = b"\x99\x59\x74"


def _nothing(image: bytearray) -> None:
    """Only the cue sheet lies."""


SHEETS = {
    "data_is_sound": cue("disc.bin", ("AUDIO", 0), ("AUDIO", 100)),
    "sound_is_data": cue("disc.bin", ("MODE1/2352", 0), ("MODE1/2352", 250), ("MODE2/2352", 290)),
    "wrong_sector_size": cue("disc.bin", ("MODE1/2448", 0), ("AUDIO", 200)),
    "plain_sectors": cue("disc.bin", ("MODE1/2048", 0)),
    "tracks_far_behind_the_end": cue("disc.bin", ("MODE1/2352", 0), ("MODE1/2352", 99 * 60 * 75)),
    "tracks_backwards": cue("disc.bin", ("MODE1/2352", 300), ("MODE1/2352", 0)),
    "tracks_99": cue("disc.bin", *[("MODE1/2352", number) for number in range(99)]),
    "tracks_that_begin_at_once": cue("disc.bin", *[("MODE2/2336", 0) for _ in range(99)]),
    "pregaps_of_166_hours": cue("disc.bin", ("MODE1/2352", 0)).replace("INDEX 01", "PREGAP 9999:59:74\n    INDEX 01"),
    "other_files": cue("/etc/passwd", ("MODE1/2352", 0)) + cue("../../disc.bin", ("MODE1/2352", 0)),
    "sessions_9999": "REM SESSION 9999\n" * 1000 + cue("disc.bin", ("MODE1/2352", 0)),
    "quotes_without_end": 'FILE "' + '"' * 100_000 + "\n" + cue("disc.bin", ("MODE1/2352", 0)),
}
for name, sheet in SHEETS.items():

    def _same(image: bytearray) -> None:
        _nothing(image)

    _same.__name__ = f"sheet_{name}"
    hostile("raw", cue=sheet)(_same)
