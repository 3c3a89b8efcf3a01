"""A program's standard output -> ours, counted: the bytes of an archive have a step of their own."""

from __future__ import annotations

import os
import subprocess
import sys

from fault_injection import faults_of
from fault_plan import ENVIRONMENT

CHUNK_BYTES = 1 << 16


def main() -> int:
    """`python counting_pipe.py PROGRAM ARGUMENT...`; the program's exit status."""
    faults = faults_of(os.environ[ENVIRONMENT])
    with subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        while chunk := program.stdout.read(CHUNK_BYTES):
            allowed, strike = faults.allowance("bytes archived", len(chunk))
            sys.stdout.buffer.write(chunk[:allowed])
            sys.stdout.buffer.flush()
            if strike is not None:
                faults.act(strike)
                sys.stdout.buffer.write(chunk[allowed:])
                sys.stdout.buffer.flush()
    return program.returncode


if __name__ == "__main__":
    sys.exit(main())
