"""Files to copy -> batches: many small ones together, a large one alone."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ntt.copier.messages import FileJob

BATCH_FILES = 1024
BATCH_BYTES = 8 << 20


async def batched(jobs: AsyncIterator[FileJob], large_limit_bytes: int) -> AsyncIterator[tuple[FileJob, ...]]:
    """At most 1,024 files and 8 MiB; order is kept but for large files, which go ahead of the batch at hand."""
    waiting: list[FileJob] = []
    size_bytes = 0
    async for job in jobs:
        if job.size >= large_limit_bytes:
            yield (job,)
            continue
        if waiting and (len(waiting) == BATCH_FILES or size_bytes + job.size > BATCH_BYTES):
            yield tuple(waiting)
            waiting, size_bytes = [], 0
        waiting.append(job)
        size_bytes += job.size
    if waiting:
        yield tuple(waiting)
