"""The live view on a real pseudo terminal: what is seen, what is typed, and what is left of it when it goes away."""

from __future__ import annotations

import os
import signal

import pytest
from live_terminal import Seat, seat

ENTER_SCREEN, LEAVE_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"
FOOT = "q quit"


def shown_whole(at: Seat, drives: int) -> None:
    at.sees(FOOT)
    text = "\n".join(at.rows)
    for number in range(drives):
        assert f"{number + 1}.0 MB/s" in text
        assert f"{number + 1}:00 left" in text
        assert f"/dev/sr{number}" in text


def test_three_busy_drives_stand_whole_on_a_small_terminal() -> None:
    with seat(80, 24) as at:
        shown_whole(at, 3)
        assert at.rows[0].startswith("ntt watch  Monday  box BOX-17")
        for top in (1, 7, 13):
            assert (at.rows[top][:2], at.rows[top][-2:]) == ("╭─", "─╮")
            assert (at.rows[top + 5][:2], at.rows[top + 5][-2:]) == ("╰─", "─╯")
            assert all(at.rows[row][0] == at.rows[row][-1] == "│" for row in range(top + 1, top + 5))
        assert at.rows[23].startswith("Tab drive")
        assert at.screen.cursor.hidden


def test_it_uses_a_large_terminal_and_follows_when_its_size_changes() -> None:
    with seat(200, 50) as at:
        shown_whole(at, 3)
        assert at.rows[1].count("╭─") == 3
        at.resize(80, 24)
        at.until(lambda: at.rows[18].startswith("╰─") and at.rows[18].endswith("─╯"))
        shown_whole(at, 3)
        at.resize(40, 9)
        at.until(lambda: at.rows[8].startswith("Tab drive") and at.rows[0].endswith("with problems"))
        at.resize(120, 40)
        at.until(lambda: at.rows[39].startswith("Tab drive"))


def test_keys_become_commands() -> None:
    with seat(80, 24) as at:
        at.sees(FOOT)
        at.type(b"p")
        at.hears("pause k0")
        at.type(b"\x1b[B")
        at.sees("▶2")
        at.type(b"e")
        at.sees("Eject 2 sr1 now")
        at.type(b"n")
        at.sees("nothing was done")
        at.type(b"s")
        at.hears("enough k1")
        at.type(b"?")
        at.sees("any key leaves this page")
        at.type(b"\x1b")
        at.sees("▶2")
        at.type(b"q")
        at.sees("q once more")
        at.type(b"q")
        at.until(lambda: at.said.count("quit") == 2)
        assert "eject" not in at.said


def test_a_scanned_code_is_the_label_of_the_drive_that_asks_and_never_a_command() -> None:
    with seat(80, 24) as at:
        at.sees(FOOT)
        at.type(b"SPEQ-1\r\n")
        at.sees("press l")
        at.order("ask k1")
        at.sees("Enter keeps, Esc leaves")
        at.type("QPS-é7\r\n".encode())
        at.hears("label k1 QPS-é7")
        at.sees("QPS-é7")
        at.type(b"p")
        at.hears("pause")
        assert [line for line in at.said.splitlines() if not line.startswith(("ready", "obeyed"))] == [
            "label k1 QPS-é7",
            "pause k0 ",
        ]


def test_the_end_leaves_the_terminal_as_it_was_and_the_outcome_on_it() -> None:
    with seat(80, 24) as at:
        at.sees(FOOT)
        assert ENTER_SCREEN in at.raw
        at.order("done")
        at.sees("LAST")
        at.order("end")
        assert at.ended() == 0
        after = at.raw.partition(LEAVE_SCREEN)[2].decode()
        assert "12 media done, 2 with problems" in after
        assert "#99 LAST: complete in 0:01, the end" in after
        assert at.modes() == at.modes_before
        assert b"\x1b[?25h" in at.raw
        assert b"\x1b[?2004l" in at.raw


