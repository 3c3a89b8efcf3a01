"""`ntt watch` in the machine: started once for a whole test, followed by its lines, its catalogue asked directly."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from signal import Signals

import msgspec
from machine import Drive, Machine, Medium
from machine.link import Program
from machine.machine import HOME, disk_device
from media_images import iso_image, noise, run, written

MEDIUM_LIMIT_S = 500.0
HOME_DISK = "HOME"
# Debian's own `psql` is a script around this one, which takes seconds here
QUERY = r"""
file=$1/postgres/data/postmaster.pid
exec /usr/lib/postgresql/*/bin/psql -h "$(sed -n 5p "$file")" -U ntt -d ntt -XAtq -c "$2"
"""
MOVE_HOME = f"""
mount {disk_device(HOME_DISK)} /mnt && cp -a {HOME}/. /mnt/ && umount /mnt && rm -r {HOME}/* &&
mount {disk_device(HOME_DISK)} {HOME}
"""
# in one process, so that Python is started once: what a person would type one after the other
COMMANDS = """
import contextlib, io, json, sys
from ntt.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv, said = ["ntt", *words], io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            status = main()
    except SystemExit as end:
        status = end.code
    print(json.dumps([words[0], status or 0, said.getvalue()[-20000:]]), flush=True)
"""
UNTIL_READ = 'until read -r _ _ sectors _ <"/sys/block/$1/stat" && [ "$sectors" -ge "$2" ]; do sleep 0.1; done'


class Watch:
    """`lines` is what it said so far; every wait has a limit."""

    def __init__(self, machine: Machine, program: Program) -> None:
        self._machine, self.program = machine, program

    @property
    def lines(self) -> list[str]:
        return self.program.stderr.decode(errors="replace").splitlines()

    async def says_more(self, seen: int, limit_s: float = MEDIUM_LIMIT_S) -> str:
        """Its last line, once it has said more than so many."""
        await self.program.until(lambda: len(self.lines) > seen, f"more than {seen} lines", limit_s)
        return self.lines[-1]

    async def says(self, pattern: str, times: int = 1, limit_s: float = MEDIUM_LIMIT_S) -> list[str]:
        """The lines in which the pattern was found, once there are that many."""

        def found() -> list[str]:
            return [line for line in self.lines if re.search(pattern, line)]

        await self.program.until(lambda: len(found()) >= times, f"{times} times {pattern!r}", limit_s)
        return found()

    async def finished(self, number: int, limit_s: float = MEDIUM_LIMIT_S) -> str:
        """What it says of the medium with this number of the session, once that has come to its end."""
        return (await self.says(rf"^\S+ #{number} .*: (complete|problems|known|failed) in ", 1, limit_s))[0]

    async def ask(self, query: str) -> str:
        """The catalogue's answer as psql writes it, values between `|`."""
        return (await self._machine.succeeds("sh", "-c", QUERY, "sh", HOME, query)).strip()

    async def quit(self, limit_s: float = MEDIUM_LIMIT_S) -> int:
        """Its exit status, after what was in hand."""
        await self.program.signal(Signals.SIGINT)
        return (await self.program.wait(limit_s)).status


@asynccontextmanager
async def watching(machine: Machine, *options: str) -> AsyncIterator[Watch]:
    """It looks at the drives some time after this; ended on leaving if it was not before."""
    watch = Watch(machine, await machine.start("ntt", "watch", "--home", HOME, *options))
    try:
        yield watch
    except BaseException as error:
        error.add_note("it said:\n" + "\n".join(watch.lines[-40:]))
        raise
    if watch.program.status is None:
        await watch.quit()


async def home_on_disk(machine: Machine, image: Path) -> None:
    """What is in the home goes to a disk of its own, mounted there."""
    run("mke2fs", "-q", "-F", "-t", "ext4", image, "2G")
    await machine.plug_disk(Medium(image, writable=True), HOME_DISK)
    await machine.succeeds("sh", "-c", MOVE_HOME)


async def name_of(machine: Machine, drive: Drive) -> str:
    """'sr0' or 'sr1'."""
    return (await machine.succeeds("readlink", "-f", drive.device)).strip().rpartition("/")[2]


async def sectors_read(machine: Machine, name: str) -> int:
    """Of 512 bytes, by whoever, since the machine began."""
    return int((await machine.read_file(f"/sys/block/{name}/stat")).split()[2])


async def until_read(machine: Machine, name: str, sectors: int) -> None:
    """Returns once so many sectors of 512 bytes were read of it."""
    await machine.succeeds("sh", "-c", UNTIL_READ, "sh", name, str(sectors), limit_s=MEDIUM_LIMIT_S)


class Did(msgspec.Struct, array_like=True):
    """A command of `ntt` that has ended, and the end of what it printed."""

    name: str
    status: int
    stdout: str


async def commands(machine: Machine, *given: Sequence[str], limit_s: float = MEDIUM_LIMIT_S) -> list[Did]:
    """`ntt` with each of these arguments, one after the other, whatever their exit status."""
    words = msgspec.json.encode([(name, "--home", HOME, *rest) for name, *rest in given]).decode()
    done = await machine.run(f"{sys.prefix}/bin/python", "-c", COMMANDS, words, limit_s=limit_s)
    did = [msgspec.json.decode(line, type=Did) for line in done.stdout.splitlines()]
    assert len(did) == len(given), done.stderr
    return did


# ---------------------------------------------------------------- media


def contents_of(name: str, size_bytes: int = 400_000, seed: int = 1) -> dict[str, bytes]:
    return {"large": noise(size_bytes, seed), "folder/small.txt": f"Hallo {name}\n".encode()}


def tree_of(folder: Path, name: str, size_bytes: int, seed: int) -> Path:
    contents = contents_of(name, size_bytes, seed)
    return written(folder / f"{name}.tree", {path: content for path, content in contents.items()})


def disc(folder: Path, name: str, size_bytes: int = 400_000, seed: int = 1, label: str = "") -> Medium:
    tree = tree_of(folder, name, size_bytes, seed)
    return Medium(iso_image(folder / f"{name}.iso", tree, "-V", label or name.upper()))


def stick(folder: Path, name: str, size_bytes: int = 400_000, seed: int = 1) -> Medium:
    """FAT, with 2 MiB of room besides the files."""
    tree, image = tree_of(folder, name, size_bytes, seed), folder / f"{name}.img"
    run("mkfs.vfat", "-C", image, str((size_bytes >> 10) + 2048))
    run("mcopy", "-s", "-i", image, tree / "large", tree / "folder", "::")
    return Medium(image, sector_bytes=512)


async def restores(machine: Machine, medium_hash: str, contents: Mapping[str, bytes]) -> None:
    """The medium comes out of NTT as it was."""
    await machine.succeeds("ntt", "restore", "--home", HOME, medium_hash, f"/tmp/{medium_hash}", limit_s=300)
    for name, content in contents.items():
        assert await machine.read_file(f"/tmp/{medium_hash}/{name}") == content
