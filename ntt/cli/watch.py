"""`ntt watch`: every inserted medium through all stages; `ntt devices`: the drives of this machine."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated

import anyio
import typer

from ntt import watch_text
from ntt.app_watch import drives_of, watch_drives
from ntt.board import Board, Command, Wish
from ntt.cli.base import EPILOG, DatabaseUrl, Home, Json, cli, complain, run_alone, say, say_json, settings_of
from ntt.config import Settings
from ntt.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, NttError
from ntt.live.running import live_view
from ntt.model import Effort
from ntt.names import is_text, printable
from ntt.watch.options import EjectAfter, WatchOptions
from ntt.watch.telling import hook_argv

COMMANDS = 100


@cli.command(epilog=EPILOG)
def watch(
    device: Annotated[
        list[Path] | None, typer.Option("--device", help="only this drive; repeat for more; a fixed disk needs it")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="end when what is inserted is done")] = False,
    no_eject: Annotated[bool, typer.Option("--no-eject", help="leave every medium in its drive")] = False,
    eject_after: Annotated[
        EjectAfter, typer.Option("--eject-after", help="when a medium may come out; the rest goes on without it")
    ] = EjectAfter.ARCHIVE,
    eject_failed: Annotated[bool, typer.Option("--eject-failed", help="eject also what failed")] = False,
    again: Annotated[bool, typer.Option("--again", help="read known media from their start")] = False,
    trust_look: Annotated[
        bool, typer.Option("--trust-look", help="eject as known after a few reads: may miss a differing sector")
    ] = False,
    label: Annotated[str | None, typer.Option("--label", help="what people call these media")] = None,
    box: Annotated[str | None, typer.Option("--box", help="the box they come from")] = None,
    ask: Annotated[bool, typer.Option("--ask", help="ask for each medium's label: a line, Enter")] = False,
    bell: Annotated[bool, typer.Option("--bell", help="ring once when a medium is done, twice on problems")] = False,
    on_event: Annotated[
        str | None, typer.Option("--on-event", metavar="CMD", help="run for each event, JSON on its standard input")
    ] = None,
    no_archive: Annotated[bool, typer.Option("--no-archive", help="leave out the archive stage")] = False,
    effort: Annotated[Effort, typer.Option("--effort", help="how hard damaged media are tried")] = Effort.NORMAL,
    free_space: Annotated[bool, typer.Option("--free-space", help="read unread free space again too")] = False,
    home: Home = None,
    database: DatabaseUrl = None,
) -> None:
    """Take whatever is inserted through all stages and eject it. Ctrl-C finishes what is in hand."""
    for option, value in (("--label", label), ("--box", box)):
        if value is not None and not is_text(os.fsencode(value)):
            complain(f"{option} is no UTF-8; give it in the terminal's own encoding")
            raise typer.Exit(EXIT_USAGE)
    try:
        if on_event is not None:
            hook_argv(on_event)
    except NttError as error:
        complain(printable(str(error)))
        raise typer.Exit(error.exit_status) from None
    if again and trust_look:
        complain("--again reads known media and --trust-look does not; give one of them")
        raise typer.Exit(EXIT_USAGE)
    options = WatchOptions(
        devices=tuple(device or ()),
        once=once,
        eject=not no_eject,
        eject_after=eject_after,
        eject_failed=eject_failed,
        again=again,
        trust_look=trust_look,
        label=label,
        box=box,
        ask=ask,
        on_event=on_event,
        archive=not no_archive,
        effort=effort,
        free_space=free_space,
    )
    settings = settings_of(home, database)
    raise typer.Exit(run_alone(lambda: _watched(settings, options, bell=bell)))


async def _watched(settings: Settings, options: WatchOptions, *, bell: bool) -> int:
    """The exit status; the first wish to quit finishes what is in hand, the second ends it at once."""
    board = Board()
    send, commands = anyio.create_memory_object_stream[Command](COMMANDS)
    status = EXIT_INTERRUPTED
    quits = 0

    with send, commands:
        async with anyio.create_task_group() as tasks:

            def wish(command: Command) -> None:
                nonlocal quits
                if command.wish is Wish.QUIT:
                    quits += 1
                    if quits > 1:
                        tasks.cancel_scope.cancel()
                        return
                try:
                    send.send_nowait(command)
                except anyio.WouldBlock:
                    board.notes.append(("too many keys at once", True))

            async def obey() -> None:
                with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                    async for _ in signals:
                        wish(Command(Wish.QUIT))

            tasks.start_soon(obey)
            async with live_view(board, wish, bell=bell):
                status = await watch_drives(settings, options, board, commands)
            tasks.cancel_scope.cancel()
    if status == EXIT_INTERRUPTED:
        complain("stopped before everything was done; the next start goes on from there")
    return status


@cli.command(epilog=EPILOG)
def devices(
    device: Annotated[list[Path] | None, typer.Argument(help="also these, which NTT would not touch by itself")] = None,
    home: Home = None,
    database: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """The drives of this machine, what lies in them, and which of them `ntt watch` would take."""
    settings = settings_of(home, database)
    found = run_alone(lambda: drives_of(settings, tuple(device or ())))
    if json:
        say_json(watch_text.devices_document(found))
    else:
        for line in watch_text.device_lines(found):
            say(line)
    raise typer.Exit(EXIT_OK)
