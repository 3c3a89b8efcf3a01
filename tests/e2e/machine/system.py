"""Recipe -> kernel, initrd and root file system, in the cache; made from nothing in two to three minutes."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from machine.cache import cached, key_of
from machine.host import ALONE, BuildError, require_programs, run
from machine.recipe import DRIVERS, EARLY_MODULES, KERNEL_PACKAGE, MODULES, PACKAGES, ROOT_BYTES

HERE = Path(__file__).parent
NOT_KEPT = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "var/cache/apt",
    "var/lib/apt/lists",
)


@dataclass(frozen=True, slots=True)
class System:
    """Files in the cache. `libraries` names the shared libraries of the root file system, one per line."""

    folder: Path

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd"

    @property
    def root(self) -> Path:
        return self.folder / "root.ext4"

    @property
    def libraries(self) -> frozenset[str]:
        return frozenset((self.folder / "libraries").read_text().splitlines())


def system() -> System:
    """The one that these sources describe, built if need be. BuildError says in one line why it cannot be."""
    require_programs()
    suite = _suite()
    package, version = kernel_package()
    files = [HERE / name for name in ("recipe.py", "system.py", "guest/initrd.sh", "guest/init.sh", "guest/agent.py")]
    key = key_of(suite, package, version, " ".join(PACKAGES), files=files)
    return System(cached("system", key, lambda folder, lock: _build(folder, lock, suite, package)))


def _suite() -> str:
    """This host's own: the virtual environment runs in the machine, too, and needs a C library as new as here."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    if release.get("ID") != "debian":
        raise BuildError("the test machine is built from this host's Debian packages, and this host is not Debian")
    return release["VERSION_CODENAME"]


def kernel_package() -> tuple[str, str]:
    """Name and version of the package that holds the kernel, as apt knows it."""
    found = re.search(r"Depends: (linux-image-[0-9]\S+)", run("apt-cache", "depends", KERNEL_PACKAGE))
    version = re.search(r"Candidate: ([0-9]\S*)", run("apt-cache", "policy", found[1])) if found else None
    if not found or not version:
        raise BuildError(
            f"the test machine is built from Debian's packages, and apt knows no {KERNEL_PACKAGE}: apt-get update"
        )
    return found[1], version[1]


def _build(folder: Path, lock: int, suite: str, package: str) -> None:
    if os.geteuid() != 0:
        raise BuildError(
            "the test machine's root file system can only be built by root: run as root once, then as anyone"
        )
    tree, unpacked = folder / "tree", folder / "kernel"
    unpacked.mkdir()
    run("apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", package, cwd=folder, held=[lock])
    run("dpkg", "-x", *folder.glob("*.deb"), unpacked, held=[lock])
    included = f"--include={','.join(PACKAGES)}"
    run(*ALONE, "mmdebstrap", "--variant=minbase", included, "--quiet", suite, tree, held=[lock])
    for name in NOT_KEPT:
        shutil.rmtree(tree / name, ignore_errors=True)
    (vmlinuz,) = (unpacked / "boot").glob("vmlinuz-*")
    release = vmlinuz.name.removeprefix("vmlinuz-")
    shutil.copy(vmlinuz, folder / "vmlinuz")
    _take_modules(unpacked, tree, release)
    _add_scripts(tree)
    _make_initrd(folder, tree, release)
    names = sorted(path.name for path in tree.glob("usr/lib/x86_64-linux-gnu/*.so*"))
    (folder / "libraries").write_text("\n".join(names))
    run(
        "mke2fs",
        "-q",
        "-t",
        "ext4",
        "-O",
        "^has_journal",
        "-m",
        "0",
        "-d",
        tree,
        folder / "root.ext4",
        f"{ROOT_BYTES >> 10}k",
    )
    # what it came to: the mirror decides the versions
    (folder / "packages").write_text(run("dpkg-query", f"--admindir={tree}/var/lib/dpkg", "-W"))
    for part in (tree, unpacked):
        shutil.rmtree(part)
    for part in folder.glob("*.deb"):
        part.unlink()


def _take_modules(unpacked: Path, tree: Path, release: str) -> None:
    source, target = unpacked / "lib/modules" / release, tree / "usr/lib/modules" / release
    for name in MODULES:
        wanted = source / "kernel" / name
        if wanted.is_dir():
            shutil.copytree(wanted, target / "kernel" / name)
        else:
            (target / "kernel" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(wanted, target / "kernel" / name)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copy(source / name, target / name)
    run("depmod", "-b", tree, release)


def _add_scripts(tree: Path) -> None:
    init = tree / "usr/sbin/test-machine-init"
    init.write_text((HERE / "guest/init.sh").read_text().replace("@DRIVERS@", " ".join(DRIVERS)))
    init.chmod(0o755)
    shutil.copy(HERE / "guest/agent.py", tree / "usr/local/lib/test-machine-agent.py")
    (tree / "etc/hostname").write_text("machine\n")
    (tree / "etc/hosts").write_text("127.0.0.1 localhost machine\n")


def _make_initrd(folder: Path, tree: Path, release: str) -> None:
    early = folder / "early"
    modules = Path("lib/modules") / release
    for name in ("bin", "dev", "proc", "root", "below", "changes", str(modules)):
        (early / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(tree / "usr/bin/busybox", early / "bin/busybox")
    listed = run("modprobe", "-d", tree, "-S", release, "-a", "--show-depends", *EARLY_MODULES)
    for path in {Path(line.split()[1]) for line in listed.splitlines() if line.startswith("insmod ")}:
        kept = early / modules / "kernel" / str(path).partition("/kernel/")[2]
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, kept)
    run("depmod", "-b", early, release)
    script = (HERE / "guest/initrd.sh").read_text().replace("@EARLY_MODULES@", " ".join(EARLY_MODULES))
    (early / "init").write_text(script)
    (early / "init").chmod(0o755)
    names = "\0".join(sorted(str(path.relative_to(early)) for path in early.rglob("*")))
    archive = folder / "initrd"
    run("cpio", "--null", "-o", "-H", "newc", "--quiet", "-O", archive, cwd=early, stdin=names.encode())
    shutil.rmtree(early)
