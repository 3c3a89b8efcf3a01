"""A terminal of its own description: keys in, screens out, and never a wait for either.

Writing never blocks: a terminal that takes nothing (stopped by its user, a slow line) delays no drive. Formats: xterm
ctlseqs (private modes 7, 25, 1049, 2004), ECMA-48 (CUP, ED, EL).
"""

from __future__ import annotations

import os
import select
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_ENTER = b"\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[?2004h\x1b[0m\x1b[2J"
_LEAVE = b"\x1b[0m\x1b[?2004l\x1b[?7h\x1b[?25h\x1b[2J\x1b[H\x1b[?1049l"
_DUMB = frozenset(("", "dumb", "unknown"))
LAST_WRITE_S = 1.0
PENDING_LIMIT = 1 << 20
CHUNK = 512  # what a pipe or terminal that is ready at all takes without a wait
READ_BYTES = 4096


class Outlet:
    """Where bytes go without a wait. What cannot be written now is kept up to a limit; the rest is left out and told.

    A descriptor that fails is never tried again, and everything for it is dropped.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._pending = b""
        self._left_out = 0
        self.gone = False

    @property
    def idle(self) -> bool:
        return not self._pending

    def write(self, data: bytes) -> None:
        """Whole pieces only: `data` is kept whole or left out whole."""
        if self.gone:
            return
        if len(self._pending) + len(data) > PENDING_LIMIT:
            self._left_out += 1
            return
        self._pending += data
        self.flush()

    def flush(self) -> None:
        while self._pending and not self.gone and self._ready(0.0):
            try:
                sent = os.write(self._fd, self._pending[:CHUNK])
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self.gone, self._pending = True, b""
                return
            self._pending = self._pending[sent:]
        if self._left_out and not self._pending and not self.gone:
            count, self._left_out = self._left_out, 0
            self.write(f"({count:,} lines were left out: nobody took them)\n".encode())

    def drain(self, limit_s: float = LAST_WRITE_S) -> None:
        """Gives what is pending a last chance."""
        until = time.monotonic() + limit_s
        while self._pending and not self.gone and self._ready(max(0.0, until - time.monotonic())):
            self.flush()
            if time.monotonic() >= until:
                return

    def drop(self) -> None:
        self._pending = b""

    def _ready(self, limit_s: float) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        ready = poll.poll(limit_s * 1000)
        if ready and not ready[0][1] & select.POLLOUT:  # hung up, or no descriptor at all
            self.gone, self._pending = True, b""
        return bool(ready) and not self.gone


class Terminal:
    """A terminal that this process has for itself while it is in the foreground."""

    def __init__(self, fd: int) -> None:
        """Owns `fd`, which does not block."""
        self.fd = fd
        self.outlet = Outlet(fd)
        self._modes = termios.tcgetattr(fd)
        self._entered = False

    @staticmethod
    def behind(fd: int, name: str) -> Terminal | None:
        """The terminal that `fd` is, opened anew; `name`: its kind (TERM). None if there is none to draw on."""
        if name in _DUMB or not os.isatty(fd) or not _in_foreground(fd):
            return None
        flags = os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
        with suppress(OSError):
            path = os.ttyname(fd)
            for candidate in (path, "/dev/tty"):  # as another user only the second may be opened
                with suppress(OSError, termios.error):
                    opened = os.open(candidate, flags)
                    try:
                        return Terminal(opened)
                    except BaseException:
                        os.close(opened)
                        raise
        return None

    @property
    def gone(self) -> bool:
        return self.outlet.gone

    @property
    def foreground(self) -> bool:
        return _in_foreground(self.fd)

    def size(self) -> tuple[int, int]:
        """(columns, rows); 80 times 24 where it does not know."""
        try:
            columns, rows = os.get_terminal_size(self.fd)
        except OSError:
            return 80, 24
        return columns or 80, rows or 24

    def enter(self) -> None:
        """Keys come one by one and unseen, the screen is ours. May be called again after a stop."""
        modes = termios.tcgetattr(self.fd)
        modes[0] &= ~(termios.IXON | termios.ICRNL | termios.INLCR | termios.ISTRIP)  # Ctrl-S would freeze the picture
        modes[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
        special = list(modes[6])
        special[termios.VMIN], special[termios.VTIME] = 1, 0
        special[termios.VSUSP] = b"\0"  # _POSIX_VDISABLE of Linux: a stop in the middle of a read helps nobody
        modes[6] = special
        with suppress(termios.error):
            termios.tcsetattr(self.fd, termios.TCSANOW, modes)
        self._entered = True
        self.outlet.write(_ENTER)

    def leave(self) -> None:
        """As it was before, whatever happened; what was typed and not read goes to nobody else."""
        if not self._entered or not self.foreground:
            return
        self._entered = False
        self.outlet.write(_LEAVE)
        self.outlet.drain()
        with suppress(termios.error):
            termios.tcflush(self.fd, termios.TCIFLUSH)
            termios.tcsetattr(self.fd, termios.TCSANOW, self._modes)

    def read(self) -> bytes | None:
        """What was typed, b"" if nothing, None when the terminal is gone."""
        if not self.foreground:
            return b""
        try:
            return os.read(self.fd, READ_BYTES) or None
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError:
            return None

    def close(self) -> None:
        os.close(self.fd)


def _in_foreground(fd: int) -> bool:
    """In the background a program that writes modes or reads is stopped. Not its own terminal: it is free to."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return True


@contextmanager
def writable(fd: int) -> Iterator[Outlet]:
    """An outlet for lines; a terminal is opened anew, so that its other users' writes go on as they were."""
    opened = -1
    if os.isatty(fd):
        with suppress(OSError):
            opened = os.open(os.ttyname(fd), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    outlet = Outlet(fd if opened < 0 else opened)
    try:
        yield outlet
        outlet.drain()
    finally:
        if opened >= 0:
            os.close(opened)
