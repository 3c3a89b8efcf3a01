"""`ntt map`: where on a medium the unread bytes are and what they hit, on the screen or as an SVG file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ntt.app import open_catalogue
from ntt.cli.base import EPILOG, DatabaseUrl, Home, Json, cli, complain, run, say, say_json, settings_of
from ntt.cli.catalogue import Hash
from ntt.cli.files import STANDARD_OUTPUT, write_file
from ntt.display import MapScreen
from ntt.errors import EXIT_USAGE
from ntt.map_svg import CELLS, svg_lines
from ntt.operations.surface import SurfaceMap, surface_maps
from ntt.progress import Stop


@cli.command("map", epilog=EPILOG)
def surface_map(
    medium: Hash,
    svg: Annotated[
        Path | None, typer.Option("--svg", help="write the picture to this SVG file; `-`: to standard output")
    ] = None,
    width: Annotated[int | None, typer.Option("--width", min=8, max=512, help="places in a row")] = None,
    home: Home = None,
    database: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """A picture of a medium's surface: what was read, what lies where, and what the unread bytes hit."""
    if json and svg == STANDARD_OUTPUT:
        complain("--json and --svg - both want standard output: name a file for the picture")
        raise typer.Exit(EXIT_USAGE)
    settings = settings_of(home, database)
    screen = MapScreen.here(width)
    for_screen = svg != STANDARD_OUTPUT

    async def work(_: Stop) -> list[SurfaceMap]:
        async with open_catalogue(settings, must_exist=True) as catalogue:
            found = await catalogue.media.by_prefix(medium)
            wanted = ([screen.json_cells if json else screen.cells] if for_screen else []) + ([CELLS] if svg else [])
            drawn = await surface_maps(catalogue.database, found, wanted)
        if svg is not None and for_screen:
            write_file(svg, (f"{line}\n" for line in svg_lines(drawn[-1])))
        return drawn

    first = run(work)[0]
    if not for_screen:
        for line in svg_lines(first):
            say(line)
    elif json:
        say_json(first)
    else:
        screen.show(first)
