"""What was written on a volume, and what NTT says of it -> what of it is right, each in one word and a note."""

from __future__ import annotations

import stat
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, fields

from blake3 import blake3
from filesystem_catalogue import Item
from source_tree import Found

SECOND_NS = 10**9
NOTHING = "–"
LOWER = "are shown in lower case"
LEFT_OUT = (b"lost+found",)


@dataclass(frozen=True, slots=True)
class Cell:
    """`word`: yes, partly, no, or – where there is nothing to compare. `note`: a sentence for anything but yes."""

    word: str
    note: str = ""


YES = Cell("yes")
NONE = Cell(NOTHING)


@dataclass(frozen=True, slots=True)
class Verdict:
    names: Cell = NONE
    contents: Cell = NONE
    times: Cell = NONE
    links: Cell = NONE
    extents: Cell = NONE

    def with_(self, other: Verdict) -> Verdict:
        """Of two volumes in one row."""
        return Verdict(*(_joined(getattr(self, one.name), getattr(other, one.name)) for one in fields(Verdict)))


def _joined(one: Cell, other: Cell) -> Cell:
    if one == other or other == NONE:
        return one
    if one == NONE:
        return other
    word = one.word if one.word == other.word else "partly"
    return Cell(word, "; ".join(sorted({one.note, other.note} - {""})))


def shown(path: bytes) -> str:
    """As a person reads it, and as Markdown keeps it."""
    text = path.decode("utf-8", "backslashreplace").replace("\n", r"\n").replace("\r", r"\r").replace("\t", r"\t")
    return f"`{text if len(text) < 40 else text[:30] + '...'}`"


def verdict(expected: Mapping[bytes, Found], streams: Mapping[bytes, bytes], tree: Mapping[bytes, Item]) -> Verdict:
    """Symbolic links, and what a route shows below them, count for `links` only."""
    found = {path: item for path, item in tree.items() if path not in LEFT_OUT}
    if not expected:
        return Verdict()
    links = {path for path, item in expected.items() if stat.S_ISLNK(item.type)}
    below = tuple(path + b"/" for path in links)
    plain = {path: item for path, item in found.items() if path not in links and not path.startswith(below or (b"\0",))}
    wanted = {path: item for path, item in expected.items() if path not in links}
    names = _names(wanted, streams, plain)
    if names.note.endswith(LOWER):
        as_written = {path.lower(): path for path in expected}
        plain, found = ({as_written.get(path, path): item for path, item in some.items()} for some in (plain, found))
    return Verdict(
        names=names,
        contents=_contents(wanted, streams, plain),
        times=_times(expected, found),
        links=_links(expected, links, found),
    )


def _names(wanted: Mapping[bytes, Found], streams: Mapping[bytes, bytes], plain: Mapping[bytes, Item]) -> Cell:
    missing = sorted(wanted.keys() - plain.keys())
    more = sorted(plain.keys() - wanted.keys() - streams.keys())
    kinds = [path for path in wanted.keys() & plain.keys() if wanted[path].type != stat.S_IFMT(plain[path].mode)]
    lost = streams.keys() - plain.keys()
    notes = [_differing(missing, more, wanted)] if missing or more else []
    if kinds:
        notes.append(f"{len(kinds)} names are of another type")
    if lost:
        words = "named streams" if len(lost) == len(streams) else "some named streams"
        notes.append(f"{words} (NTFS streams, resource forks) are missing")
    if not notes:
        return YES if wanted or plain else NONE
    return Cell("partly" if len(missing) < len(wanted) else "no", "; ".join(notes))


def _differing(missing: list[bytes], more: list[bytes], wanted: Mapping[bytes, Found]) -> str:
    if not missing:
        return f"{len(more)} names are there that were not written, such as {shown(more[0])}"
    if len(more) == 1 and len(missing) == len(wanted):
        return f"one file is there instead, {shown(more[0])}: the archive inside is not unpacked"
    some = f"{len(missing)} of {len(wanted)} names"
    if {path.lower() for path in missing} <= {path.lower() for path in more}:
        return f"{some} {LOWER}"
    return f"{some} are {'altered or missing' if more else 'missing'}, such as {shown(missing[0])}"


