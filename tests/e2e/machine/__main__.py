"""`python -m machine`, in tests/e2e: builds what the tests would build, and says where it is."""

from __future__ import annotations

import sys

from machine.host import BuildError
from machine.parts import made_parts

if __name__ == "__main__":
    try:
        parts = made_parts()
    except BuildError as error:
        sys.exit(str(error))
    sys.stdout.write(f"{parts.system.folder}\n{parts.state}\n{parts.project.runtime}\n{parts.project.sources}\n")