def test_modes_are_changed_while_it_runs_and_restored_after_a_crash() -> None:
    with seat(80, 24) as at:
        at.sees(FOOT)
        assert at.modes() != at.modes_before
        at.order("crash")
        assert at.ended() == 1
        assert at.modes() == at.modes_before
        assert b"a crash that was asked for" in at.raw.partition(LEAVE_SCREEN)[2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_signal_that_ends_it_leaves_a_usable_terminal(number: signal.Signals) -> None:
    with seat(80, 24) as at:
        at.sees(FOOT)
        assert at.modes() != at.modes_before
        at.process.send_signal(number)
        assert at.ended() == -number
        assert LEAVE_SCREEN in at.raw
        assert at.modes() == at.modes_before


def test_a_terminal_that_goes_away_ends_nothing() -> None:
    with seat(80, 24) as at:
        at.sees(FOOT)
        os.close(at.slave)
        os.close(at.master)  # the kernel sends SIGHUP
        at.master = at.slave = -1
        for number in range(3):
            at.order(f"ping {number}")
            at.hears(f"obeyed ping {number}", looking=False)
        at.order("done")
        at.hears("obeyed done", looking=False)
        at.order("end")
        at.hears("over", looking=False)
        assert at.process.wait() == 0


def test_a_hangup_signal_alone_gives_the_screen_back_and_ends_nothing() -> None:
    with seat(80, 24) as at:
        at.sees(FOOT)
        at.process.send_signal(signal.SIGHUP)
        at.until(lambda: b"the terminal is gone" in at.raw.partition(LEAVE_SCREEN)[2])
        at.order("end")
        at.hears("over")
        assert at.ended() == 0


def test_a_terminal_that_takes_nothing_delays_nothing() -> None:
    with seat(200, 50) as at:
        at.sees(FOOT)
        for number in range(40):
            at.type(b"\x0c")  # each draws all of it again, and nobody reads it
            at.order(f"ping {number}")
            at.hears(f"obeyed ping {number}", looking=False)
        at.order("done")
        at.sees("LAST")


def test_after_a_stop_the_screen_is_drawn_again() -> None:
    with seat(80, 24) as at:
        at.sees(FOOT)
        at.raw = b""
        at.process.send_signal(signal.SIGSTOP)
        at.process.send_signal(signal.SIGCONT)
        at.until(lambda: ENTER_SCREEN in at.raw and b"q quit" in at.raw.partition(ENTER_SCREEN)[2])


def test_a_wish_to_stop_gives_the_screen_back_and_takes_it_again() -> None:
    with seat(80, 24) as at:
        at.sees(FOOT)
        at.raw = b""
        at.process.send_signal(signal.SIGTSTP)  # as the first of its session it is not stopped by that: it goes on
        at.until(lambda: b"q quit" in at.raw.partition(LEAVE_SCREEN)[2].partition(ENTER_SCREEN)[2])


@pytest.mark.parametrize(("order", "times"), [("done", 1), ("problem", 2)])
def test_the_bell_is_heard(order: str, times: int) -> None:
    with seat(80, 24, bell=True) as at:
        at.sees(FOOT)
        at.order(order)
        at.until(lambda: at.raw.count(b"\a") == times)
        at.type(b"?")
        at.sees("any key leaves")
        at.order("end")
        assert at.ended() == 0
        assert at.raw.count(b"\a") == times


def test_a_screen_that_cannot_be_drawn_becomes_lines_and_the_work_goes_on() -> None:
    with seat(80, 24) as at:
        at.sees(FOOT)
        at.order("break")
        at.until(lambda: b"the screen cannot be drawn" in at.raw.partition(LEAVE_SCREEN)[2])
        at.order("mend")
        at.order("done")
        at.until(lambda: b"#99 LAST" in at.raw)
        at.order("end")
        assert at.ended() == 0


def test_a_dumb_terminal_gets_lines() -> None:
    with seat(120, 24, term="dumb") as at:
        at.order("done")
        at.until(lambda: b"#99 LAST: complete" in at.raw)
        at.order("end")
        assert at.ended() == 0
        assert b"\x1b" not in at.raw
        assert b"sr1: TSSTcorp CDDVDW SH-224DB, reading BACKUP_1" in at.raw


def test_in_the_background_it_gives_lines_and_is_not_stopped() -> None:
    with seat(120, 24, job='set -m; "$@" & wait') as at:
        at.order("done")
        at.until(lambda: b"#99 LAST: complete" in at.raw)
        at.order("end")
        assert at.ended() == 0
        assert ENTER_SCREEN not in at.raw


def test_stopped_sent_to_the_background_and_fetched_back_it_takes_the_terminal_again() -> None:
    with seat(80, 24, bell=True, job='stty tostop; set -m; "$@"; bg; read -r; fg') as at:
        at.sees(FOOT)
        at.raw = b""
        os.kill(at.pid, signal.SIGTSTP)
        at.until(lambda: LEAVE_SCREEN in at.raw)
        at.order("done")
        at.until(lambda: b"\a" in at.raw)  # it has looked at the board in the background
        assert ENTER_SCREEN not in at.raw
        at.type(b"\n")  # for the shell
        at.until(lambda: b"q quit" in at.raw.partition(ENTER_SCREEN)[2])
        at.type(b"p")
        at.hears("pause k0")
        at.order("end")
        assert at.ended() == 0
