"""Signals that concern the terminal: it hung up, it comes back after a stop, the process ends in spite of us."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass(slots=True)
class Happened:
    """What signals told since it was looked at last."""

    hung_up: bool = False
    continued: bool = False


@contextmanager
def terminal_signals(leave: Callable[[], None]) -> Iterator[Happened]:
    """For the main thread. `leave` gives the terminal back; it may be called at any point and more than once.

    SIGHUP ends nothing: the work goes on without a terminal, and stays so after the body. SIGTSTP gives the terminal
    back and stops. A signal that would end the process by its default gives the terminal back first.
    """
    happened = Happened()

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        happened.hung_up = True

    def go_on(_number: int, _frame: FrameType | None) -> None:
        happened.continued = True

    def stop(number: int, _frame: FrameType | None) -> None:
        leave()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # stands still here
        signal.signal(number, stop)
        happened.continued = True

    def end(number: int, _frame: FrameType | None) -> None:
        leave()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    ours: dict[signal.Signals, Callable[[int, FrameType | None], None] | signal.Handlers] = {
        signal.SIGHUP: hang_up,
        signal.SIGCONT: go_on,
        signal.SIGTSTP: stop,
        signal.SIGTERM: end,
        signal.SIGQUIT: end,
        signal.SIGTTOU: signal.SIG_IGN,  # a line written from the background (`stty tostop`) must not stop it
    }
    always = (signal.SIGHUP, signal.SIGCONT)
    before = {
        number: signal.signal(number, handler)
        for number, handler in ours.items()
        if number in always or signal.getsignal(number) == signal.SIG_DFL
    }
    try:
        yield happened
    finally:
        for number, handler in before.items():
            lasting = number == signal.SIGHUP and happened.hung_up  # what is left to do is done without a terminal, too
            signal.signal(number, signal.SIG_IGN if lasting or handler is None else handler)
