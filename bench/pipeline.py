"""An image -> what a careful person does with it in a shell, one command after the other, each timed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anyio.from_thread import start_blocking_portal

from bench.commands import run, shell
from bench.competitors import HASH_ALL, Timings
from bench.ntt_runs import home_in
from bench.record import What
from bench.workspace import Workspace, warm
from ntt.db.embedded import embedded_server

PROGRAMS = ("b3sum", "psql", "tar", "zstd")
TABLE = """CREATE TABLE listing (ino bigint, size bigint, mtime numeric, mode text, uid bigint, gid bigint, type text,
    link text, path text)"""
LISTING = r"%i\t%s\t%T@\t%m\t%U\t%G\t%y\t%l\t%P\n"


def measure(image: Path, workspace: Workspace) -> Timings:
    """Every step's seconds, and their sum. PostgreSQL runs already, and its table is there and has no index."""
    warm(image)
    with workspace.output() as output, _server(output) as url:
        run("psql", "-q", url, "-c", TABLE)
        steps = tuple(_steps(image, workspace, output, url))
    return (*steps, (What.PIPELINE, sum(seconds for _, seconds in steps)))


def _steps(image: Path, workspace: Workspace, output: Path, url: str) -> Iterator[tuple[What, float]]:
    copies, archive = output / "copies", output / "archive.tar.zst"
    sync = ("sync", "--file-system", output)
    yield What.STEP_IMAGE_HASH, run("b3sum", image).seconds
    started = time.monotonic()
    with workspace.source(image) as source:
        shell(f"find . -printf '{LISTING}' > '{output}/listing'", source)
        yield What.STEP_LIST, time.monotonic() - started
        yield What.STEP_LOAD, run("psql", "-q", url, "-c", rf"\copy listing from '{output}/listing'").seconds
        yield What.STEP_COPY, run("cp", "-a", f"{source}/.", copies).seconds + run(*sync).seconds
    yield What.STEP_HASH, shell(HASH_ALL, copies).seconds
    packed = shell(f"tar --create --file=- '{image.name}' | zstd --quiet -o '{archive}'", image.parent).seconds
    yield What.STEP_ARCHIVE, packed + run(*sync).seconds
    yield What.STEP_TEST, run("zstd", "--quiet", "--test", archive).seconds


@contextmanager
def _server(output: Path) -> Iterator[str]:
    """The URL of a PostgreSQL server with an empty database, set up as NTT sets up its own."""
    with (
        home_in(output) as home,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(embedded_server(home, None)) as url,
    ):
        yield url
