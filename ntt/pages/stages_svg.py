"""Attempts at stages -> a small bar chart as inline SVG: how long each took, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from ntt.damage_text import duration_words
from ntt.db.reporting import StageAttempt
from ntt.names import printable

SHOWN = 24  # the last ones
ROW, BAR, LEFT, RIGHT, WIDTH = 22, 14, 86, 150, 640
_STATES = frozenset(("ok", "failed", "cancelled", "interrupted", "running"))


def stages_svg(attempts: Sequence[StageAttempt]) -> Iterator[str]:
    """The last attempts, first to last, on one scale; without colours a bar still has its word beside it.

    It takes its colours from the page: classes `bar-ok`, `bar-failed`, ... and `chart-text`.
    """
    shown = attempts[-SHOWN:]
    longest = max((attempt.seconds or 0.0 for attempt in shown), default=0.0) or 1.0
    height = ROW * len(shown) + 8
    yield (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="How long each attempt at a stage took; the table below has the numbers">'
    )
    for at, attempt in enumerate(shown):
        top = 4 + at * ROW
        state = attempt.state if attempt.state in _STATES else "running"
        wide = max(2.0, (WIDTH - LEFT - RIGHT) * (attempt.seconds or 0.0) / longest)
        took = "" if attempt.seconds is None else f"{duration_words(attempt.seconds)}, "
        name = escape(printable(attempt.stage))
        yield f'<text class="chart-text chart-name" x="{LEFT - 8}" y="{top + 12}">{name}</text>'
        yield f'<rect class="bar-{state}" x="{LEFT}" y="{top}" width="{wide:.1f}" height="{BAR}" rx="2"/>'
        yield f'<text class="chart-text" x="{LEFT + wide + 6:.1f}" y="{top + 12}">{took}{state}</text>'
    yield "</svg>"
