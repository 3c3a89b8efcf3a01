"""The database goes away in the middle of a run -> one clear line, exit 3; the next run completes, nothing is lost."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest
from catalogue_state import broken_promises, pending, settle, state_of, unfinished_business
from fault_plan import Run, Strike
from ntt_runs import Machine
from rescued_media import RescueMedium

from ntt.db.binaries import find_binaries
from ntt.db.embedded import embedded_server
from ntt.db.places import places_in
from ntt.db.server_user import choose_user, command_prefix

TERMINATE_SESSIONS = """
import asyncio, asyncpg, sys
from pathlib import Path
from ntt.db.embedded import embedded_url

async def main() -> None:
    connection = await asyncpg.connect(embedded_url(Path(sys.argv[1])))
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'ntt %'"
    )

asyncio.run(main())
"""
INSTANTS = {
    "while rows are loaded": ("sql COPY node", "during"),
    "while the load is committed": ("sql COMMIT of UPDATE medium SET health", "during"),
    "while contents are stored": ("copy fdatasync pack", "after"),
    "while outcomes are recorded": ("sql COPY incoming", "during"),
    "while outcomes are committed": ("sql COMMIT of UPDATE pack SET committed_bytes", "during"),
    "while the image is archived": ("ntt start tar", "after"),
}
DEATHS = ("its first process is killed", "its sessions are ended", "it is stopped at once")


def death(name: str, home: Path) -> Run:
    """What ends the server of a home that does not exist yet."""
    data = places_in(home).data
    if name == DEATHS[0]:
        return Run(("sh", "-c", 'kill -KILL "$(head -n 1 "$1")"', "sh", str(data / "postmaster.pid")))
    if name == DEATHS[1]:
        return Run((sys.executable, "-c", TERMINATE_SESSIONS, str(home)))
    binaries = anyio.run(find_binaries, data)
    prefix = command_prefix(choose_user(None, data), (places_in(home).postgres, binaries.folder))
    return Run((*prefix, binaries.program("pg_ctl"), "-D", str(data), "stop", "-m", "immediate", "-s"))


@pytest.mark.parametrize("name", DEATHS)
@pytest.mark.parametrize("instant", INSTANTS)
def test_f002_a_database_that_goes_away_loses_nothing(
    instant: str, name: str, tmp_path: Path, whole: RescueMedium
) -> None:
    machine = Machine(tmp_path / "home")
    kind, phase = INSTANTS[instant]
    ended = machine.ingest(whole.image, Strike(kind, death(name, machine.home), phase=phase))
    assert "database" in ended.failed_in_one_line()
    settle(machine)
    again = machine.ingest(whole.image)
    assert again.status == 0, again.stderr
    assert machine.processes() == []
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(embedded_server(machine.home, None)) as url,
    ):
        assert pending(url) == 0
        assert state_of(url, whole.image_hash).files == whole.files
        assert state_of(url, whole.image_hash).stamps == (True, True, True)
        assert broken_promises(url, machine) == []
        assert unfinished_business(url, machine, whole) == []
