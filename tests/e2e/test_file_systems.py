"""File systems that Debian's kernel wrote, read by NTT in the machine: mounted where it has no reader of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
import pytest
from machine import Machine, Medium
from machine.machine import HOME
from media_images import noise, run, written, xorriso_image
from watched import commands

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

# how it is made, its size in MiB, and by what NTT reads it
KINDS = {
    "btrfs": (("mkfs.btrfs", "-q"), 128, "kernel"),
    "exfat": (("mkfs.exfat",), 16, "tsk"),
    "f2fs": (("mkfs.f2fs", "-q"), 64, "kernel"),
    "minix": (("mkfs.minix", "-3"), 16, "kernel"),
    "udf": (("mkfs.udf", "--blocksize=512"), 16, "udf"),
    "vfat": (("mkfs.vfat", "-F32"), 40, "tsk"),
    "xfs": (("mkfs.xfs", "-q"), 320, "kernel"),
}
FILES = {"greeting.txt": b"Hallo\n", "folder/noise": noise(300_000)}
# what NTT reads itself and the kernel reads, too
ALSO_READ = {
    "exfat": (("mkfs.exfat",), 16),
    "ext4": (("mke2fs", "-q", "-F", "-t", "ext4"), 16),
    "udf": (("mkfs.udf", "--blocksize=512"), 16),
    "vfat": (("mkfs.vfat", "-F32"), 40),
}
# of files time, size and content, of links where they lead
LISTING = r"""
cd "$1"
find . \( -type f -printf '%p %s %Ts\n' -o -printf '%p %y %l\n' \) | sort
find . -type f | sort | xargs -d '\n' sha256sum
"""


class FoundVolume(msgspec.Struct):
    route: str
    status: str


class FoundMedium(msgspec.Struct):
    label: str
    medium_hash: str
    complete: bool
    files: int
    bytes: int
    failed: int
    known: int
    problems: list[str]
    volumes: list[FoundVolume]


class Report(msgspec.Struct):
    media: list[FoundMedium]
    failures: list[msgspec.Raw]


def disk_of_images(folder: Path, kinds: Mapping[str, tuple[tuple[str, ...], int]]) -> Path:
    """An ext4 disk that holds one empty file system of each kind, how it is made and its size in MiB."""
    images = folder / "images"
    images.mkdir()
    for kind, (make, size_mib) in kinds.items():
        image = images / kind
        run("truncate", f"--size={size_mib}M", image)
        run(*make, image)
    disk = folder / "disk"
    run("mke2fs", "-q", "-F", "-t", "ext4", "-d", images, disk, "2G")
    return disk


def hybrid_disc(folder: Path, contents: Mapping[str, bytes]) -> Path:
    """ISO 9660 with Rock Ridge and HFS+ over the same files."""
    tree = written(folder / "tree", {name: content for name, content in contents.items()})
    (tree / "link").symlink_to("folder/noise")
    return xorriso_image(folder / "hybrid", tree, "-hfsplus")


async def written_by_the_kernel(
    machine: Machine, disk: Path, contents: Mapping[str, bytes], kinds: Iterable[str]
) -> list[str]:
    """The disk's file systems hold these files; the images' paths in the machine."""
    await machine.succeeds("mount", await machine.plug_disk(Medium(disk, writable=True), "IMAGES"), "/mnt")
    await machine.succeeds("mkdir", "/tmp/at", *{f"/tmp/tree/{name.rpartition('/')[0]}" for name in contents}, "-p")
    for name, content in contents.items():
        await machine.write_file(f"/tmp/tree/{name}", content)
    for kind in kinds:
        await machine.succeeds("mount", "-o", "loop", "-t", kind, f"/mnt/{kind}", "/tmp/at")
        await machine.succeeds("cp", "-r", "/tmp/tree/.", "/tmp/at/")
        await machine.succeeds("umount", "/tmp/at")
    return [f"/mnt/{kind}" for kind in kinds]


async def test_what_the_kernel_wrote_is_read_from_every_file_system(machine_with_ntt: Machine, tmp_path: Path) -> None:
    machine = machine_with_ntt
    kinds = {kind: (make, size_mib) for kind, (make, size_mib, _) in KINDS.items()}
    images = await written_by_the_kernel(machine, disk_of_images(tmp_path, kinds), FILES, kinds)
    done = await machine.run("ntt", "ingest", "--home", HOME, "--no-archive", "--json", *images, limit_s=480)
    assert done.status == 0, done.stdout + done.stderr
    report = msgspec.json.decode(done.stdout, type=Report)
    assert report.failures == [] and [medium.label for medium in report.media] == list(KINDS)
    size_bytes = sum(len(content) for content in FILES.values())
    for medium, (_, _, route) in zip(report.media, KINDS.values(), strict=True):
        assert (medium.complete, medium.failed, medium.files, medium.bytes) == (True, 0, len(FILES), size_bytes)
        assert [(volume.route, volume.status) for volume in medium.volumes] == [(route, "read")]
        # the same contents, wherever they were read from
        assert medium.known == (0 if medium is report.media[0] else len(FILES))
    mounted = report.media[-1].medium_hash
    await machine.succeeds("ntt", "restore", "--home", HOME, mounted, "/tmp/restored", limit_s=120)
    for name, content in FILES.items():
        assert await machine.read_file(f"/tmp/restored/{name}") == content
    assert (await machine.succeeds("losetup", "--list", "--noheadings")).strip() == ""


async def test_ntt_s_own_readers_and_the_kernel_s_tell_the_same(machine_with_ntt: Machine, tmp_path: Path) -> None:
    machine = machine_with_ntt
    contents = {**FILES, "a folder/another/empty": b"", "folder/K\u00f6ln.txt": noise(70_001, 2)}
    images = await written_by_the_kernel(machine, disk_of_images(tmp_path, ALSO_READ), contents, ALSO_READ)
    await machine.write_file("/mnt/hybrid", hybrid_disc(tmp_path, contents).read_bytes())
    images.append("/mnt/hybrid")

    told = {}
    for route, options in {"own": (), "kernel": ("--replace",)}.items():
        chosen = () if route == "own" else (f"NTT_ONLY_ROUTE={route}",)
        command = ("env", *chosen, "ntt", "ingest", "--home", HOME, "--no-archive", "--json", *options, *images)
        done = await machine.run(*command, limit_s=480)
        report = msgspec.json.decode(done.stdout, type=Report)
        odd = [medium.label for medium in report.media if medium.problems]  # a disc with two sides has its notes
        assert (done.status, odd) == (1, ["hybrid"]), done.stderr
        routes = {volume.route for medium in report.media for volume in medium.volumes}
        assert routes == {"iso9660", "hfs", "tsk", "udf"} if route == "own" else routes == {"kernel"}
        assert [medium.failed for medium in report.media] == [0] * len(images)
        await machine.succeeds("mkdir", f"/mnt/{route}")
        wanted = [("restore", medium.medium_hash, f"/mnt/{route}/{medium.label}") for medium in report.media]
        assert [did.stdout[-300:] for did in await commands(machine, *wanted) if did.status] == []
        told[route] = (await machine.succeeds("sh", "-c", LISTING, "sh", f"/mnt/{route}")).splitlines()
    assert len(told["own"]) > 2 * len(contents) * (len(images) + 1)
    assert told["own"] == told["kernel"]
