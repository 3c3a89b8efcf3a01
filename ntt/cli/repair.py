"""`ntt repair`: what an audit finds, put right from proof; undone; or a lost catalogue made anew."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ntt.app import Catalogue, open_catalogue
from ntt.cli.base import EPILOG, DatabaseUrl, Home, Json, cli, complain, run, say, say_json, settings_of
from ntt.cli.catalogue import MaybeHash
from ntt.config import Settings
from ntt.db.undo import Undone, undo
from ntt.errors import EXIT_OK, EXIT_PROBLEMS, EXIT_USAGE
from ntt.names import printable
from ntt.operations.rebuild import RebuildReport, rebuild, require_own_store
from ntt.operations.repair import RepairReport, Workshop
from ntt.operations.repair import repair as repair_catalogue
from ntt.progress import Stop
from ntt.store.scratch import scratch_folder

SHOWN = 20


@cli.command(epilog=EPILOG)
def repair(
    medium: MaybeHash = None,
    apply: Annotated[bool, typer.Option("--apply", help="change what proof allows; without it nothing is")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="read all contents and archives, as `ntt audit --deep`")] = False,
    undo_file: Annotated[
        Path | None, typer.Option("--undo", metavar="FILE", help="put rows back as they were before a repair")
    ] = None,
    reindex: Annotated[
        bool, typer.Option("--reindex", help="take all contents of the store into the catalogue first")
    ] = False,
    archives: Annotated[
        bool, typer.Option("--from-archives", help="take media of a lost catalogue from their archives, too")
    ] = False,
    home: Home = None,
    database: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """What `ntt audit` finds, put right as far as proof allows: a dry run without --apply. Exit 1 when some is left."""
    if undo_file is not None and (deep or reindex or archives or medium is not None):
        complain("--undo goes alone: it puts back what the repair that wrote the file had changed")
        raise typer.Exit(EXIT_USAGE)
    if medium is not None and (reindex or archives):
        complain("--reindex and --from-archives are about the whole catalogue: leave the HASH out")
        raise typer.Exit(EXIT_USAGE)
    settings = settings_of(home, database)
    if undo_file is not None:
        _tell_undone(_undone(settings, undo_file), json)
        return
    rebuilt, report = _repaired(
        settings, medium, apply=apply, deep=deep, reindex=reindex or archives, archives=archives
    )
    if json:
        say_json({"rebuilt": rebuilt, **_fields(report)} if rebuilt is not None else report)
    else:
        for line in (*_rebuilt_lines(rebuilt), *_lines(report)):
            say(line)
    raise typer.Exit(EXIT_OK if report.clean and (rebuilt is None or rebuilt.clean) else EXIT_PROBLEMS)


def _fields(report: RepairReport) -> dict[str, object]:
    return {name: getattr(report, name) for name in report.__struct_fields__}


def _repaired(
    settings: Settings, prefix: str | None, *, apply: bool, deep: bool, reindex: bool, archives: bool
) -> tuple[RebuildReport | None, RepairReport]:
    async def work(_: Stop) -> tuple[RebuildReport | None, RepairReport]:
        run_id = secrets.token_hex(4)
        # a lost database may be made anew; else there must be one
        async with open_catalogue(settings, run_id, must_exist=not (reindex and apply)) as catalogue:
            with scratch_folder(settings.work_dir, run_id) as folder:
                shop = Workshop(catalogue.database, catalogue.store, settings, folder)
                rebuilt = await _rebuilt(catalogue, shop, archives=archives) if reindex and apply else None
                if apply and rebuilt is None:
                    await require_own_store(catalogue.database, catalogue.store, may_adopt=False)
                found = None if prefix is None else await catalogue.media.by_prefix(prefix)
                return rebuilt, await repair_catalogue(shop, medium=found, apply=apply, deep=deep)

    return run(work)


async def _rebuilt(catalogue: Catalogue, shop: Workshop, *, archives: bool) -> RebuildReport:
    await require_own_store(catalogue.database, catalogue.store, may_adopt=True)
    return await rebuild(shop, archives=archives, advance=lambda _: None)


def _undone(settings: Settings, path: Path) -> Undone:
    async def work(_: Stop) -> Undone:
        async with open_catalogue(settings, must_exist=True) as catalogue:
            return await undo(catalogue.database, path)

    return run(work)


def _tell_undone(undone: Undone, json: bool) -> None:
    if json:
        say_json(undone)
    else:
        say(f"{undone.restored:,} rows are as they were before the repair")
        if undone.skipped:
            say(f"{undone.skipped:,} rows were changed since, and left alone:")
            for example in undone.examples:
                say(f"  {printable(example)}")
    raise typer.Exit(EXIT_PROBLEMS if undone.skipped else EXIT_OK)


def _rebuilt_lines(report: RebuildReport | None) -> Iterator[str]:
    if report is None:
        return
    yield f"{report.contents:,} contents and {report.packs:,} packs of the store taken into the catalogue"
    yield f"{len(report.media):,} media taken from their archives"
    for medium_hash, files in report.waiting.items():
        yield f"  {medium_hash}: {files:,} files lack their content: unpack its image and run `ntt ingest` with it"
    for name in report.rotten[:SHOWN]:
        yield f"  {name} is not what its name says"
    for refusal in report.refusals[:SHOWN]:
        yield f"  {printable(refusal)}"


def _lines(report: RepairReport) -> Iterator[str]:
    if not report.found:
        yield "what is recorded and what is there agree: nothing to repair"
        return
    for kind, count in sorted(report.found.items()):
        tried = report.tries.get(kind, "left as it is")
        yield f"{kind}: {count:,}: {tried}"
    if not report.applied:
        yield "nothing was changed: `ntt repair --apply` does it"
        return
    yield f"{report.fixed:,} things put right"
    for fix in report.fixes[:SHOWN]:
        yield f"  {printable(fix.where)}: {printable(fix.detail)}"
    for refusal in report.refusals[:SHOWN]:
        yield f"  {printable(refusal)}"
    if report.undo is not None:
        yield f"to take it back: ntt repair --undo {printable(report.undo)}"
    if report.clean:
        yield "what is recorded and what is there agree now"
    for kind, count in sorted(report.left_totals.items()):
        yield f"left: {kind}: {count:,}"
        for finding in [found for found in report.left if found.kind == kind][:SHOWN]:
            yield f"  {printable(finding.where)}: {printable(finding.detail)}"
            yield f"    next: {printable(finding.next_step)}"
