"""A plan of bad bytes -> the environment in which programs meet them, on machines without FUSE."""

from __future__ import annotations

import subprocess
from pathlib import Path

from faulty_source import Plan

C_SOURCE = Path(__file__).with_name("faulty_reads.c")


def shim_environment(plan: Plan, source: Path, folder: Path) -> dict[str, str]:
    """What to add to the environment of a dynamically linked program; the library is built into `folder`.

    A program keeps no account of its reads for others: of the plan, only `bad` can be had; ValueError for the rest.
    """
    if plan != Plan(bad=plan.bad, sector_bytes=plan.sector_bytes):
        raise ValueError("without FUSE there are only bad bytes")
    library = folder / "faulty_reads.so"
    warnings = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", "-O1", *warnings, "-shared", "-fPIC", "-o", library, C_SOURCE], check=True)
    ranges = ",".join(f"{start}-{end}" for start, end in plan.bad)
    return {"LD_PRELOAD": str(library), "NTT_TEST_FAULTY_READS": f"{ranges}:{source.resolve()}"}
