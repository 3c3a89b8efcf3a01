"""Nothing sets `enum_done`, `copy_done` or `archive_done` but the one module that proves them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import ntt

PACKAGE = Path(ntt.__file__).parent
PROVES = "db/stamps.py"
STAMPS = ("enum_done", "copy_done", "archive_done")
# what takes a stamp away, or keeps the one that is there
_HARMLESS = re.compile(
    r"NULL\b|CASE\s+WHEN\b(?:(?!\bEND\b).)*?\bTHEN\s+(?:NULL\s+ELSE\s+)?(?P<kept>\w+)\s+END", re.DOTALL
)


def sets_a_stamp(sql: str) -> bool:
    """Does the statement give a stamp a value, in whatever way SQL has for it?"""
    statement = " ".join(sql.split())
    columns = re.search(r"\bINSERT\s+INTO\s+medium\s*\(([^)]*)", statement)
    if columns is not None and any(re.search(rf"\b{stamp}\b", columns[1]) for stamp in STAMPS):
        return True
    for stamp in STAMPS:
        for found in re.finditer(rf"\b{stamp}\b\s*=\s*", statement):
            if _is_compared(statement[: found.start()]):
                continue
            value = _HARMLESS.match(statement, found.end())
            if value is None or value["kept"] not in (None, stamp):
                return True
    return False


def _is_compared(before: str) -> bool:
    """What stands before an equals sign that only asks: no SET, or a WHERE behind it."""
    last_set = before.rfind("SET ")
    if last_set < 0:
        return bool(re.search(r"\b(?:SELECT|WHERE|CHECK)\b", before))
    return bool(re.search(r"\bWHERE\b", before[last_set:]))


def texts(tree: ast.Module) -> Iterator[str]:
    """Every string of a module, pieces that stand in braces replaced by a word."""
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside.update(id(part) for part in ast.walk(node) if part is not node)
            yield "".join(
                part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "braces"
                for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


def test_stamps_are_set_in_one_module_only() -> None:
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for text in texts(ast.parse(path.read_text("utf-8")))
        if sets_a_stamp(text)
    }
    assert found == {PROVES}


def test_each_stamp_is_set_once() -> None:
    statements = [text for text in texts(ast.parse((PACKAGE / PROVES).read_text("utf-8"))) if sets_a_stamp(text)]
    assert sorted(stamp for text in statements for stamp in STAMPS if f"SET {stamp} =" in text) == sorted(STAMPS)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE medium SET enum_done = now()",
        "UPDATE medium SET message = 'x', copy_done = $2 WHERE id = $1",
        "UPDATE medium SET archive_done=clock_timestamp() WHERE archive_done IS NULL",
        "UPDATE medium SET copy_done = enum_done",
        "UPDATE medium SET copy_done = CASE WHEN $2 THEN now() END",
        "INSERT INTO medium (medium_hash, enum_done) VALUES ($1, now())",
        "UPDATE medium t\n SET enum_done = b.enum_done FROM b WHERE t.id = b.id",
        "enum_done = now()",
        "ON CONFLICT (id) DO UPDATE SET copy_done = excluded.copy_done",
    ],
)
def test_a_statement_that_sets_a_stamp_is_known_as_one(sql: str) -> None:
    assert sets_a_stamp(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE medium SET copy_done = NULL, archive_done = NULL WHERE id = $1",
        "UPDATE medium SET enum_done = CASE WHEN image_hash = $3 AND unread = $6 THEN enum_done END WHERE id = $1",
        "UPDATE medium SET copy_done = CASE WHEN $8 THEN NULL ELSE copy_done END WHERE id = $1",
        "SELECT enum_done, copy_done FROM medium WHERE copy_done = $1",
        "enum_done is set, but there is not one inode",
        "UPDATE medium SET message = 'x' WHERE enum_done = $1",
    ],
)
def test_a_statement_that_takes_one_away_or_asks_for_it_is_not(sql: str) -> None:
    assert not sets_a_stamp(sql)
