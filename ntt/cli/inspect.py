"""`ntt inspect`: what an image is, without a catalogue, without a home, without writing anything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ntt.cli.base import Home, Json, cli, complain, run, say, say_json, settings_of
from ntt.config import Settings, UnreadableSettings, load_settings
from ntt.errors import EXIT_FAILED, EXIT_OK, EXIT_PROBLEMS, UsageError
from ntt.inspect_text import inspect_lines
from ntt.model import Order
from ntt.names import printable
from ntt.operations.inspect import Inspection
from ntt.operations.inspect import inspect as look_at
from ntt.progress import Stop
from ntt.stages.accept import accepted

EPILOG = (
    "Exit status: 0 every volume can be read; 1 some volume is unknown or cannot be read in full; 2 usage; "
    "3 failed; 130 interrupted."
)
NO_HOME = Path(os.devnull)  # nothing lies in it, so that only the environment is asked


@cli.command(epilog=EPILOG)
def inspect(
    image: Annotated[  # whether it may be read is said in one line, as of every other image
        Path, typer.Argument(help="an image file; nothing is written, and no catalogue is needed", readable=False)
    ],
    map_path: Annotated[
        Path | None, typer.Option("--map", help="the ddrescue mapfile of the image", readable=False)
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """What an image is: its table, volumes, file systems, dates, sizes, and what is odd about them."""
    settings = _settings(home)

    async def work(_: Stop) -> Inspection:
        with accepted(Order(image, map_path)) as opened:
            return await look_at(opened, settings.worker_memory_bytes, settings.stall_s)

    report = run(work)
    if json:
        say_json(report)
    else:
        for line in inspect_lines(report):
            say(line)
    if report.ended_early:
        complain(printable(f"{report.image}: {report.ended_early}"))
        raise typer.Exit(EXIT_FAILED)
    raise typer.Exit(EXIT_OK if report.is_known else EXIT_PROBLEMS)


def _settings(home: Path | None) -> Settings:
    """Of the home's settings only a worker's limits are used; a home that may not be entered has none to give."""
    try:
        return load_settings(home, None)
    except (UnreadableSettings, RuntimeError):
        return load_settings(NO_HOME, None)
    except UsageError:
        return settings_of(home, None)  # says what is wrong with them, and ends
