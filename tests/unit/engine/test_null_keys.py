"""Groups whose key is null: one partition, so that the last update is the last."""

from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor import Json, Topology
from processor import functions as F
from processor.cli.verify import verified
from processor.connectors.partitioner import partition
from processor.errors import TopologyError
from processor.model.log import NULL_KEYS
from processor.testing import TestDriver

COLUMNS = {"a": pl.String, "b": pl.String, "n": pl.Int64}


def counts(key: str) -> Topology:
    topology = Topology("counts")
    rows = topology.read.kafka(
        "in", format=Json(COLUMNS, optional=frozenset("ab")), partitioned_by="a"
    )
    totals = rows.group_by("a", "b").agg(n=F.sum("n"))
    if key == "both":
        totals = totals.with_columns(both=pl.concat_str("a", "b", separator="|"))
    totals.write.kafka("out", key=key, mode="update")
    return topology


def feed(driver: TestDriver, records: list[dict[str, object]]) -> None:
    for record in records:
        key = record["a"]
        where = NULL_KEYS if key is None else partition(str(key).encode(), 4)
        driver.feed([record], key=key, partition=where)


def check(driver: TestDriver, records: list[dict[str, object]], key: str) -> None:
    wanted: dict[tuple[object, object], int] = {}
    for record in records:
        group = (record["a"], record["b"])
        wanted[group] = wanted.get(group, 0) + int(str(record["n"]))
    places: dict[tuple[object, object], set[int]] = {}
    last: dict[tuple[object, object], int] = {}
    for message in driver.read("out"):
        row = json.loads(message.value() or b"")
        group = (row["a"], row["b"])
        assert (message.key() is None) == (row[key] is None)
        places.setdefault(group, set()).add(message.partition())
        last[group] = row["n"]
        if row[key] is None:
            assert message.partition() == NULL_KEYS
    assert all(len(found) == 1 for found in places.values())
    assert last == wanted
    assert verified(driver.plan, driver.log).findings == []


@settings(max_examples=40, deadline=None)
@given(
    records=st.lists(
        st.fixed_dictionaries(
            {
                "a": st.sampled_from([None, "", "x", "y", "null"]),
                "b": st.sampled_from([None, "p", "q"]),
                "n": st.integers(-5, 5),
            }
        ),
        min_size=1,
        max_size=40,
    ),
    key=st.sampled_from(["a", "b", "both"]),
    most=st.integers(1, 7),
)
def test_every_group_is_in_one_partition_also_with_keys_that_are_null(records, key, most):
    driver = TestDriver(counts(key), partitions=4, batch_records_max=most)
    feed(driver, records)
    driver.run()
    check(driver, records, key)


def test_rows_without_an_aggregate_too_so_that_a_reader_can_group_by_them():
    topology = Topology("rekey")
    rows = topology.read.kafka("in", format=Json(COLUMNS, optional=frozenset("ab")))
    rows.write.kafka("out", key="a")
    driver = TestDriver(topology, partitions=4)
    for number in range(20):
        driver.feed([{"a": None, "b": "p", "n": number}], partition=number % 4)
    driver.run()
    assert {message.partition() for message in driver.read("out")} == {NULL_KEYS}


def test_a_compacted_topic_is_refused_before_the_run(monkeypatch):
    from processor import app
    from processor.connectors.memory.log import MemoryLog
    from processor.settings import Settings

    log = MemoryLog()
    plan = counts("a").plan()
    app.prepare_topics(log, [plan], Settings())
    log.compacting.add("out")
    with pytest.raises(TopologyError, match="'out' is compacted, and its key 'a' may be null"):
        app.prepare_topics(log, [plan], Settings())
