"""Feeds in a run: beside workers, before them where the input is bounded, and what ends it."""

from __future__ import annotations

import threading

import polars as pl
import pytest

from processor import Csv, Json, QueryError, Queue, Topology, TopologyError, collect
from processor import functions as F
from processor.app.topics import prepare_topics
from processor.connectors.memory.log import MemoryLog
from processor.errors import FeedError, SettingsError
from processor.settings import load
from tests.feeding import COLUMNS, copying, put, text_of

ROW = Json({"user": pl.String, "n": pl.Int64})


def totals(queue: Queue) -> Topology:
    topology = Topology("app")
    rows = topology.read.queue(queue, format=ROW)
    rows.group_by("user").agg(n=F.sum("n")).write.kafka("out", key="user", mode="update")
    return topology


def test_what_is_put_into_a_queue_while_it_runs_is_counted():
    queue, counted = Queue(), threading.Event()
    seen = []

    def told(report):
        seen.append((report.topology, report.records_in))
        if sum(n for app, n in seen if app == "app") == 3:
            counted.set()

    with totals(queue).start(on_progress=told, workers=2) as query:
        queue.put([{"user": "ann", "n": 1}, {"user": "bob", "n": 2}])
        queue.put([{"user": "ann", "n": 3}])
        assert counted.wait(30), seen
        assert query.is_active
    assert len(queue) == 0


def test_a_bounded_run_takes_what_is_there_and_ends(tmp_path):
    for number in range(5):
        put(tmp_path, f"{number}.csv", text_of([(f"u{number}", number)]), number)
    rows = collect(copying(tmp_path, clean_source="delete", partitions=2))
    assert sorted(rows["n"].to_list()) == [0, 1, 2, 3, 4]
    # Nothing was committed, and so nothing is cleared away.
    assert len(list(tmp_path.iterdir())) == 5
    with copying(tmp_path, clean_source="delete").start(until_caught_up=True) as query:
        assert query.await_termination(60)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_gives_no_rows(tmp_path):
    assert collect(copying(tmp_path)).height == 0


def test_records_that_are_fed_by_hand_take_the_place_of_the_files(tmp_path):
    put(tmp_path, "a.csv", text_of([("x", 1)]))
    rows = collect(copying(tmp_path, file=None), feed={"app.in": ["ann,5"]})
    assert rows.rows() == [("ann", 5)]


def test_a_feed_that_fails_ends_the_query_by_name(tmp_path):
    put(tmp_path, "a.csv", b"other,header\n")
    topology = copying(tmp_path, on_error="fail")
    for options in ({}, {"until_caught_up": True}):
        query = topology.start(**options)
        with pytest.raises(QueryError, match=r"a.csv: it begins with") as caught:
            query.await_termination(60)
        assert isinstance(caught.value.__cause__, FeedError)


def test_a_folder_that_is_away_is_told_of_until_it_is_there(tmp_path):
    def says(query, true):
        while not true(query.status.message):
            assert query.await_termination(0.05) is False

    folder, seen = tmp_path / "late", threading.Event()
    with copying(folder).start(on_progress=lambda _: seen.set()) as query:
        says(query, lambda told: f"the feed in cannot go on: {folder}: No such file" in told)
        folder.mkdir()
        put(folder, "a.csv", text_of([("x", 1)]))
        assert seen.wait(60)
        says(query, lambda told: not told)


def test_what_has_no_end_cannot_be_run_to_its_end():
    for name, read in (
        ("socket", lambda read: read.socket("localhost", 1)), ("rate", lambda read: read.rate(5)),
    ):  # fmt: skip
        topology = Topology("app")
        read(topology.read).write.kafka("out")
        with pytest.raises(QueryError, match=f"a {name} has no end") as caught:
            collect(topology)
        assert isinstance(caught.value.__cause__, SettingsError)
    assert collect(
        topology, feed={"app.rate": ['{"timestamp":"2026-01-01T00:00:00","value":1}']}
    ).height


def test_topics_of_a_feed_are_made_without_being_asked_for_and_have_its_partitions(tmp_path):
    log = MemoryLog()
    plans = [copying(tmp_path, partitions=3).plan()]
    settings = load(None, python=True)
    assert prepare_topics(log, plans, settings) == {"app": 3}
    told = log.describe(["app.in", "app.feed-in"])
    assert [len(told[name].extents) for name in ("app.in", "app.feed-in")] == [3, 3]
    with pytest.raises(SettingsError, match=r"app.in has 3 partitions, and the feed 1"):
        prepare_topics(log, [copying(tmp_path).plan()], settings)


def test_feeds_can_be_united_and_each_has_a_stage(tmp_path):
    put(tmp_path, "a.csv", text_of([("ann", 1)]))
    queue = Queue()
    queue.put([{"user": "ann", "n": 2}])
    topology = Topology("app")
    files = topology.read.files(tmp_path, format=Csv(COLUMNS, header=True), name="in")
    both = files.union(topology.read.queue(queue, format=ROW))
    both.group_by("user").agg(n=F.sum("n")).write.kafka("out", key="user", mode="update")
    assert [stage.plan.app for stage in topology.stages()] == ["app", "app.queue", "app.by-user"]
    assert collect(topology).rows() == [("ann", 3)]


def test_two_feeds_of_one_name_are_refused(tmp_path):
    topology = Topology("app")
    topology.read.queue(Queue(), format=ROW)
    with pytest.raises(TopologyError, match="called 'queue' already") as caught:
        topology.read.queue(Queue(), format=ROW)
    assert 'name="..."' in caught.value.remedy
