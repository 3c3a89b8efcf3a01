"""What ext, FAT, exFAT and NTFS say of themselves, against what their own tools say of the same images."""

from __future__ import annotations

import random
import re
import struct
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from disk_images import (
    ENVIRONMENT,
    exfat_image,
    ext_image,
    fat_image,
    mounted,
    noise,
    ntfs_image,
    opened,
    paths_below,
    portable_tree,
    reader_of,
    run,
    unix_tree,
    walked,
)

from ntt.model import VolumeFacts
from ntt.ranges import Ranges
from ntt.readers.base import ImageSource
from ntt.readers.ext.facts import ext_facts
from ntt.readers.ext.tree import ExtTree
from ntt.readers.fat.tree import FatTree
from ntt.readers.nodes import Tree
from ntt.readers.ntfs.tree import NtfsTree


def facts_of(image: Path, unread: Ranges = ()) -> VolumeFacts:
    with reader_of(image, unread) as (_, reader):
        return reader.facts()


def listed(image: Path) -> int:
    """How many inodes the reader lists, the root aside and streams beside their files not counted."""
    with reader_of(image) as (_, reader):
        found = walked(reader)
        assert found.problems == ()
        return len({entry.ino for entry in found.all_entries if entry.name})


def uuid_by_blkid(image: Path) -> str:
    return run("blkid", "-p", "-o", "value", "-s", "UUID", image).strip()


def said_by(*argv: str | Path) -> tuple[int, str]:
    """Exit status and output of a checker, which says with its status what it thinks."""
    done = subprocess.run([str(part) for part in argv], capture_output=True, env=ENVIRONMENT, check=False)
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


def patched(image: Path, position: int, content: bytes) -> None:
    with image.open("r+b") as file:
        file.seek(position)
        file.write(content)


def odd(facts: VolumeFacts, words: str) -> str:
    """The one oddity with these words."""
    found = [sentence for sentence in facts.oddities if words in sentence]
    assert len(found) == 1, facts.oddities
    return found[0]


# ---------------------------------------------------------------- ext


def dumped(image: Path) -> dict[str, str]:
    lines = run("dumpe2fs", "-h", image).splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


EXT_KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "ext2": ("ext2", ()),
    "ext2 of revision 0": ("ext2", ("-r", "0", "-O", "none")),
    "ext3": ("ext3", ("-I", "128")),
    "ext4": ("ext4", ()),
    "ext4 with hidden files": ("ext4", ("-O", "quota,project,orphan_file,metadata_csum")),
    "ext4 with meta groups": ("ext4", ("-O", "meta_bg,^resize_inode", "-b", "4096")),
}


@pytest.mark.parametrize("kind", EXT_KINDS)
def test_an_ext_file_system_says_what_dumpe2fs_says(kind: str, tmp_path: Path) -> None:
    fstype, options = EXT_KINDS[kind]
    tree = portable_tree(tmp_path / "tree") if "0" in kind else unix_tree(tmp_path / "tree")
    image = ext_image(tmp_path / "image", fstype, tree, 40, *options)
    facts, told = facts_of(image), dumped(image)
    block = int(told["Block size"])
    assert facts.fstype == fstype
    assert facts.label == told["Filesystem volume name"]
    assert facts.serial == uuid_by_blkid(image)
    assert facts.block_bytes == block
    assert facts.size_bytes == int(told["Block count"]) * block
    assert facts.free_bytes == int(told["Free blocks"]) * block
    assert facts.used_bytes == facts.size_bytes - facts.free_bytes
    assert facts.created_s == int(run("date", "-u", "-d", told["Filesystem created"] + " UTC", "+%s"))
    assert facts.modified_s == int(run("date", "-u", "-d", told["Last write time"] + " UTC", "+%s"))
    assert facts.entries == listed(image)
    assert (facts.state, facts.oddities) == ("clean", ())


