"""Words and numbers -> a folder -> samples/field-notes.iso, a disc of awkward names with two unread areas, and its map.

Run `make_sample.py [FOLDER]` (default: the repository's samples/). Needs xorriso and ddrescuelog. The same
version of xorriso gives the same bytes each time: owners, modes, times and the order of contents are all set here.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SECTOR = 2048
EPOCH = 904_651_200  # 1998-09-01 12:00:00 UTC: the day the disc says it was made
PADDING_SECTORS = 150  # what xorriso's -pad appends
RECORDING = b"recordings/gauge-upper-weir.csv"
RECORDING_BYTES = 300 * 1024
UNREAD_SECTORS = 2

NOTES: tuple[tuple[bytes, int, str], ...] = (
    (
        b"notes/1987-04-02 arrival.txt",
        544_363_200,
        "Reached the weir house at noon. The meadow path is under water up to the second gate.\n"
        "Set up the tape recorder in the loft; the landlady keeps bees there and asks us to walk softly.\n",
    ),
    (
        "notes/1987-04-09 Überfahrt.txt".encode(),
        544_968_000,
        "Crossed with the ferryman's nephew. He knows eleven names for the one river, depending on the month.\n"
        "The eleventh is only used when somebody has drowned.\n",
    ),
    (
        "notes/été à la ferme.txt".encode(),
        551_880_000,
        "Notes from the summer at the lower farm: three wells, two of them sweet. Names of the fields written down.\n",
    ),
    (
        b"notes/caf\xe9 interview.txt",  # typed on a machine that knew Latin-1 only
        552_484_800,
        "Interview in the station cafe, tape 4 side B. The speaker asks that his name be left out until 2020.\n",
    ),
    (b"notes/#3 boat.txt", 553_089_600, "Boat number 3 leaks at the bow. Use number 5.\n"),
    (b"notes/two\nlines.txt", 553_348_800, "The title of this note was typed with the return key in it.\n"),
    (b"notes/\\n.plist", 553_435_200, "<plist><dict><key>window</key><integer>3</integer></dict></plist>\n"),
    (b"notes/Icon\r", 553_435_260, "a folder icon that came along from a Macintosh\n"),
    (b"notes/quoted 'and' \"quoted\".txt", 553_500_000, "The archive's label for box 12, quotation marks and all.\n"),
    (b"notes/tab\there.txt", 553_500_060, "column one\tcolumn two\n"),
    (b"notes/nothing was said.txt", 553_600_000, ""),
    (b"notes/1987-09-30 departure.txt", 560_001_600, "Everything packed in nine boxes. The river is one metre four.\n"),
)
DEEP = b"/".join(b"box-%02d" % level for level in range(1, 13))
LATEST = b"notes/latest.txt"  # a symbolic link
HARD_LINK = (b"tables/water-levels.csv", b"tables/levels as sent to the office.csv")
COPIES: tuple[tuple[bytes, bytes], ...] = (
    (b"notes/1987-04-02 arrival.txt", b"copies/arrival (copy 1).txt"),
    (b"notes/1987-04-02 arrival.txt", b"copies/arrival (copy 2).txt"),
    (b"pictures/weir.pbm", b"copies/weir.pbm"),
    (b"pictures/weir.pbm", DEEP + b"/weir.pbm"),
    (b"notes/nothing was said.txt", b"copies/also empty"),
)
README = """FIELD NOTES, summer of 1987
Copied in 1998 from eleven floppy disks, a notebook and one reel.
notes/       what was written down on the day
tables/      water levels, birds, households
pictures/    drawings, scanned in black and white
recordings/  readings of the gauge recorder, one line a minute
copies/      what somebody kept twice to be safe
box-01/      the boxes as they stood inside one another
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the finished disc is; offsets and sizes are bytes, `damaged` is a range of the recording."""

    image_bytes: int
    image_hash: str  # SHA-256
    recording_offset: int
    unread: tuple[tuple[int, int], tuple[int, int]]
    damaged: tuple[int, int]
    files: int
    names: int
    contents: int


def levels(days: range) -> bytes:
    """Water levels of some days of the year, in centimetres: a spring flood, a dry autumn."""
    lines = ["date,level_cm,remark"]
    for day in days:
        level = 140 + round(90 * math.cos((day - 95) * math.tau / 365)) + (day * 7919) % 13
        month, of_month = day // 30 + 1, day % 30 + 1
        lines.append(f"1987-{month:02d}-{of_month:02d},{level},{'flood' if level > 225 else ''}")
    return "\n".join(lines).encode() + b"\n"


def recording() -> bytes:
    """The gauge recorder's readings, one line a minute, cut off in mid-line when the paper ended."""
    lines: list[str] = ["minute,level_mm,battery_mv"]
    size, minute, level = len(lines[0]) + 1, 0, 1400
    while size < RECORDING_BYTES:
        level += (minute * 7919 % 11) - 5
        line = f"{minute:06d},{level:05d},{6200 - minute // 40}"
        lines.append(line)
        size, minute = size + len(line) + 1, minute + 1
    return ("\n".join(lines) + "\n").encode()[:RECORDING_BYTES]


