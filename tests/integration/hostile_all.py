"""Every hostile image by its name; as a program it writes them.

PYTHONPATH=tests:tests/integration .venv/bin/python -m hostile_all FOLDER          all of them; box: a hundred
PYTHONPATH=tests:tests/integration .venv/bin/python -m hostile_all FOLDER ext4 17  one base, damaged with one seed
"""

from __future__ import annotations

import sys
from pathlib import Path

import hostile_archives
import hostile_discs
import hostile_mac
import hostile_tables
import hostile_unix
import hostile_windows
from hostile_bases import BASES
from hostile_cases import CASES, Case
from hostile_images import Base, damage, sparse_write, written

__all__ = ["BASES", "CASES", "FAMILIES", "made_bases", "made_cases"]

_MODULES = (hostile_unix, hostile_windows, hostile_mac, hostile_discs, hostile_tables, hostile_archives)
FAMILIES = [module.__name__ for module in _MODULES]


def made_bases(folder: Path) -> dict[str, Path]:
    """The whole images, by name."""
    folder.mkdir(exist_ok=True)
    return {name: make(folder) for name, make in BASES.items()}


def made_cases(cases: list[Case], bases: dict[str, Path], folder: Path) -> dict[str, Path]:
    """The images of cases, by name; a cue sheet that belongs to one lies beside it."""
    folder.mkdir(exist_ok=True)
    found: dict[str, Path] = {}
    for case in cases:
        content = bytearray(bases[case.base].read_bytes()) if case.base else bytearray()
        before = bytes(content)
        case.change(content)
        assert content != before or case.cue, f"{case.name} changes nothing"
        found[case.name] = sparse_write(folder / f"{case.name}.img", content)
        if case.cue:
            found[case.name].with_suffix(".cue").write_text(case.cue)
    return found


def box() -> list[Case]:
    """Of what is built for several file systems one, and of long rows of alike ones every third."""
    by_name = {(case.change.__module__, case.change.__name__): case for case in reversed(CASES.values())}
    kinds = [case for case in reversed(by_name.values()) if case.change.__name__ != "<lambda>"]
    rows = [case for case in kinds if case.change.__module__ in ("hostile_discs", "hostile_archives")]
    return [case for case in kinds if case not in rows] + rows[::3]


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    if len(sys.argv) <= 3:
        cases = box() if sys.argv[2:] == ["box"] else list(CASES.values())
        made_cases(cases, made_bases(folder / "bases"), folder / "cases")
        return
    name, seed = sys.argv[2], int(sys.argv[3])
    base = Base.of(BASES[name](folder))
    written(damage(base, seed), base, folder / f"{name}-{seed}.img")


if __name__ == "__main__":
    main()
