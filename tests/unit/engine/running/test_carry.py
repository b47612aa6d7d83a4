"""What a worker tells of its watermarks, and that a topology behind it finds nothing late."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from types import SimpleNamespace

import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor import Json, Topology
from processor import functions as F
from processor.cli.verify import verified
from processor.clock import ManualClock
from processor.connectors.partitioner import partition as partition_of
from processor.engine.running.carry import Carry
from processor.model.batch import Result
from processor.model.log import Extent, Output, TopicPartition
from processor.model.watermark import HEADER, Told
from processor.testing import Crash, TestDriver

CLICK = {"user": pl.String, "ts": pl.Datetime("us")}
BEGIN = datetime(2026, 11, 1)


def rekeying(delay="5 minutes"):
    topology = Topology("rekey")
    clicks = topology.read.kafka("clicks", format=Json(CLICK), event_time="ts")
    clicks.with_watermark(delay).write.kafka("by-user", key="user", watermark="carried")
    return topology


def counting(mode="append"):
    topology = Topology("count")
    clicks = topology.read.kafka(
        "by-user", format=Json(CLICK), event_time="ts", partitioned_by="user", watermark="carried"
    )
    counts = clicks.group_by(F.window("ts", "1 minute"), "user").agg(n=F.count())
    counts.write.kafka("counts", key="user", mode=mode)
    return topology


def click(user, second):
    return {"user": user, "ts": (BEGIN + timedelta(seconds=second)).isoformat()}


def us(second):
    return int(((BEGIN - datetime(1970, 1, 1)).total_seconds() + second) * 1e6)


def first(partitions=2, **options):
    return TestDriver(rekeying(), partitions=partitions, **options)


def told(driver, topic="by-user"):
    """By partition: the offsets of records that tell something, and what."""
    found = defaultdict(dict)
    for message in driver.read(topic):
        for name, value in message.headers() or ():
            if name == HEADER:
                found[message.partition()][message.offset()] = Told.parse(value)
    return dict(found)


def test_the_last_record_of_a_batch_in_each_partition_tells_of_all_tasks():
    driver = first()
    users = ["a", "b", "c", "d"]
    assert len({partition_of(user.encode(), 2) for user in users}) == 2
    for number in range(2):
        driver.log.feed("clicks", [orjson.dumps(click(u, 600 + number)) for u in users],
                        partition=number)  # fmt: skip
    driver.run()
    expected = Told("rekey", 2, ("ts",), ((0, us(300)), (1, us(301))))
    ends = {
        p: max(m.offset() for m in driver.read("by-user") if m.partition() == p) for p in (0, 1)
    }
    assert told(driver) == {p: {end: expected} for p, end in ends.items()}


def test_records_lie_where_their_keys_belong_and_in_order():
    driver = first(4)
    rows = [click(f"u{number % 37}", number) for number in range(500)]
    driver.feed(rows)
    driver.run()
    for message in driver.read("by-user"):
        assert message.partition() == partition_of(message.key(), 4)
    by_user = defaultdict(list)
    for message in driver.read("by-user"):
        by_user[message.key()].append(orjson.loads(message.value())["ts"])
    assert sum(map(len, by_user.values())) == 500
    assert all(times == sorted(times) for times in by_user.values())


def test_rows_without_a_key_go_to_one_partition_and_tell_too():
    driver = first()
    driver.feed([click(None, 600), click("a", 601), click(None, 602)])
    driver.run()
    at = {m.offset(): m.key() for m in driver.read("by-user") if m.partition() == 0}
    assert [at[offset] for offset in told(driver)[0]][-1] in (None, b"a")
    assert sum(len(found) for found in told(driver).values()) == len(told(driver))


def test_a_task_that_has_read_nothing_tells_nothing():
    driver = first(2)
    driver.log.feed("clicks", [orjson.dumps(click("a", 600))], partition=1)
    driver.run()
    ((found,),) = [list(by_offset.values()) for by_offset in told(driver).values()]
    assert found == Told("rekey", 2, ("ts",), ((1, us(300)),))


def test_what_a_worker_told_before_is_told_again_with_other_tasks_records():
    driver = first(2)
    driver.log.feed("clicks", [orjson.dumps(click("a", 600))], partition=0)
    driver.run()
    driver.log.feed("clicks", [orjson.dumps(click("a", 900))], partition=1)
    driver.run()
    last = max((o, t) for found in told(driver).values() for o, t in found.items())[1]
    assert last == Told("rekey", 2, ("ts",), ((0, us(300)), (1, us(600))))


def test_windows_that_are_over_tell_of_the_oldest_that_may_come():
    topology = Topology("count")
    clicks = topology.read.kafka(
        "clicks", format=Json(CLICK), event_time="ts", partitioned_by="user"
    ).with_watermark("0 s")
    counts = clicks.group_by(F.window("ts", "1 minute"), "user").agg(n=F.count())
    counts.write.kafka("by-user", key="user", mode="append", watermark="carried")
    driver = TestDriver(topology)
    driver.feed([click("a", 0), click("a", 150)], key="a")
    driver.run()
    ((found,),) = [list(by_offset.values()) for by_offset in told(driver).values()]
    assert found == Told("count", 1, ("window_end", "window_start"), ((0, us(150 - 60)),))


class Described:
    """A log that says how many partitions topics have."""

    def __init__(self, partitions):
        self.partitions, self.asked = partitions, 0

    def describe(self, topics):
        self.asked += 1
        extents = {number: Extent(0, 0) for number in range(self.partitions)}
        return {topic: SimpleNamespace(extents=extents) for topic in topics}


def carried(carry, *outputs):
    task = SimpleNamespace(event_time_max=us(600))
    return list(carry.carried(Result([*outputs]), [], {TopicPartition("clicks", 0): task}))


def test_what_else_a_batch_publishes_is_left_as_it_is():
    """Dead letters, late records and other sinks among it; and headers that records have."""
    other = Output("dead", [b"x", b"y"], [b"k", None], [[("a", b"1")], [("b", b"2")]])
    ours = Output("by-user", [b"1", b"2", b"3"], [b"k"] * 3,
                  [[("a", b"1")], [("b", b"2")], [("c", b"3"), ("d", b"4")]])  # fmt: skip
    found = carried(Carry(rekeying().plan(), Described(1), ManualClock(), 1), other, ours, other)
    value = Told("rekey", 1, ("ts",), ((0, us(300)),)).encode()
    last = Output("by-user", [b"3"], [b"k"], [[("c", b"3"), ("d", b"4"), (HEADER, value)]], 0)
    assert found == [other, other, ours.rows([0, 1], 0), last]


def test_where_keys_lie_is_asked_once_a_membership():
    log, keys = Described(1), [b"a", b"b", b"c", b"d"]
    carry = Carry(rekeying().plan(), log, ManualClock(), 1)

    def places():
        found = carried(carry, Output("by-user", keys, keys))
        return {key: output.partition for output in found for key in output.keys}

    assert places() == dict.fromkeys(keys, 0)
    log.partitions = 2
    assert places() == dict.fromkeys(keys, 0)
    carry.begin()
    assert places() == places() == {key: partition_of(key, 2) for key in keys}
    assert log.asked == 2


@pytest.mark.parametrize("workers", [1, 3])
def test_an_ordered_backlog_that_is_keyed_anew_loses_nothing(workers):
    driver = first(4, workers=workers, batch_records_max=700)
    rows = [click(f"u{number * 7 % 50}", number / 2) for number in range(8_000)]
    for number in range(4):
        driver.log.feed("clicks", [orjson.dumps(row) for row in rows[number::4]], partition=number)
    driver.run()
    counts = TestDriver(
        counting("update"), partitions=4, workers=workers, batch_records_max=900, log=driver.log,
        store=driver.store,
    )  # fmt: skip
    counts.run()
    assert sum(report.late for report in counts.reports) == 0
    last = {(row["user"], row["window_start"]): row["n"] for row in counts.json("counts")}
    assert sum(last.values()) == 8_000
    report = verified(counts.plan, counts.log)
    assert (report.findings, report.recomputed) == ([], 8_000)


MILLIS = {"user": pl.String, "ts": pl.Datetime("ms")}


def test_a_reader_of_coarser_times_finds_none_late():
    writing = TestDriver(rekeying("0 s"), batch_records_max=1)
    times = [(BEGIN + timedelta(microseconds=100 * n)).isoformat() for n in range(50)]
    writing.feed([{"user": "a", "ts": time} for time in times])
    writing.run()
    topology = Topology("read")
    rows = topology.read.kafka("by-user", format=Json(MILLIS), event_time="ts", watermark="carried")
    rows.write.kafka("out")
    reading = TestDriver(topology, log=writing.log)
    reading.run()
    assert len(reading.read("out")) == 50


def test_a_reader_of_another_column_loses_nothing_and_is_told():
    topology = Topology("rekey")
    columns = {"user": pl.String, "ts": pl.Datetime("us"), "rx": pl.Datetime("us")}
    rows = topology.read.kafka("clicks", format=Json(columns), event_time="rx")
    rows.with_watermark("1 minute").write.kafka("by-user", key="user", watermark="carried")
    writing = TestDriver(topology, batch_records_max=3)
    writing.feed([{**click("a", 60 * n), "rx": click("a", 60 * n + 600)["ts"]} for n in range(60)])
    writing.run()
    counts = TestDriver(counting(), log=writing.log)
    counts.run()
    assert sum(report.late for report in counts.reports) == 0
    (note,) = counts.noted
    assert "a watermark of rx, and the event time is ts" in note


def settle(driver):
    """Run it to its end, also where it is killed on the way."""
    for _ in range(9):
        try:
            driver.run()
        except Crash:
            driver.expire()
            driver.restart()
        else:
            return
    raise AssertionError("it never comes to rest")


rows = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 900), st.sampled_from("abcde")),
                max_size=40)  # fmt: skip
steps = ["before:process", "before:produce", "before:commit", "after:commit", "before:stage"]


@settings(max_examples=60, deadline=None)
@given(rows, st.integers(1, 7), st.integers(1, 7), st.lists(st.sampled_from(steps), max_size=3))
def test_whatever_order_and_batches_and_crashes_what_the_first_kept_is_not_late_in_the_second(
    clicks, size, second_size, crashes
):
    driver = first(3, batch_records_max=size)
    for partition, second, user in clicks:
        driver.log.feed("clicks", [orjson.dumps(click(user, second))], partition=partition)
    counts = TestDriver(
        counting(), partitions=3, batch_records_max=second_size, log=driver.log, store=driver.store
    )
    for one in (driver, counts):
        for crash in crashes:
            one.crash_at(crash)
        settle(one)
    latest, kept = {}, 0
    for partition, second, _ in clicks:
        latest[partition] = max(second, latest.get(partition, 0))
        kept += second >= latest[partition] - 300
    assert len(driver.read("by-user")) == kept
    assert sum(report.late for report in counts.reports) == 0
    assert verified(counts.plan, counts.log).findings == []


def own(delay):
    topology = Topology("count")
    clicks = topology.read.kafka(
        "by-user", format=Json(CLICK), event_time="ts", partitioned_by="user"
    ).with_watermark(delay)
    counts = clicks.group_by(F.window("ts", "1 minute"), "user").agg(n=F.count())
    counts.write.kafka("counts", key="user", mode="append")
    return topology


def test_state_lives_through_the_coming_and_going_of_a_carried_watermark():
    driver = TestDriver(own("1 minute"))
    driver.feed([click("a", 100), click("a", 200)], key="a")
    driver.run()
    watermark = us(140)
    for build, delay_us in ((counting, 0), (lambda: own("2 minutes"), 120_000_000)):
        driver.stop()
        driver = TestDriver(build(), log=driver.log, store=driver.store)
        (task,) = driver.run() or driver._workers[0].tasks.values()
        assert task.event_time_max - delay_us == watermark
        (held,) = driver.state().values()
        assert len(held["aggregate-0"]) == 1
    assert sum(row["n"] for row in driver.json("counts")) == 1


def hourly() -> Topology:
    """One that deals its rows out to four partitions, for windows of an hour behind."""
    topology = Topology("hours")
    clicks = topology.read.kafka("clicks", format=Json(CLICK), event_time="ts")
    hours = clicks.with_watermark("0 s").group_by(F.window("ts", "1 hour"), "user")
    hours.agg(n=F.count()).write.kafka("counts")
    return topology


class Stepping:
    """A task of the first stage, carried by hand: a batch for each call."""

    def __init__(self):
        self.clock = ManualClock()
        plan = hourly().stages()[0].plan
        self.topic = plan.sinks[0].topic
        self.carry = Carry(plan, Described(4), self.clock, 1)
        self.partition = TopicPartition("clicks", 0)
        self.time = None

    def batch(self, minute, *, commits=True):
        """The partitions that a batch up to this minute tells, with a block in partition 1."""
        task = SimpleNamespace(event_time_max=self.time)
        slices = [SimpleNamespace(partition=self.partition)]
        result = Result([Output(self.topic, [b"block"], partition=1)])
        result.event_times_max = [us(60 * minute)]
        found = self.carry.carried(result, slices, {self.partition: task})
        if commits:
            self.carry.committed()
            self.time = us(60 * minute)
        told = [o for o in found if any(HEADER in dict(h) for h in o.headers or ())]
        return sorted(o.partition for o in told)


EVERYWHERE = [0, 1, 2, 3]


def test_a_partition_without_rows_is_told_once_a_second_while_no_window_is_over():
    first = Stepping()
    assert first.batch(1) == EVERYWHERE
    assert first.batch(2) == first.batch(3) == [1]
    assert not first.carry.due
    first.clock.advance(0.999)
    assert first.batch(4) == [1]
    first.clock.advance(0.001)
    assert first.carry.due
    assert first.batch(5) == EVERYWHERE
    assert not first.carry.due
    assert not first.carry.pay()


def test_a_window_that_may_be_over_is_told_everywhere_at_once():
    first = Stepping()
    assert first.batch(59) == EVERYWHERE
    assert first.batch(59.5) == [1]
    assert first.batch(60) == EVERYWHERE
    assert first.batch(119) == [1]
    assert first.batch(125) == EVERYWHERE


def test_what_a_batch_tells_that_was_not_committed_is_still_owed():
    first = Stepping()
    first.batch(1)
    assert first.batch(61, commits=False) == EVERYWHERE
    assert first.batch(61, commits=False) == EVERYWHERE
    assert first.batch(61) == EVERYWHERE
    assert first.batch(62) == [1]


def test_a_task_that_was_loaded_owes_what_its_former_owner_may_not_have_told():
    first = Stepping()
    first.batch(1)
    first.carry.loaded([SimpleNamespace(event_time_max=None)])
    assert not first.carry.pay()
    first.carry.loaded([SimpleNamespace(event_time_max=us(60))])
    first.clock.advance(1)
    assert first.carry.due
    assert first.batch(1) == EVERYWHERE


def test_where_a_task_has_no_time_yet_no_window_behind_is_over_and_the_others_wait_a_second():
    first = Stepping()
    other = {TopicPartition("clicks", 1): SimpleNamespace(event_time_max=None)}

    def batch(minute):
        tasks = {first.partition: SimpleNamespace(event_time_max=us(0)), **other}
        result = Result([Output(first.topic, [b"block"], partition=1)])
        result.event_times_max = [us(60 * minute)]
        found = first.carry.carried(result, [SimpleNamespace(partition=first.partition)], tasks)
        first.carry.committed()
        return len(found)

    assert batch(61) == batch(122) == 1
    first.clock.advance(1)
    assert batch(183) == 4


def test_an_owner_that_dies_while_it_owes_leaves_no_window_open():
    driver = TestDriver(hourly(), partitions=2)
    users = [f"u{number}" for number in range(20)]
    for partition in range(2):
        rows = [click(user, 60 * minute) for minute in (1, 2) for user in users]
        driver.feed(rows, partition=partition)
        driver.feed([click("end", 3600 - 1)], partition=partition)
    driver.run()
    for partition in range(2):
        driver.feed([click("end", 3600)], partition=partition)
    while driver.turn():
        pass
    driver.kill()
    driver.expire()
    driver.restart()
    driver.run()
    assert {row["user"] for row in driver.json("counts")} == {*users, "end"}
