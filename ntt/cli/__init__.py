"""The command line: `ntt --help` lists the commands, one module holds those that belong together."""

from __future__ import annotations

import io
import sys
import traceback
from typing import Annotated

import typer

from ntt import __version__
from ntt.cli import catalogue, ingest, inspect, machine, map, problems, repair, verify, watch, where
from ntt.cli.base import cli, say
from ntt.errors import EXIT_FAILED

__all__ = ["catalogue", "ingest", "inspect", "machine", "main", "map", "problems", "repair", "verify", "watch", "where"]


def _version(wanted: bool) -> None:
    if wanted:
        say(f"ntt {__version__}")
        raise typer.Exit


@cli.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="print the version and end")
    ] = False,
) -> None:
    """NTT rescues files from images of old media and keeps each distinct content once."""


def main() -> None:
    """Entry point of the `ntt` command."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal lacks must not end the report
    try:
        cli(prog_name="ntt")
    except Exception:  # noqa: BLE001
        traceback.print_exc()
        sys.exit(EXIT_FAILED)  # Python's own status for a bug is 1, which says `done`
