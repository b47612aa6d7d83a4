"""A sink's rows over bounded input, as a frame."""

from __future__ import annotations

import logging
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest
import structlog

import processor
from processor import Csv, Json, Text, Topology, TopologyError, collect
from processor import functions as F
from processor.errors import QueryError, SettingsError
from processor.testing import TestDriver
from tests.topologies import ride, rides, stateless, totals, windowed

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def empty_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
    assert processor.active() == ()


def rows(frame, *by):
    return frame.sort(by).rows() if by else frame.rows()


# What comes out.


def test_each_row_comes_out_once_with_its_type():
    found = stateless().collect(feed={"rides": [ride(n) for n in range(50)]}, workers=2)
    assert found.schema == {
        "k": pl.String, "t": pl.Datetime("us"), "n": pl.Int64, "twice": pl.Int64,
    }  # fmt: skip
    assert sorted(found["twice"]) == [2 * n for n in range(50)]


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_of_a_group_the_last_row_comes_out_whatever_the_batches_were(most):
    found = totals().collect(feed={"rides": [ride(n) for n in range(50)]}, batch_records_max=most)
    wanted = [(f"k{k}", 10, sum(range(k, 50, 5))) for k in range(5)]
    assert rows(found, "k") == wanted


def test_it_is_what_the_topology_publishes_last():
    feed = [ride(n) for n in range(0, 600, 7)]
    topology = windowed()
    driver = TestDriver(topology)
    for one in feed:
        driver.feed([one], key=one["k"])
    driver.run()
    last = {(row["window_start"], row["k"]): row for row in driver.json("out")}
    found = topology.collect(feed={"rides": feed})
    assert len(last) == found.height > 10
    for row in found.to_dicts():
        published = last[row["window_start"].isoformat(), row["k"]]
        assert (row["n"], row["total"]) == (published["n"], published["total"])


def test_append_gives_windows_that_are_still_open_too_and_leaves_late_records_out():
    feed = [ride(0), ride(100), ride(300), ride(1)]  # the last is late: its hour has closed
    found = windowed(mode="append").collect(feed={"rides": feed})
    assert [row[0].hour for row in rows(found, "window_start")] == [0, 1, 5]
    assert found["n"].to_list() == [1, 1, 1]


def test_a_filter_behind_an_aggregate_sees_a_group_as_it_is_at_the_end():
    topology, frame = rides("few")
    counted = frame.group_by("k").agg(n=F.count()).filter(pl.col("n") < 3)
    counted.select(key=pl.col("k"), twice=pl.col("n") * 2).write.kafka("out", mode="update",
                                                                      key="key")  # fmt: skip
    feed = [ride(n, keys=2) for n in (0, 2, 4, 1)]  # k0 three times, and k1 once
    found = topology.collect(feed={"rides": feed}, batch_records_max=1)
    assert found.rows() == [("k1", 2)]


def test_groups_are_told_apart_though_the_sink_has_none_of_their_columns():
    topology, frame = rides("bare")
    frame.group_by("k").agg(n=F.count()).select("n").write.kafka("out", mode="complete")
    found = topology.collect(feed={"rides": [ride(n, keys=3) for n in range(7)]})
    assert sorted(found["n"]) == [2, 2, 3]


def test_the_frame_has_columns_that_a_record_has_beside_its_value_too():
    topology = Topology("beside")
    frame = topology.read.kafka("in", format=Text(), key="k", timestamp="ts")
    frame.with_columns(day=pl.lit(date(2026, 1, 2))).write.kafka(
        "out", format=Text(), key="day", timestamp="ts", headers={"k": "k"}
    )
    found = topology.collect(feed={"in": ["a"]})
    assert found.select("value", "k", "day").rows() == [("a", None, date(2026, 1, 2))]
    assert found.schema["ts"] == pl.Datetime("us")


def test_nothing_comes_of_no_records_but_the_columns():
    found = totals().collect(feed={"rides": []})
    assert (found.height, found.columns) == (0, ["k", "n", "total"])


# What goes in.


@pytest.mark.parametrize(
    "given",
    [
        ["1,a", "2,b"],
        [b"1,a", b"2,b"],
        [{"n": 1, "s": "a"}, {"n": 2, "s": "b"}],
        pl.DataFrame({"n": [1, 2], "s": ["a", "b"]}),
        ("1,a", {"s": "b", "n": 2}),
    ],
)
def test_records_are_text_bytes_rows_or_a_frame(given):
    topology = Topology("t")
    frame = topology.read.kafka("in", format=Csv({"n": pl.Int64, "s": pl.String}))
    frame.write.kafka("out")
    assert topology.collect(feed={"in": given}).rows() == [(1, "a"), (2, "b")]


def test_records_are_a_file(tmp_path):
    path = tmp_path / "lines.csv"
    path.write_text("1,a\n2,b\n")
    topology = Topology("t")
    topology.read.kafka("in", format=Csv({"n": pl.Int64, "s": pl.String})).write.kafka("out")
    for given in (path, str(path)):
        assert topology.collect(feed={"in": given}).rows() == [(1, "a"), (2, "b")]


