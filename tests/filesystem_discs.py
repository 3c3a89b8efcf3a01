"""Trees -> optical discs of every kind: names, sessions, sides, raw sectors; and UDF volumes of every kind."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from filesystem_media import Medium, Workshop
from filesystem_trees import FAT, HFS_PLUS, JOLIET, PLAIN, SHORT_ASCII, UDF, UNIX, Keeps, Side
from media_images import run
from mounting import pure_udf
from partitioned_images import fat16_image
from raw_discs import cue, raw, sound
from udf_images import METADATA, SPARABLE, VIRTUAL, UdfWriter
from udf_images import PLAIN as PLAIN_UDF
from udf_items import DIRECTORY, SYMLINK, Item, path_components

ROCK_RIDGE = Keeps(UNIX.names)
HYBRID = Keeps(SHORT_ASCII.names, symlinks=False, hardlinks=False, holes=False, folder_times=False)
BRIDGE = Keeps(JOLIET.names, symlinks=False, hardlinks=False, holes=False)
FAT_ASCII = replace(FAT, names=SHORT_ASCII.names)
HYBRID_PLUS = replace(HFS_PLUS, hardlinks=False)


def iso_discs(shop: Workshop) -> Iterator[Medium]:
    """Written once, with one side."""
    plain = ("genisoimage", "-quiet")
    made = _disc(shop, "ISO 9660, level 1", PLAIN, *plain)
    yield Medium("ISO 9660, level 1", made, (shop.side("iso9660", PLAIN),), True)
    options = ("-J", "-joliet-long", "-input-charset", "utf-8")
    made = _disc(shop, "Joliet", JOLIET, *plain, *options)
    yield Medium("ISO 9660, Joliet", made, (shop.side("iso9660", JOLIET),), True)
    made = _disc(shop, "Rock Ridge", ROCK_RIDGE, *plain, "-R", "-cache-inodes")
    yield Medium("ISO 9660, Rock Ridge (genisoimage)", made, (shop.side("iso9660", ROCK_RIDGE),), True)
    made = _disc(
        shop, "Rock Ridge by xorriso", ROCK_RIDGE, "xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "--hardlinks"
    )
    yield Medium("ISO 9660, Rock Ridge and Joliet (xorriso)", made, (shop.side("iso9660", ROCK_RIDGE),), True)
    made = _disc(
        shop, "hidden files", ROCK_RIDGE, *plain, "-R", "-cache-inodes", "-hidden", "F0000*", "-hidden", "LARGE.BIN"
    )
    yield Medium("ISO 9660, files marked as hidden", made, (shop.side("iso9660", ROCK_RIDGE),))


def disc_sides(shop: Workshop) -> Iterator[Medium]:
    """Several sessions, sides, or partitions."""
    yield _sessions(shop)
    made = _disc(shop, "hybrid HFS", HYBRID, "genisoimage", "-quiet", "-hfs", "-no-desktop", "-probe", "-r")
    yield Medium("hybrid of ISO 9660 and HFS", made, (shop.side("iso9660", HYBRID), shop.side("hfs", HYBRID)))
    made = _disc(shop, "hybrid HFS+", HYBRID_PLUS, "xorriso", "-as", "mkisofs", "-quiet", "-R", "-hfsplus")
    sides = (shop.side("iso9660", HYBRID_PLUS), shop.side("hfsplus", HYBRID_PLUS))
    yield Medium("hybrid of ISO 9660 and HFS+ (Apple map)", made, sides)
    made = _disc(shop, "UDF bridge", BRIDGE, "genisoimage", "-quiet", "-udf", "-R", "-J", "-input-charset", "utf-8")
    yield Medium("bridge of ISO 9660 and UDF", made, (shop.side("iso9660", BRIDGE), shop.side("udf", BRIDGE)))
    inside = fat16_image(shop.image("partition of a disc"), shop.tree(FAT_ASCII), 12)
    for table, options in (("MBR", ()), ("GPT", ("-appended_part_as_gpt",))):
        writer = (
            "xorriso",
            "-as",
            "mkisofs",
            "-quiet",
            "-R",
            "--hardlinks",
            "-append_partition",
            "2",
            "0xef",
            str(inside),
        )
        made = _disc(shop, f"ISO with {table}", ROCK_RIDGE, *writer, *options)
        sides = (shop.side("iso9660", ROCK_RIDGE), shop.side("fat16", FAT_ASCII))
        yield Medium(f"isohybrid: ISO 9660 with a FAT16 partition in its {table}", made, sides)


def _disc(shop: Workshop, name: str, keeps: Keeps, *argv: str) -> Path:
    image = shop.image(name)
    run(*argv, "-o", image, shop.tree(keeps))
    return image


def _sessions(shop: Workshop) -> Medium:
    """The second session brings a new tree and leaves out a folder of the first."""
    image = shop.image("sessions")
    first, second = shop.tree(ROCK_RIDGE, 4), shop.tree(ROCK_RIDGE, 5)
    disc = ("xorriso", "-hardlinks", "on", "-dev", f"stdio:{image}")
    run(*disc, "-map", first, "/")
    run(*disc, "-rm_r", "/MANY", "--", "-map", second / "MANY", "/OTHER")
    newest = image.with_name("newest")
    run("cp", "-a", first, newest)
    run("rm", "-r", newest / "MANY")
    run("cp", "-a", second / "MANY", newest / "OTHER")
    sides = (Side("iso9660", newest, ROCK_RIDGE), Side("iso9660", first, ROCK_RIDGE))
    return Medium("ISO 9660, two sessions, the newer one hides files", image, sides)


# ---------------------------------------------------------------- raw sectors


def raw_discs(shop: Workshop) -> Iterator[Medium]:
    """Each with a volume name of its own, so that no two are the same medium."""
    for mode in (1, 2):
        for with_cue in (False, True):
            name = f"raw mode {mode}{' with cue' if with_cue else ''}"
            volume = f"RAW{mode}{int(with_cue)}"
            iso = _disc(
                shop, f"{name}, plain", ROCK_RIDGE, "genisoimage", "-quiet", "-R", "-cache-inodes", "-V", volume
            )
            image = shop.image(name).with_name("disc.bin")
            content = raw(iso.read_bytes(), mode)
            sides = [shop.side("iso9660", ROCK_RIDGE)]
            if with_cue:
                sectors = len(content) // 2352
                sheet = cue("disc.bin", (f"MODE{mode}/2352", 0), ("AUDIO", sectors))
                image.with_suffix(".cue").write_text(sheet)
                content += sound(300, mode)
                sides.append(Side("audio", None))
            image.write_bytes(content)
            form = "mode 1" if mode == 1 else "mode 2, form 1"
            text = f"raw sectors of 2,352 bytes, {form}, " + (
                "cue sheet and a track of sound" if with_cue else "no cue sheet"
            )
            yield Medium(text, image, tuple(sides))


# ---------------------------------------------------------------- UDF


def udf_discs(shop: Workshop) -> Iterator[Medium]:
    keeps = Keeps(BRIDGE.names, symlinks=False, hardlinks=False, holes=False)
    made = pure_udf(shop.image("UDF by genisoimage"), shop.tree(keeps))
    yield Medium("UDF 1.02 (genisoimage, its ISO side taken off)", made, (shop.side("udf", keeps),), True)
    kinds = (
        (PLAIN_UDF, 0x0201, "UDF 2.01"),
        (VIRTUAL, 0x0150, "UDF 1.50 with a virtual allocation table"),
        (SPARABLE, 0x0201, "UDF 2.01 with sparing"),
        (METADATA, 0x0250, "UDF 2.50 with a metadata partition"),
    )
    for seed, (kind, revision, name) in enumerate(kinds, 1):
        image = shop.image(name)
        udf_of(shop.tree(UDF, seed), kind, revision).write(image)
        yield Medium(name, image, (shop.side("udf", UDF, seed),), True)


def udf_of(tree: Path, kind: str, revision: int) -> UdfWriter:
    """The tree as items of a volume."""
    writer = UdfWriter(kind, revision=revision, blocks=6000)
    base = os.fsencode(tree)
    placed = "short" if kind in (PLAIN_UDF, SPARABLE) else "long"
    folders = {base: writer.root}
    linked: dict[int, Item] = {}
    for folder, names, files in os.walk(base):
        for name in sorted(names + files):
            path = os.path.join(folder, name)
            status = os.lstat(path)
            item = Item(
                name.decode(), ads=placed, time=_udf_time(status.st_mtime_ns), mode=stat.S_IMODE(status.st_mode)
            )
            item.links = status.st_nlink
            if stat.S_ISDIR(status.st_mode):
                item.kind, folders[path] = DIRECTORY, item
            elif stat.S_ISLNK(status.st_mode):
                parts = os.readlink(path).decode().split("/")
                item.kind, item.ads = SYMLINK, "embedded"
                item.content = path_components(*(3 if part == ".." else part for part in parts))
            elif status.st_ino in linked:
                item.same_as = linked[status.st_ino]
            else:
                item.content = Path(os.fsdecode(path)).read_bytes()
                linked[status.st_ino] = item
            folders[folder].children.append(item)
    return writer


def _udf_time(mtime_ns: int) -> tuple[int, ...]:
    """ECMA-167, 1/7.3, in UTC."""
    at = datetime.fromtimestamp(mtime_ns // 10**9, UTC)
    micro = mtime_ns % 10**9 // 1000
    parts = (at.year, at.month, at.day, at.hour, at.minute, at.second)
    return (0x1000, *parts, micro // 10_000, micro // 100 % 100, micro % 100)
