"""What no reader opens: named for what it is, with its size, and in agreement with libblkid where that knows it."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest
from disk_images import MIB, ext_image, layout_of, noise, only_volume, opened, partitioned, run
from test_disc_layouts import tree

from ntt.model import Route, VolumeStatus
from ntt.readers.detection.blkid import names
from ntt.readers.detection.volumes import detect

# (name, how it is made in a file of so many MiB, what blkid calls it)
MADE = [
    ("xfs", ("mkfs.xfs", "-q"), 300, "xfs"),
    ("btrfs", ("mkfs.btrfs", "-q"), 120, "btrfs"),
    ("f2fs", ("mkfs.f2fs", "-q"), 64, "f2fs"),
    ("jfs", ("mkfs.jfs", "-q"), 20, "jfs"),
    ("reiserfs", ("mkreiserfs", "-q", "-ff"), 40, "reiserfs"),
    ("nilfs2", ("mkfs.nilfs2", "-q"), 150, "nilfs2"),
    ("minix", ("mkfs.minix", "-1"), 4, "minix"),
    ("minix", ("mkfs.minix", "-2"), 4, "minix"),
    ("minix", ("mkfs.minix", "-3"), 4, "minix"),
    ("swap", ("mkswap",), 4, "swap"),
]


def blank_image(image: Path, size_mib: int) -> Path:
    with image.open("wb") as file:
        file.truncate(size_mib * MIB)
    return image


def blkid_says(image: Path) -> list[str]:
    with opened(image) as source:
        return [named.kind for named in names(source, 0, source.size_bytes)]


@pytest.mark.parametrize(("fstype", "argv", "size_mib", "kind"), MADE)
def test_a_file_system_for_the_mount_helper_is_named_with_its_size(
    fstype: str, argv: tuple[str, ...], size_mib: int, kind: str, tmp_path: Path
) -> None:
    image = blank_image(tmp_path / "image", size_mib)
    run(*argv, image)
    volume = only_volume(image)
    assert (volume.fstype, volume.route, volume.status) == (fstype, Route.NONE, VolumeStatus.FINDING)
    assert size_mib * MIB * 0.9 < volume.size_bytes <= size_mib * MIB
    assert blkid_says(image) == [kind]
    if fstype != "swap":
        assert "no reader here opens it" in volume.finding
        assert "NTT mounts it" in volume.next_step
    os.truncate(image, size_mib * MIB // 2)
    with opened(image) as source:
        (cut,) = detect(source, source.size_bytes).volumes
    if fstype != "swap":
        missing = volume.size_bytes - size_mib * MIB // 2
        assert f"reaches {missing} bytes beyond the end of the image" in cut.finding


@pytest.mark.parametrize("fstype", ["squashfs", "erofs", "cramfs"])
def test_a_packed_file_system_is_named_with_its_size(fstype: str, tmp_path: Path) -> None:
    image, source = tmp_path / "image", tree(tmp_path / "tree", "file")
    argv = {
        "squashfs": ("mksquashfs", source, image, "-quiet", "-no-progress"),
        "erofs": ("mkfs.erofs", image, source),
        "cramfs": ("mkfs.cramfs", source, image),
    }
    run(*argv[fstype])
    volume = only_volume(image)
    assert (volume.fstype, volume.status) == (fstype, VolumeStatus.FINDING)
    assert image.stat().st_size - 4096 < volume.size_bytes <= image.stat().st_size
    assert blkid_says(image) == [fstype]


@pytest.mark.parametrize("version", [1, 2])
def test_a_volume_that_cryptsetup_made_is_named(version: int, tmp_path: Path) -> None:
    image = blank_image(tmp_path / "image", 20)
    fast = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")
    run("cryptsetup", "luksFormat", "-q", "--type", f"luks{version}", *fast, image, "-", script="secret")
    uuid = run("cryptsetup", "luksUUID", image).strip()
    volume = only_volume(image)
    assert (volume.fstype, volume.status) == (f"luks{version}", VolumeStatus.FINDING)
    assert uuid in volume.finding
    assert "cryptsetup open --readonly" in volume.next_step
    assert blkid_says(image) == ["crypto_LUKS"]


def test_a_volume_group_is_named_with_its_logical_volumes(tmp_path: Path) -> None:
    image = blank_image(tmp_path / "image", 32)
    device = run("losetup", "-f", "--show", image).strip()
    try:
        config = (
            f'devices {{ use_devicesfile=0 scan=["/dev"] filter=["a|^{device}$|","r|.*|"] }} '
            "backup { backup=0 archive=0 } activation { udev_sync=0 udev_rules=0 monitoring=0 }"
        )
        without = ("--config", config, "--driverloaded", "n", "-q")
        run("pvcreate", *without, device)
        run("vgcreate", *without, "ntt_archive", device)
        for name in ("photos", "mail"):
            run("lvcreate", *without, "-an", "-Zn", "-Wn", "-L", "8M", "-n", name, "ntt_archive")
    finally:
        run("losetup", "-d", device)
    volume = only_volume(image)
    assert (volume.fstype, volume.status, volume.size_bytes) == ("lvm2_member", VolumeStatus.FINDING, 32 * MIB)
    assert "“ntt_archive” (logical volumes photos, mail)" in volume.finding
    assert "vgchange" in volume.next_step
    assert blkid_says(image) == ["LVM2_member"]


def test_what_only_libblkid_knows_is_called_by_its_name(tmp_path: Path) -> None:
    image = blank_image(tmp_path / "image", 4)
    with image.open("r+b") as file:  # struct bfs_super_block
        file.write(b"\xce\xfa\xad\x1b")
    assert blkid_says(image) == ["bfs"]
    volume = only_volume(image)
    assert (volume.fstype, volume.status) == ("bfs", VolumeStatus.FINDING)
    assert "a file system that libblkid calls bfs" in volume.finding
    assert volume.next_step


@pytest.mark.parametrize("form", ["qcow2", "vmdk", "vhdx", "vpc", "vdi", "qed", "parallels"])
def test_a_virtual_disk_is_named_with_the_command_that_unwraps_it(form: str, tmp_path: Path) -> None:
    raw, image = blank_image(tmp_path / "raw", 8), tmp_path / "image"
    run("qemu-img", "convert", "-f", "raw", "-O", form, raw, image)
    volume = only_volume(image)
    assert volume.fstype == {"vpc": "vhd"}.get(form, form)
    assert "qemu-img convert -O raw" in volume.next_step


def test_a_virtual_disk_of_fixed_size_is_read_as_the_raw_disk_that_it_is(tmp_path: Path) -> None:
    part = ext_image(tmp_path / "part", "ext4", tree(tmp_path / "tree", "file"), 4)
    disk = partitioned(tmp_path / "disk", "label: dos\nstart=2048, size=8192, type=83", 6, {MIB: part})
    image = tmp_path / "image"
    run("qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "subformat=fixed,force_size=on", disk, image)
    layout = layout_of(image)
    assert [(volume.fstype, volume.status) for volume in layout.volumes] == [("ext4", VolumeStatus.READ)]
    assert any("vhd" in remark for remark in layout.remarks)


def test_archives_of_all_compressions_are_called_tar(tmp_path: Path) -> None:
    source = tree(tmp_path / "tree", "file")
    for option, name in (("-c", "tar"), ("-cz", "gzip"), ("-cj", "bzip2"), ("-cJ", "xz"), ("-c --zstd", "zstd")):
        image = tmp_path / f"image.{name}"
        run("tar", *option.split(), "-f", image, "-C", source, ".")
        layout = layout_of(image)
        (volume,) = layout.volumes
        assert (layout.scheme, volume.scheme, volume.fstype) == ("archive", "archive", "archive")
        assert "tar" in layout.remarks[0]
        assert name in layout.remarks[0]


def test_a_compressed_disk_image_says_what_it_holds(tmp_path: Path) -> None:
    part = ext_image(tmp_path / "part", "ext4", tree(tmp_path / "tree", "file"), 4)
    disk = partitioned(tmp_path / "disk", "label: dos\nstart=2048, size=8192, type=83", 6, {MIB: part})
    for raw, held in ((part, "ext4"), (disk, "partitioned disk")):
        image = tmp_path / f"{raw.name}.gz"
        image.write_bytes(gzip.compress(raw.read_bytes()))
        remarks = " ".join(layout_of(image).remarks)
        assert f"holds a disk image ({held})" in remarks
        assert "unpack it and ingest" in remarks


def test_a_compressed_file_that_is_damaged_is_still_an_archive(tmp_path: Path) -> None:
    image = tmp_path / "image.gz"
    content = bytearray(gzip.compress(noise(200_000)))
    content[20:400] = bytes(380)
    image.write_bytes(content)
    assert only_volume(image).fstype == "archive"


def test_without_libblkid_nothing_breaks(tmp_path: Path) -> None:
    image = blank_image(tmp_path / "image", 4)
    with image.open("r+b") as file:
        file.write(b"\xce\xfa\xad\x1b")
    program = (
        "import ctypes, os, sys\n"
        "real = ctypes.CDLL\n"
        "def refused(name, *rest, **more):\n"
        "    if name and 'blkid' in name: raise OSError(name)\n"
        "    return real(name, *rest, **more)\n"
        "ctypes.CDLL = refused\n"
        "from ntt.readers.base import ImageSource\n"
        "from ntt.readers.detection.volumes import detect\n"
        "source = ImageSource(os.open(sys.argv[1], os.O_RDONLY))\n"
        "print(detect(source, source.size_bytes).volumes[0].fstype)\n"
    )
    python = Path(sys.executable)
    done = subprocess.run([python, "-c", program, image], capture_output=True, check=True)
    assert done.stdout == b"unknown\n"
