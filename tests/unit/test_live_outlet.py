"""Bytes for whoever may not take them: never a wait, never half a line, nothing left out in silence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

import pytest

from ntt.live.terminal import PENDING_LIMIT, Outlet, Terminal, writable


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for fd in ends:
        with suppress(OSError):
            os.close(fd)


def test_a_pipe_that_nobody_reads_holds_nothing_up_and_what_was_left_out_is_told(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    outlet = Outlet(writer)
    line = b"x" * 999 + b"\n"
    count = 2 * PENDING_LIMIT // len(line)
    for _ in range(count):
        outlet.write(line)
    os.set_blocking(reader, False)
    got = b""
    while not outlet.idle:
        got += os.read(reader, 1 << 20)
        outlet.flush()
    with suppress(BlockingIOError):
        got += os.read(reader, 1 << 20)
    *lines, last = got.decode().splitlines()
    assert set(lines) == {"x" * 999}
    assert last == f"({count - len(lines):,} lines were left out: nobody took them)"


def test_a_pipe_without_a_reader_is_given_up(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.close(reader)
    outlet = Outlet(writer)
    outlet.write(b"line\n")
    outlet.write(b"line\n")
    outlet.drain()
    assert outlet.gone
    assert outlet.idle


def test_a_file_takes_everything_in_order(pipe: tuple[int, int], tmp_path: os.PathLike[str]) -> None:
    path = os.path.join(tmp_path, "log")
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    with writable(fd) as outlet:
        for number in range(3000):
            outlet.write(f"{number}\n".encode())
    os.close(fd)
    with open(path) as log:
        assert log.read().split() == [str(number) for number in range(3000)]


def test_what_is_no_terminal_is_none(pipe: tuple[int, int]) -> None:
    assert Terminal.behind(pipe[1], "xterm") is None
