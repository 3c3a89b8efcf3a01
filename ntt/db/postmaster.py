"""The server's own word on whether and where it runs: its file postmaster.pid, checked against /proc."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Postmaster:
    """What postmaster.pid says (PostgreSQL source, `miscadmin.h`: pid, data, start time, port, socket folder)."""

    data: Path
    pid: int
    socket_folder: Path

    @property
    def alive(self) -> bool:
        """Whether that process is this data directory's server, and not another one that got its number."""
        process = Path("/proc") / str(self.pid)
        try:
            # the server works inside its data directory, whatever path it was started with
            inside = (process / "cwd").samefile(self.data)
            return inside and (process / "comm").read_text().strip() == "postgres"
        except OSError:
            return False

    def remove_if_stale(self) -> None:
        """Removes the file when its number went to an unrelated process, which would keep PostgreSQL from starting.

        A number that nobody has is left to PostgreSQL, which then also looks for remains in shared memory.
        """
        if not self.alive and (Path("/proc") / str(self.pid)).exists():
            (self.data / "postmaster.pid").unlink(missing_ok=True)


def postmaster_of(data: Path) -> Postmaster | None:
    """None when there is no postmaster.pid, or one that a crash left without its content."""
    try:
        lines = (data / "postmaster.pid").read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    if len(lines) < 5 or not lines[0].isdecimal():
        return None
    return Postmaster(data, int(lines[0]), Path(lines[4]))
