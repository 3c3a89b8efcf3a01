"""The server's own word on whether and where it runs: its file postmaster.pid, checked against /proc."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Postmaster:
    """What postmaster.pid says (PostgreSQL source, `miscadmin.h`: pid, data, start time, port, socket folder)."""

    data: Path
    pid: int
    socket_folder: Path | None  # None: not written yet

    @property
    def alive(self) -> bool:
        """Whether that process is this data directory's server, and not another one that got its number."""
        process = Path("/proc") / str(self.pid)
        try:
            # the server works inside its data directory, whatever path it was started with
            inside = (process / "cwd").samefile(self.data)
            return inside and (process / "comm").read_text("utf-8", "replace").strip() == "postgres"
        except OSError:
            return False


def postmaster_of(data: Path) -> Postmaster | None:
    """None when there is no postmaster.pid, or only one that a crash left without its content."""
    try:
        lines = (data / "postmaster.pid").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    if not lines or not lines[0].isdecimal():
        return None
    folder = lines[4] if len(lines) > 4 else ""
    return Postmaster(data, int(lines[0]), Path(folder) if folder.startswith("/") else None)


def remove_stale_file(data: Path) -> None:
    """Removes a postmaster.pid that would keep PostgreSQL from starting though no server is there.

    That is one without content, or with the number of an unrelated process. A number that nobody has is
    left to PostgreSQL, which then also looks for remains in shared memory. OSError as from unlink(2).
    """
    postmaster = postmaster_of(data)
    if postmaster is None or (not postmaster.alive and (Path("/proc") / str(postmaster.pid)).exists()):
        (data / "postmaster.pid").unlink(missing_ok=True)
