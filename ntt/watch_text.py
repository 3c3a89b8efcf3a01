"""What `ntt devices` says of the drives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ntt.drives import DriveState
from ntt.names import printable


def device_lines(found: Sequence[DriveState]) -> Iterator[str]:
    """A line per drive, and one more where there is something to know about it."""
    if not found:
        yield "no drive with removable media; name a fixed disk to see it: ntt devices /dev/sdX"
    for state in found:
        drive = state.drive
        yield f"{drive.node}  {drive.kind.value:<9}  {state.slot.value:<14}  {printable(drive.title)}"
        if state.refusal is not None:
            yield f"    not touched: {printable(state.refusal.reason)}; {printable(state.refusal.next_step)}"
        yield f"    changes are noticed by: {state.polling}"


def devices_document(found: Sequence[DriveState]) -> dict[str, list[dict[str, str]]]:
    """`ntt devices --json`."""
    return {"drives": [_document(state) for state in found]}


def _document(state: DriveState) -> dict[str, str]:
    drive, refusal = state.drive, state.refusal
    document = {
        "node": str(drive.node), "kind": drive.kind.value, "key": drive.key, "title": drive.title,
        "slot": state.slot.value, "polling": state.polling,
    }  # fmt: skip
    if refusal is not None:
        document |= {"not_touched": refusal.reason, "next_step": refusal.next_step}
    return document
