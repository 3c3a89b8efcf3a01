"""`ntt where`: which media have a name or a content."""

from __future__ import annotations

from typing import Annotated

import typer

from ntt import contents_text
from ntt.app import open_catalogue
from ntt.cli.base import EPILOG, DatabaseUrl, Home, Json, cli, complain, run, say, say_json, settings_of
from ntt.errors import EXIT_OK, EXIT_PROBLEMS, EXIT_USAGE
from ntt.operations.where import Where
from ntt.operations.where import where as find
from ntt.progress import Stop

LIMIT = 1_000


@cli.command(epilog=EPILOG)
def where(
    asked: Annotated[
        str,
        typer.Argument(
            metavar="NAME|BLOB|FILE",
            help=r"a file name (`*` and `?` are wild, \xNN is a byte), the hash "
            "of a content or how it begins, or a file on this machine",
        ),
    ],
    by_name: Annotated[bool, typer.Option("--name", help="it is a name")] = False,
    by_blob: Annotated[bool, typer.Option("--blob", help="it is the hash of a content, or how it begins")] = False,
    by_file: Annotated[bool, typer.Option("--file", help="it is a file on this machine")] = False,
    limit: Annotated[int, typer.Option("--limit", help="at most so many paths")] = LIMIT,
    home: Home = None,
    database: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """Every medium and path that has this name or this content. Exit 1 when there is none.

    Quick where it is known how the name begins: `foto*`. With `*.doc` or `*rap?ort*` all names are looked at.
    """
    kinds = [name for name, given in (("name", by_name), ("blob", by_blob), ("file", by_file)) if given]
    if len(kinds) > 1:
        complain("--name, --blob and --file exclude each other")
        raise typer.Exit(EXIT_USAGE)
    settings = settings_of(home, database)

    async def work(_: Stop) -> Where:
        async with open_catalogue(settings, must_exist=True) as catalogue:
            return await find(catalogue.database, asked, kinds[0] if kinds else None, limit)

    report = run(work)
    if json:
        say_json(report)
    else:
        for line in contents_text.where_lines(report):
            say(line)
    raise typer.Exit(EXIT_OK if report.found else EXIT_PROBLEMS)