def _contents(wanted: Mapping[bytes, Found], streams: Mapping[bytes, bytes], plain: Mapping[bytes, Item]) -> Cell:
    given = {path: item.content for path, item in wanted.items() if item.content is not None} | dict(streams)
    there = {path: content for path, content in given.items() if path in plain}
    if not there:
        return NONE if not given else Cell("no", "no file is there under its name")
    failed = sorted(path for path in there if not plain[path].blob)
    wrong = sorted(path for path in there if plain[path].blob and blob_of(there[path]) != plain[path].blob)
    notes = []
    if failed:
        why = plain[failed[0]].reason
        notes.append(f"{len(failed)} of {len(there)} files fail with a reason, such as {shown(failed[0])}: {why}")
    if wrong:
        notes.append(f"{len(wrong)} of {len(there)} files have a wrong content, such as {shown(wrong[0])}")
    if not notes:
        return YES
    return Cell("partly" if len(wrong) + len(failed) < len(there) else "no", "; ".join(notes))


def _times(expected: Mapping[bytes, Found], found: Mapping[bytes, Item]) -> Cell:
    """Of what has the right name and type; a time of 0 is not compared."""
    pairs = {
        path: (item.mtime_ns, found[path].mtime_ns)
        for path, item in expected.items()
        if item.mtime_ns and path in found and stat.S_IFMT(found[path].mode) == item.type
    }
    if not pairs:
        return NONE
    wrong = sorted(path for path, (wanted, got) in pairs.items() if wanted != got)
    if not wrong:
        return YES
    if all(got == wanted // SECOND_NS * SECOND_NS for wanted, got in pairs.values()):
        return Cell("partly", "whole seconds only")
    if all(stat.S_ISDIR(expected[path].type) for path in wrong):
        return Cell("partly", "those of folders are not right")
    if all(stat.S_ISLNK(expected[path].type) for path in wrong):
        return Cell("partly", "those of symbolic links are not right")
    if all(not stat.S_ISREG(expected[path].type) for path in wrong):
        return Cell("partly", "those of folders and symbolic links are not right")
    if len(wrong) == len(pairs):
        return Cell("no", "they are not those of the medium")
    return Cell("partly", f"{len(wrong)} of {len(pairs)} are not right, such as that of {shown(wrong[0])}")


def _links(expected: Mapping[bytes, Found], links: set[bytes], found: Mapping[bytes, Item]) -> Cell:
    groups: dict[bytes, set[bytes]] = defaultdict(set)
    for path, item in expected.items():
        groups[item.same_file].add(path)
    shared = [group for group in groups.values() if len(group) > 1]
    if not links and not shared:
        return NONE
    right = {p for p in links if p in found and stat.S_ISLNK(found[p].mode) and found[p].target == expected[p].target}
    kept = [group for group in shared if group <= found.keys() and len({found[path].ino for path in group}) == 1]
    notes = []
    if right != links:
        followed = any(path in found and not stat.S_ISLNK(found[path].mode) for path in links)
        missing = any(path not in found for path in links)
        words = {
            (True, True): "symbolic links are shown as what they point to, or not at all",
            (True, False): "symbolic links are shown as something else",
            (False, True): f"{len(links - right)} of {len(links)} symbolic links are missing",
            (False, False): "targets of symbolic links are altered",
        }
        notes.append(words[followed, missing])
    if len(kept) < len(shared):
        notes.append("hard links are separate files")
    if not notes:
        return YES
    return Cell("partly" if right or kept else "no", "; ".join(notes))


def blob_of(content: bytes) -> str:
    return blake3(content).hexdigest()


def tree_as_items(tree: Mapping[bytes, Found]) -> dict[bytes, Item]:
    """What another reader unpacked, in the catalogue's words."""
    numbers = {first: number for number, first in enumerate(sorted({item.same_file for item in tree.values()}))}
    return {
        path: Item(
            numbers[item.same_file],
            item.type,
            item.mtime_ns,
            item.target or b"",
            "" if item.content is None else blob_of(item.content),
            "",
        )
        for path, item in tree.items()
    }
