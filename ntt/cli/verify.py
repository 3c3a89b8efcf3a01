"""`ntt verify`: what is kept is read again, and healed where it can be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ntt import contents_text
from ntt.app import Catalogue, open_catalogue
from ntt.cli.base import EPILOG, DatabaseUrl, Home, Json, cli, complain, run, say, say_json, settings_of
from ntt.db.connection import Database
from ntt.db.schema import catalogue_mark
from ntt.display import verifying
from ntt.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_PROBLEMS, EXIT_USAGE
from ntt.operations.renewing import Renewer, WorkerLimits
from ntt.operations.verify import INTERRUPTED, Asked, VerifyReport
from ntt.operations.verify import verify as verify_contents
from ntt.progress import Stop
from ntt.store.layout import StoreLayout
from ntt.store.scratch import scratch_folder

MEGABYTE = 1_000_000


@cli.command(epilog=EPILOG)
def verify(
    medium: Annotated[str | None, typer.Argument(help="a medium's hash, or how it begins")] = None,
    everything: Annotated[bool, typer.Option("--all", help="every content and every archive")] = False,
    sample: Annotated[int | None, typer.Option("--sample", help="this many contents, drawn at random")] = None,
    oldest: Annotated[bool, typer.Option("--oldest", help="as --all, what was not read for longest first")] = False,
    rate: Annotated[float | None, typer.Option("--rate", metavar="MB/s", help="no faster than this")] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", help="end after this time, wherever it is")] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="with --all: do not go on with a run that was cut short")
    ] = False,
    heal: Annotated[
        bool, typer.Option("--heal/--no-heal", help="read again from image or archive what is rotten")
    ] = True,
    home: Home = None,
    database: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """Read contents and archives again and compare them with their hashes. Exit 1 when something is lost.

    What is rotten is stored anew from an image, or an archive, of a medium that had it. A run that was cut short is
    gone on with by the same command; `--oldest --minutes 60` each night reads all of it in turn.
    """
    if (medium is not None) + everything + (sample is not None) + oldest != 1:
        complain("say what to verify: a medium's HASH, --all, --sample N or --oldest")
        raise typer.Exit(EXIT_USAGE)
    settings = settings_of(home, database)

    async def work(stop: Stop) -> VerifyReport:
        async with open_catalogue(settings, must_exist=True) as catalogue:
            await _require_store(catalogue.database, catalogue.store)
            asked = Asked(
                medium=None if medium is None else await catalogue.media.by_prefix(medium),
                sample=sample,
                oldest_first=oldest,
                anew=anew,
                bytes_per_s=None if rate is None else rate * MEGABYTE,
                limit_s=None if minutes is None else minutes * 60,
            )
            with scratch_folder(settings.work_dir, catalogue.database.run_id) as folder, verifying() as advance:
                renewer = _renewer(catalogue, folder) if heal else None
                return await verify_contents(
                    catalogue.database, catalogue.store, asked, renewer=renewer, advance=advance, stop=stop
                )

    report = run(work)
    if json:
        say_json(report)
    else:
        for line in contents_text.verify_lines(report):
            say(line)
    if report.ended == INTERRUPTED:
        raise typer.Exit(EXIT_INTERRUPTED)
    raise typer.Exit(EXIT_OK if report.clean else EXIT_PROBLEMS)


def _renewer(catalogue: Catalogue, folder: Path) -> Renewer:
    settings = catalogue.settings
    limits = WorkerLimits(settings.worker_memory_bytes, settings.stall_s)
    return Renewer(catalogue.database, catalogue.store, limits, folder)


async def _require_store(database: Database, store: StoreLayout) -> None:
    """StoreError where another disk lies in the place of the store's, or none: nothing is rotten then."""
    async with database.connection() as connection:
        mark, has_contents = await catalogue_mark(connection)
    store.prepare()
    store.belong_to(mark, has_contents=has_contents)
