"""Commands that read the catalogue and the store: list, status, restore, audit."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from ntt import text
from ntt.app import Catalogue, open_catalogue
from ntt.cli.base import EPILOG, DatabaseUrl, Home, Json, cli, run, say, say_json, settings_of
from ntt.db.media import Medium
from ntt.db.reporting import STATES, Choice
from ntt.display import counting
from ntt.errors import EXIT_OK, EXIT_PROBLEMS
from ntt.operations.audit import AuditReport
from ntt.operations.audit import audit as audit_catalogue
from ntt.operations.restore import RestoreReport
from ntt.operations.restore import restore as restore_medium
from ntt.operations.status import media_list, medium_status
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
def list_media(
    box: Annotated[str | None, typer.Option("--box", help="only those that came in this box")] = None,
    label: Annotated[str | None, typer.Option("--label", help="only those whose name or label holds this")] = None,
    state: Annotated[str | None, typer.Option("--state", help=f"only those that are: {', '.join(STATES)}")] = None,
    home: Home = None,
    database: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """All media, oldest first, or some of them."""
    choice = Choice(box, label, state)
    report = _look(home, database, lambda catalogue: media_list(catalogue.database, choice))
    _show(report, text.list_lines(report), json)


@cli.command(epilog=EPILOG)
def status(medium: MaybeHash = None, home: Home = None, database: DatabaseUrl = None, json: Json = False) -> None:
    """How far a medium is, its whole history, and what is next; without HASH as `ntt list`."""
    if medium is None:
        list_media(home=home, database=database, json=json)
        return
    report = _look(home, database, lambda c: _with_medium(c, medium, lambda m: medium_status(c.database, m)))
    _show(report, text.status_lines(report), json)


@cli.command(epilog=EPILOG)
def restore(
    medium: Hash,
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="a folder that does not exist or is empty")],
    path: Annotated[str | None, typer.Option("--path", help="only what matches this glob; `*` crosses `/`")] = None,
    devices: Annotated[bool, typer.Option("--devices", help="create device nodes too (root)")] = False,
    setuid: Annotated[bool, typer.Option("--setuid", help="keep set-uid, set-gid and sticky bits")] = False,
    clean_copies: Annotated[
        bool, typer.Option("--clean-copies", help="damaged files get the whole content that agrees with what was read")
    ] = False,
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
                pattern=pattern, devices=devices, setuid=setuid, advance=advance, clean_copies=clean_copies,
            )  # fmt: skip

    report = _look(home, database, work)
    _show(report, text.restore_lines(report), json)
    raise typer.Exit(EXIT_OK if report.complete else EXIT_PROBLEMS)


@cli.command(epilog=EPILOG)
def audit(
    medium: MaybeHash = None,
    deep: Annotated[bool, typer.Option("--deep", help="read every content and every archive, too")] = False,
    home: Home = None,
    database: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """Actual state against recorded state: store, rows, references, stamps. Exit 1 when they differ."""

    async def work(catalogue: Catalogue) -> AuditReport:
        settings = catalogue.settings
        found = None if medium is None else await catalogue.media.by_prefix(medium)
        return await audit_catalogue(
            catalogue.database, catalogue.store, settings.archive_dir, medium=found, work_dir=settings.work_dir,
            deep=deep,
        )  # fmt: skip

    report = _look(home, database, work)
    _show(report, text.audit_lines(report), json)
    raise typer.Exit(EXIT_OK if report.clean else EXIT_PROBLEMS)
