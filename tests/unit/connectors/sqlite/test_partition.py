"""The log on disk does what the one in memory does, whatever is done to it; and after a kill."""

from __future__ import annotations

import random
import shutil

import pytest

from processor.clock import ManualClock
from processor.connectors.memory.group import MemberToken
from processor.connectors.memory.log import MemoryLog
from processor.connectors.sqlite import partition
from processor.connectors.sqlite.log import SqliteLog
from processor.model.log import Committed, Membership, Output, TopicPartition

TPS = [TopicPartition("t", 0), TopicPartition("t", 1)]
NOBODY = Membership(-1, frozenset(), MemberToken("g", "", 0))


def told(messages):
    return [
        (m.partition(), m.offset(), m.key(), m.value(), m.timestamp(), m.headers())
        for m in messages
    ]


def committed(log):
    """All that can be seen of a log by those who read what is committed."""
    return (
        told(log.read("t")),
        log.committed("g", "t", stable=False),
        {tp: log.describe(["t"])["t"].extents[tp.partition].low for tp in TPS},
        log.identity("t")(),
    )


class Writer:
    """Does the same to several logs, in an order that a seed gives."""

    def __init__(self, seed, *logs):
        self.random = random.Random(seed)
        self.logs = logs
        self.open = set()
        self.producers = {}
        self.clock = 1_000

    def producer(self, log, name):
        if (id(log), name) not in self.producers:
            made = self.producers[id(log), name] = log.producer(name)
            made.start(0)
        return self.producers[id(log), name]

    def output(self):
        pick = self.random
        count = pick.choice([1, 2, 5, 70])
        values = [
            pick.choice([None, b"", pick.randbytes(pick.randrange(30))]) for _ in range(count)
        ]
        return Output(
            "t", values,
            pick.choice([None, [b"%d" % pick.randrange(9) for _ in values]]),
            pick.choice([None, [[("h", pick.choice([None, b"\xff"]))] for _ in values]]),
            pick.choice([None, 0, 1]),
            pick.choice([None, [self.clock + pick.randrange(-50, 50) for _ in values]]),
        )  # fmt: skip

    def step(self):
        name, kind = self.random.choice("abc"), self.random.random()
        self.clock += 10
        if kind < 0.15:
            output = self.output()
            self.each(lambda log: self.producer(log, None).produce(output))
        elif kind < 0.2:
            tp, low = self.random.choice(TPS), self.random.randrange(400)
            self.each(
                lambda log: log.trim(
                    tp, min(low, log.describe(["t"])["t"].extents[tp.partition].high)
                )
            )
        elif name not in self.open:
            self.open.add(name)
            self.each(lambda log: self.producer(log, name).begin())
        elif kind < 0.7:
            output = self.output()
            self.each(lambda log: self.producer(log, name).produce(output))
        elif kind < 0.8:
            at = {self.random.choice(TPS): Committed(self.clock, f"at {self.clock}")}
            self.each(lambda log: self.producer(log, name).send_offsets(at, NOBODY, 0))
        else:
            self.open.remove(name)
            end = "commit" if kind < 0.93 else "abort"
            self.each(lambda log: getattr(self.producer(log, name), end)(0))

    def each(self, do):
        for log in self.logs:
            do(log)


def same(one, other, pick):
    """The two give the same to all who ask."""
    assert one.describe(["t"]) == other.describe(["t"])
    assert told(one.read("t")) == told(other.read("t"))
    assert one.look(["t"], TPS, 0) == other.look(["t"], TPS, 0)
    assert one.committed("g", "t", stable=False) == other.committed("g", "t", stable=False)
    ms = pick.randrange(900, 4000)
    assert one.offsets_at("t", ms) == other.offsets_at("t", ms)
    for tp in TPS:
        low, high = one.describe(["t"])["t"].extents[tp.partition]
        start, end = pick.randint(low, max(low, high)), pick.randint(low, high + 20)
        for whole in (True, False):
            runs = [log.scan(tp, start, end, committed=whole) for log in (one, other)]
            first, second = ([m for run in each for m in run] for each in runs)
            assert told(first) == told(second)
        first, second = (log._broker.partition(tp).read(start, 3) for log in (one, other))
        assert (told(first[0]), first[1]) == (told(second[0]), second[1])


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("bytes_read", [1, 60, partition.BYTES_READ])
def test_it_is_the_log_in_memory_whatever_is_done(tmp_path, monkeypatch, seed, bytes_read):
    clock = ManualClock(1_000)
    memory, disk = MemoryLog(clock), SqliteLog(tmp_path / "data", clock)
    for log in (memory, disk):
        log.create({"t": 2})
    # A reading of fewer bytes ends sooner, and is gone on with.
    check = same if bytes_read == partition.BYTES_READ else lasting
    monkeypatch.setattr(partition, "BYTES_READ", bytes_read)
    writer = Writer(seed, memory, disk)
    for number in range(120):
        writer.step()
        if number % 6 == 0:
            check(memory, disk, writer.random)
    disk.close()


def lasting(one, other, pick):
    """As `same`, of what is read piece by piece."""
    assert told(one.read("t")) == told(other.read("t"))
    for tp in TPS:
        low, high = one.describe(["t"])["t"].extents[tp.partition]
        for whole in (True, False):
            runs = [log.scan(tp, low, high + 20, committed=whole) for log in (one, other)]
            first, second = ([m for run in each for m in run] for each in runs)
            assert told(first) == told(second)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_committed_is_there_after_a_kill_at_any_time_and_nothing_else(tmp_path, seed):
    log = SqliteLog(tmp_path / "data", ManualClock(1_000))
    log.create({"t": 2})
    writer = Writer(seed, log)
    for _ in range(writer.random.randrange(100)):
        writer.step()
    killed = shutil.copytree(tmp_path / "data", tmp_path / "killed")
    log.expire()  # what was open is over: it holds nothing back any more
    again = SqliteLog(killed, ManualClock(1_000))
    assert committed(again) == committed(log)
    again.close()
    log.close()


def test_an_offset_that_was_seen_is_never_given_again(tmp_path):
    log = SqliteLog(tmp_path / "data")
    log.create({"t": 1})
    log.feed("t", [b"0", b"1"])
    producer = log.producer("p")
    producer.start(0)
    producer.begin()
    producer.produce(Output("t", [b"2"]))
    producer.abort(0)
    log.reset("g", {TPS[0]: Committed(4, "behind the mark")})
    log.close()
    again = SqliteLog(tmp_path / "data")
    assert again.describe(["t"])["t"].extents[0] == (0, 4)
    assert again.committed("g", "t") == {TPS[0]: Committed(4, "behind the mark")}
    again.feed("t", [b"4"])
    assert [(m.offset(), m.value()) for m in again.read("t")] == [(0, b"0"), (1, b"1"), (4, b"4")]
    again.close()


def test_a_topic_that_is_made_anew_has_nothing_of_the_former_one(tmp_path):
    log = SqliteLog(tmp_path / "data")
    log.create({"t": 2, "other": 1})
    log.feed("t", [b"old"], partition=1)
    log.feed("other", [b"stays"])
    before = log.identity("t")()
    log.make_anew("t")
    log.close()
    again = SqliteLog(tmp_path / "data")
    assert again.identity("t")() != before
    assert again.read("t") == []
    assert [m.value() for m in again.read("other")] == [b"stays"]
    assert len(again.describe(["t"])["t"].extents) == 2
    again.close()
