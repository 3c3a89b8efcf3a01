"""`ntt ingest`: image files through all stages; `ntt retry`: the files that failed, once more."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ntt import app as application
from ntt import ingest_text
from ntt.cli.base import EPILOG, DatabaseUrl, Home, Json, cli, complain, run, say, say_json, settings_of
from ntt.db.copying import FailedFile
from ntt.display import reporter
from ntt.errors import EXIT_OK, EXIT_PROBLEMS, EXIT_USAGE
from ntt.model import Effort, Order
from ntt.names import is_text, printable
from ntt.operations.ingest_report import MediumReport
from ntt.progress import Stop


@cli.command(epilog=EPILOG)
def ingest(
    images: Annotated[
        list[Path], typer.Argument(help="image files or devices; never moved, changed or deleted", readable=False)
    ],
    map_path: Annotated[Path | None, typer.Option("--map", help="the ddrescue mapfile of the image")] = None,
    label: Annotated[str | None, typer.Option("--label", help="what people call this medium")] = None,
    no_archive: Annotated[bool, typer.Option("--no-archive", help="leave out the archive stage")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="load a loaded medium anew; the old rows are kept in undo/")
    ] = False,
    effort: Annotated[
        Effort | None,
        typer.Option("--effort", help="image it with ddrescue first (a device always is): how hard it is tried"),
    ] = None,
    free_space: Annotated[
        bool, typer.Option("--free-space", help="with an effort: read unread free space again too")
    ] = False,
    despite_problems: Annotated[
        bool, typer.Option("--despite-problems", help="copy volumes, too, that known problems speak against")
    ] = False,
    same_as: Annotated[
        str | None, typer.Option("--same-as", metavar="HASH", help="it is another pass over this medium: join them")
    ] = None,
    home: Home = None,
    database: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """Take image files and devices through all stages: image, identify, list, load, copy, archive."""
    if len(images) > 1 and (map_path is not None or label is not None or same_as is not None):
        complain("--map, --label and --same-as belong to one image; name the images one at a time")
        raise typer.Exit(EXIT_USAGE)
    if effort is not None and map_path is not None:
        complain("--map belongs to an image that was made already; with --effort NTT makes image and map itself")
        raise typer.Exit(EXIT_USAGE)
    if label is not None and not is_text(os.fsencode(label)):
        complain("the label is no UTF-8; give it in the terminal's own encoding")
        raise typer.Exit(EXIT_USAGE)
    settings = settings_of(home, database)
    if despite_problems:
        settings = settings.model_copy(update={"despite_problems": True})
    orders = [Order(image, map_path, label, not no_archive, replace, effort, free_space, same_as) for image in images]

    async def work(stop: Stop) -> application.IngestResult:
        with reporter() as screen:
            return await application.ingest(settings, orders, screen, stop)

    result = run(work)
    if json:
        say_json({"media": result.media, "failures": result.failures})
    else:
        for report in result.media:
            for line in ingest_text.ingest_lines(report):
                say(line)
    for failure in result.failures:
        complain(printable(failure.error))
    raise typer.Exit(result.exit_status)


@cli.command(epilog=EPILOG)
def retry(
    medium: Annotated[str, typer.Argument(help="a medium's hash, or how it begins")],
    reason: Annotated[str | None, typer.Option("--reason", help="only files whose reason contains this")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="do it; else it is only said what would be done")] = False,
    home: Home = None,
    database: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """Copy exactly the failed files of a medium again; a dry run unless --apply is given."""
    # to name what failed is to say that it is to be tried all the same
    settings = settings_of(home, database).model_copy(update={"despite_problems": True})

    async def work(stop: Stop) -> tuple[list[FailedFile], MediumReport | None]:
        with reporter() as screen:
            return await application.retry(settings, medium, reason, apply=apply, reporter=screen, stop=stop)

    files, report = run(work)
    if json:
        say_json(ingest_text.retry_document(files, report))
    else:
        for line in ingest_text.retry_lines(files, report):
            say(line)
    raise typer.Exit(EXIT_PROBLEMS if report is not None and (report.problems or not report.complete) else EXIT_OK)
