"""The documented queries run as written, and answer what stands in the catalogue."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path

import asyncpg
import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "queries.md"

GOOD, DAMAGED, EMPTY, UNFINISHED = ("a" * 32, "b" * 32, "c" * 32, "d" * 32)


def event(ino: int, action: str, *checks: str) -> dict[str, object]:
    return {
        "ino": ino,
        "path": f"file {ino}",
        "retry_count": 2,
        "checks": list(checks),
        "action": action,
        "timestamp": "2026-01-02T03:04:05+00:00",
        "worker_id": "w1",
        "exception_type": "OSError",
        "exception_msg": "Input/output error",
    }


PROBLEMS = {
    "diagnostic_events": [
        event(30, "skipped", "detected_beyond_eof"),
        event(4, "skipped", "mount_check:ok"),
        event(5, "continuing", "dmesg:beyond_eof"),
    ],
    "diagnostic_events_total": 3,
    "unread": {"structures": 512, "free": 1024, "harmless": False},
}

# Four media: one whole, one damaged, one on which nothing was found, one whose copy is not finished.
MEDIA = f"""
INSERT INTO medium (medium_hash, identity, medium_human, image_path, image_hash, image_bytes, claimed_bytes, health,
                    enum_done, copy_done, problems)
SELECT hash, 'natural', human, '/images/' || human, repeat('0', 64), 4096, 4096, health, listed, copied, problems
FROM (VALUES ('{GOOD}', 'good', 'ok', '2026-01-01Z'::timestamptz, '2026-01-02Z'::timestamptz, NULL::jsonb),
             ('{DAMAGED}', 'damaged', 'incomplete', '2026-01-01Z', '2026-01-02Z', '{json.dumps(PROBLEMS)}'),
             ('{EMPTY}', 'empty', 'ok', '2026-01-01Z', '2026-01-02Z', '{{"high_error_rate": true}}'),
             ('{UNFINISHED}', 'unfinished', 'ok', '2026-01-01Z', NULL, NULL))
     AS made (hash, human, health, listed, copied, problems);
INSERT INTO blob (size, hash) VALUES (10, decode(repeat('ab', 32), 'hex'));
INSERT INTO node SELECT ino, 10, 0, -1, m.id, 0, 33188, 0, 0, 0, ''
FROM medium m, generate_series(1, 3) AS ino WHERE m.medium_human <> 'empty';
INSERT INTO outcome (ino, blob_id, medium_id, volume, status, reason, damaged)
SELECT ino, CASE WHEN ino < 3 THEN b.id END, m.id, 0, CASE ino WHEN 1 THEN 'c' WHEN 2 THEN 'd' ELSE 'f' END::"char",
       CASE ino WHEN 3 THEN 'unreadable' END, CASE ino WHEN 2 THEN '{{[0,5)}}'::int8multirange END
FROM medium m, blob b, generate_series(1, 3) AS ino WHERE m.medium_human = 'damaged';
UPDATE outcome SET unread = '{{[4096,4101)}}' WHERE status = 'd';
INSERT INTO unread_structure SELECT id, 0, 7, 'directory', false, '{{[0,512)}}'
FROM medium WHERE medium_human = 'damaged';
INSERT INTO image_pass SELECT id, '2026-01-01Z', 9, 'everything', '/dev/sr0', '{{"model": "M", "bridge": "0bda:9210"}}',
       4096, 1024, 2048, 512, 3, 'no_progress', 'nothing moved' FROM medium WHERE medium_human = 'damaged';
