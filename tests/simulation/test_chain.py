"""Two stages over one log, each killed at every step: the second's result is exact."""

from collections import Counter

import polars as pl
import pytest

from processor import Json, Topology
from processor import functions as F
from processor.testing import Crash, TestDriver
from tests.simulation.test_crash_sweep import CASES
from tests.topologies import ride, stateless

PARTS = 3
RECORDS = 80


def second() -> Topology:
    topology = Topology("second")
    frame = topology.read.kafka(
        "out",
        format=Json({"k": pl.String, "twice": pl.Int64}),
        partitioned_by="k",
        dead_letters="dead-2",
    )
    frame.group_by("k").agg(n=F.count(), total=F.sum("twice")).write.kafka(
        "totals", key="k", mode="update"
    )
    return topology


# A first stage that may repeat gives the second other input: only the second is at least once.
ALL = [(g, s, v) for g, s in CASES for v in (0, 1) if g == "exactly-once" or v == 1]


@pytest.mark.parametrize(("guarantee", "step", "victim"), ALL)
def test_a_chain_killed_at_a_step_comes_to_the_same(guarantee, step, victim):
    first = TestDriver(stateless(), partitions=2, workers=2, batch_records_max=25)
    then = TestDriver(
        second(), partitions=2, workers=2, guarantee=guarantee, batch_records_max=25, log=first.log
    )
    stages = [first, then]
    crashes = 0
    for part in range(PARTS):
        for number in range(part * RECORDS, (part + 1) * RECORDS):
            first.feed([ride(number)], key=str(ride(number)["k"]))
        stages[victim].crash_at(step, worker=part % 2)
        for stage in stages:
            try:
                stage.run()
            except Crash:
                crashes += 1
                stage.restart(part % 2)
    for stage in stages:
        stage.run()
    assert crashes
    last = {r["k"]: (r["n"], r["total"]) for r in then.json("totals")}
    count = Counter(str(ride(n)["k"]) for n in range(PARTS * RECORDS))
    assert last == {
        k: (n, sum(2 * i for i in range(PARTS * RECORDS) if ride(i)["k"] == k))
        for k, n in count.items()
    }
