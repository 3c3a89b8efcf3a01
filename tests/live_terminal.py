"""A pseudo terminal with a screen (pyte) and a process on it; everything waits for what is seen, with a limit."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyte

TESTS = Path(__file__).resolve().parent
LIMIT_S = 60.0


class Seat:
    """Who sits at the terminal, and who gives the orders."""

    def __init__(
        self, process: subprocess.Popen[bytes], orders: int, master: int, slave: int, modes_before: list[object]
    ) -> None:
        self.process = process
        self._orders = orders
        self._silent = False  # it will say no more
        self.master = master
        self.slave = slave  # kept open: its modes are looked at after the process
        self.modes_before = modes_before
        self.raw = b""
        self.said = ""
        self.screen = pyte.Screen(*os.get_terminal_size(slave))
        self._stream = pyte.ByteStream(self.screen)

    @property
    def rows(self) -> list[str]:
        return list(self.screen.display)

    def modes(self) -> list[object]:
        """What the terminal does with keys; `modes_before`: what it did before the process."""
        return list(termios.tcgetattr(self.slave))

    @property
    def pid(self) -> int:
        """Of the process with the live view, whoever started it."""
        return int(self.said.split()[1])

    def type(self, data: bytes) -> None:
        os.write(self.master, data)

    def order(self, text: str) -> None:
        os.write(self._orders, f"{text}\n".encode())

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(rows, columns)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, what: Callable[[], bool], *, looking: bool = True) -> None:
        """Reads what comes until that holds; `looking`: also what comes to the screen."""
        assert self.process.stdout is not None
        out, until = self.process.stdout.fileno(), time.monotonic() + LIMIT_S
        while not what():
            left = until - time.monotonic()
            assert left > 0, "\n".join([self.said, self._state(), *self.rows])
            watched = ([self.master] if looking else []) + ([] if self._silent else [out])
            for fd in select.select(watched, [], [], min(left, 0.5))[0]:
                data = os.read(fd, 65536)
                if fd == out:
                    self._silent = not data
                    self.said += data.decode()
                else:
                    self.raw += data
                    self._stream.feed(data)

    def _state(self) -> str:
        """Of the process, as the kernel has it."""
        if (ended := self.process.poll()) is not None:
            return f"ended with {ended}"
        return (Path("/proc") / str(self.process.pid) / "status").read_text()

    def sees(self, text: str) -> None:
        self.until(lambda: any(text in row for row in self.rows))

    def hears(self, text: str, *, looking: bool = True) -> None:
        self.until(lambda: text in self.said, looking=looking)

    def ended(self) -> int:
        """Its exit status; what it wrote last has been read."""
        self.until(lambda: self.process.poll() is not None and not select.select([self.master], [], [], 0.1)[0])
        return self.process.wait()


@contextmanager
def seat(
    columns: int, rows: int, *, drives: int = 3, bell: bool = False, term: str = "xterm-256color", job: str = ""
) -> Iterator[Seat]:
    """The process has the terminal for itself, as of a window. `job`: a shell script that starts "$@"."""
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    modes_before: list[object] = list(termios.tcgetattr(slave))
    taken, orders = os.pipe()
    driver = [sys.executable, str(TESTS / "live_driver.py"), str(drives), "bell" if bell else "quiet", str(taken)]
    shell = ["bash", "-c", job, "bash"] if job else []
    process = subprocess.Popen(
        ["setsid", "--ctty", *shell, *driver],
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=slave,
        pass_fds=[taken],
        env={**os.environ, "TERM": term, "PYTHONPATH": f"{TESTS}:{TESTS.parent}", "PYTHONIOENCODING": "utf-8"},
    )
    os.close(taken)
    made = Seat(process, orders, master, slave, modes_before)
    try:
        made.until(lambda: made.said.endswith("\n"))
        yield made
    finally:
        os.close(orders)  # which ends one that a shell left behind, too
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        for fd in (made.master, made.slave):
            if fd >= 0:
                os.close(fd)
