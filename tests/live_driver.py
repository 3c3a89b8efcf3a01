"""A process with a live view and nothing to do: `live_driver.py DRIVES BELL FD`, ordered about on FD.

One order a line; each is answered on standard output with a line, as is each command of the keyboard.
"""

from __future__ import annotations

import os
import sys
import time
from typing import cast

import anyio
from live_boards import busy_board

from ntt.board import Board, Command, Finished, Phase, Verdict, Wish
from ntt.live.running import live_view


def tell(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def obey(board: Board, order: str) -> None:
    """`ask K`, `done`, `problem`, `ping`, `crash`, `break` (what cannot be drawn)."""
    match order.split():
        case ["ask", key]:
            board.panels[key].phase = Phase.ASKING
        case [("done" | "problem") as how]:
            verdict = Verdict.COMPLETE if how == "done" else Verdict.PROBLEMS
            board.finished.append(Finished(99, "LAST", "", verdict, "the end", time.time(), 1.0))
        case ["crash"]:
            raise RuntimeError("a crash that was asked for")
        case ["break"]:
            board.done = cast(int, "no number")
        case ["mend"]:
            board.done = 7
        case _:
            pass


async def main() -> None:
    board = busy_board(int(sys.argv[1]), time.monotonic())

    def send(command: Command) -> None:
        tell(f"{command.wish.value} {command.drive} {command.text}")
        if command.wish is Wish.LABEL:
            board.panels[command.drive].phase = Phase.READING
            board.panels[command.drive].label = command.text
        board.stopping = board.stopping or command.wish is Wish.QUIT

    orders = int(sys.argv[3])
    os.set_blocking(orders, False)
    async with live_view(board, send, bell=sys.argv[2] == "bell"):
        tell(f"ready {os.getpid()}")
        while True:
            await anyio.wait_readable(orders)
            given = os.read(orders, 4096).decode()
            if not given:
                return  # nobody is left to give any
            for order in given.splitlines():
                if order == "end":
                    return
                obey(board, order)
                tell(f"obeyed {order}")


if __name__ == "__main__":
    anyio.run(main)
    tell("over")
