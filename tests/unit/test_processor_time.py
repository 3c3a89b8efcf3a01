"""The limit on processor time follows the work: it is moved on before each unit, and back after a large one."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from ntt.confinement.processor_time import BYTES_PER_S, UNIT_S, ProcessorTime

LARGE = 1_000 * BYTES_PER_S


def seconds_left() -> float:
    return resource.getrlimit(resource.RLIMIT_CPU)[0] - time.process_time()


def small_then_large() -> float:
    left = ProcessorTime()
    left.allow(0)
    left.allow(LARGE)
    return seconds_left()


def large_then_small() -> float:
    left = ProcessorTime()
    left.allow(LARGE)
    left.allow(0)
    return seconds_left()


def large_then_a_little_more() -> float:
    left = ProcessorTime()
    left.allow(LARGE)
    left.extend(0)
    return seconds_left()


def many_small() -> float:
    left = ProcessorTime()
    for _ in range(10_000):
        left.allow(4096)
    return seconds_left()


def _answer(ask: Callable[[], float], out: Connection) -> None:
    out.send(ask())


def in_a_process_of_its_own(ask: Callable[[], float]) -> float:
    """So that the limit is not that of the test."""
    context = multiprocessing.get_context("spawn")
    near, far = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(ask, far))
    process.start()
    answer = near.recv()
    process.join()
    near.close()
    far.close()
    process.close()
    assert isinstance(answer, float)
    return answer


def test_a_large_unit_gets_more_and_the_next_one_does_not_inherit_it() -> None:
    assert 1_000 + UNIT_S <= in_a_process_of_its_own(small_then_large) <= 1_000 + 3 * UNIT_S
    assert UNIT_S <= in_a_process_of_its_own(large_then_small) <= 3 * UNIT_S
    assert UNIT_S <= in_a_process_of_its_own(many_small) <= 3 * UNIT_S


def test_a_unit_that_goes_on_keeps_what_it_was_given() -> None:
    assert in_a_process_of_its_own(large_then_a_little_more) >= 1_000