def test_an_ext4_in_clusters_of_blocks_counts_blocks(tmp_path: Path) -> None:
    tree = portable_tree(tmp_path / "tree")
    image = ext_image(tmp_path / "image", "ext4", tree, 40, "-O", "bigalloc", "-C", "16384")
    with opened(image) as source:  # which the reader does not open
        facts = ext_facts(source, 0, "ext4", "")
    told = dumped(image)
    assert facts.free_bytes == int(told["Free blocks"]) * int(told["Block size"])
    assert facts.entries == len(paths_below(tree))  # less the root, and lost+found


def test_an_ext4_image_of_a_mounted_disk_is_dirty_until_it_is_unmounted(tmp_path: Path) -> None:
    image = ext_image(tmp_path / "image", "ext4", None)
    copy = tmp_path / "pulled"
    with mounted(image, "ext4") as root:
        (root / "file").write_bytes(noise(100_000))
        run("sync", "-f", root / "file")
        copy.write_bytes(image.read_bytes())
    facts = facts_of(copy)
    assert "needs_recovery" in dumped(copy)["Filesystem features"]
    assert facts.state == "dirty"
    assert odd(facts, "journal was not replayed")
    after = facts_of(image)
    assert after.state == "clean"
    odd(after, "mounted once since it was last checked")
    assert after.entries == listed(image) == 2
    assert after.modified_s is not None
    assert after.created_s is not None
    assert after.modified_s >= after.created_s
    run("debugfs", "-w", "-R", "ssv last_mounted /media/disk", image)
    assert odd(facts_of(image), "mounted once").endswith("last on /media/disk")


def test_ext_errors_foreign_makers_and_used_backups_are_said(tmp_path: Path) -> None:
    image = ext_image(tmp_path / "image", "ext2", None)
    script = ["ssv state 2", "ssv creator_os 3", "ssv error_count 7", "feature encrypt"]
    run("debugfs", "-w", "-f", "/dev/stdin", image, script="\n".join(script) + "\n")
    told = dumped(image)
    assert told["Filesystem state"] == "not clean with errors"
    assert told["Filesystem OS type"] == "FreeBSD"
    features = int.from_bytes(image.read_bytes()[1120:1124], "little")
    patched(image, 1024 + 96, struct.pack("<I", features | 0x1000))
    patched(image, 1024 + 90, b"\1\0")  # as a backup says it, whose bytes were copied over the first
    with opened(image) as source:
        facts = TREES["ext2"](source).facts()
    assert facts.state == "dirty"
    for words in (
        "not unmounted",
        "found errors",
        "by FreeBSD",
        "copy (of group 1)",
        "know: dirdata",
        "fscrypt",
        "7 errors",
    ):
        odd(facts, words)


# ---------------------------------------------------------------- FAT

FATS = {"fat12": (12, 1440), "fat16": (16, 20_000), "fat32": (32, 70_000)}


def made_fat(folder: Path, kind: str) -> Path:
    bits, kib = FATS[kind]
    return fat_image(folder / "image", bits, portable_tree(folder / "tree"), kib)


def table_place(image: Path) -> tuple[int, int]:
    """(where the first table begins, how long each is) by the boot sector's text in fsck.fat."""
    told = said_by("fsck.fat", "-n", "-v", image)[1]
    first = int(re.search(r"First FAT starts at byte (\d+)", told)[1])
    return first, int(re.search(r"(\d+) bytes per FAT", told)[1])


