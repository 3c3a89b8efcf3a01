"""A medium's truth -> random plans of bad sectors. Judge what NTT told under one with `complaints`."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from damage_judge import complaints
from damage_truth import Piece, Record, TrueDirectory, TrueFile, TrueLink, Truth, lost_of

from ntt.ranges import Range, Ranges, normalised, within

__all__ = [
    "Piece",
    "Plan",
    "Record",
    "TrueDirectory",
    "TrueFile",
    "TrueLink",
    "Truth",
    "complaints",
    "lost_of",
    "plans",
]
Thing = TypeVar("Thing")
LENGTHS = (1, 1, 1, 2, 3, 8, 40)  # sectors of one bad place


@dataclass(frozen=True, slots=True)
class Plan:
    name: str
    bad: Ranges


def plans(truth: Truth, count: int, seed: int) -> list[Plan]:
    """`count` plans, the kinds in turn; a kind for which the medium has no place is left out."""
    chance = random.Random(seed)
    kinds = [kind for kind in KINDS if kind(truth, chance)]
    found: list[Plan] = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        bad = kind(truth, chance)
        found.append(Plan(f"{number}: {kind.__name__.strip('_').replace('_', ' ')}", bad))
    return found


def _in_one_file(truth: Truth, chance: random.Random) -> Ranges:
    return _somewhere(truth, chance, [piece.place for piece in _pick(chance, _stored(truth)).pieces])


def _across_two_files(truth: Truth, chance: random.Random) -> Ranges:
    """Where one file ends and another begins; without such a place the end of one and the start of another."""
    ends = sorted(piece.place[1] for file in _stored(truth) for piece in file.pieces)
    starts = [piece.place[0] for file in _stored(truth) for piece in file.pieces]
    reach = 8 * truth.sector_bytes
    close = [(end, start) for end in ends for start in starts if 0 <= start - end < reach]
    end, start = _pick(chance, close) if close else (_pick(chance, ends), _pick(chance, starts))
    if not close:
        return _sectors(truth, [(end - 1, end), (start, start + 1)])
    return _sectors(truth, [(end - 1 - chance.randrange(reach), start + 1 + chance.randrange(reach))])


def _in_a_directory(truth: Truth, chance: random.Random) -> Ranges:
    return _somewhere(truth, chance, [one for names in truth.directories.values() for one in names.names])


def _in_a_record(truth: Truth, chance: random.Random) -> Ranges:
    """One copy of it, or all of them; often one of the rare ones, which few things have or many share."""
    first = dict.fromkeys(thing.records[0] for thing in truth.named().values() if thing.records)
    others = dict.fromkeys(
        (*truth.structures, *(record for thing in truth.named().values() for record in thing.records[1:]))
    )
    record = _pick(chance, list(others if others and chance.random() < 0.4 else first))
    if chance.random() < 0.5:
        return _somewhere(truth, chance, record[:1])
    at = chance.randrange(record[0][1] - record[0][0])
    return _sectors(truth, [(copy[0] + at, copy[0] + at + 1) for copy in record])


def _in_what_is_spare(truth: Truth, chance: random.Random) -> Ranges:
    places = [*truth.spare, *(copy for record in truth.account for copy in record)]
    return _somewhere(truth, chance, places if chance.random() < 0.5 or not places else [_pick(chance, places)])


def _in_free_space(truth: Truth, chance: random.Random) -> Ranges:
    found: list[Range] = []
    sector = truth.sector_bytes
    whole = [(-(-start // sector), end // sector) for start, end in truth.free]
    whole = [(first, behind) for first, behind in whole if first < behind]
    for _ in range(chance.randrange(1, 5) if whole else 0):
        first, behind = _pick(chance, whole)
        at = chance.randrange(first, behind)
        found.append((at * sector, min(at + chance.choice(LENGTHS), behind) * sector))
    return normalised(found)


def _in_the_partition_table(truth: Truth, _: random.Random) -> Ranges:
    return _sectors(truth, truth.table)


def _at_the_very_start(truth: Truth, chance: random.Random) -> Ranges:
    return _sectors(truth, [(0, truth.sector_bytes * chance.choice((1, 3, 8, 40)))])


def _at_the_very_end(truth: Truth, chance: random.Random) -> Ranges:
    return _sectors(truth, [(truth.size_bytes - truth.sector_bytes * chance.choice((1, 2, 40)), truth.size_bytes)])


def _everywhere(truth: Truth, chance: random.Random) -> Ranges:
    kinds: list[Kind] = [
        _in_one_file,
        _across_two_files,
        _in_a_directory,
        _in_a_record,
        _in_free_space,
        _in_what_is_spare,
    ]
    found = [one for _ in range(chance.randrange(2, 7)) for one in _pick(chance, kinds)(truth, chance)]
    return normalised((*found, *_somewhere(truth, chance, [(0, truth.size_bytes)])))


Kind = Callable[[Truth, random.Random], Ranges]
KINDS: tuple[Kind, ...] = (
    _in_one_file,
    _across_two_files,
    _in_a_directory,
    _in_a_record,
    _in_free_space,
    _in_the_partition_table,
    _at_the_very_start,
    _at_the_very_end,
    _in_what_is_spare,
    _everywhere,
)


def _pick(chance: random.Random, choices: list[Thing]) -> Thing:
    return choices[chance.randrange(len(choices))]


def _stored(truth: Truth) -> list[TrueFile]:
    return [file for file in truth.files.values() if file.pieces]


def _somewhere(truth: Truth, chance: random.Random, places: Iterable[Range]) -> Ranges:
    """A few sectors in one of the places, whichever is larger the more likely."""
    places = [place for place in places if place[0] < place[1]]
    if not places:
        return ()
    start, end = chance.choices(places, [high - low for low, high in places])[0]
    at = chance.randrange(start, end)
    length = chance.choice(LENGTHS) * truth.sector_bytes
    return _sectors(truth, [(at, min(at + length, end))])


def _sectors(truth: Truth, places: Iterable[Range]) -> Ranges:
    sector = truth.sector_bytes
    rounded = ((start // sector * sector, -(-end // sector) * sector) for start, end in places)
    return within(normalised(rounded), 0, truth.size_bytes)