def picture(width: int, height: int, waves: int) -> bytes:
    """A portable bitmap (Netpbm, "PBM", P4): the bank, and the river as so many waves."""
    rows = bytearray()
    for y in range(height):
        bits = [y > height / 2 + height / 9 * math.sin(x * waves * math.tau / width) for x in range(width)]
        for start in range(0, width, 8):
            rows.append(sum(0x80 >> place for place, bit in enumerate(bits[start : start + 8]) if bit))
    return b"P4\n%d %d\n" % (width, height) + bytes(rows)


def contents() -> dict[bytes, tuple[bytes, int]]:
    """Every regular file that has content of its own: path -> bytes, modification time."""
    tree = {path: (text.encode(), mtime) for path, mtime, text in NOTES}
    tree[b"README.TXT"] = (README.encode(), EPOCH)
    tree[RECORDING] = (recording(), 558_000_000)
    tree[HARD_LINK[0]] = (levels(range(360)), 567_000_000)
    birds = "species,seen,first\nlapwing,212,1987-04-03\nbittern,2,1987-05-11\nblack tern,37,1987-05-14\ncorncrake,1,\n"
    tree[b"tables/birds.csv"] = (birds.encode(), 560_000_000)
    homes = "".join(f"{house},{2 + house * 5 % 7},{('well', 'pump', 'river')[house % 3]}\n" for house in range(1, 60))
    tree[b"tables/households.csv"] = (b"house,people,water\n" + homes.encode(), 560_100_000)
    for name, waves in ((b"weir", 3), (b"ferry", 5), (b"mill race", 9)):
        tree[b"pictures/" + name + b".pbm"] = (picture(320, 200, waves), 561_000_000 + waves)
    for month in range(1, 13):
        tree[b"tables/by month/%02d.csv" % month] = (levels(range(30 * month - 30, 30 * month)), 567_000_000 + month)
    tree[DEEP + b"/label.txt"] = (b"Box within box within box. The innermost holds the key.\n", 562_000_000)
    for origin, copy in COPIES:
        tree[copy] = (tree[origin][0], tree[origin][1] + 86_400)
    return tree


def write_tree(root: bytes, tree: dict[bytes, tuple[bytes, int]]) -> None:
    """Lays the files below `root`, with the hard and the symbolic link, then fixes all modes and times."""
    for path, (content, mtime) in tree.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(content)
        os.chmod(full, 0o644)
        os.utime(full, (mtime, mtime))
    os.link(os.path.join(root, HARD_LINK[0]), os.path.join(root, HARD_LINK[1]))
    os.symlink(os.path.basename(NOTES[-1][0]), os.path.join(root, LATEST))
    os.utime(os.path.join(root, LATEST), (EPOCH, EPOCH), follow_symlinks=False)
    for folder, _, _ in os.walk(root, topdown=False):
        os.chmod(folder, 0o755)
        os.utime(folder, (EPOCH, EPOCH))


def run(argv: list[str | bytes]) -> str:
    """Runs a tool with the clock, zone and language fixed; a failure ends the script with what the tool said."""
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(EPOCH), "TZ": "UTC", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise SystemExit(f"{done.stderr}{argv[0]!r} ended with {done.returncode}")
    return done.stdout


def write_image(root: bytes, tree: dict[bytes, tuple[bytes, int]], image: Path) -> None:
    """The folder -> an ISO 9660 image with Rock Ridge and Joliet, padded with sectors that nothing uses."""
    argv: list[str | bytes] = ["xorriso", "-no_rc", "-abort_on", "FAILURE", "-compliance", "new_rr"]
    argv += ["-as", "mkisofs", "-quiet", "-R", "-J", "-joliet-long", "-uid", "0", "-gid", "0", "-pad"]
    argv += ["-V", "FIELD_NOTES_1987", "-p", "NTT SAMPLE", "-A", "FIELD NOTES", "-o", str(image)]
    for weight, path in enumerate(sorted(tree)):  # otherwise inode numbers decide the order of the contents
        argv += ["--sort-weight", str(-weight), b"/" + path]
    run([*argv, root])


def renumber(image: Path) -> None:
    """Numbers the inodes in order of appearance: xorriso's numbers hang on where its memory happened to lie.

    They stand in the PX fields, in both byte orders (RRIP 1.12, "Description of the PX System Use Entry").
    """
    order: dict[bytes, int] = {}

    def renumbered(field: re.Match[bytes]) -> bytes:
        number = order.setdefault(field[2], len(order) + 1)
        return field[1] + number.to_bytes(4, "little") + number.to_bytes(4, "big")

    image.write_bytes(re.sub(rb"(PX,\x01.{32})(.{8})", renumbered, image.read_bytes(), flags=re.DOTALL))


