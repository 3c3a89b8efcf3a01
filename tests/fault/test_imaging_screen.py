"""What a user sees while a medium is imaged: on a terminal, and in a log that is none."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

import pytest
from faulty_source import Plan, faulty_source
from media_images import ext4_image, found_at, noise, written
from msgspec import structs
from ntt_runs import Machine

CONTENTS = {f"{n}.bin": noise(100_000, n) for n in range(12)}
HIT = 5
BYTES_PER_S = 2_000_000
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return ext4_image(tmp_path / "disk.img", written(tmp_path / "tree", CONTENTS), 5, "-b", "4096")


@pytest.fixture
def plan(disk: Path) -> Plan:
    at = found_at(disk, CONTENTS[f"{HIT}.bin"]) + 8 * 512
    return Plan(bad=((at, at + 3 * 512),), bytes_per_s=BYTES_PER_S)


def on_a_terminal(argv: list[str], environment: dict[str, str], rows: int = 30, columns: int = 100) -> str:
    """All that a program draws on a terminal of its own, without the escapes."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    drawn = bytearray()
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        try:
            while piece := _read(ours):
                drawn += piece
        finally:
            process.kill()
            os.close(ours)
    assert process.returncode == 1, drawn.decode(errors="replace")
    return ESCAPES.sub("", drawn.decode())


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # nobody has the other side open any more
        return b""


def command(machine: Machine, source: Path) -> list[str]:
    return [word for word in machine.command(source, None, ("--effort", "normal", "--no-archive")) if word != "--json"]


def test_the_screen_tells_how_far_how_fast_where_and_what_was_bad(
    home: Path, database_url: str, disk: Path, plan: Plan, tmp_path: Path
) -> None:
    machine = Machine(home, database_url)
    with faulty_source(disk, plan, tmp_path / "faulty") as source:
        environment = {**machine.environment(), "TERM": "xterm-256color", "COLUMNS": "100"}
        screen = on_a_terminal(command(machine, source.path), environment)
    running = re.findall(r"[\d.]+ [KM]?B/5\.0 MB rescued, [\d.]+ [KM]?B/s, \d+:\d\d left", screen)
    assert len(running) > 2, screen
    assert len(set(running)) > 1, "it moves"
    assert re.search(r"first pass, at [\d.]+ [KM]?B", screen), screen
    assert re.search(r"files(: |, at )", screen), "the further pass is named, and what it is about"
    assert "3 bad sectors (1.5 KB)" in screen
    assert re.search(r"\d+ read errors", screen)
    assert "11 of 12 files stored whole, 1 damaged, 0 failed" in screen.splitlines()[-1]
    assert re.search(r"pass +\d{4}-.*files: ", screen)
    assert "--effort deep" in screen


def test_without_a_terminal_each_pass_has_its_lines(
    home: Path, database_url: str, disk: Path, plan: Plan, tmp_path: Path
) -> None:
    machine = Machine(home, database_url)
    with faulty_source(disk, structs.replace(plan, bytes_per_s=0), tmp_path / "faulty") as source:
        ended = machine.ingest(source.path, options=("--effort", "normal", "--no-archive"))
    assert ended.status == 1, ended.stderr
    assert "\x1b" not in ended.stderr
    lines = [line.split(" ", 1)[1] for line in ended.stderr.splitlines() if " image " in line]
    assert lines[0] == "medium: image ..."
    first = r"medium: image ok in [\d.]+ s \(4\.\d MB/5\.0 MB rescued(, first pass, .*read error.*)?\)"
    assert re.fullmatch(first, lines[1]), lines[1]
    assert re.search(r"rescued, files, 3 bad sectors \(1\.5 KB\), .*read errors\)$", lines[-1]), lines
