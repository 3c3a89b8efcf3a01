"""This repository and the Python that runs the tests -> two read-only disks that the machine finds them on.

Everything appears in the machine where it lies here: a virtual environment knows its own place. A disk holds `tree/`,
the paths as they are here; `paths`, which of them are to appear; `libraries/`, what the machine's own packages lack.
"""

from __future__ import annotations

import compileall
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from machine.cache import cached, key_of
from machine.host import ALONE, BuildError, run
from machine.system import System

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
SOURCES = tuple(REPOSITORY / name for name in ("ntt", "schema.sql", "pyproject.toml"))
# development's own packages, and what of Python no program needs
NOT_TAKEN = (
    "_pytest", "hypothesis", "mypy*", "*__mypyc*", "pip", "ruff*", "setuptools", "pkg_resources", "grimp", "pginstall",
    "importlinter", "ast_serialize", "librt", "test", "tests", "idlelib", "tkinter", "_tkinter*", "config-*", "lib2to3",
)  # fmt: skip
SPARE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Project:
    """Disk images in the cache: Python and its packages; this repository's sources, and `home.tar`.

    The latter is an NTT home whose database is made, for tests that are not about that.
    """

    runtime: Path
    sources: Path


def project(system: System) -> Project:
    """Those of the sources and the virtual environment as they are now. New sources take seconds."""
    runtime = _runtime(system)
    home = _home(system, runtime)
    files = [path for source in SOURCES for path in _files_of(source)]
    parts = [f"{path} {path.stat().st_mtime_ns}" for path in files]
    key = key_of(home.parent.name, *parts, files=[*files, *_own_files()])
    sources = cached("sources", key, lambda folder, _: _pack(folder, SOURCES, frozenset(), home))
    return Project(runtime, sources / "disk.ext4")


def _own_files() -> list[Path]:
    return [Path(__file__), HERE / "guest/appear.sh", HERE / "guest/make_home.sh"]


def _files_of(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        yield from sorted(found for found in path.rglob("*") if found.is_file() and found.suffix != ".pyc")


# ---------------------------------------------------------------- disks


def _runtime(system: System) -> Path:
    packages = Path(sysconfig.get_path("purelib"))
    installed = sorted(
        f"{path.name} {path.stat().st_mtime_ns}" for path in packages.iterdir() if path.suffix == ".dist-info"
    )
    key = key_of(system.folder.name, sys.version, sys.prefix, *installed, files=_own_files())
    paths = (Path(sys.prefix), *_interpreter())
    made = cached("runtime", key, lambda folder, _: _pack(folder, paths, system.libraries))
    return made / "disk.ext4"


def _pack(folder: Path, paths: Sequence[Path], libraries_there: frozenset[str], *beside: Path) -> None:
    stage = folder / "stage"
    tree, libraries = stage / "tree", stage / "libraries"
    libraries.mkdir(parents=True)
    for path in paths:
        target = Path(f"{tree}{path}")
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            own = () if path.is_relative_to(sys.prefix) else ("site-packages", "dist-packages")
            shutil.copytree(path, target, symlinks=True, ignore=shutil.ignore_patterns(*NOT_TAKEN, *own))
        else:
            shutil.copy2(path, target)
    # what is not yet compiled: there it takes minutes
    compileall.compile_dir(tree, quiet=2, stripdir=str(tree), prependdir="/")
    (stage / "paths").write_text("".join(f"{path}\n" for path in paths))
    if libraries_there:
        for library in _libraries(tree) - libraries_there:
            shutil.copy(_found_library(library), libraries / library)
    for path in (HERE / "guest/appear.sh", *beside):
        shutil.copy(path, stage)
    size = sum(path.lstat().st_size + 8192 for path in stage.rglob("*")) + SPARE_BYTES
    image = folder / "disk.ext4"
    run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", stage, image, f"{size >> 10}k")
    shutil.rmtree(stage)


def _interpreter() -> Iterator[Path]:
    """The program behind the virtual environment's links, its modules, and its library if it is a build of its own."""
    program = Path(sys.executable)
    while program.is_symlink():
        program = program.parent / program.readlink()
        if not program.is_relative_to(sys.prefix):
            yield program
    yield Path(sys.base_prefix) / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    shared = Path(sys.base_prefix) / "lib" / str(sysconfig.get_config_var("INSTSONAME"))
    if shared.is_file() and sys.base_prefix != "/usr":
        yield shared


def _libraries(tree: Path) -> set[str]:
    """Shared libraries of this host's system that something in the tree is linked to, by name."""
    binaries = [path for path in tree.rglob("*") if ".so" in path.suffixes or path.parent.name == "bin"]
    needed = [path for path in binaries if path.is_file() and _is_program(path)]
    # its status tells of programs that are linked to nothing
    said = run("sh", "-c", 'ldd "$@" || :', "sh", *needed)
    return {Path(found).name for found in re.findall(r"=> (/(?:usr/)?lib\S+)", said)}


def _is_program(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _found_library(name: str) -> Path:
    for folder in ("/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"):
        if (path := Path(folder, name)).exists():
            return path.resolve()
    raise BuildError(f"the virtual environment needs the library {name}, which is not where libraries are")


# ---------------------------------------------------------------- the home


def _home(system: System, runtime: Path) -> Path:
    files = [*_files_of(REPOSITORY / "ntt/db"), REPOSITORY / "schema.sql", *_own_files()]
    key = key_of(system.folder.name, runtime.parent.name, files=files)
    return cached("home", key, lambda folder, lock: _make_home(folder, lock, system, runtime)) / "home.tar"


def _make_home(folder: Path, lock: int, system: System, runtime: Path) -> None:
    changes = folder / "changes"
    changes.mkdir()
    given = (system.root, runtime, changes, sys.executable, REPOSITORY, folder / "home.tar")
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
    run(*ALONE, "sh", HERE / "guest/make_home.sh", *given, held=[lock], env=environment)
    changes.rmdir()
