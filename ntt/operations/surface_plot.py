"""What the catalogue knows of a surface -> equal parts with what was read of each, what is lost in it, and the worst.

One sweep over sorted pieces: memory follows the number of parts, not that of the map's blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ntt.db.surface import MediumSurface
from ntt.ranges import Range, Ranges, normalised
from ntt.tools.unread_blocks import unread_blocks

WORST = 3  # files, and structures, that a part names
SECTOR_BYTES = 512  # no part is smaller
RESCUED, UNTRIED, UNFINISHED, BAD = range(4)  # by how little can be hoped for
STRUCTURES, FILES, UNKNOWN, FREE = range(4)  # by how much it matters
_STATES = {"?": UNTRIED, "*": UNFINISHED, "/": UNFINISHED, "-": BAD}
_FLAGS = {FILES: 2, STRUCTURES: 1, FREE: 4}  # of `medium.cells`
_VACANT = -1

Piece = tuple[int, int, int]  # start, end, state or kind


class Parts:
    """`count` equal parts of `[0, claimed_bytes)`: part i begins at ceil(i * claimed_bytes / count)."""

    def __init__(self, claimed_bytes: int, wanted: int) -> None:
        self.claimed_bytes = max(claimed_bytes, 0)
        self.count = min(wanted, -(-self.claimed_bytes // SECTOR_BYTES))

    def begins(self, part: int) -> int:
        return -(-part * self.claimed_bytes // self.count)

    def at(self, place: int) -> int:
        return place * self.count // self.claimed_bytes

    def clipped(self, start: int, end: int) -> Range | None:
        start, end = max(start, 0), min(end, self.claimed_bytes)
        return (start, end) if start < end else None


class Plot:
    """Counts by part. `states[s][i]`: unread bytes of part i in state s; `kinds[k][i]`: its unread bytes of kind k.

    `kinds_of_read[i]`: the kinds that the part holds, the prevailing one first; empty: nothing is known. `volumes[i]`:
    the index of the first volume that touches it. `files` and `structures`: which of the surface's own hit it worst.
    """

    def __init__(self, surface: MediumSurface, wanted: int) -> None:
        self.parts = Parts(surface.medium.claimed_bytes, wanted)
        self.states = [[0] * self.parts.count for _ in range(4)]
        self.kinds = [[0] * self.parts.count for _ in range(4)]
        if self.parts.count:
            self._sweep(surface)
        self.kinds_of_read = [_held(surface.cells, self.parts, part) for part in range(self.parts.count)]
        self.volumes = _volumes(surface, self.parts)
        self.files = Worst(self.parts, [file.unread for file in surface.files])
        self.structures = Worst(self.parts, [lost.ranges for _, lost in surface.structures])

    def _sweep(self, surface: MediumSurface) -> None:
        segments = _segments(surface, self.parts)
        text = surface.medium.map_text
        if text is not None:
            self._count(unread_blocks(text), segments)
        if text is None or sum(map(sum, self.states)) != surface.medium.unread_bytes:
            # no map, or one that does not say what the catalogue knows: nothing unread may look rescued
            self.states = [[0] * self.parts.count for _ in range(4)]
            self.kinds = [[0] * self.parts.count for _ in range(4)]
            self._count(((start, end, "?") for start, end in _unread(surface)), segments)

    def _count(self, blocks: Iterable[tuple[int, int, str]], segments: Sequence[Piece]) -> None:
        """Blocks and segments are sorted and disjoint; one step for each, and for each part that they go on into."""
        parts, limit = self.parts, self.parts.claimed_bytes
        part, high = 0, parts.begins(1)
        following = iter(segments)
        begin, until, kind = next(following, (limit, limit, UNKNOWN))
        states, kinds, unknown = self.states, self.kinds, self.kinds[UNKNOWN]
        for start, end, status in blocks:
            counts = states[_STATES[status]]
            end = min(end, limit)
            while start < end:
                while until <= start and begin < limit:
                    begin, until, kind = next(following, (limit, limit, UNKNOWN))
                if start >= high:
                    part = parts.at(start)
                    high = parts.begins(part + 1)
                known = start >= begin
                piece = min(end, high, until if known else begin)
                counts[part] += piece - start
                (kinds[kind] if known else unknown)[part] += piece - start
                start = piece


def _unread(surface: MediumSurface) -> Ranges:
    medium = surface.medium
    return normalised((*medium.unread, (medium.image_bytes, medium.claimed_bytes)))


def _segments(surface: MediumSurface, parts: Parts) -> list[Piece]:
    """What is known of which bytes: structures before files, files before free space; the rest is unknown."""
    edges: list[Piece] = []  # place, layer, +1 or -1

    def lay(layer: int, ranges: Iterable[Range]) -> None:
        for start, end in ranges:
            clipped = parts.clipped(start, end)
            if clipped is not None:
                edges.append((clipped[0], layer, 1))
                edges.append((clipped[1], layer, -1))

    for _, lost in surface.structures:
        lay(STRUCTURES, lost.ranges)
    for file in surface.files:
        lay(FILES, file.unread)
    for volume in surface.volumes:
        used = surface.unread_used.get(volume.index)
        span = (volume.offset_bytes, volume.offset_bytes + volume.size_bytes)
        lay(UNKNOWN if used is None else FREE, (span,))  # free is what no volume there may have in use
        lay(FILES, used or ())
    edges.sort()
    segments: list[Piece] = []
    depth = [0] * 4
    at = 0
    for place, layer, step in edges:
        if place > at:
            kind = next((k for k in range(4) if depth[k]), UNKNOWN)
            if kind != UNKNOWN:
                segments.append((at, place, kind))
            at = place
        depth[layer] += step
    return segments


def _held(cells: bytes, parts: Parts, part: int) -> tuple[int, ...]:
    """The kinds that the catalogue's own cells have where the part lies; first the one that most of them are."""
    if not cells:
        return ()
    first = parts.begins(part) * len(cells) // parts.claimed_bytes
    last = (parts.begins(part + 1) - 1) * len(cells) // parts.claimed_bytes
    votes = {FILES: 0, STRUCTURES: 0, FREE: 0, UNKNOWN: 0}
    found: set[int] = set()
    for flags in cells[first : last + 1]:
        kinds = [kind for kind, flag in _FLAGS.items() if flags & flag] or [UNKNOWN]
        found.update(kinds)
        votes[kinds[0]] += 1  # a cell counts for the first of them that it holds
    return tuple(sorted(found, key=lambda kind: (-votes[kind], kind)))


