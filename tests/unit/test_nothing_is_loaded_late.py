"""What a worker may need once it can open no file any more is loaded before: no import, no codec comes later."""

from __future__ import annotations

import ast
import codecs
from collections.abc import Iterator
from pathlib import Path

import ntt.readers
from ntt.worker import CODECS

IN_WORKERS = ("confinement", "copier", "mounts", "readers", "store")
BUILT_IN = {codecs.lookup(name).name for name in ("utf-8", "latin-1", "ascii")}
FOLDER = Path(ntt.readers.__path__[0]).parent


def _trees() -> Iterator[tuple[Path, ast.Module]]:
    for package in IN_WORKERS:
        for path in sorted((FOLDER / package).rglob("*.py")):
            yield path, ast.parse(path.read_text())


def test_no_function_imports_anything() -> None:
    late = [
        f"{path.name}:{inner.lineno}"
        for path, tree in _trees()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(function)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    ]
    assert late == []


def test_every_codec_that_is_named_anywhere_is_loaded_beforehand() -> None:
    named = {
        codecs.lookup(str(call.args[0].value)).name
        for _, tree in _trees()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("decode", "encode", "lookup")
        and call.args
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    }
    assert "utf-16-be" in named, "nothing was looked at"
    assert named - BUILT_IN - {codecs.lookup(name).name for name in CODECS} == set()
