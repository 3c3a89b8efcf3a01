"""Lines on a serial port -> programs run in this machine; their output and ends go back as lines.

In:  {"id": 1, "do": "start", "argv": [...], "terminal": [rows, columns] or null},
     {"id": 1, "do": "input", "data": ...}, {"id": 1, "do": "end-input"}, {"id": 1, "do": "signal", "number": 2}
Out: {"event": "ready"}, {"id": 1, "event": "out" or "err", "data": ...}, {"id": 1, "event": "exit", "status": 0},
     {"id": 1, "event": "failed", "data": ...}. Bytes travel in base64. A program has ended when its outputs have, too.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import pty
import queue
import struct
import subprocess
import termios
import threading
import time
from dataclasses import dataclass

PORT = "/dev/virtio-ports/test-machine"
CHUNK_BYTES = 1 << 16
HOST_ABSENT_S = 0.05  # the port tells nobody when its other side comes back


@dataclass(frozen=True)
class Child:
    process: subprocess.Popen[bytes]
    inputs: queue.SimpleQueue[bytes | None]


class Agent:
    def __init__(self, port: int) -> None:
        self.port = port
        self.turn = threading.Lock()
        self.children: dict[int, Child] = {}

    def say(self, **message: object) -> None:
        rest = memoryview(json.dumps(message).encode() + b"\n")
        with self.turn:
            while rest:
                rest = rest[os.write(self.port, rest) :]

    def serve(self) -> None:
        self.say(event="ready")
        pending = b""
        while True:
            read = os.read(self.port, CHUNK_BYTES)
            if not read:
                time.sleep(HOST_ABSENT_S)
                pending = b""
            *lines, pending = (pending + read).split(b"\n")
            for line in lines:
                self.obey(json.loads(line))

    def obey(self, order: dict[str, object]) -> None:
        number, child = order["id"], self.children.get(int(str(order["id"])))
        try:
            match order["do"]:
                case "start":
                    self.start(order)
                case "input" if child is not None:
                    child.inputs.put(base64.b64decode(str(order["data"])))
                case "end-input" if child is not None:
                    child.inputs.put(None)
                case "signal" if child is not None and child.process.poll() is None:
                    os.killpg(child.process.pid, int(str(order["number"])))
        except (OSError, ValueError) as error:
            self.say(id=number, event="failed", data=packed(str(error).encode()))

    def start(self, order: dict[str, object]) -> None:
        number, argv, terminal = int(str(order["id"])), order["argv"], order.get("terminal")
        assert isinstance(argv, list)
        if isinstance(terminal, list):
            own, theirs = pty.openpty()
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", terminal[0], terminal[1], 0, 0))
            # a session whose terminal this is, in front of the program
            process = subprocess.Popen(["setsid", "--ctty", *argv], stdin=theirs, stdout=theirs, stderr=theirs)
            os.close(theirs)
            inlet, outputs = os.dup(own), [("out", own)]
        else:
            pipe = subprocess.PIPE
            process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
            assert process.stdin is not None and process.stdout is not None and process.stderr is not None
            inlet = os.dup(process.stdin.fileno())
            process.stdin.close()
            outputs = [("out", process.stdout.fileno()), ("err", process.stderr.fileno())]
        child = self.children[number] = Child(process, queue.SimpleQueue())
        threading.Thread(target=feed, args=(inlet, child.inputs)).start()
        threading.Thread(target=self.watch, args=(number, process, outputs)).start()

    def watch(self, number: int, process: subprocess.Popen[bytes], outputs: list[tuple[str, int]]) -> None:
        readers = [threading.Thread(target=self.forward, args=(number, name, fd)) for name, fd in outputs]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        self.say(id=number, event="exit", status=process.wait())

    def forward(self, number: int, name: str, fd: int) -> None:
        while True:
            try:
                data = os.read(fd, CHUNK_BYTES)
            except OSError:  # how a terminal tells that nobody holds it any more
                return
            if not data:
                return
            self.say(id=number, event=name, data=packed(data))


def packed(data: bytes) -> str:
    return base64.b64encode(data).decode()


def feed(inlet: int, inputs: queue.SimpleQueue[bytes | None]) -> None:
    """In a thread of its own: a program may never read what it is given."""
    with os.fdopen(inlet, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while (data := inputs.get()) is not None:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) or 0 :]


if __name__ == "__main__":
    Agent(os.open(PORT, os.O_RDWR)).serve()
