"""ddrescue's name for what it does at the moment -> a few words.

Source: GNU ddrescue manual, "Algorithm", and what versions 1.22 to 1.30 show: "Copying non-tried blocks... Pass 1
(forwards)", "Trimming failed blocks... (backwards)", "Scraping failed blocks...", "Retrying bad sectors... Retry 2".
"""

from __future__ import annotations

import re

_WORDS = (
    ("copying", "copy"),
    ("trimming", "trim"),
    ("scraping", "scrape"),
    ("retrying", "retry"),
    ("sweeping", "sweep"),
)
_NUMBER = re.compile(r"(?:pass|retry) (\d+)")


def phase_words(phase: str) -> str:
    """ "Retrying bad sectors... Retry 2 (backwards)" -> "retry 2, backwards"; empty where it does none of these."""
    said = phase.lower()
    word = next((word for begins, word in _WORDS if said.startswith(begins)), "")
    if not word:
        return ""
    number = _NUMBER.search(said)
    counted = f"{word} {number[1]}" if number else word
    return f"{counted}, backwards" if "(backwards)" in said else counted
