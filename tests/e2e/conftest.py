"""A machine with real drives: built when it is missing, booted once, restored for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from machine.host import BuildError
from machine.machine import Machine
from machine.parts import Parts, made_parts
from watched import home_on_disk


@pytest.fixture(scope="session")
def machine_parts() -> Parts:
    """What machines are made from; where that cannot be built, every test fails with the line that says why."""
    try:
        return made_parts()
    except BuildError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
async def machine(machine_parts: Parts, tmp_path: Path) -> AsyncIterator[Machine]:
    """A machine of this test's own that has just booted, its drives empty."""
    async with Machine.restored(machine_parts, tmp_path / "machine") as restored:
        yield restored


@pytest.fixture
async def machine_with_ntt(machine: Machine) -> Machine:
    """The same with `ntt` of this repository, and a home whose database is made."""
    await machine.install_project()
    return machine


@pytest.fixture
async def machine_to_watch(machine_with_ntt: Machine, tmp_path: Path) -> Machine:
    """The same, the home on a disk with room for several media, which keeps what is on it over power cuts."""
    await home_on_disk(machine_with_ntt, tmp_path / "home-disk")
    return machine_with_ntt
