"""A headless Chromium that opens one page at a time, and hears everything that the page complains about.

It is spoken to through its debugging pipe (Chrome DevTools Protocol: JSON, each message ended by a zero byte).
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import subprocess
import tempfile
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

LIMIT_S = 60.0
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-extensions", "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip
_COMPLAINTS = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
_ASKED_FOR = ("Network.requestWillBeSent",)

Message = dict[str, object]


@dataclass(slots=True)
class Browser:
    """`complaints`: console messages, script errors and refused resources; `requests`: what was asked for, by URL."""

    process: subprocess.Popen[bytes]
    to_browser: int
    from_browser: int
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    session: str = ""
    waiting: bytes = b""
    last_id: int = 0
    seen: set[str] = field(default_factory=set)

    def open(
        self, page: Path, width: int = 1200, height: int = 900, *, dark: bool = False, script: bool = True
    ) -> None:
        """The page, loaded, in a window of this size; what other pages complained about is forgotten."""
        target = self.call("Target.createTarget", url="about:blank")
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = str(attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setScriptExecutionDisabled", value=not script)
        self.complaints.clear()
        self.requests.clear()
        self.seen.clear()
        self.call("Page.navigate", url=page.as_uri())
        while "Page.loadEventFired" not in self.seen:
            self._receive()

    def resize(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 700
        )

    def value(self, expression: str) -> object:
        """What a script expression comes to, in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return cast(Message, answer["result"]).get("value")

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(b64decode(str(answer["data"])))

    def pdf(self, path: Path) -> None:
        """As the page itself says that it is to be printed."""
        answer = self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=False)
        path.write_bytes(b64decode(str(answer["data"])))

    def call(self, method: str, **params: object) -> Message:
        self.last_id += 1
        message: Message = {"id": self.last_id, "method": method, "params": params}
        if self.session and not method.startswith("Target."):
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self.last_id:
                assert "error" not in answer, (method, answer)
                return cast(Message, answer["result"])

    def _receive(self) -> Message:
        until = time.monotonic() + LIMIT_S
        while b"\0" not in self.waiting:
            ready, _, _ = select.select([self.from_browser], [], [], max(0.0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            piece = os.read(self.from_browser, 1 << 20)
            assert piece, f"the browser has ended with {self.process.wait()}"
            self.waiting += piece
        first, _, self.waiting = self.waiting.partition(b"\0")
        message = cast(Message, json.loads(first))
        if message.get("sessionId") == self.session:
            self._hear(str(message.get("method", "")), cast(Message, message.get("params", {})))
        return message

    def _hear(self, method: str, params: Message) -> None:
        self.seen.add(method)
        if method in _COMPLAINTS:
            self.complaints.append(json.dumps(params))
        if method in _ASKED_FOR:
            self.requests.append(str(cast(Message, params["request"])["url"]))


def _pipe() -> list[int]:
    """Its ends are above those that the browser wants."""
    ends: list[int] = []
    for end in os.pipe():
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10))
        os.close(end)
    return ends


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A browser of its own. It has ended, and its profile is gone, when this is left."""
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as profile:
        down, to_browser = _pipe()
        from_browser, up = _pipe()
        argv = ["chromium", *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{down} 4>&{up} {down}<&- {up}>&-', "bash", *argv],
            pass_fds=(down, up),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": profile},
        )
        os.close(down)
        os.close(up)
        browser = Browser(process, to_browser, from_browser)
        try:
            yield browser
            browser.session = ""
            browser.call("Browser.close")
            process.wait(LIMIT_S)
        finally:
            os.close(to_browser)
            os.close(from_browser)
            process.kill()
            process.wait()