def _volumes(surface: MediumSurface, parts: Parts) -> list[int | None]:
    found: list[int | None] = [None] * parts.count
    for volume in reversed(surface.volumes):
        clipped = parts.clipped(volume.offset_bytes, volume.offset_bytes + volume.size_bytes)
        if clipped is not None:
            first, last = parts.at(clipped[0]), parts.at(clipped[1] - 1)
            found[first : last + 1] = [volume.index] * (last + 1 - first)
    return found


class Worst:
    """Of many owners of ranges those that hit each part worst, and how many hit it.

    `of[i]`: at most `WORST` of (bytes, number of the owner), worst first; `counts[i]`: how many in all. Costs one step
    per range however many parts it covers: a part that `WORST` owners fill whole is not looked at again.
    """

    def __init__(self, parts: Parts, owners: Sequence[Ranges]) -> None:
        self.of: list[list[tuple[int, int]]] = [[] for _ in range(parts.count)]
        self._parts = parts
        self._next = list(range(parts.count + 1))  # of a part that takes no more: the next that may
        steps = [0] * (parts.count + 1)
        for owner, ranges in enumerate(owners):
            self._add(owner, ranges, steps)
        self.counts: list[int] = []
        held = 0
        for step in steps[: parts.count]:
            held += step
            self.counts.append(held)

    def _add(self, owner: int, ranges: Ranges, steps: list[int]) -> None:
        parts = self._parts
        counted = _VACANT
        edge: dict[int, int] = {}
        for start, end in ranges:
            clipped = parts.clipped(start, end)
            if clipped is None:
                continue
            start, end = clipped
            first, last = parts.at(start), parts.at(end - 1)
            if last > counted:
                steps[max(first, counted + 1)] += 1
                steps[last + 1] -= 1
                counted = last
            for part in {first, last}:
                edge[part] = edge.get(part, 0) + min(end, parts.begins(part + 1)) - max(start, parts.begins(part))
            self._fill(owner, first + 1, last)
        for part, lost in edge.items():
            self._put(part, lost, owner)

    def _fill(self, owner: int, first: int, end: int) -> None:
        part = self._open(first)
        while part < end:
            self._put(part, self._parts.begins(part + 1) - self._parts.begins(part), owner)
            part = self._open(part + 1)

    def _open(self, part: int) -> int:
        root = part = min(part, self._parts.count)
        while self._next[root] != root:
            root = self._next[root]
        while self._next[part] != root:
            self._next[part], part = root, self._next[part]
        return root

    def _put(self, part: int, lost: int, owner: int) -> None:
        worst = self.of[part]
        worst.append((lost, owner))
        worst.sort(key=lambda one: (-one[0], one[1]))
        del worst[WORST:]
        whole = self._parts.begins(part + 1) - self._parts.begins(part)
        if len(worst) == WORST and worst[-1][0] == whole:
            self._next[part] = part + 1
