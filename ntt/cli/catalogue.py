"""Commands that read the catalogue and the store: list, status, problems, restore, verify, audit."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from ntt import damage_text, text
from ntt.app import Catalogue, open_catalogue
from ntt.cli.base import EPILOG, DatabaseUrl, Home, Json, cli, complain, run, say, say_json, settings_of
from ntt.db.media import Medium
from ntt.display import counting
from ntt.errors import EXIT_OK, EXIT_PROBLEMS, EXIT_USAGE
from ntt.operations.audit import AuditReport
from ntt.operations.audit import audit as audit_catalogue
from ntt.operations.problems import problems_overview, problems_report
from ntt.operations.restore import RestoreReport
from ntt.operations.restore import restore as restore_medium
from ntt.operations.status import media_list, medium_status
from ntt.operations.verify import VerifyReport
from ntt.operations.verify import verify as verify_contents
from ntt.progress import Stop

Hash = Annotated[str, typer.Argument(help="a medium's hash, or how it begins")]
MaybeHash = Annotated[str | None, typer.Argument(help="a medium's hash, or how it begins; all media without it")]
Report = TypeVar("Report")


def _look(home: Path | None, database: str | None, ask: Callable[[Catalogue], Awaitable[Report]]) -> Report:
    settings = settings_of(home, database)

    async def work(_: Stop) -> Report:
        async with open_catalogue(settings, must_exist=True) as catalogue:
            return await ask(catalogue)

    return run(work)


async def _with_medium(catalogue: Catalogue, prefix: str, ask: Callable[[Medium], Awaitable[Report]]) -> Report:
    return await ask(await catalogue.media.by_prefix(prefix))


def _show(report: object, lines: Iterable[str], json: bool) -> None:
    if json:
        say_json(report)
    else:
        for line in lines:
            say(line)


@cli.command("list", epilog=EPILOG)
def list_media(home: Home = None, database: DatabaseUrl = None, json: Json = False) -> None:
    """All media, oldest first."""
    report = _look(home, database, lambda catalogue: media_list(catalogue.database))
    _show(report, text.list_lines(report), json)


@cli.command(epilog=EPILOG)
def status(medium: MaybeHash = None, home: Home = None, database: DatabaseUrl = None, json: Json = False) -> None:
    """Stages, attempts and the next action of a medium; without HASH as `ntt list`."""
    if medium is None:
        list_media(home, database, json)
        return
    report = _look(home, database, lambda c: _with_medium(c, medium, lambda m: medium_status(c.database, m)))
    _show(report, text.status_lines(report), json)


@cli.command(epilog=EPILOG)
def problems(medium: MaybeHash = None, home: Home = None, database: DatabaseUrl = None, json: Json = False) -> None:
    """What went wrong, on which files, where exactly, and what to do. Exit 1 when there is something."""
    if medium is None:
        overview = _look(home, database, lambda catalogue: problems_overview(catalogue.database))
        _show(overview, text.overview_lines(overview), json)
        raise typer.Exit(EXIT_PROBLEMS if overview.media else EXIT_OK)
    report = _look(home, database, lambda c: _with_medium(c, medium, lambda m: problems_report(c.database, m, c.store)))
    _show(report, damage_text.problems_lines(report), json)
    raise typer.Exit(EXIT_PROBLEMS if report.files or report.problems or report.health != "ok" else EXIT_OK)


@cli.command(epilog=EPILOG)
def restore(
    medium: Hash,
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="a folder that does not exist or is empty")],
    path: Annotated[str | None, typer.Option("--path", help="only what matches this glob; `*` crosses `/`")] = None,
    devices: Annotated[bool, typer.Option("--devices", help="create device nodes too (root)")] = False,
    setuid: Annotated[bool, typer.Option("--setuid", help="keep set-uid, set-gid and sticky bits")] = False,
    home: Home = None,
    database: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """The tree as it was: names, contents, times, modes, links. Nothing is written outside DEST."""
    pattern = None if path is None else os.fsencode(path)

    async def work(catalogue: Catalogue) -> RestoreReport:
        found = await catalogue.media.by_prefix(medium)
        with counting("restored") as advance:
            return await restore_medium(
                catalogue.database, catalogue.store, found, destination,
                pattern=pattern, devices=devices, setuid=setuid, advance=advance,
            )  # fmt: skip

    report = _look(home, database, work)
    _show(report, text.restore_lines(report), json)
    raise typer.Exit(EXIT_OK if report.complete else EXIT_PROBLEMS)


@cli.command(epilog=EPILOG)
def verify(
    medium: MaybeHash = None,
    everything: Annotated[bool, typer.Option("--all", help="every blob and every archive")] = False,
    sample: Annotated[int | None, typer.Option("--sample", help="this many blobs, drawn at random")] = None,
    home: Home = None,
    database: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """Read blobs and archives again and compare them with their hashes. Exit 1 when one is damaged."""
    if (medium is not None) + everything + (sample is not None) != 1:
        complain("say what to verify: a medium's HASH, --all or --sample N")
        raise typer.Exit(EXIT_USAGE)

    async def work(catalogue: Catalogue) -> VerifyReport:
        found = None if medium is None else await catalogue.media.by_prefix(medium)
        with counting("verified") as advance:
            return await verify_contents(
                catalogue.database, catalogue.store, medium=found, sample=sample, advance=advance
            )

    report = _look(home, database, work)
    _show(report, text.verify_lines(report), json)
    raise typer.Exit(EXIT_OK if report.clean else EXIT_PROBLEMS)


@cli.command(epilog=EPILOG)
def audit(medium: MaybeHash = None, home: Home = None, database: DatabaseUrl = None, json: Json = False) -> None:
    """Actual state against recorded state: store, rows, references, stamps. Exit 1 when they differ."""

    async def work(catalogue: Catalogue) -> AuditReport:
        settings = catalogue.settings
        found = None if medium is None else await catalogue.media.by_prefix(medium)
        return await audit_catalogue(
            catalogue.database, catalogue.store, settings.archive_dir, medium=found, work_dir=settings.work_dir
        )

    report = _look(home, database, work)
    _show(report, text.audit_lines(report), json)
    raise typer.Exit(EXIT_OK if report.clean else EXIT_PROBLEMS)
