"""`stage_run`: a row when a stage starts, closed when it ends; attempted and completed are different facts."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from ntt.db.connection import Database
from ntt.errors import DatabaseError, Interrupted
from ntt.model import Stage

CLOSE_LIMIT_S = 5.0


@dataclass(slots=True)
class Attempt:
    """One attempt at a stage; `counts` may be filled by the stage and are recorded however it ends."""

    id: int
    started: float
    counts: dict[str, int | float | str] = field(default_factory=dict)
    state: str = "running"

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


class StageRuns:
    """Opens and closes attempts of one run of the program."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def abandon(self, medium_id: int) -> int:
        """Attempts that never ended: whoever made them is gone, since this process holds the medium now."""
        async with self._database.connection() as connection:
            ended = await connection.fetch(
                """UPDATE stage_run SET state = 'interrupted', ended_at = clock_timestamp(),
                       error = 'the process ended without closing it'
                   WHERE medium_id = $1 AND state = 'running' RETURNING id""",
                medium_id,
            )
        return len(ended)

    @asynccontextmanager
    async def attempt(self, medium_id: int, stage: Stage, before_s: float = 0.0) -> AsyncIterator[Attempt]:
        """Closed as ok, failed, cancelled or interrupted, with its seconds; `before_s` of them lie before this call."""
        async with self._database.connection() as connection:
            attempt_id = await connection.fetchval(
                """INSERT INTO stage_run (medium_id, stage, run_id, host, pid, started_at)
                   VALUES ($1, $2, $3, $4, $5, clock_timestamp() - make_interval(secs => $6)) RETURNING id""",
                medium_id,
                stage.value,
                self._database.run_id,
                socket.gethostname(),
                os.getpid(),
                before_s,
            )
        attempt = Attempt(attempt_id, time.monotonic() - before_s)
        error: str | None = None
        try:
            yield attempt
            attempt.state = "ok"
        except Exception as failure:
            cause = first_cause(failure)
            attempt.state = "interrupted" if isinstance(cause, Interrupted) else "failed"
            error = str(cause) or type(cause).__name__
            raise
        except BaseException:
            attempt.state = "cancelled"
            raise
        finally:
            await self._close(attempt, error)

    async def _close(self, attempt: Attempt, error: str | None) -> None:
        # recorded even while being cancelled, but never for long, and never in place of the real error
        with anyio.move_on_after(CLOSE_LIMIT_S, shield=True):
            try:
                async with self._database.connection() as connection:
                    await connection.execute(
                        """UPDATE stage_run SET state = $2, ended_at = clock_timestamp(), seconds = $3, counts = $4,
                               error = $5 WHERE id = $1""",
                        attempt.id,
                        attempt.state,
                        attempt.seconds,
                        attempt.counts,
                        error,
                    )
            except DatabaseError:
                if attempt.state == "ok":
                    raise


def first_cause(error: BaseException) -> BaseException:
    """The first single exception inside groups of groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
