"""What a delay loses and saves, to the microsecond; whole inputs are in the command's tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from processor import Json, Topology
from processor import functions as F
from processor.engine.offline.late import Lateness, Loss, lateness
from processor.errors import SettingsError
from processor.model.log import Extent, TopicPartition
from processor.plan import nodes
from tests.unit.messages import Fake

SECOND = 1_000_000


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def known() -> Lateness:
    groups = pl.DataFrame(
        {"window_start": [0, 0, 1, 1], "k": ["a", "a", "a", "b"],
         "__behind": [9 * SECOND, 1 * SECOND, 2 * SECOND, 2 * SECOND]},
    )  # fmt: skip
    return Lateness(9, np.array([9, 1, 2, 2]) * SECOND, groups)


@pytest.mark.parametrize(
    ("delay", "late", "windows"),
    [
        (0, 4, 3),
        (0.999999, 4, 3),
        (1, 3, 3),
        (1.999999, 3, 3),
        (2, 1, 1),
        (8.999999, 1, 1),
        (9, 0, 0),
    ],
)
def test_a_record_is_late_when_it_is_behind_by_more_than_the_delay(
    delay: float, late: int, windows: int
) -> None:
    assert known().loss(seconds(delay)) == Loss(seconds(delay), late, windows)


@pytest.mark.parametrize(
    ("share", "delay", "saving"),
    [
        (0.0, 0, 0), (0.1, 0, 1), (0.25, 0, 1), (0.26, 0, 2), (0.75, 0, 2), (0.76, 0, 9),
        (1.0, 0, 9), (0.5, 1, 2), (0.0, 1, 1), (0.3, 2, 9), (1.0, 9, 9), (0.5, 20, 20),
    ],
)  # fmt: skip
def test_the_shortest_delay_that_saves_a_share_of_what_another_loses(
    share: float, delay: float, saving: float
) -> None:
    assert known().saving(share, seconds(delay)) == seconds(saving)


def test_what_is_behind_is_known_to_the_microsecond_across_what_is_read_at_once() -> None:
    form = Json({"at": pl.Datetime("us"), "n": pl.String})
    topology = Topology("late")
    # Neither the topology's own delay nor what it does about bad records counts here.
    rows = topology.read.kafka(
        "in", format=form, event_time="at", partitioned_by="n", on_error="fail"
    )
    rows = rows.with_watermark("1 second", ahead="1 hour")
    rows = rows.with_columns(m=pl.col("n").cast(pl.Int64))
    counted = rows.group_by(F.window("at", "1 day"), "n").agg(c=F.count())
    counted.write.kafka("out", key="n")

    def record(offset: int, text: str) -> Fake:
        """``text``: a second of the day, ``!`` behind it where no step can compute the record."""
        # They are written a second after 1970 began, and are of the day before.
        at = datetime(1969, 12, 31) + timedelta(seconds=float(text.rstrip("!?")))
        n = "x" if text.endswith("!") else "2" if text == "4.999999" else "1"
        value = b"?" if text.endswith("?") else f'{{"at":"{at.isoformat()}","n":"{n}"}}'.encode()
        return Fake(value, offset)

    chunks = ["1? 5 4.999999 9! 6", "7? 7 2! 3", "200000 8", "1 7.5"]
    records = [record(n, text) for n, text in enumerate(" ".join(chunks).split())]

    def scan(partition: TopicPartition, low: int, high: int) -> Iterator[Sequence[Fake]]:
        assert (partition.partition, low, high) == (0, 0, len(records))
        start = 0
        for chunk in chunks:
            yield records[start : start + len(chunk.split())]
            start += len(chunk.split())

    known = lateness(topology.plan(), scan, {TopicPartition("in", 0): Extent(0, len(records))})
    assert known.records == len(records) - 2
    assert known.behind.tolist() == [1, 500_000, 4_000_000, 5_000_000, 7_000_000]
    windows = [known.loss(seconds(delay)).windows for delay in (0, 0.000001, 4, 5, 7)]
    assert windows == [2, 1, 1, 1, 0]


def test_a_watermark_that_the_records_carry_has_no_delay_to_look_for() -> None:
    topology = Topology("late")
    form = Json({"at": pl.Datetime("us")})
    rows = topology.read.kafka("in", format=form, event_time="at", watermark="carried")
    rows.write.kafka("out")
    with pytest.raises(SettingsError, match="no delay makes it"):
        lateness(topology.plan(), lambda *_: iter(()), {})


def test_of_windows_that_slide_all_miss_a_record_that_is_late() -> None:
    topology = Topology("late")
    rows = topology.read.kafka(
        "in", format=Json({"at": pl.Datetime("us")}), event_time="at", partitioned_by=()
    )
    rows.group_by(F.window("at", "1 minute", "20 seconds")).agg(c=F.count()).write.kafka(
        "out", mode="update"
    )
    times = ("00:10:00", "00:05:05", "00:05:21")
    records = [Fake(b'{"at":"1969-12-31T%s"}' % at.encode(), n) for n, at in enumerate(times)]
    # The stage behind has the windows: here the first one is given them.
    plan = topology.stages()[0].plan
    grouped = topology.stages()[1].plan.sinks[0].parent
    assert isinstance(grouped, nodes.Aggregate)
    sink = replace(plan.sinks[0], parent=replace(grouped, parent=plan.source()), internal=False)
    whole = replace(plan, sinks=(sink,))
    known = lateness(whole, lambda *_: iter([records]), {TopicPartition("in", 0): Extent(0, 3)})
    assert known.loss(seconds(0)).late == 2
    # Of 00:05:05 those from 00:04:20, :40 and 00:05:00; of 00:05:21 one more.
    assert known.loss(seconds(0)).windows == 4


def test_a_stage_that_goes_by_the_clock_has_no_late_records() -> None:
    topology = Topology("late")
    rows = topology.read.kafka("in", format=Json({"user": pl.String}), partitioned_by="user")
    rows.group_by(F.window(F.processing_time(), "1 minute"), "user").agg(c=F.count()).write.kafka(
        "out"
    )
    with pytest.raises(SettingsError, match="nothing is ever late"):
        lateness(topology.stages()[0].plan, lambda *_: iter(()), {})