def test_times_of_rows_are_written_as_the_format_reads_them():
    at = datetime(2026, 1, 2, 3, 4, 5)
    found = stateless().collect(feed={"rides": [{"k": "a", "t": at, "n": 1}]})
    assert found["t"].to_list() == [at]


def test_a_row_that_the_format_cannot_write_is_refused():
    topology = Topology("t")
    topology.read.kafka("in", format=Csv({"n": pl.Int64})).write.kafka("out")
    with pytest.raises(SettingsError, match=r"feed={'in': ...}: "):
        topology.collect(feed={"in": [{"n": "no number"}]})
    with pytest.raises(SettingsError, match=r"feed={'in': ...}: "):
        topology.collect(feed={"in": [{"m": 1}]})


def test_without_input_there_is_nothing_to_collect():
    with pytest.raises(SettingsError, match="there is no input") as raised:
        totals().collect()
    assert "rides" in raised.value.remedy


# Of several sinks, and of several topologies.


def test_one_of_several_sinks_is_named():
    topology, frame = rides("two")
    frame.write.kafka("all")
    frame.filter(pl.col("n") > 1).write.kafka("large")
    feed = {"rides": [ride(n) for n in range(4)]}
    assert sorted(topology.collect(sink="large", feed=feed)["n"]) == [2, 3]
    with pytest.raises(TopologyError, match="there are 2 sinks") as raised:
        topology.collect(feed=feed)
    assert "'all', 'large'" in raised.value.remedy
    with pytest.raises(TopologyError, match="no sink writes 'none'"):
        topology.collect(sink="none", feed=feed)


def test_a_topology_reads_what_another_one_writes():
    second = Topology("second")
    form = Json({"k": pl.String, "twice": pl.Int64})
    read = second.read.kafka("out", format=form, partitioned_by="k")
    read.group_by("k").agg(total=F.sum("twice")).write.kafka("end", key="k", mode="update")
    found = collect(stateless(), second, feed={"rides": [ride(n) for n in range(10)]})
    assert rows(found, "k") == [(f"k{k}", 2 * (k + k + 5)) for k in range(5)]


def test_the_ride_pipeline_from_trips_to_clusters():
    from topologies.uber.enrich import enrich
    from topologies.uber.popular import popular

    trips = ["2014-08-01 00:00:00,40.729,-73.9422,B02598", "2014-08-01 00:30:00,40.729,-73.9422,B"]
    found = collect(enrich, popular, feed={"trips": trips})
    assert found["trips"].to_list() == [2]
    assert found["window_start"].to_list() == [datetime(2014, 8, 1)]


def test_only_what_leads_to_the_sink_is_run():
    broken = Topology("broken")
    read = broken.read.kafka("out", format=Json({"absent": pl.Int64}), on_error="fail")
    read.write.kafka("end")
    feed = {"rides": [ride(n) for n in (0, 100)]}
    found = collect(windowed(mode="append"), broken, sink="out", feed=feed)
    assert found.height == 2


def test_what_is_late_for_one_sink_is_late_for_all():
    topology, frame = rides("two")
    frame.with_watermark("30 minutes").write.kafka("in-time")
    frame.write.kafka("plain")
    feed = {"rides": [ride(n) for n in (0, 100, 1)]}
    for sink in ("in-time", "plain"):
        found = topology.collect(sink=sink, feed=feed, create_topics=1)
        assert found["n"].to_list() == [0, 100]


# What is not in the result.


def test_records_that_cannot_be_read_are_told_of(caplog):
    with caplog.at_level(logging.WARNING, "processor"):
        found = stateless().collect(feed={"rides": [ride(1), "bad", "worse"]})
    assert found.height == 1
    (told,) = [r.getMessage() for r in caplog.records if "not in the result" in r.getMessage()]
    assert "dead_lettered" in told
    assert "'rides'" not in told


def test_what_breaks_a_step_is_raised_with_the_topology_s_name():
    topology = Topology("strict")
    topology.read.kafka("in", format=Json({"n": pl.Int64}), on_error="fail").write.kafka("out")
    with pytest.raises(QueryError, match=r"strict: in\[0\] offset 1"):
        topology.collect(feed={"in": [{"n": 1}, "bad"]})


def test_it_runs_beside_a_query_of_the_same_topology():
    topology = totals()
    with topology.start() as query:
        assert topology.collect(feed={"rides": [ride(1)]}).height == 1
        assert query.is_active


def test_what_is_collected_leaves_a_data_directory_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("PROCESSOR_DATA_DIR", str(tmp_path / "data"))
    for _ in range(2):
        assert len(stateless().collect(feed={"rides": [ride(n) for n in range(9)]})) == 9
    assert not (tmp_path / "data").exists()
