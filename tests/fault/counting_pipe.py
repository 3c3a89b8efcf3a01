"""A program's standard output -> ours, counted: the bytes of an archive have a step of their own."""

from __future__ import annotations

import subprocess
import sys

from fault_injection import Faults

CHUNK_BYTES = 1 << 16
faults: Faults


def main() -> None:
    """`python counting_pipe.py PROGRAM ARGUMENT...`; ends with the program's status."""
    with subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        while chunk := program.stdout.read(CHUNK_BYTES):
            allowed, strike = faults.allowance("bytes archived", len(chunk))
            sys.stdout.buffer.write(chunk[:allowed])
            sys.stdout.buffer.flush()
            if strike is not None:
                faults.act(strike)
    sys.exit(program.returncode)
