"""File systems that Debian's kernel wrote, read by NTT in the machine: mounted where it has no reader of its own."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from machine import Machine, Medium
from machine.machine import HOME
from media_images import noise, run

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
    volumes: list[FoundVolume]


class Report(msgspec.Struct):
    media: list[FoundMedium]
    failures: list[msgspec.Raw]


def disk_of_images(folder: Path) -> Path:
    """An ext4 disk that holds one empty file system of each kind."""
    images = folder / "images"
    images.mkdir()
    for kind, (make, size_mib, _) in KINDS.items():
        image = images / kind
        run("truncate", f"--size={size_mib}M", image)
        run(*make, image)
    disk = folder / "disk"
    run("mke2fs", "-q", "-F", "-t", "ext4", "-d", images, disk, "2G")
    return disk


async def test_what_the_kernel_wrote_is_read_from_every_file_system(machine_with_ntt: Machine, tmp_path: Path) -> None:
    machine = machine_with_ntt
    device = await machine.plug_disk(Medium(disk_of_images(tmp_path), writable=True), "IMAGES")
    await machine.succeeds("mount", device, "/mnt")
    await machine.succeeds("mkdir", "-p", "/tmp/tree/folder", "/tmp/at")
    for name, content in FILES.items():
        await machine.write_file(f"/tmp/tree/{name}", content)
    for kind in KINDS:
        await machine.succeeds("mount", "-o", "loop", "-t", kind, f"/mnt/{kind}", "/tmp/at")
        await machine.succeeds("cp", "-r", "/tmp/tree/.", "/tmp/at/")
        await machine.succeeds("umount", "/tmp/at")

    images = [f"/mnt/{kind}" for kind in KINDS]
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