@pytest.mark.parametrize("kind", FATS)
def test_a_fat_file_system_says_what_its_tools_say(kind: str, tmp_path: Path) -> None:
    image = made_fat(tmp_path, kind)
    facts = facts_of(image)
    status, told = said_by("fsck.fat", "-n", "-v", image)
    assert status == 0, told
    used, clusters = map(int, re.search(r"(\d+)/(\d+) clusters", told).groups())
    block = int(re.search(r"(\d+) bytes per cluster", told)[1])
    free = int(re.search(r"([\d ]+) bytes free", run("mdir", "-i", image, "::"))[1].replace(" ", ""))
    assert (facts.fstype, facts.label, facts.block_bytes) == (kind, "NTTLABEL", block)
    assert facts.serial == uuid_by_blkid(image)
    assert facts.size_bytes == int(re.search(r"(\d+) sectors total", told)[1]) * 512
    assert (facts.used_bytes, facts.free_bytes) == (used * block, free) == (used * block, (clusters - used) * block)
    assert (facts.entries, facts.created_s, facts.modified_s) == (None, None, None)
    assert facts.state == "clean"
    assert facts.oddities == ("its boot sector was written by “mkfs.fat”",)


@pytest.mark.parametrize("kind", FATS)
def test_fat_copies_that_differ_are_counted_and_the_first_place_is_said(kind: str, tmp_path: Path) -> None:
    image = made_fat(tmp_path, kind)
    start, length = table_place(image)
    width = FATS[kind][0] / 8
    before = facts_of(image)
    for entry in (2000, 2002, 2400):
        patched(image, start + length + int(entry * width), b"\x12")
    assert "FATs differ" in said_by("fsck.fat", "-n", image)[1]
    facts = facts_of(image)
    assert "differ in 3 entries, the first is 2,000" in odd(facts, "allocation tables differ")
    assert (facts.used_bytes, facts.free_bytes) == (before.used_bytes, before.free_bytes)


