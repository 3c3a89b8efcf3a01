"""Unread bytes of a medium, by what they concern -> words for the reports."""

from __future__ import annotations

from ntt.db.damage import Unread

KINDS = {  # the worst first
    "structures": "of the file system itself",
    "files": "in files",
    "unclaimed": "in use, but by no listed file",
    "unknown": "of which nobody knows what they hold",
    "spare": "in second copies, journals and the like (harmless)",
    "free": "in free space (harmless)",
    "run_out": "in run-out sectors at the end of the disc (harmless)",
}


def of_which(unread: Unread) -> str:
    """The unread bytes by what they concern; empty if nothing is known of any."""
    kinds = unread.bytes_by_kind()
    told = [f"{kinds[kind]:,} {words}" for kind, words in KINDS.items() if kind in kinds]
    return f": {', '.join(told)}" if told else ""
