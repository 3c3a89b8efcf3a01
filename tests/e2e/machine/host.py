"""Programs of this host: all that are needed are there, and those that run end with us."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from machine.recipe import HOST_PROGRAMS


class BuildError(Exception):
    """One line: why there is no test machine, and what to do."""


# the kernel ends the program with us, however we end
ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")
# what it mounts is seen by nobody else, and is gone with it and all that it started
ALONE = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child=KILL", "--")


def require_programs() -> None:
    """BuildError names every missing package at once."""
    missing = [package for package, program in HOST_PROGRAMS.items() if shutil.which(program) is None]
    if missing:
        raise BuildError(
            f"the test machine needs packages: apt-get install --no-install-recommends {' '.join(missing)}"
        )


def run(
    *argv: str | Path,
    cwd: Path | None = None,
    stdin: bytes = b"",
    held: Sequence[int] = (),
    env: Mapping[str, str] | None = None,
) -> str:
    """Standard output; BuildError with the program's last words when it fails."""
    command = [*ENDS_WITH_US, *map(str, argv)]
    done = subprocess.run(
        command, cwd=cwd, input=stdin, capture_output=True, pass_fds=tuple(held), env=env, check=False
    )
    if done.returncode != 0:
        words = " ".join((done.stderr or done.stdout).decode(errors="replace").split()[-60:])
        raise BuildError(f"{' '.join(map(str, argv[:3]))} ... ended with {done.returncode}: {words}")
    return done.stdout.decode()
