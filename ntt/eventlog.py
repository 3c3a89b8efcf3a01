"""Progress and problems -> JSON lines in `<home>/log/ntt.jsonl`, rotated, shared by all running processes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import structlog
from concurrent_log_handler import ConcurrentRotatingFileHandler

from ntt.model import Stage
from ntt.progress import Reporter, Work

FILE_BYTES = 10 << 20
FILES_KEPT = 5


class _Handler(ConcurrentRotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """A full disk or a lost folder costs lines of the log, and nothing else."""


class EventLog:
    """A reporter that writes one line per event; progress itself is not logged, starts and ends are."""

    def __init__(self, logger: structlog.typing.FilteringBoundLogger) -> None:
        self._logger = logger

    def stage_started(self, medium: str, stage: Stage) -> None:
        self._logger.info("stage_started", medium=medium, stage=stage.value)

    def stage_progress(self, medium: str, stage: Stage, work: Work) -> None:
        pass  # the screen shows it; the log would grow with the medium

    def stage_ended(self, medium: str, stage: Stage, state: str, seconds: float, work: Work) -> None:
        self._logger.info(
            "stage_ended",
            medium=medium,
            stage=stage.value,
            state=state,
            duration_s=round(seconds, 3),
            files=work.files_done,
            bytes=work.bytes_done,
            errors=work.errors,
        )

    def note(self, medium: str, text: str, *, problem: bool = False) -> None:
        self._logger.log(logging.WARNING if problem else logging.INFO, "note", medium=medium, text=text)

    def failed(self, medium: str, error: BaseException) -> None:
        """A failure with its cause, and the cause's cause."""
        cause = error.__cause__ or error.__context__
        self._logger.error(
            "failed",
            medium=medium,
            error=str(error),
            error_type=type(error).__name__,
            cause=f"{type(cause).__name__}: {cause}" if cause is not None else None,
        )


class Both:
    """Tells two reporters everything."""

    def __init__(self, first: Reporter, second: Reporter) -> None:
        self._reporters = (first, second)

    def stage_started(self, medium: str, stage: Stage) -> None:
        for reporter in self._reporters:
            reporter.stage_started(medium, stage)

    def stage_progress(self, medium: str, stage: Stage, work: Work) -> None:
        for reporter in self._reporters:
            reporter.stage_progress(medium, stage, work)

    def stage_ended(self, medium: str, stage: Stage, state: str, seconds: float, work: Work) -> None:
        for reporter in self._reporters:
            reporter.stage_ended(medium, stage, state, seconds, work)

    def note(self, medium: str, text: str, *, problem: bool = False) -> None:
        for reporter in self._reporters:
            reporter.note(medium, text, problem=problem)


def _timestamped(
    _logger: structlog.typing.WrappedLogger, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    event["timestamp"] = datetime.now().astimezone().isoformat()
    return event


@contextmanager
def event_log(folder: Path, run_id: str) -> Iterator[EventLog]:
    """Open for the body; every line has the run id and a time with its offset."""
    folder.mkdir(parents=True, exist_ok=True)
    handler = _Handler(str(folder / "ntt.jsonl"), "a", maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8")
    base = logging.getLogger(f"ntt.{run_id}")
    base.setLevel(logging.INFO)
    base.propagate = False
    base.addHandler(handler)
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        base,
        processors=[
            structlog.processors.add_log_level,
            _timestamped,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    ).bind(run=run_id)
    try:
        yield EventLog(logger)
    finally:
        base.removeHandler(handler)
        handler.close()
