"""Every dead letter has one of a few reasons, counted as such."""

from __future__ import annotations

from collections import Counter

import polars as pl
import pytest

from processor import Json, Text, Topology
from processor import functions as F
from processor.model.letters import letter_of
from processor.testing import TestDriver
from tests.topologies import ride, windowed


def reasons(driver):
    """The reasons as the reports count them; those of the letters have to be the same."""
    counted = Counter()
    for report in driver.reports:
        counted.update(report.letters)
    letters = Counter(letter_of(message).reason for message in driver.dead_letters())
    assert letters == +counted
    records = counted.total() - counted["group"]
    assert records == sum(report.dead_lettered for report in driver.reports)
    return letters


def test_what_cannot_be_read_is_of_decode():
    driver = TestDriver(windowed())
    driver.feed([ride(1), "no JSON", "none either"])
    driver.run()
    assert reasons(driver) == {"decode": 2}


def test_an_event_time_that_is_too_far_ahead_is_of_watermark():
    driver = TestDriver(windowed())
    driver.feed([{"k": "a", "t": "2999-01-01T00:00:00", "n": 1}, ride(1)])
    driver.run()
    assert reasons(driver) == {"watermark": 1}


def test_what_a_step_cannot_compute_is_of_step():
    topology = Topology("steps")
    rows = topology.read.kafka("in", format=Text())
    rows.select(n=pl.col("value").cast(pl.Int64)).write.kafka("out")
    driver = TestDriver(topology)
    driver.feed(["1", "x", "2", "y", "z"])
    driver.run()
    assert reasons(driver) == {"step": 3}


def test_what_a_format_cannot_write_is_of_write():
    topology = Topology("written")
    rows = topology.read.kafka("in", format=Json({"t": pl.Datetime("us")}))
    rows.write.kafka("out", format=Json(time_form="%Y-%m-%d"))
    driver = TestDriver(topology)
    driver.feed(['{"t":"2014-08-01T00:00:00"}', '{"t":"2014-08-01T12:00:00"}'])
    driver.run()
    assert reasons(driver) == {"write": 1}


def test_a_group_is_of_group_and_is_no_record():
    topology = Topology("groups")
    rows = topology.read.kafka("in", format=Json({"k": pl.String}), partitioned_by="k")
    counts = rows.group_by("k").agg(n=F.count())
    counts.with_columns(x=pl.col("k").cast(pl.Int64)).write.kafka("out", key="k", mode="update")
    driver = TestDriver(topology)
    driver.feed([{"k": "1"}, {"k": "a"}])
    driver.run()
    assert reasons(driver) == {"group": 1}


@pytest.mark.parametrize("on_error", ["skip", "fail"])
def test_what_is_not_set_aside_is_no_letter(on_error):
    topology = Topology("none")
    rows = topology.read.kafka("in", format=Json({"k": pl.String}), on_error=on_error)
    rows.write.kafka("out")
    driver = TestDriver(topology)
    driver.feed(["x"] if on_error == "skip" else ['{"k":"a"}'])
    driver.run()
    assert reasons(driver) == {}
