"""Outcomes of copying -> rows: one writer, grouped COPY batches, a short transaction each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from ntt.db.connection import Connection, Database
from ntt.db.media import to_multirange
from ntt.model import DiagnosticEvent, FileOutcome, OutcomeBatch, OutcomeStatus, PackFull

FLUSH_ROWS = 8_000
FLUSH_S = 0.5
ANALYZE_FROM_FILES = 1_000
_LETTER = {OutcomeStatus.COPIED: b"c", OutcomeStatus.DAMAGED: b"d", OutcomeStatus.FAILED: b"f"}
_INCOMING = (
    "ino", "size", "volume", "attempts", "status", "is_new", "pack_id", "pack_offset", "hash", "reason", "damaged",
    "unread",
)  # fmt: skip


@dataclass(slots=True)
class Written:
    """What the writer has committed: files by status, contents and bytes new to the store, and waste.

    `stored` are files whose content was new, `known` those whose content was there already (damaged ones
    counted in either); `wasted` contents were appended though another process had stored them meanwhile.
    """

    files: int = 0
    bytes: int = 0
    stored: int = 0
    stored_bytes: int = 0
    known: int = 0
    damaged: int = 0
    failed: int = 0
    wasted: int = 0


class OutcomeWriter:
    """The only place that registers blobs, outcomes and events. Contents must be durable before they come here.

    `written` is added to. `committed` is called with the hashes that are in the database from then on,
    `seal` with a pack that is full and whose rows are all committed. `require_unchanged` raises when the
    source was written to since its identity was taken: nothing read from it since then is recorded.
    `failed` is called with every failure that was recorded.
    """

    def __init__(
        self,
        database: Database,
        medium_id: int,
        committed: Callable[[Sequence[bytes]], None],
        seal: Callable[[int, int], None],
        progress: Callable[[Written], None],
        written: Written,
        require_unchanged: Callable[[], None],
        failed: Callable[[FileOutcome], None],
    ) -> None:
        self._database = database
        self._medium_id = medium_id
        self._committed = committed
        self._seal = seal
        self._progress = progress
        self._require_unchanged = require_unchanged
        self._failed = failed
        self._waiting: list[FileOutcome] = []
        self._events: list[DiagnosticEvent] = []  # besides those of outcomes
        self._pack_ends: dict[int, int] = {}
        self.written = written

    async def run(self, receive: MemoryObjectReceiveStream[OutcomeBatch | PackFull]) -> None:
        """Until the stream ends; everything received is committed then, but what still lacks its content."""
        async with self._database.connection() as connection, receive:
            await _prepare(connection)
            open_for_more = True
            while open_for_more:
                full, open_for_more = await self._gather(receive)
                while (self._waiting or self._events) and await self._flush(connection):
                    if open_for_more:
                        break
                if full is not None:
                    self._seal(full.pack_id, full.end)
                    await connection.execute("UPDATE pack SET sealed = true WHERE id = $1", full.pack_id)
            if self.written.files >= ANALYZE_FROM_FILES:
                await connection.execute("ANALYZE outcome; ANALYZE blob")

    async def _gather(
        self, receive: MemoryObjectReceiveStream[OutcomeBatch | PackFull]
    ) -> tuple[PackFull | None, bool]:
        """Takes what comes, until it is worth a transaction, a pack is full, or the stream ends."""
        gathered = 0
        with anyio.move_on_after(FLUSH_S):
            while gathered < FLUSH_ROWS:
                try:
                    item = await receive.receive()
                except anyio.EndOfStream:
                    return None, False
                match item:
                    case PackFull():
                        return item, True
                    case OutcomeBatch(outcomes=outcomes, pack_id=pack_id, pack_end=pack_end, events=events):
                        self._waiting.extend(outcomes)
                        self._events.extend(events)
                        gathered += len(outcomes)
                        if pack_id is not None:
                            self._pack_ends[pack_id] = max(pack_end, self._pack_ends.get(pack_id, 0))
        return None, True

    async def _flush(self, connection: Connection) -> int:
        """One transaction: blobs, outcomes, events, pack ends. Returns how many outcomes found their blob."""
        async with connection.transaction():
            await connection.copy_records_to_table(
                "incoming", columns=_INCOMING, records=[_record(outcome) for outcome in self._waiting]
            )
            new_blobs = await connection.fetchval(_BLOBS)
            done = {(row["volume"], row["ino"]) for row in await connection.fetch(_OUTCOMES, self._medium_id)}
            events = [*self._events, *(_event(o) for o in self._waiting if o.checks and (o.volume, o.ino) in done)]
            if events:
                await self._record(connection, events)
            for pack_id, end in self._pack_ends.items():
                await connection.execute(
                    "UPDATE pack SET committed_bytes = greatest(committed_bytes, $2) WHERE id = $1", pack_id, end
                )
            self._require_unchanged()
        self._events.clear()
        settled = [o for o in self._waiting if (o.volume, o.ino) in done]
        self._waiting = [o for o in self._waiting if (o.volume, o.ino) not in done]
        self._pack_ends.clear()
        self._count(settled, new_blobs)
        self._committed([o.blob_hash for o in settled if o.is_new])
        for outcome in settled:
            if outcome.status is OutcomeStatus.FAILED:
                self._failed(outcome)
        self._progress(self.written)
        return len(settled)

    async def _record(self, connection: Connection, events: Sequence[DiagnosticEvent]) -> None:
        now = await connection.fetchval("SELECT clock_timestamp()")
        await connection.copy_records_to_table(
            "diagnostic_event",
            columns=("at", "medium_id", "volume", "ino", "retry_count", "checks", "action", "worker_id",
                     "exception_type", "exception_msg"),
            records=[
                (now, self._medium_id, e.volume, e.ino, e.retry_count, list(e.checks), e.action, e.worker,
                 e.error_type or None, e.message or None)
                for e in events
            ],
        )  # fmt: skip

    def _count(self, settled: Sequence[FileOutcome], new_blobs: int) -> None:
        written = self.written
        claimed = [o for o in settled if o.is_new]
        written.files += len(settled)
        written.bytes += sum(o.size_bytes for o in settled)
        written.stored += new_blobs
        written.stored_bytes += sum(o.size_bytes for o in claimed)
        written.wasted += len(claimed) - new_blobs
        written.failed += sum(o.status is OutcomeStatus.FAILED for o in settled)
        written.damaged += sum(o.status is OutcomeStatus.DAMAGED for o in settled)
        written.known += sum(not o.is_new and o.status is not OutcomeStatus.FAILED for o in settled)


def _event(outcome: FileOutcome) -> DiagnosticEvent:
    return DiagnosticEvent(
        volume=outcome.volume,
        ino=outcome.ino,
        retry_count=outcome.attempts,
        checks=outcome.checks,
        action="max_retries" if "max_retries_exceeded" in outcome.checks else "skipped",
        worker=outcome.worker,
        error_type=outcome.error_type,
        message=outcome.reason[:100],
    )


async def _prepare(connection: Connection) -> None:
    # a lost commit here is only work done again; `copy_done` is committed with the WAL up to it flushed
    await connection.execute("SET synchronous_commit = off")
    # the temp table has no statistics, and no plan may scan all blobs for a batch
    await connection.execute("SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off")
    await connection.execute(
        """CREATE TEMP TABLE IF NOT EXISTS incoming (ino bigint, size bigint, volume smallint, attempts smallint,
               status "char", is_new boolean, pack_id int, pack_offset int, hash bytea, reason text,
               damaged int8multirange, unread int8multirange) ON COMMIT DELETE ROWS"""
    )


# in the order of the hashes: two processes that store the same contents must not wait for each other crosswise
_BLOBS = """WITH added AS (
        INSERT INTO blob (size, pack_id, pack_offset, hash)
        SELECT size, pack_id, pack_offset, hash FROM incoming WHERE is_new ORDER BY hash
        ON CONFLICT (hash) DO NOTHING RETURNING 1)
    SELECT count(*) FROM added"""
_OUTCOMES = """INSERT INTO outcome (ino, blob_id, medium_id, volume, attempts, status, reason, damaged, unread)
    SELECT i.ino, b.id, $1, i.volume, i.attempts, i.status, i.reason, i.damaged, i.unread
    FROM incoming i LEFT JOIN blob b ON b.hash = i.hash
    WHERE i.status = 'f' OR b.id IS NOT NULL RETURNING volume, ino"""


def _record(outcome: FileOutcome) -> tuple[object, ...]:
    return (
        outcome.ino,
        outcome.size_bytes,
        outcome.volume,
        outcome.attempts,
        _LETTER[outcome.status],
        outcome.is_new,
        outcome.pack_id,
        outcome.pack_offset,
        outcome.blob_hash or None,
        outcome.reason or None,
        to_multirange(outcome.damaged) if outcome.damaged else None,
        to_multirange(outcome.unread) if outcome.unread else None,
    )
