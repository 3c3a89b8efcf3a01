"""Drives that are not there, and what they say: a program in the place of the one that asks real drives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from ntt.devices import asking

HANGS = "hangs"

_SCRIPT = """
import pathlib, signal, sys
node = pathlib.Path(sys.argv[1]).name
said = sorted(pathlib.Path({folder!r}).glob(node + ".*.said"))
text = said[0].read_text() if said else ""
if text == {hangs!r}:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pause()
print(text, end="" if text.endswith("\\n") else "\\n", flush=True)
if len(said) > 1:
    said[0].unlink()
sys.stdin.read()
"""


def speaking(monkeypatch: pytest.MonkeyPatch, folder: Path, said: Mapping[str, Sequence[str]]) -> None:
    """By the name of its node, what a drive answers in each interview: JSON lines, or `HANGS`. The last goes on."""
    folder.mkdir(exist_ok=True)
    for node, interviews in said.items():
        say(folder, node, interviews)
    script = folder / "speaks.py"
    script.write_text(_SCRIPT.format(folder=str(folder), hangs=HANGS))
    monkeypatch.setattr(asking, "_INTERVIEW", str(script))


def say(folder: Path, node: str, interviews: Sequence[str]) -> None:
    """From now on, instead of what was to come."""
    for old in folder.glob(f"{node}.*.said"):
        old.unlink()
    for at, text in enumerate(interviews):
        (folder / f"{node}.{at:03}.said").write_text(text)
