"""`python rescue_driver.py SOURCE FOLDER EFFORT`: all passes over a medium, resumed if it was begun; to be killed."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
from rescuing import first, further

from ntt.model import Effort
from ntt.rescue.resuming import resumed
from ntt.rescue.source import probe
from ntt.rescue.working import WorkingImages


async def main(path: Path, folder: Path, effort: Effort) -> None:
    source = await probe(path)
    images = WorkingImages(folder)
    image = await resumed(images, source) or images.new(source)
    with image:
        await first(source, image)
        await further(source, image, effort)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), Path(sys.argv[2]), Effort(sys.argv[3]))
