"""Mounting without being root: what works, works the same; what does not says who could do it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
from media_images import MIB, noise, run, written
from mounting import Told, behind, left_of, made_image, pure_udf, sha256

HERE = Path(__file__).resolve().parents[1]
# an ordinary user who still reaches an interpreter in root's own folder: in a namespace, root under another number
ORDINARY = ("unshare", "--user", "--map-user=65534", "--map-group=65534")
NO_FUSE = (
    "unshare",
    "--mount",
    "sh",
    "-c",
    # what stands at /dev/fuse belongs to somebody else, and nobody may open it
    "mount -t tmpfs none /mnt && touch /mnt/fuse && chown 12345 /mnt/fuse && chmod 0 /mnt/fuse && "
    'mount --bind /mnt/fuse /dev/fuse && exec "$@"',
    "sh",
)
NO_NAMESPACES = (
    "unshare",
    "--user",
    "--map-root-user",
    "sh",
    "-c",
    'echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all "$@"',
    "sh",
)


def told(user: tuple[str, ...], image: Path, fstype: str, routes: str, work: Path, offset_bytes: int = 0) -> Told:
    """What a session of that user comes to."""
    work.mkdir(exist_ok=True)
    argv = [*user, sys.executable, HERE / "mounting.py", image, fstype, routes, work, str(offset_bytes), "end"]
    done = subprocess.run(argv, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert left_of(work) == []
    return msgspec.json.decode(done.stdout, type=Told)


def sizes(tree: Path) -> dict[str, int]:
    return {str(path.relative_to(tree)): path.stat().st_size for path in tree.rglob("*") if path.is_file()}


def small_tree(root: Path) -> Path:
    return written(root, {f"folder {number % 3}/file {number}": noise(number * 100, number) for number in range(40)})


def test_a_fuse_driver_needs_no_root(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    for kind, how in (("squashfs", "fuse squashfuse"), ("ext4", "fuse fuse2fs"), ("xfs", "fuse grub-mount")):
        image = made_image(kind, tmp_path / kind, tree)
        before = sha256(image)
        found = told(ORDINARY, image, kind, "kernel,fuse", tmp_path / "work")
        assert found.how == how, found.tried
        assert found.paths == sizes(tree)
        assert set(found.uids) == {0}  # whose they are is not to be had that way
        assert sha256(image) == before


def test_a_volume_that_begins_later_needs_no_loop_device(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    disk = behind(made_image("squashfs", tmp_path / "squashfs", tree), MIB)
    assert told(ORDINARY, disk, "squashfs", "fuse", tmp_path / "work", MIB).paths == sizes(tree)
    # this driver takes no offset: it is given a copy of the volume
    disk = behind(made_image("xfs", tmp_path / "xfs", tree), MIB)
    assert told(ORDINARY, disk, "xfs", "fuse", tmp_path / "work", MIB).paths == sizes(tree)


def test_what_only_root_can_mount_says_so(tmp_path: Path) -> None:
    image = made_image("erofs", tmp_path / "image", small_tree(tmp_path / "tree"))
    found = told(ORDINARY, image, "erofs", "kernel,fuse", tmp_path / "work")
    assert found.how == ""
    assert found.tried[0] == "kernel erofs: only root may mount it"
    assert found.next_step.startswith("run the same command as root: NTT then mounts it (kernel erofs)")


def test_a_closed_dev_fuse_says_so(tmp_path: Path) -> None:
    image = made_image("xfs", tmp_path / "image", small_tree(tmp_path / "tree"))
    found = told((*NO_FUSE, *ORDINARY), image, "xfs", "kernel,fuse", tmp_path / "work")
    assert found.tried == ("kernel xfs: only root may mount it", "fuse grub-mount: this user may not open /dev/fuse")
    assert "as root" in found.next_step


def test_7z_needs_no_namespaces(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    image = pure_udf(tmp_path / "image", tree)
    found = told(NO_NAMESPACES, image, "udf", "kernel,fuse,7z", tmp_path / "work")
    assert (found.how, found.paths) == ("7z", sizes(tree))
    found = told(NO_NAMESPACES, image, "xfs", "fuse", tmp_path / "work")
    assert found.tried == ("fuse grub-mount: user namespaces are not allowed",)


def test_a_program_that_is_not_there_is_named_with_its_package(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(MIB))
    script = 'mount --bind /dev/null "$(command -v grub-mount)" && exec "$@"'
    hidden = ("unshare", "--mount", "sh", "-c", script, "sh")
    found = told(hidden, image, "xfs", "fuse", tmp_path / "work")
    assert found.tried == ("fuse grub-mount: not installed",)
    assert found.next_step == "install grub-mount (`apt install grub-common`)"


def test_an_image_that_was_replaced_is_still_the_one_that_is_read(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    image = made_image("xfs", tmp_path / "image", tree)
    script = (
        "import anyio, os, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import mounting\n"
        "from ntt.mounts.session import mount_session; from ntt.model import Route\n"
        "async def main() -> None:\n"
        "    image = Path(sys.argv[2]); fd = os.open(image, os.O_RDONLY); size = os.fstat(fd).st_size\n"
        "    image.rename(image.with_name('moved')); image.write_bytes(b'another')\n"
        "    volume = mounting.volume_of('xfs', 0, size)\n"
        "    work = Path(sys.argv[3])\n"
        "    async with mount_session(fd, size, [volume], {1: (Route.FUSE,)}, work, mounting.LIMITS) as session:\n"
        "        print(len(mounting.seen_below(session.mounted[1], volume).contents))\n"
        "anyio.run(main)\n"
    )
    (tmp_path / "work").mkdir()
    assert run(*ORDINARY, sys.executable, "-c", script, HERE, image, tmp_path / "work") == "40\n"
    assert os.listdir(tmp_path / "work") == []
