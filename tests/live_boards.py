"""Boards as the watch would have them: what a live view is tried on."""

from __future__ import annotations

from pathlib import Path

from ntt.board import Board, Finished, Panel, Phase, Queued, Room, StageLine, Verdict
from ntt.drives import Drive, DriveKind
from ntt.model import Stage
from ntt.progress import Reading, Work

MIB = 1 << 20


def drive(number: int, title: str = "TSSTcorp CDDVDW SH-224DB") -> Drive:
    return Drive(Path(f"/dev/sr{number}"), DriveKind.OPTICAL, f"k{number}", title)


def reading_panel(number: int, now: float, *, bad_sectors: int = 0, title: str = "TSSTcorp CDDVDW SH-224DB") -> Panel:
    """It reads `number` + 1 MiB/s and has that many minutes left; a bad place lies in its middle."""
    bad = bad_sectors * 2048
    reading = Reading("everything", "copy 1", 300 * MIB, (number + 1) * MIB, (number + 1) * 60.0, bad_sectors, bad)
    work = Work(bytes_done=(100 + 100 * number) * MIB, bytes_total=700 * MIB, reading=reading)
    surface = bytes([1] * 490 + [2 if bad else 1] * 20 + [0] * 490)
    stage = StageLine(Stage.IMAGE, now - 125, work)
    return Panel(drive(number, title), Phase.READING, f"BACKUP_{number}", f"17/04{number}", "", stage, bad, surface)


def busy_board(drives: int, now: float) -> Board:
    """That many drives read; every list has something in it; one place has not enough room."""
    board = Board(session="Monday", box="BOX-17", database="embedded, 0.4 ms", done=12, problems=2)
    for number in range(drives):
        board.panels[f"k{number}"] = reading_panel(number, now, bad_sectors=12 if number == 1 else 0)
    verdicts = list(Verdict)
    board.finished = [
        Finished(at, f"DISC_{at:03}", "ab" * 32, verdicts[at % 4], f"{at * 100:,} files", 1.79e9 + at, 300.0 + at)
        for at in range(1, 13)
    ]
    archiving = Work(bytes_done=200 * MIB, bytes_total=650 * MIB)
    marks = [(now - 9, 110 * MIB, 0)]
    board.queue = [Queued("DISC_013", StageLine(Stage.ARCHIVE, now - 40, archiving, marks)), Queued("DISC_014")]
    board.rooms = (Room("images", 12 << 30, 9 << 30), Room("store", 3 << 30, 5 << 30))
    board.notes = [("DISC_010: read in another drive", False), ("DISC_011: 3 files damaged", True)]
    return board
