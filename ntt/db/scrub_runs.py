"""Runs of `ntt verify` as rows of `stage_run`: what one was about, how it ended, and where the next goes on."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

import anyio

from ntt.db.connection import Database
from ntt.db.locks import LockSpace, advisory_lock
from ntt.db.runs import first_cause
from ntt.db.scrubbing import STAGE
from ntt.errors import DatabaseError, Interrupted

CLOSE_LIMIT_S = 5.0
ALL = "all"


@dataclass(slots=True)
class ScrubRun:
    """One run; `counts` are recorded however it ends. `cut_short`: it has not read all it was about."""

    since: datetime
    counts: dict[str, int | float | str] = field(default_factory=dict)
    cut_short: bool = False


class ScrubRuns:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def unfinished_since(self, medium_id: int | None, scope: str) -> datetime | None:
        """When the last run over just this began, if it was cut short; what it read need not be read again."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                """SELECT state, (counts->>'since')::timestamptz AS since FROM stage_run
                   WHERE stage = $1 AND medium_id IS NOT DISTINCT FROM $2 AND counts->>'scope' = $3
                   ORDER BY id DESC LIMIT 1""",
                STAGE,
                medium_id,
                scope,
            )
        return None if row is None or row["state"] == "ok" else row["since"]

    @asynccontextmanager
    async def run(self, medium_id: int | None, scope: str, since: datetime | None) -> AsyncIterator[ScrubRun]:
        """Recorded as ok, interrupted, cancelled or failed. BusyError when another process reads all at this time."""
        if scope != ALL:
            async with self._recorded(medium_id, scope, since) as run:
                yield run
            return
        async with advisory_lock(self._database, LockSpace.VERIFY, ALL, "verifying everything"):
            async with self._database.connection() as connection:  # whoever holds the lock is alone
                await connection.execute(
                    """UPDATE stage_run SET state = 'interrupted', ended_at = clock_timestamp(),
                           error = 'the process ended without closing it'
                       WHERE stage = $1 AND medium_id IS NULL AND counts->>'scope' = $2 AND state = 'running'""",
                    STAGE,
                    ALL,
                )
            async with self._recorded(medium_id, scope, since) as run:
                yield run

    @asynccontextmanager
    async def _recorded(self, medium_id: int | None, scope: str, since: datetime | None) -> AsyncIterator[ScrubRun]:
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                """INSERT INTO stage_run (medium_id, stage, run_id, host, pid, counts)
                   VALUES ($1, $2, $3, $4, $5, jsonb_build_object('scope', $6::text,
                           'since', coalesce($7::timestamptz, clock_timestamp())))
                   RETURNING id, (counts->>'since')::timestamptz AS since""",
                medium_id,
                STAGE,
                self._database.run_id,
                socket.gethostname(),
                os.getpid(),
                scope,
                since,
            )
        assert row is not None
        run, started, state, error = ScrubRun(row["since"]), time.monotonic(), "cancelled", None
        try:
            yield run
            state = "interrupted" if run.cut_short else "ok"
        except Exception as failure:
            cause = first_cause(failure)
            state, error = "interrupted" if isinstance(cause, Interrupted) else "failed", str(cause)
            raise
        finally:
            await self._close(row["id"], state, time.monotonic() - started, run, error)

    async def _close(self, run_id: int, state: str, seconds: float, run: ScrubRun, error: str | None) -> None:
        # recorded even while being cancelled, but never for long, and never in place of the real error
        with anyio.move_on_after(CLOSE_LIMIT_S, shield=True):
            try:
                async with self._database.connection() as connection:
                    await connection.execute(
                        """UPDATE stage_run SET state = $2, ended_at = clock_timestamp(), seconds = $3,
                               counts = counts || $4::jsonb, error = $5 WHERE id = $1""",
                        run_id,
                        state,
                        seconds,
                        run.counts,
                        error,
                    )
            except DatabaseError:
                if state == "ok":
                    raise
