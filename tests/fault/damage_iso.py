"""A tree -> an ISO 9660 disc with Rock Ridge and Joliet, and its truth: places by isoinfo, xorriso and ECMA-119."""

from __future__ import annotations

import os
import random
import re
import struct
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from damage_plans import Piece, TrueDirectory, TrueFile, TrueLink, Truth

from ntt.ranges import Range, Ranges, difference, intersection, normalised

SECTOR = 2048
DESCRIPTOR: Range = (16 * SECTOR, 17 * SECTOR)
_LISTED = re.compile(
    rb"(?P<type>[dl-])\S+ +\d+ +\d+ +\d+ +(?P<size>\d+) .* \[ *(?P<block>\d+) (?P<flags>\w\w)\]  ?(?P<name>.*?) ?$"
)
_REPORTED = re.compile(rb"File data lba: +\d+ , +(\d+) , +\d+ , +(\d+) , '(.*)'$")


def run(*argv: str | Path) -> bytes:
    done = subprocess.run(argv, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


@dataclass(frozen=True, slots=True)
class Listed:
    """What isoinfo says of one name."""

    type: bytes
    size: int
    block: int
    target: bytes

    @property
    def place(self) -> Range:
        return self.block * SECTOR, self.block * SECTOR + -(-self.size // SECTOR) * SECTOR


def source_tree(root: Path, seed: int = 9660) -> Path:
    """Directories whose records fill several sectors, inside of each other; files of no byte, of one and of many."""
    chance = random.Random(seed)
    below = root
    for depth in range(4):
        below.mkdir(parents=True)
        for number in range(24):
            size = chance.choice((0, 1, 2047, 2048, 2049, 5000, 9000))
            name = f"{depth}-{number:02} a name that is long enough to leave room for ten"
            (below / name).write_bytes(chance.randbytes(size))
        (below / "empty folder").mkdir()
        (below / "a link").symlink_to("../elsewhere")
        below = below / f"level {depth}"
    (root / "large").write_bytes(chance.randbytes(300_001))
    return root


def genisoimage(image: Path, tree: Path) -> Path:
    run("genisoimage", "-quiet", "-R", "-J", "-joliet-long", "-o", image, tree)
    return image


def xorriso(image: Path, tree: Path) -> Path:
    run("xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-joliet-long", "-o", image, tree)
    return image


def truth_of(image: Path, tree: Path) -> Truth:
    """xorriso and isoinfo must agree on where the files lie."""
    content = image.read_bytes()
    listed = _listing(image, "-R")
    _require_agreement(image, listed)
    names = {path: normalised((one.place,)) for path, one in listed.items() if one.type == b"d"}
    files: dict[bytes, TrueFile] = {}
    directories: dict[bytes, TrueDirectory] = {b"": TrueDirectory(names[b""], ((DESCRIPTOR,),))}
    links: dict[bytes, TrueLink] = {}
    for path, one in listed.items():
        if not path:
            continue
        above, _, name = path.rpartition(b"/")
        entry = _entry(content, names[above], name)
        if one.type == b"d":
            directories[path] = TrueDirectory(names[path], (), entry)
        elif one.type == b"l":
            links[path] = TrueLink(one.target, (), (), entry)
        else:
            pieces = (Piece(0, one.size, one.place[0]),) if one.size else ()
            files[path] = TrueFile((tree / os.fsdecode(path)).read_bytes(), pieces, (), entry)
    described, spare = _described(content)
    others = [one.place for one in _listing(image, "-J").values() if one.type == b"d"]
    stored = [one.place for one in listed.values() if one.type == b"-" and one.size]
    areas = _continuation_areas(content, names[b""])
    used = normalised((*described, *others, *areas, *stored, *(one for found in names.values() for one in found)))
    account = tuple((one,) for found in names.values() for one in found)
    return Truth(
        len(content),
        SECTOR,
        files,
        directories,
        used,
        difference(((0, len(content)),), used),
        account=(*account, *((one,) for one in (*described, *others))),
        structures=((DESCRIPTOR,),),
        spare=normalised((*spare, *others)),
        doubtful=((17 * SECTOR, 19 * SECTOR),),
        links=links,
    )


def under(truth: Truth, bad: Ranges) -> Truth:
    """Where nothing leads to its root directory the disc is read by its Joliet tree: links are files of no bytes there.

    Without its descriptor the root is found by its first sector only.
    """
    root = truth.directories[b""].names
    first = (root[0][0], root[0][0] + SECTOR)
    is_lost = intersection(root, bad) == root
    if not is_lost and not (intersection((DESCRIPTOR,), bad) and intersection((first,), bad)):
        return truth
    cause = (intersection((DESCRIPTOR,), bad) or intersection(root, bad),)
    directories = {path: replace(one, records=cause) for path, one in truth.directories.items()}
    files = {path: one if one.content else replace(one, records=cause) for path, one in truth.files.items()}
    links = {path: replace(link, records=cause) for path, link in truth.links.items()}
    doubtful = normalised((*truth.doubtful, *truth.spare))
    return replace(truth, files=files, directories=directories, links=links, doubtful=doubtful)


def _listing(image: Path, names: str) -> dict[bytes, Listed]:
    found: dict[bytes, Listed] = {}
    below = b""
    for line in run("isoinfo", "-l", names, "-i", image).splitlines():
        if line.startswith(b"Directory listing of /"):
            below = line[len(b"Directory listing of /") :]
        elif match := _LISTED.match(line):
            name, _, target = match["name"].partition(b" -> ")
            one = Listed(match["type"], int(match["size"]), int(match["block"]), target)
            if name == b"." and not below:
                found[b""] = one
            elif name not in (b".", b".."):
                found[below + name] = one
    return found


def _require_agreement(image: Path, listed: dict[bytes, Listed]) -> None:
    report = run("xorriso", "-indev", image, "-find", "/", "-type", "f", "-exec", "report_lba", "--").splitlines()
    reported = {
        match[3].lstrip(b"/"): (int(match[1]), int(match[2])) for match in map(_REPORTED.match, report) if match
    }
    stored = {path: (one.block, one.size) for path, one in listed.items() if one.type == b"-" and one.size}
    assert stored
    assert {path: place for path, place in reported.items() if place[1]} == stored


def _entry(content: bytes, names: Ranges, name: bytes) -> Ranges:
    """The sector of the directory that holds the name in an NM entry (RRIP 4.1.4)."""
    mark = b"NM" + bytes((5 + len(name), 1, 0)) + name
    ((start, end),) = names
    at = content.index(mark, start, end)
    return ((at - at % SECTOR, at - at % SECTOR + SECTOR),)


def _described(content: bytes) -> tuple[list[Range], list[Range]]:
    """System area, descriptors and path tables (ECMA-119, 8.3 and 8.4); the spare ones of them."""
    spare: list[Range] = [(0, 16 * SECTOR)]
    at = 16 * SECTOR
    while content[at] != 255:
        little = struct.unpack_from("<II", content, at + 140)
        big = struct.unpack_from(">II", content, at + 148)
        (size,) = struct.unpack_from("<I", content, at + 132)
        spare.extend(
            (block * SECTOR, block * SECTOR + -(-size // SECTOR) * SECTOR) for block in (*little, *big) if block
        )
        at += SECTOR
        spare.append((at, at + SECTOR))
    return [(16 * SECTOR, at), *spare], spare


def _continuation_areas(content: bytes, root: Ranges) -> list[Range]:
    """What the root says of Rock Ridge itself (SUSP 5.5) stands behind a CE entry (SUSP 5.1)."""
    at = content.index(b"CE\x1c\x01", root[0][0], root[0][0] + SECTOR)
    (block,) = struct.unpack_from("<I", content, at + 4)
    return [(block * SECTOR, block * SECTOR + SECTOR)]
