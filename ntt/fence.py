"""Work on hostile input -> a child process of our own, fenced in, spoken to in frames.

A frame is a 4-byte big-endian length and a msgpack document. What a worker sends is decoded into typed
structs only: a worker that was taken over by a hostile image can lie about the image, nothing more.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import Generic, TypeVar

import anyio
import anyio.abc
import msgspec
from anyio.streams.buffered import BufferedByteReceiveStream

from ntt.confinement.entering import Confined
from ntt.errors import NttError
from ntt.proc import Child, running
from ntt.pulse import Pulse

FRAME_LIMIT_BYTES = 64 << 20
STDERR_LIMIT_BYTES = 16 << 10
PROBE_MEMORY_BYTES = 1 << 30
KILLED_S = 5.0  # a process that waits for a driver below a mount does not end before the driver does: it is left then

_ENDED = (anyio.EndOfStream, anyio.IncompleteRead, anyio.ClosedResourceError, anyio.BrokenResourceError)
Message = TypeVar("Message")


class WorkerDied(NttError):
    """A worker process ended before it had answered; the text holds its last words.

    `status` is its exit status (negative: the signal that ended it), None where it did not end by itself.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status

    @property
    def out_of_time(self) -> bool:
        """It used up the processor time that its work was given."""
        return self.status == -signal.SIGXCPU


class Worker(Generic[Message]):
    """The parent's end of one worker process."""

    def __init__(
        self, child: Child, pulse: Pulse, door: socket.socket, decoder: msgspec.msgpack.Decoder[Message]
    ) -> None:
        stdin, stdout = child.process.stdin, child.process.stdout
        assert stdin is not None
        assert stdout is not None
        self.pulse = pulse
        self.last_words = bytearray()
        self._child = child
        self._door = door
        self._stdin = stdin
        self._stdout = BufferedByteReceiveStream(stdout)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = decoder
        self._waiting = anyio.CancelScope()
        self._ends_at = inf  # the latest

    async def send(self, message: msgspec.Struct) -> None:
        """One message to the worker; waits while its pipe is full. WorkerDied when it is gone."""
        body = self._encoder.encode(message)
        with self._patiently(), suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self._stdin.send(len(body).to_bytes(4, "big") + body)
            return
        raise await self._died()

    async def receive(self) -> Message:
        """The worker's next message. WorkerDied when it ends, or sends what is no message of its kind."""
        try:
            with self._patiently(), suppress(*_ENDED):
                head = await self._stdout.receive_exactly(4)
                length = int.from_bytes(head, "big")
                if length > FRAME_LIMIT_BYTES:
                    raise WorkerDied(f"a worker sent a frame of {length:,} bytes")
                return self._decoder.decode(await self._stdout.receive_exactly(length))
        except msgspec.DecodeError as error:
            raise WorkerDied(f"a worker sent nonsense: {error}") from None
        raise await self._died()

    async def hand_over(self, fd: int) -> None:
        """A descriptor for the worker to use, which takes them in the order of this. WorkerDied when it takes none."""
        try:
            socket.send_fds(self._door, [b"+"], [fd], socket.MSG_DONTWAIT)
        except OSError:  # gone; or the queue is full, for it left them lying
            raise await self._died() from None

    def kill(self) -> None:
        """What waits for the worker is told so at the latest `KILLED_S` later, whether or not it has ended then."""
        self._child.process.kill()
        self._waiting.deadline = self._ends_at = min(self._ends_at, anyio.current_time() + KILLED_S)

    def _patiently(self) -> anyio.CancelScope:
        self._waiting = anyio.CancelScope(deadline=self._ends_at)
        return self._waiting

    async def _died(self) -> WorkerDied:
        with anyio.move_on_after(5):
            await self._child.wait()
        status = self._child.process.returncode
        if status is None:
            return WorkerDied("a worker waits in the kernel and does not end")
        ended = f"signal {-status}" if status < 0 else f"status {status}"
        words = self.last_words.decode(errors="replace").strip().splitlines()
        if status == -signal.SIGXCPU:
            words.append("it used up the processor time that it was given for this")
        return WorkerDied(f"a worker ended with {ended}" + (f": {words[-1]}" if words else ""), status)


@asynccontextmanager
async def worker(
    role: str,
    image_fd: int,
    memory_bytes: int,
    decoder: msgspec.msgpack.Decoder[Message],
    *,
    pass_fds: Sequence[int] = (),
    reads_mounts: bool = False,
) -> AsyncIterator[Worker[Message]]:
    """Starts `python -m ntt.worker ROLE`; it has the image as an open descriptor, and ends with this block.

    Before it looks at the image it gives up what it can (`ntt.confinement`): rights, files, network, all but at most
    `memory_bytes` of address space. It can use what it is handed, and dies with NTT. `pass_fds` are inherited;
    `reads_mounts`: among them are directories below which it may read whatever the owners and modes are.
    """
    pulse_fd = os.memfd_create("ntt-pulse")
    door, far_door = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    door.shutdown(socket.SHUT_RD)  # it is handed things; it has nothing to say here
    try:
        os.ftruncate(pulse_fd, Pulse.SIZE_BYTES)
        pulse = Pulse(pulse_fd)
        numbers = (image_fd, pulse_fd, far_door.fileno(), memory_bytes, int(reads_mounts))
        async with (
            running(
                (sys.executable, "-m", "ntt.worker", role, *map(str, numbers)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(),
                pass_fds=(image_fd, pulse_fd, far_door.fileno(), *pass_fds),
                grace_s=2.0,
            ) as child,
            anyio.create_task_group() as listeners,
        ):
            far_door.close()
            link = Worker(child, pulse, door, decoder)
            listeners.start_soon(_listen, child, link.last_words)
            try:
                yield link
            finally:
                listeners.cancel_scope.cancel()
                pulse.close()
    finally:
        far_door.close()
        door.close()
        os.close(pulse_fd)


async def missing_layers() -> tuple[str, ...]:
    """Which layers of the fence this machine does not offer, a sentence each; from a worker that tried."""
    image_fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        async with worker("report", image_fd, PROBE_MEMORY_BYTES, msgspec.msgpack.Decoder(Confined)) as link:
            return (await link.receive()).missing
    finally:
        os.close(image_fd)


def _environment() -> dict[str, str]:
    """Ours, without what a hostile image must not learn; times of day are UTC, whatever the machine's zone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "NTT_DATABASE"))}
    return {**kept, "TZ": "UTC", "PYTHONSAFEPATH": "1"}


async def _listen(child: Child, words: bytearray) -> None:
    assert child.process.stderr is not None
    async for chunk in child.process.stderr:
        words += chunk
        del words[:-STDERR_LIMIT_BYTES]
