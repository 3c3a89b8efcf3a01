"""The command line: arguments in, one line per failure out, and an exit status that scripts can trust."""

from __future__ import annotations

import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import anyio
import msgspec
import typer

from ntt import __version__
from ntt import app as application
from ntt import ingest_text as text
from ntt.config import Settings, load_settings
from ntt.db.runs import first_cause
from ntt.display import reporter
from ntt.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, NttError
from ntt.model import Order
from ntt.names import printable
from ntt.progress import Stop

EPILOG = "Exit status: 0 all done; 1 done, with problems recorded; 2 usage; 3 failed; 130 interrupted (resumable)."

cli = typer.Typer(
    help="NTT rescues files from images of old media and keeps each distinct content once.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Home = Annotated[Path | None, typer.Option("--home", help="where everything is kept [env NTT_HOME]")]
DatabaseUrl = Annotated[str | None, typer.Option("--database", help="a PostgreSQL server [env NTT_DATABASE_URL]")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on standard output")]
Result = TypeVar("Result")


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def say_json(value: object) -> None:
    say(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def complain(text: str) -> None:
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
    try:
        return anyio.run(_until_stopped, work)
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


@cli.callback()
def version(
    show: Annotated[bool, typer.Option("--version", is_eager=True, help="print the version and end")] = False,
) -> None:
    """NTT rescues files from images of old media and keeps each distinct content once."""
    if show:
        say(f"ntt {__version__}")
        raise typer.Exit


@cli.command(epilog=EPILOG)
def ingest(
    images: Annotated[list[Path], typer.Argument(help="image files; never moved, changed or deleted")],
    map_path: Annotated[Path | None, typer.Option("--map", help="the ddrescue mapfile of the image")] = None,
    label: Annotated[str | None, typer.Option("--label", help="what people call this medium")] = None,
    no_archive: Annotated[bool, typer.Option("--no-archive", help="leave out the archive stage")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="load a loaded medium anew; the old rows are kept in undo/")
    ] = False,
    home: Home = None,
    database: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """Take image files through all stages: identify, list, load, copy, archive."""
    if len(images) > 1 and (map_path is not None or label is not None):
        complain("--map and --label belong to one image; name the images one at a time")
        raise typer.Exit(EXIT_USAGE)
    settings = settings_of(home, database)
    orders = [Order(image, map_path, label, not no_archive, replace) for image in images]

    async def work(stop: Stop) -> application.IngestResult:
        with reporter() as screen:
            return await application.ingest(settings, orders, screen, stop)

    result = run(work)
    if json:
        say_json({"media": result.media, "failures": result.failures})
    else:
        for report in result.media:
            for line in text.ingest_lines(report):
                say(line)
    for failure in result.failures:
        complain(printable(failure.error))
    raise typer.Exit(result.exit_status)


def main() -> None:
    """Entry point of the `ntt` command."""
    try:
        cli(prog_name="ntt")
    except BrokenPipeError:
        sys.exit(EXIT_FAILED)
