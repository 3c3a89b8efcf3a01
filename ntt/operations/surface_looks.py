"""How a state and a kind look wherever a surface is drawn: a letter, a colour, and a word for the legend.

The hue is the state; the brighter, the more it matters. Any two of the colours differ by 14 and more (CIE 1976 L*a*b*)
on a dark ground, also for people who lack one of the three cones; a test computes it.
"""

from __future__ import annotations

from ntt.operations.surface import Kind, State, SurfaceCell

TITLES = {
    State.RESCUED: "rescued",
    State.UNTRIED: "never tried",
    State.UNFINISHED: "unfinished",
    State.BAD: "bad",
}
_BY_STATE = {  # in the order of `Kind`
    State.RESCUED: ("=:-.", ("#47AFFF", "#1E7EC8", "#1A5670", "#172534")),
    State.UNTRIED: ("1234", ("#FFFFFF", "#D1D5D6", "#ACACAC", "#4E4E4E")),
    State.UNFINISHED: ("tfne", ("#F7E768", "#EEC020", "#BD9A1F", "#877944")),
    State.BAD: ("TFNE", ("#FF4D83", "#CC1B00", "#8D1900", "#59201B")),
}
LETTERS = {(s, k): letters[at] for s, (letters, _) in _BY_STATE.items() for at, k in enumerate(Kind)}
COLOURS = {(s, k): colours[at] for s, (_, colours) in _BY_STATE.items() for at, k in enumerate(Kind)}


def letter_of(cell: SurfaceCell) -> str:
    return LETTERS[cell.state, cell.kind]


def colour_of(cell: SurfaceCell) -> str:
    return COLOURS[cell.state, cell.kind]
