"""A worker is killed at every step of the protocol; what comes out is what had to."""

from collections import Counter

import pytest

from processor.testing import Crash, TestDriver
from tests.topologies import ride, stateless, totals, windowed

COMMON = ["before:process", "before:stage", "after:stage", "before:guard", "after:guard"]
COMMON += ["before:produce", "after:produce", "before:flush", "after:flush", "after:adopt"]
EXACTLY = [*COMMON, "before:begin", "after:begin", "before:send-offsets", "after:send-offsets"]
EXACTLY += ["before:commit", "after:commit"]
LEAST = [*COMMON, "before:commit-offsets", "after:commit-offsets"]

CASES = [("exactly-once", step) for step in EXACTLY] + [("at-least-once", step) for step in LEAST]
RECORDS = 150
PARTS = 4


def expected(topology) -> TestDriver:
    driver = TestDriver(topology(), partitions=4)
    for part in range(PARTS):
        feed(driver, part)
    driver.run()
    return driver


def feed(driver: TestDriver, part: int) -> None:
    for number in range(part * RECORDS, (part + 1) * RECORDS):
        driver.feed([ride(number)], key=str(ride(number)["k"]))
    if part == 1:
        driver.feed(["{malformed"], key="k1")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("topology", [stateless, totals, windowed])
@pytest.mark.parametrize(("guarantee", "step"), CASES)
def test_killed_at_a_step_nothing_is_lost_and_nothing_twice(guarantee, step, topology, workers):
    driver = TestDriver(
        topology(), partitions=4, workers=workers, guarantee=guarantee, batch_records_max=70
    )
    crashes = 0
    for round_ in range(PARTS):
        feed(driver, round_)
        worker = round_ % workers
        driver.crash_at(step, worker=worker)
        try:
            driver.run()
        except Crash:
            crashes += 1
            if round_ % 2:
                driver.expire(worker)
            driver.restart(worker)
    driver.run()
    assert crashes >= 2
    compare(driver, topology, guarantee)


def compare(driver: TestDriver, topology, guarantee: str) -> None:
    reference = expected(topology)
    if topology is stateless:
        got, want = Counter(driver.values("out")), Counter(reference.values("out"))
        assert got == want if guarantee == "exactly-once" else got.keys() == want.keys()
    else:
        assert final(driver) == final(reference)
        assert state(driver) == state(reference)
    letters = [m.value() for m in driver.dead_letters()]
    assert letters == [b"{malformed"] if guarantee == "exactly-once" else b"{malformed" in letters


def final(driver: TestDriver) -> dict[tuple[str, str], tuple[int, int]]:
    return {(r["k"], r.get("window_start", "")): (r["n"], r["total"]) for r in driver.json("out")}


def state(driver: TestDriver) -> dict[object, list[str]]:
    return {
        partition: sorted(map(str, operators["aggregate-0"]))
        for partition, operators in driver.state().items()
    }