@pytest.mark.parametrize("kind", FATS)
def test_a_fat_chain_that_leads_beyond_the_end_is_said(kind: str, tmp_path: Path) -> None:
    image = made_fat(tmp_path, kind)
    start, length = table_place(image)
    bits = FATS[kind][0]
    stray = {12: b"\xe0\x0e", 16: struct.pack("<H", 60_000), 32: struct.pack("<I", 9_000_000)}[bits]
    for table in (0, length):
        patched(image, start + table + 2000 * bits // 8, stray)
    facts = facts_of(image)
    number = {12: "3,808", 16: "60,000", 32: "9,000,000"}[bits]
    assert odd(facts, "one entry points beyond the last cluster").endswith(f"the first to {number}")


def test_a_fat_that_was_not_unmounted_or_met_errors_says_so(tmp_path: Path) -> None:
    image = made_fat(tmp_path, "fat16")
    start, _ = table_place(image)
    patched(image, 37, b"\x01")
    assert "Dirty bit is set" in said_by("fsck.fat", "-n", image)[1]
    assert facts_of(image).state == "dirty"
    patched(image, 37, b"\x00")
    assert facts_of(image).state == "clean"
    patched(image, start + 2, b"\xff\x7f")
    assert facts_of(image).state == "dirty"
    patched(image, start + 2, b"\xff\xbf")
    facts = facts_of(image)
    assert facts.state == "clean"
    odd(facts, "read or write errors")


def test_an_fsinfo_that_disagrees_or_is_damaged_is_said(tmp_path: Path) -> None:
    image = made_fat(tmp_path, "fat32")
    facts = facts_of(image)
    assert facts.free_bytes is not None
    patched(image, 512 + 488, struct.pack("<I", 4711))
    assert "Free cluster summary wrong (4711" in said_by("fsck.fat", "-n", image)[1]
    free = facts.free_bytes // 512
    assert f"counts 4,711 free clusters, its table {free:,}" in odd(facts_of(image), "FSInfo")
    patched(image, 512 + 488, b"\xff\xff\xff\xff")
    assert not any("FSInfo" in sentence for sentence in facts_of(image).oddities)
    patched(image, 512, b"none")
    odd(facts_of(image), "FSInfo sector is damaged")


def test_two_fat_labels_that_differ_are_both_said(tmp_path: Path) -> None:
    image = made_fat(tmp_path, "fat12")
    patched(image, 43, b"OLD NAME   ")
    facts = facts_of(image)
    assert facts.label == "NTTLABEL"
    assert "“OLD NAME” in the boot sector, “NTTLABEL” in the root directory" in odd(facts, "two labels")
    run("mlabel", "-c", "-i", image, "::")
    patched(image, 43, b"OLD NAME   ")
    assert "none in the root directory" in odd(facts_of(image), "two labels")


def test_bad_fat_clusters_are_neither_free_nor_in_use(tmp_path: Path) -> None:
    image = made_fat(tmp_path, "fat16")
    before = facts_of(image)
    start, length = table_place(image)
    for table in (0, length):
        patched(image, start + table + 2 * 3000, b"\xf7\xff\xf7\xff")
    facts = facts_of(image)
    odd(facts, "2 clusters are marked as bad")
    assert facts.used_bytes == before.used_bytes
    assert facts.free_bytes == before.free_bytes - 2 * 2048
    free = int(re.search(r"([\d ]+) bytes free", run("mdir", "-i", image, "::"))[1].replace(" ", ""))
    assert facts.free_bytes == free


@pytest.mark.parametrize("kind", FATS)
def test_unread_bytes_of_a_fat_are_never_counted_as_free(kind: str, tmp_path: Path) -> None:
    image = made_fat(tmp_path, kind)
    whole = facts_of(image)
    start, length = table_place(image)
    one = facts_of(image, ((start + 512, start + 1024),))
    assert (one.used_bytes, one.free_bytes) == (whole.used_bytes, whole.free_bytes)
    odd(one, "512 bytes of allocation table 1 were not read")
    both = facts_of(image, ((start + 512, start + 1024), (start + length, start + length + 512)))
    assert (both.used_bytes, both.free_bytes) == (None, None)
    odd(both, "512 bytes of allocation table 2 were not read")


# ---------------------------------------------------------------- exFAT


def test_an_exfat_file_system_says_what_dump_exfat_says(tmp_path: Path) -> None:
    image = exfat_image(tmp_path / "image", portable_tree(tmp_path / "tree"))
    told = run("dump.exfat", image)
    number = {key: int(value, 0) for key, value in re.findall(r"^([\w ]+?)(?:\([\w ]+\))?:\s+(\w+)$", told, re.M) if
              re.fullmatch(r"0x[0-9a-f]+|\d+", value)}  # fmt: skip
    facts = facts_of(image)
    assert (facts.fstype, facts.label, facts.state, facts.oddities) == ("exfat", "ntt label", "clean", ())
    assert facts.serial == uuid_by_blkid(image)
    block = number["Cluster size"]
    assert (facts.block_bytes, facts.size_bytes) == (block, number["Volume Length"] * 512)
    assert facts.free_bytes == number["Free Clusters"] * block
    assert facts.used_bytes == (number["Total Clusters"] - number["Free Clusters"]) * block
    assert facts.entries is None


def test_a_dirty_exfat_with_errors_and_a_foreign_backup_says_so(tmp_path: Path) -> None:
    image = exfat_image(tmp_path / "image", portable_tree(tmp_path / "tree"))
    patched(image, 106, b"\x06")
    facts = facts_of(image)
    assert facts.state == "dirty"
    odd(facts, "read or write errors")
    patched(image, 12 * 512 + 100, b"\1\2\3\4")
    odd(facts_of(image), "the backup of it differ")


def test_an_exfat_bitmap_that_was_not_read_is_not_counted(tmp_path: Path) -> None:
    image = exfat_image(tmp_path / "image", portable_tree(tmp_path / "tree"))
    told = run("dump.exfat", image)
    heap = 512 * int(re.search(r"Cluster Heap Offset.*:\s+(\d+)", told)[1])
    start = heap + (int(re.search(r"Bitmap start cluster:\s+(\d+)", told)[1]) - 2) * 4096
    facts = facts_of(image, ((start, start + 512),))
    assert (facts.used_bytes, facts.free_bytes) == (None, None)
    assert "512 of its bytes were not read" in odd(facts, "bitmap cannot be read")


# ---------------------------------------------------------------- NTFS


def filled_ntfs(folder: Path) -> Path:
    return ntfs_image(folder / "image", portable_tree(folder / "tree"))


def test_an_ntfs_file_system_says_what_ntfsinfo_says(tmp_path: Path) -> None:
    image = filled_ntfs(tmp_path)
    told = dict(re.findall(r"^\s*([\w ]+):\s+(\S+)", run("ntfsinfo", "-m", image), re.M))
    facts = facts_of(image)
    block = int(told["Cluster Size"])
    assert (facts.fstype, facts.label, facts.block_bytes) == ("ntfs", "ntt lábel", block)
    assert facts.serial == uuid_by_blkid(image)
    assert facts.size_bytes is not None
    assert facts.size_bytes // block == int(told["Volume Size in Clusters"])
    assert facts.free_bytes == int(told["Free Clusters"]) * block
    assert facts.used_bytes == (int(told["Volume Size in Clusters"]) - int(told["Free Clusters"])) * block
    born = re.search(r"File Creation Time:\s+(.*)", run("ntfsinfo", "-i", "3", image))[1]
    assert facts.created_s == int(run("date", "-u", "-d", born, "+%s"))
    assert facts.entries == listed(image) == 166
    assert (facts.state, facts.oddities) == ("clean", (f"NTFS version {told['Volume Version']}",))


def test_an_empty_ntfs_counts_no_entries(tmp_path: Path) -> None:
    image = ntfs_image(tmp_path / "image", None, 8)
    assert facts_of(image).entries == listed(image) == 0


def test_an_ntfs_that_is_to_be_checked_is_dirty(tmp_path: Path) -> None:
    image = filled_ntfs(tmp_path)
    run("ntfsfix", image)
    facts = facts_of(image)
    assert "DIRTY" in run("ntfsinfo", "-f", "-m", image).upper()
    assert facts.state == "dirty"
    odd(facts, "marked for checking")


def test_an_ntfs_log_that_was_not_worked_off_is_said(tmp_path: Path) -> None:
    image = filled_ntfs(tmp_path)
    place = run("ntfscluster", "-f", "-I", "2", image)
    cluster = int(re.search(r"^\s+0\s+(\d+)\s+\d+$", place, re.M)[1])
    for page, (lsn, client, flags) in enumerate([(5000, 0, 0), (4000, 0xFFFF, 2)]):
        patched(image, cluster * 4096 + page * 4096, restart_page(lsn, client, flags))
    assert said_by("ntfs-3g.probe", "--readwrite", image)[0] == 15  # unclean
    facts = facts_of(image)
    assert facts.state == "dirty"
    odd(facts, "log was not worked off")
    patched(image, cluster * 4096, restart_page(5000, 0xFFFF, 2))
    assert said_by("ntfs-3g.probe", "--readwrite", image)[0] == 0
    assert facts_of(image).state == "clean"


def restart_page(lsn: int, client: int, flags: int) -> bytes:
    """A restart page as Windows writes it, with one client."""
    page = bytearray(4096)
    struct.pack_into("<4sHHQIIHhh", page, 0, b"RSTR", 0x1E, 9, 0, 4096, 4096, 0x30, 1, 1)
    area = struct.pack("<QHHHHIHHQ", lsn, 1, 0xFFFF if client == 0 else 0, client, flags, 45, 224, 64, 2 << 20)
    page[0x30 : 0x30 + len(area)] = area
    struct.pack_into("<IHHI", page, 0x30 + 32, 0, 0x30, 0x40, 0)
    struct.pack_into("<QQHHH", page, 0x30 + 64, 0, 0, 0xFFFF, 0xFFFF, 0)
    struct.pack_into("<I8s", page, 0x30 + 64 + 28, 8, "NTFS".encode("utf-16-le"))
    mark = b"\x01\x00"
    page[0x1E:0x20] = mark
    for sector in range(1, 9):
        end = sector * 512
        page[0x1E + 2 * sector : 0x20 + 2 * sector] = page[end - 2 : end]
        page[end - 2 : end] = mark
    return bytes(page)


def test_a_sleeping_windows_is_said_of_its_ntfs(tmp_path: Path) -> None:
    tree = portable_tree(tmp_path / "tree")
    (tree / "hiberfil.sys").write_bytes(b"hibr" + noise(8000))
    image = ntfs_image(tmp_path / "image", tree)
    assert said_by("ntfs-3g.probe", "--readwrite", image)[0] == 14  # hibernated
    odd(facts_of(image), "a Windows system sleeps on it")


def test_a_mirror_that_differs_from_the_master_file_table_is_said(tmp_path: Path) -> None:
    image = filled_ntfs(tmp_path)
    cluster = int(re.search(r"LCN of Data Attribute for File_MFTMirr:\s+(\d+)", run("ntfsinfo", "-m", image))[1])
    patched(image, cluster * 4096 + 2 * 1024 + 100, b"\x99\x99")
    assert odd(facts_of(image), "mirror of its first records").endswith("differs in record 2")


def test_ntfs_maps_that_were_not_read_are_not_counted(tmp_path: Path) -> None:
    image = filled_ntfs(tmp_path)
    place = run("ntfscluster", "-f", "-I", "6", image)
    cluster = int(re.search(r"^\s+0\s+(\d+)\s+\d+$", place, re.M)[1])
    facts = facts_of(image, ((cluster * 4096, cluster * 4096 + 512),))
    assert (facts.used_bytes, facts.free_bytes, facts.entries) == (None, None, 166)
    assert "512 of its bytes were not read" in odd(facts, "what is free was not counted")


# ---------------------------------------------------------------- whatever is wrong


class Spoilt(ImageSource):
    """The same image, of which every read from some point on gives noise, or fails."""

    seed = 0
    reads_left = 1 << 30
    fails = False

    def read(self, offset: int, length: int) -> bytes:
        self.reads_left -= 1
        if self.reads_left >= 0:
            return super().read(offset, length)
        if self.fails:
            raise OSError(5, "Input/output error")
        return random.Random(self.seed + self.reads_left).randbytes(length)


MAKERS: dict[str, Callable[[Path], Path]] = {
    "ext4": lambda folder: ext_image(folder / "image", "ext4", portable_tree(folder / "tree")),
    "exfat": lambda folder: exfat_image(folder / "image", portable_tree(folder / "tree")),
    "ntfs": filled_ntfs,
    **{kind: partial(made_fat, kind=kind) for kind in FATS},
}
TREES: dict[str, Callable[[ImageSource], Tree]] = {
    "ext2": lambda source: ExtTree(source, 0, source.size_bytes),
    "ext4": lambda source: ExtTree(source, 0, source.size_bytes),
    "ntfs": lambda source: NtfsTree(source, 0, source.size_bytes),
    **{
        kind: partial(lambda kind, source: FatTree(source, 0, source.size_bytes, kind), kind)
        for kind in (*FATS, "exfat")
    },
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("fails", [False, True], ids=["noise", "errors"])
def test_what_cannot_be_read_is_told_and_never_raised(kind: str, fails: bool, tmp_path: Path) -> None:
    with opened(MAKERS[kind](tmp_path)) as sound:
        sentences = TREES[kind](sound).facts().oddities
        for good_reads in range(25):
            source = Spoilt(sound.fd)
            tree = TREES[kind](source)
            source.fails, source.seed, source.reads_left = fails, good_reads, good_reads
            told = tree.facts()
            assert told.fstype == kind
            assert (told.used_bytes is None) == (told.free_bytes is None)
            if fails and good_reads == 0:
                assert told.oddities != sentences