def content_offset(image: Path, path: bytes) -> int:
    """Byte offset of a file's content in the image (xorriso manual, "-find ... -exec report_lba")."""
    said = run(["xorriso", "-no_rc", "-indev", str(image), "-find", b"/" + path, "-exec", "report_lba", "--"])
    found = re.search(r"File data lba:\s*0 ,\s*(\d+) ,\s*(\d+) ,\s*(\d+) ,", said)
    if found is None or int(found[3]) != RECORDING_BYTES:
        raise SystemExit(f"xorriso did not say where the recording lies: {said!r}")
    return int(found[1]) * SECTOR


def lose_sectors(image: Path) -> tuple[int, tuple[tuple[int, int], tuple[int, int]]]:
    """Zeroes two sectors in the middle of the recording, as ddrescue leaves what it could not read.

    Returns the recording's offset and both unread ranges; the second lies in the padding, zeros already.
    """
    offset, size = content_offset(image, RECORDING), image.stat().st_size
    first = offset + RECORDING_BYTES // SECTOR // 2 * SECTOR
    free = size - PADDING_SECTORS // 2 * SECTOR
    with image.open("r+b") as file:
        file.seek(size - PADDING_SECTORS * SECTOR)
        if any(file.read()):
            raise SystemExit("the padding is in use")
        file.seek(first)
        file.write(bytes(UNREAD_SECTORS * SECTOR))
    return offset, ((first, first + UNREAD_SECTORS * SECTOR), (free, free + UNREAD_SECTORS * SECTOR))


def write_map(path: Path, size: int, unread: tuple[tuple[int, int], ...]) -> None:
    """A finished rescue's map (GNU ddrescue manual, "Mapfile structure"): `+` was read, `-` are bad sectors."""
    lines = ["# Mapfile. Written by scripts/make_sample.py in the form of GNU ddrescue's"]
    lines += ["# current_pos  current_status"]
    lines += [f"0x{unread[-1][0]:08X}     +               1", "#      pos        size  status"]
    at = 0
    for start, end in unread:
        lines += [f"0x{at:08X}  0x{start - at:08X}  +", f"0x{start:08X}  0x{end - start:08X}  -"]
        at = end
    lines.append(f"0x{at:08X}  0x{size - at:08X}  +")
    path.write_text("\n".join(lines) + "\n")
    run(["ddrescuelog", "-t", str(path)])


def write_readme(path: Path, facts: Facts) -> None:
    """What a person or a test may expect to find on the disc."""
    (bad_start, bad_end), (free_start, free_end) = facts.unread
    path.write_text(f"""# The sample disc

`field-notes.iso` is a disc image (ISO 9660 with Rock Ridge and Joliet) and `field-notes.map` the ddrescue map of its
rescue. `scripts/make_sample.py` makes both, and this page; everything on the disc was written for it.

| fact | value |
|---|---|
| image | {facts.image_bytes:,} bytes, {facts.image_bytes // SECTOR} sectors, SHA-256 `{facts.image_hash}` |
| regular files | {facts.files} inodes under {facts.names} names (one has two), {facts.contents} different contents |
| links | `{LATEST.decode()}` is a symbolic link, `{HARD_LINK[1].decode()}` a hard link |
| unread, in a file | bytes {bad_start} to {bad_end} of the image, {UNREAD_SECTORS} sectors |
| file hit | `{RECORDING.decode()}`, {RECORDING_BYTES} bytes from offset {facts.recording_offset} |
| its bytes hit | {facts.damaged[0]} to {facts.damaged[1]}, zeros here |
| unread, in free space | bytes {free_start} to {free_end} of the image: no file and no directory lies there |

Ends are exclusive. Names to look out for below `notes/`: a line feed, a carriage return, a TAB, a backslash followed by
`n`, quotation marks, `#`, accents in UTF-8, and one byte 0xE9 that is Latin-1 and not UTF-8.
Below `box-01` lie {DEEP.count(b"/")} more folders, each inside the other.
""")


def make(folder: Path) -> Facts:
    """Makes or replaces image, map and README.md in `folder`."""
    tree, image = contents(), folder / "field-notes.iso"
    with tempfile.TemporaryDirectory() as scratch:
        root = os.path.join(os.fsencode(scratch), b"disc")
        write_tree(root, tree)
        image.unlink(missing_ok=True)
        write_image(root, tree, image)
    renumber(image)
    offset, unread = lose_sectors(image)
    facts = Facts(
        image_bytes=image.stat().st_size,
        image_hash=hashlib.sha256(image.read_bytes()).hexdigest(),
        recording_offset=offset,
        unread=unread,
        damaged=(unread[0][0] - offset, unread[0][1] - offset),
        files=len(tree),
        names=len(tree) + 1,
        contents=len({content for content, _ in tree.values()}),
    )
    write_map(folder / "field-notes.map", facts.image_bytes, unread)
    write_readme(folder / "README.md", facts)
    return facts


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent / "samples"
    made = make(target)
    print(f"{target / 'field-notes.iso'}: {made.image_bytes} bytes, {made.files} files, unread {made.unread}")
