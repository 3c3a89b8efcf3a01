"""What every command shares: options, signals, one line per failure, and an exit status scripts can trust."""

from __future__ import annotations

import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, TypeVar

import anyio
import msgspec
import typer

from ntt.config import Settings, load_settings
from ntt.db.runs import first_cause
from ntt.errors import EXIT_INTERRUPTED, NttError
from ntt.names import json_printable, printable
from ntt.progress import Stop

EPILOG = "Exit status: 0 all done; 1 done, with problems recorded; 2 usage; 3 failed; 130 interrupted (resumable)."

cli = typer.Typer(
    help="NTT rescues files from images of old media and keeps each distinct content once.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Home = Annotated[Path | None, typer.Option("--home", help="where everything is kept [env NTT_HOME]")]
DatabaseUrl = Annotated[str | None, typer.Option("--database", help="a PostgreSQL server [env NTT_DATABASE_URL]")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on standard output")]
Result = TypeVar("Result")


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def say_json(value: object) -> None:
    say(json_printable(msgspec.json.format(msgspec.json.encode(value), indent=2).decode()))


def complain(text: str) -> None:
    with suppress(OSError):
        print(f"ntt: {text}", file=sys.stderr, flush=True)  # noqa: T201


async def _until_stopped(work: Callable[[Stop], Awaitable[Result]]) -> Result:
    """The first signal asks, the second cancels; either way the next start goes on from there."""
    stop = Stop()
    result: list[Result] = []
    async with anyio.create_task_group() as tasks:

        async def obey() -> None:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
                async for _ in signals:
                    if stop.requested:
                        tasks.cancel_scope.cancel()
                        return
                    stop.requested = True
                    complain("finishing the files in hand; once more stops at once")

        tasks.start_soon(obey)
        result.append(await work(stop))
        tasks.cancel_scope.cancel()
    if not result:
        raise KeyboardInterrupt
    return result[0]


def run(work: Callable[[Stop], Awaitable[Result]]) -> Result:
    """Runs a command's work; whatever a user can cause ends in one line and its exit status."""
    return run_alone(lambda: _until_stopped(work))


def run_alone(work: Callable[[], Awaitable[Result]]) -> Result:
    """As `run`, for work that takes its signals itself."""
    try:
        return anyio.run(work)
    except KeyboardInterrupt:
        complain("interrupted; run the same command again to go on")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except (NttError, BaseExceptionGroup) as error:
        cause = first_cause(error)
        if not isinstance(cause, NttError):
            raise
        complain(printable(str(cause)))
        raise typer.Exit(cause.exit_status) from None


def settings_of(home: Path | None, database: str | None) -> Settings:
    try:
        return load_settings(home, database)
    except NttError as error:
        complain(str(error))
        raise typer.Exit(error.exit_status) from None