UPDATE medium SET problems = '{{"unread": {{"free": 512, "harmless": true}}}}' WHERE medium_human = 'unfinished'
"""


def documented_queries() -> list[str]:
    """Every statement of the page's sql blocks, comments left in place."""
    blocks = re.findall(r"^```sql\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert blocks, f"{DOCUMENT} holds no sql block"
    statements = [part.strip() for block in blocks for part in textwrap.dedent(block).split(";\n")]
    return [statement for statement in statements if statement]


async def answers(url: str, medium_hash: str) -> Mapping[str, list[tuple[object, ...]]]:
    """Documented statement without comments and line breaks -> its rows."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(MEDIA)
        found = {}
        for query in documented_queries():
            rows = await connection.fetch(query.replace("<hash>", medium_hash))
            bare = " ".join(line.strip() for line in query.splitlines() if not line.startswith("--"))
            found[bare] = [tuple(row) for row in rows]
        return found
    finally:
        await connection.close()


def the_one(found: Mapping[str, list[tuple[object, ...]]], piece: str) -> list[tuple[object, ...]]:
    (rows,) = [rows for query, rows in found.items() if piece in query]
    return rows


async def test_the_documented_queries_on_events_answer_from_the_summaries(database_url: str) -> None:
    found = await answers(database_url, DAMAGED)
    ((medium_hash, human, count, events),) = the_one(found, "AS event_count")
    assert (medium_hash, human, count) == (DAMAGED, "damaged", 3)
    assert json.loads(str(events)) == PROBLEMS["diagnostic_events"]
    assert the_one(found, "AS action, COUNT(*)") == [("skipped", 2), ("continuing", 1)]
    assert the_one(found, "AS beyond_eof_count") == [(DAMAGED, "damaged", 2)]
    when = "2026-01-02T03:04:05+00:00"
    assert the_one(found, "AS retries") == [
        (DAMAGED, "4", "skipped", "2", '["mount_check:ok"]', when),
        (DAMAGED, "30", "skipped", "2", '["detected_beyond_eof"]', when),
    ]
    assert json.loads(str(the_one(found, "jsonb_pretty")[0][0])) == PROBLEMS


async def test_the_documented_queries_on_unread_bytes_and_passes_answer(database_url: str) -> None:
    found = await answers(database_url, DAMAGED)
    ((medium_hash, human, kinds),) = the_one(found, "AS unread_bytes_by_kind")
    assert (medium_hash, human, json.loads(str(kinds))) == (DAMAGED, "damaged", PROBLEMS["unread"])
    ((_, *one),) = the_one(found, "AS bridge")
    assert one == ["everything", "/dev/sr0", "M", None, "0bda:9210", 1024, 512, "no_progress", "nothing moved"]
    assert the_one(found, "AS structure") == [(0, "directory", 7, False, [asyncpg.Range(0, 512)])]
    assert the_one(found, "AS unread_of_image") == [
        (0, 2, b"d", [asyncpg.Range(4096, 4101)], [asyncpg.Range(0, 5)]), (0, 3, b"f", None, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("medium_hash", "inodes", "copied", "finished"),
    [(DAMAGED, 3, 1, True), (GOOD, 3, 0, True), (EMPTY, 0, 0, True), (UNFINISHED, 3, 0, False)],
)
async def test_the_documented_queries_on_completion_count_what_is_there(
    database_url: str, medium_hash: str, inodes: int, copied: int, finished: bool
) -> None:
    found = await answers(database_url, medium_hash)
    ((hash_found, enum_done, copy_done),) = the_one(found, "SELECT medium_hash, enum_done, copy_done")
    assert (hash_found, enum_done is not None, copy_done is not None) == (medium_hash, True, finished)
    assert the_one(found, "image_path IS NOT NULL") == [(1,)]
    assert the_one(found, "FROM inode WHERE medium_hash = '<hash>' AND copied") == [(copied,)]
    assert the_one(found, "HAVING COUNT(i.id) = 0") == [(EMPTY, 0)]
    (total,) = [rows for query, rows in found.items() if query.endswith("FROM inode WHERE medium_hash = '<hash>'")]
    assert total == [(inodes,)]


def test_the_page_holds_all_ten_queries() -> None:
    assert len(documented_queries()) >= 10
