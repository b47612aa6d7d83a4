from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from processor import Json, Topology
from processor import functions as F
from processor.cli.verify import verified
from processor.connectors.memory.broker import PartitionLog
from processor.connectors.partitioner import partition
from processor.engine.commit.changelog import Changelog
from processor.engine.commit.newest import DOUBTS
from processor.engine.commit.task import task_name
from processor.engine.offline import reset
from processor.engine.offline.rescale import OVERTAKEN, Rescaled, rescale
from processor.errors import LogError, SettingsError, StateLostError, StateMismatchError
from processor.model.log import Committed, TopicPartition
from processor.model.manifest import Manifest
from processor.state import chain, codec
from processor.testing import Crash, TestDriver
from tests.topologies import stateless, totals, windowed

KEYS = [*(f"k{number}" for number in range(20)), *(f"{'long' * 20}{n}" for n in range(5))]


def record(number: int) -> dict[str, Any]:
    time = f"2024-01-01T{number // 60 % 24:02d}:{number % 60:02d}:00"
    return {"k": KEYS[number % len(KEYS)], "t": time, "n": number}


def feed(driver: TestDriver, numbers: Iterable[int]) -> None:
    for number in numbers:
        driver.feed([record(number)], key=record(number)["k"])


def grow(driver: TestDriver, count: int, topic: str = "rides") -> None:
    """Give the topic more partitions."""
    broker = driver.log._broker
    with broker.changed:
        held = broker.topics[topic]
        held += [PartitionLog(TopicPartition(topic, n)) for n in range(len(held), count)]
        for group in broker.groups.values():
            group.topics_changed(topic)


def begun(topology: Topology, records: int = 200, former: int = 4) -> TestDriver:
    driver = TestDriver(topology, partitions=former)
    feed(driver, range(records))
    driver.run()
    return driver


def raised(driver: TestDriver, count: int = 8, topic: str = "rides") -> TestDriver:
    """Stopped, and the topic has more partitions."""
    driver.stop()
    grow(driver, count, topic)
    return driver


def rebuilt(driver: TestDriver, count: int = 8, **options: Any) -> Rescaled | None:
    return rescale(driver.plan, driver.log, driver.store, count, **options)


def again(driver: TestDriver, topology: Topology, count: int = 8, **options: Any) -> TestDriver:
    return TestDriver(topology, partitions=count, log=driver.log, store=driver.store, **options)


def state(driver: TestDriver) -> list[dict[str, Any]]:
    held = driver.state().values()
    return sorted((row for rows in held for row in rows["aggregate-0"]), key=str)


@pytest.mark.parametrize("more", [0, 100])
def test_state_that_was_dealt_out_anew_is_not_judged_by_its_partitions_records(more: int):
    driver = raised(begun(totals()))
    rebuilt(driver)
    driver = again(driver, totals())
    feed(driver, range(200, 200 + more))
    driver.run()
    with pytest.raises(SettingsError, match="was dealt out anew"):
        verified(driver.plan, driver.log)


def filing(folder: Path) -> Topology:
    topology = Topology("app")
    form = Json({"k": pl.String, "t": pl.Datetime("us"), "n": pl.Int64})
    rows = topology.read.kafka("rides", format=form, event_time="t", partitioned_by="k")
    rows.write.files(folder)
    rows.group_by("k").agg(n=F.count()).write.kafka("out", key="k", mode="update")
    return topology


def died_with_a_file(folder: Path) -> TestDriver:
    """Killed between a commit and the name of its file."""
    driver = begun(filing(folder), 100, 2)
    feed(driver, range(100, 200))
    driver.crash_at("after:commit")
    with pytest.raises(Crash):
        driver.run()
    driver.expire()
    return driver


def test_files_that_are_committed_and_have_no_name_yet_get_theirs(tmp_path: Path):
    driver = died_with_a_file(tmp_path)
    grow(driver, 5)
    assert rebuilt(driver, 5) is not None
    after = again(driver, filing(tmp_path), 5)
    feed(after, range(200, 300))
    after.run()
    assert sorted(row["n"] for row in after.files(tmp_path)) == [*range(300)]


def test_a_partition_that_was_reset_before_keeps_its_next_life_and_what_it_owes(tmp_path: Path):
    driver = died_with_a_file(tmp_path)
    lives = {Manifest.parse(head.metadata).life for head in driver.committed().values()}
    grow(driver, 3)
    reset.reset(
        reset.resets(driver.plans, driver.log, driver.store, "latest", [0]),
        driver.log, driver.store,
    )  # fmt: skip
    assert rebuilt(driver, 3) is not None
    after = again(driver, filing(tmp_path), 3)
    after.run()
    assert sorted(row["n"] for row in after.files(tmp_path)) == [*range(200)]
    heads = [Manifest.parse(head.metadata) for head in after.committed().values()]
    assert {head.life for head in heads} == {max(lives) + 1}


def test_what_a_stage_has_handed_on_and_its_topics_own_name_are_kept():
    topology = Topology("app")
    form = Json({"k": pl.String, "t": pl.Datetime("us"), "n": pl.Int64})
    rows = topology.read.kafka("rides", format=form, event_time="t", partitioned_by="k")
    rows.group_by("k").agg(n=F.count()).write.kafka("out", key="k", mode="update")
    rows.group_by("n").agg(n_of=F.count()).write.kafka("other", key="n", mode="update")
    driver = begun(topology)

    def told() -> set[tuple[Any, ...]]:
        heads = driver.log.committed("app", "rides").values()
        found = [Manifest.parse(head.metadata) for head in heads]
        return {(m.stages, m.log, m.life, m.plan, m.partitions == m.begun) for m in found}

    before = told()
    assert rebuilt(raised(driver)) is not None
    ((stages, log, life, plan, whole),) = told()
    assert {(stages, log, life, plan)} == {each[:4] for each in before}
    assert len(stages) == 1
    assert whole


@pytest.mark.parametrize(("former", "count"), [(4, 8), (4, 6), (1, 3)])
def test_state_is_dealt_out_by_key_and_counting_goes_on(former: int, count: int):
    driver = raised(begun(totals(), former=former), count)
    assert rebuilt(driver, count) == Rescaled(former, count, len(KEYS))
    after = again(driver, totals(), count)
    feed(after, range(200, 400))
    after.run()
    assert state(after) == state(begun(totals(), 400))
    for where, operators in after.state().items():
        for row in operators["aggregate-0"]:
            assert partition(row["k"].encode(), count) == where.partition
    assert rebuilt(after, count) is None


@pytest.mark.parametrize("counts", [(3, 4, 5), (2, 8, 12, 13)])
def test_a_topic_may_be_given_more_partitions_again_and_again(counts: tuple[int, ...]):
    driver = begun(totals(), 100, counts[0])
    for former, count in itertools.pairwise(counts):
        assert rebuilt(raised(driver, count), count) == Rescaled(former, count, len(KEYS))
        driver = again(driver, totals(), count)
        feed(driver, range(count * 100, count * 100 + 100))
        driver.run()
    numbers = [*range(100), *(n for c in counts[1:] for n in range(c * 100, c * 100 + 100))]
    newest = {row["k"]: row["total"] for row in sorted(driver.json("out"), key=lambda r: r["n"])}
    assert sum(newest.values()) == sum(numbers)


def test_a_record_that_no_former_number_puts_where_it_lies_is_refused_the_second_time_too():
    driver = raised(begun(totals(), former=3), 4)
    rebuilt(driver, 4)
    driver = again(driver, totals(), 4)
    key = next(k for k in KEYS if {partition(k.encode(), n) for n in (3, 4)} == {0})
    driver.feed([record(KEYS.index(key))], key=key, partition=2)
    driver.run()
    raised(driver, 5)
    with pytest.raises(StateMismatchError, match="belongs to partition 0 of 4"):
        rebuilt(driver, 5)


def test_without_the_choice_it_is_refused_by_name():
    driver = again(raised(begun(totals())), totals())
    before = driver.committed()
    with pytest.raises(
        StateMismatchError, match="has 8 partitions, the state was written with 4"
    ) as e:
        driver.run()
    assert "--on-partitions-raised rebuild" in e.value.remedy
    assert {p: head for p, head in driver.committed().items() if p in before} == before


def test_what_the_state_was_written_with_is_not_asked_again():
    driver = again(raised(begun(totals())), totals())
    driver._workers[0]._checkpointer.newest._doubts = DOUBTS
    with pytest.raises(StateMismatchError, match="has 8 partitions, the state was written with 4"):
        driver.turn()


def test_a_worker_that_is_given_added_partitions_only_does_not_begin_to_count_in_them():
    driver = raised(begun(totals()))
    others = [TopicPartition("rides", n) for n in range(4, 8)]
    feed(driver, range(200, 300))
    worker = again(driver, totals())._workers[0]
    worker._batcher.poll()
    with pytest.raises(StateMismatchError, match="written with 4"):
        worker._recovery.load(others)
    assert not set(driver.committed()) & set(others)


def test_partitions_that_are_added_while_the_worker_runs_stop_it():
    driver = begun(totals())
    grow(driver, 8)
    with pytest.raises(StateMismatchError, match="was given more"):
        driver.run()


@pytest.mark.parametrize("restarted", [True, False])
def test_without_state_added_partitions_are_read_from_their_beginning(restarted: bool):
    driver = TestDriver(stateless(), partitions=4)
    feed(driver, range(50))
    driver.run()
    if restarted:
        driver = again(raised(driver), stateless())
    else:
        grow(driver, 8)
    for worker in driver._workers.values():
        identity = worker._recovery._identity
        worker._recovery._identity = type(identity)(
            identity.app, identity.transactional_id, identity.fingerprint, identity.partitions,
            "latest", identity.layout,
        )  # fmt: skip
    feed(driver, range(50, 100))
    driver.run()
    assert len(driver.values("out")) == 100


def test_records_that_were_not_read_before_the_raise_are_refused():
    driver = begun(totals())
    feed(driver, range(200, 250))
    raised(driver)
    before = driver.committed()
    with pytest.raises(StateMismatchError, match="is not read yet"):
        rebuilt(driver)
    assert driver.committed() == before
    assert "copy the input" in _remedy(driver)


def _remedy(driver: TestDriver) -> str:
    with pytest.raises(StateMismatchError) as caught:
        rebuilt(driver)
    return caught.value.remedy


def test_another_writers_rule_is_refused():
    driver = TestDriver(totals(), partitions=2)
    for number in range(50):
        driver.feed([record(number)], key=record(number)["k"], partition=number % len(KEYS) % 2)
    driver.run()
    with pytest.raises(StateMismatchError, match="by another rule than murmur2"):
        rebuilt(raised(driver))


def test_records_with_other_keys_than_their_column_are_refused():
    driver = TestDriver(totals(), partitions=1)
    driver.feed([record(0)], key="other")
    driver.run()
    with pytest.raises(StateMismatchError, match="has the key b'other', its k is b'k0'"):
        rebuilt(raised(driver, 2), 2)


def test_state_that_lies_elsewhere_is_refused_whatever_its_records_said():
    driver = TestDriver(totals(), partitions=2)
    key = next(key for key in KEYS if partition(key.encode(), 2) == 1)
    driver.feed([{**record(0), "k": key}], key=key, partition=0)
    feed(driver, range(50))
    driver.run()
    driver.log.trim(TopicPartition("rides", 0), 1)
    with pytest.raises(StateMismatchError, match="a group of state with the key"):
        rebuilt(raised(driver))


def test_an_application_that_has_read_nothing_goes_on_with_more_partitions():
    driver = raised(begun(totals(), 0))
    assert rebuilt(driver) == Rescaled(4, 8, 0)
    after = again(driver, totals())
    feed(after, range(100))
    after.run()
    assert state(after) == state(begun(totals(), 100))


def headed(driver: TestDriver, number: int, epoch: int) -> None:
    """Somebody has committed a position of an added partition."""
    manifest = Manifest.parse(driver.committed()[TopicPartition("rides", 0)].metadata)
    head = Committed(0, str(replace(manifest, epoch=epoch, partitions=8)))
    driver.log.reset("totals", {TopicPartition("rides", number): head})


def test_added_partitions_that_were_begun_with_nothing_are_dealt_to():
    driver = raised(begun(totals()))
    headed(driver, 5, 0)
    assert rebuilt(driver) == Rescaled(4, 8, len(KEYS))


def test_state_of_both_counts_is_refused():
    driver = raised(begun(totals()))
    headed(driver, 5, 1)
    with pytest.raises(StateMismatchError, match="with 4, 8 partitions, the topic has 8"):
        rebuilt(driver)


def moving(former: int, count: int) -> dict[str, Any]:
    """A record whose key moves when the count is raised."""
    return next(
        record(n)
        for n in range(99)
        if partition(record(n)["k"].encode(), former) != partition(record(n)["k"].encode(), count)
    )


def test_the_first_record_belongs_where_it_did_once_it_was_read_and_where_it_does_until_then():
    ride = moving(1, 2)
    driver = TestDriver(totals(), partitions=1)
    driver.feed([ride], key=ride["k"])
    driver.run()
    assert rebuilt(raised(driver, 2), 2) == Rescaled(1, 2, 1)
    driver = begun(totals(), 0, former=1)
    driver.feed([ride], key=ride["k"])
    with pytest.raises(StateMismatchError, match="the record at offset 0 with the key"):
        rebuilt(raised(driver, 2), 2)


def test_what_is_dealt_out_is_in_snapshots_and_the_deltas_behind_them_hold_nothing():
    driver = raised(begun(totals()))
    rebuilt(driver)
    rows = 0
    for where, head in driver.committed().items():
        task, manifest = task_name("totals", where), Manifest.parse(head.metadata)
        key = chain.delta_key(manifest.epoch, manifest.attempt)
        _, states = codec.decode(driver.store.load(task, [key])[0] or b"")
        assert [len(part.words) for part in states.values()] == [0]
        loaded = chain.load(task, manifest, partial(driver.store.load, task)).states
        rows += sum(len(part.words) for states in loaded for part in states.values())
    assert rows == len(KEYS)


def test_state_without_a_record_to_see_its_keys_by_is_refused():
    driver = raised(begun(totals(), former=1))
    driver.log.trim(TopicPartition("rides", 0), 200)
    with pytest.raises(StateMismatchError, match="no record by which to see"):
        rebuilt(driver)


def test_a_live_group_is_refused():
    driver = begun(totals())
    grow(driver, 8)
    with pytest.raises(LogError, match="is at work"):
        rebuilt(driver)


STEPS = ("before:idle", "before:rescale", "after:deal", "before:reset")


def at(step: str, do: Callable[[], None]) -> Callable[[str], None]:
    """A probe that does something the first time that a step is passed."""
    left = [do]

    def probe(passed: str) -> None:
        if passed == step and left:
            left.pop()()

    return probe


@pytest.mark.parametrize("stays", [True, False], ids=["its workers run", "its workers are gone"])
@pytest.mark.parametrize("step", STEPS)
def test_of_two_that_are_started_at_once_one_deals_out_and_the_other_goes_on(step, stays):
    driver = raised(begun(totals()))
    others: list[TestDriver] = []
    notes: list[str] = []

    def meanwhile() -> None:
        assert rebuilt(driver) == Rescaled(4, 8, len(KEYS))
        other = again(driver, totals())
        feed(other, range(200, 300))
        other.run()
        others.append(other)
        if not stays:
            other.stop()

    # The second is held up at the step, and wakes when the first has done all this.
    assert rebuilt(driver, probe=at(step, meanwhile), note=notes.append) is None
    assert notes == [OVERTAKEN]
    (other,) = others
    known = other.committed()
    if stays:
        other.stop()
    after = again(driver, totals())
    assert after.committed() == known
    feed(after, range(300, 400))
    after.run()
    assert state(after) == state(begun(totals(), 400))
    # Nothing was published twice: each record made one update.
    assert len(after.json("out")) == len({(row["k"], row["n"]) for row in after.json("out")})


def test_who_finds_the_first_one_just_done_goes_on_too():
    driver = raised(begun(totals()))
    assert rebuilt(driver) == Rescaled(4, 8, len(KEYS))
    other = again(driver, totals())  # a live member of the group
    notes: list[str] = []
    assert rebuilt(other, note=notes.append) is None
    assert notes == []


def test_checkpoints_that_are_gone_because_another_dealt_them_out_are_no_loss():
    driver = raised(begun(totals()))

    def meanwhile() -> None:
        rebuilt(driver)
        driver.store.lose()

    assert rebuilt(driver, probe=at("before:idle", meanwhile)) is None


def test_fewer_partitions_are_refused():
    driver = begun(totals())
    driver.stop()
    with pytest.raises(StateMismatchError, match="cannot be rebuilt"):
        rebuilt(driver, 2)


def test_a_changed_topology_is_not_rebuilt_at_the_same_time():
    driver = raised(begun(totals()))
    with pytest.raises(StateMismatchError, match="both the topology and the partition count"):
        rescale(again(driver, windowed("totals")).plan, driver.log, driver.store, 8)


def test_a_missing_checkpoint_is_named():
    driver = raised(begun(totals()))
    driver.store.lose()
    with pytest.raises(StateLostError) as caught:
        rebuilt(driver)
    assert "rebuild" not in caught.value.remedy
    assert "processor reset" in caught.value.remedy


KEY = Json({"shop": pl.String, "user": pl.Int64}, optional=frozenset({"shop", "user"}))


def by_format(prefix: str = "") -> Topology:
    topology = Topology("formatted")
    names = [f"{prefix}shop", f"{prefix}user"]
    rows = topology.read.kafka(
        "rides", format=Json({"n": pl.Int64}), key_format=KEY, key_prefix=prefix,
        partitioned_by=names,
    )  # fmt: skip
    totals = rows.group_by(*names).agg(n=F.sum("n"))
    totals.write.kafka("out", key=names, key_format=Json(), mode="update")
    return topology


def keyed(driver: TestDriver, numbers: Iterable[int], key: str) -> None:
    for number in numbers:
        driver.feed([{"n": number}], key=key % (number % 5, number % 7))


@pytest.mark.parametrize("prefix", ["", "key_"])
def test_state_by_keys_of_a_format_is_dealt_out_by_their_bytes(prefix: str):
    key = '{"shop":"s%d","user":%d}'
    driver = TestDriver(by_format(prefix), partitions=4)
    keyed(driver, range(100), key)
    driver.feed([{"n": 1}], partition=0)
    driver.run()
    assert rebuilt(raised(driver)) == Rescaled(4, 8, 36)
    driver = again(driver, by_format(prefix))
    keyed(driver, range(100, 200), key)
    driver.run()
    shop, user = f"{prefix}shop", f"{prefix}user"
    sums = {(row[shop], row[user]): row["n"] for row in state(driver)}
    expected = {
        (f"s{s}", u): sum(n for n in range(200) if (n % 5, n % 7) == (s, u))
        for s in range(5)
        for u in range(7)
    }
    assert sums == expected | {(None, None): 1}
    for place, rows in driver.state().items():
        for row in rows["aggregate-0"]:
            if row[shop] is not None:
                assert (
                    partition((key % (int(row[shop][1:]), row[user])).encode(), 8)
                    == place.partition
                )


def test_keys_that_their_format_writes_otherwise_are_refused():
    driver = TestDriver(by_format(), partitions=4)
    keyed(driver, range(100), '{"shop": "s%d", "user": %d}')
    driver.run()
    with pytest.raises(StateMismatchError, match="belongs to partition"):
        rebuilt(raised(driver))


def test_keys_of_several_columns_are_refused():
    topology = Topology("two")
    form = Json({"k": pl.String, "n": pl.Int64})
    rows = topology.read.kafka("rides", format=form, partitioned_by=("k", "n"))
    rows.group_by("k", "n").agg(c=F.count()).write.kafka("out", mode="update")
    with pytest.raises(StateMismatchError, match="is not known"):
        rebuilt(raised(begun(topology)))


@pytest.mark.parametrize("step", ["before:rescale", "after:deal"])
def test_killed_before_the_commit_nothing_has_changed(step: str):
    driver = raised(begun(totals()))
    before = driver.committed()

    def probe(at: str) -> None:
        if at == step:
            raise Crash(at)

    with pytest.raises(Crash):
        rebuilt(driver, probe=probe)
    assert driver.committed() == before
    assert rebuilt(driver) == Rescaled(4, 8, len(KEYS))
    after = again(driver, totals())
    feed(after, range(200, 300))
    after.run()
    assert state(after) == state(begun(totals(), 300))


def test_open_windows_are_dealt_out_and_closed_ones_stay_closed():
    topology = windowed(mode="append", delay="0 s")
    driver = raised(begun(topology, 330))
    rebuilt(driver)
    heads = driver.committed().values()
    last = int(datetime.fromisoformat(record(329)["t"] + "+00:00").timestamp()) * 1_000_000
    assert {Manifest.parse(head.metadata).event_time_max for head in heads} == {last}
    after = again(driver, topology)
    feed(after, range(330, 480))
    after.run()
    told = [(row["window_start"], row["k"]) for row in after.json("out")]
    assert len(set(told)) == len(told)
    assert len(told) > 100


def test_with_a_changelog_the_rebuilt_state_is_in_it_too():
    driver = TestDriver(totals(), partitions=4, on_checkpoint_loss="changelog")
    feed(driver, range(200))
    driver.run()
    raised(driver)
    topic = Changelog(driver.log, "totals", 0.0)
    grow(driver, 8, topic.topic)
    rebuilt(driver, changelog=topic)
    driver.store.lose()
    after = again(driver, totals(), on_checkpoint_loss="changelog")
    feed(after, range(200, 300))
    after.run()
    assert {event.how for event in after.healed} == {"changelog"}
    assert state(after) == state(begun(totals(), 300))


def test_what_the_store_has_lost_is_dealt_out_from_the_changelog():
    """Found by an oracle: the remedies of the loss and of the raise led to each other."""
    driver = TestDriver(totals(), partitions=4, on_checkpoint_loss="changelog")
    feed(driver, range(200))
    driver.run()
    raised(driver)
    driver.store.lose()
    topic = Changelog(driver.log, "totals", 0.0)
    grow(driver, 8, topic.topic)
    rebuilt(driver, changelog=topic)
    after = again(driver, totals(), on_checkpoint_loss="changelog")
    feed(after, range(200, 300))
    after.run()
    assert state(after) == state(begun(totals(), 300))


def test_what_was_rebuilt_is_whole_in_the_changelog_and_can_be_dealt_out_once_more():
    driver = TestDriver(totals(), partitions=4, on_checkpoint_loss="changelog")
    feed(driver, range(200))
    driver.run()
    raised(driver)
    topic = Changelog(driver.log, "totals", 0.0)
    grow(driver, 8, topic.topic)
    rebuilt(driver, changelog=topic)
    for where, head in driver.committed().items():
        driver.log.trim(where, head.offset)  # written by the first count
    after = again(driver, totals(), on_checkpoint_loss="changelog")
    feed(after, range(200, 300))
    after.run()
    raised(after, 16)
    grow(after, 16, topic.topic)
    after.store.lose()
    assert rebuilt(after, 16, changelog=topic) == Rescaled(8, 16, len(KEYS))
    last = again(after, totals(), 16, on_checkpoint_loss="changelog")
    feed(last, range(300, 400))
    last.run()
    assert state(last) == state(begun(totals(), 400))


def test_groups_of_a_writer_that_carries_the_watermark_are_not_dealt_out():
    topology = Topology("told")
    form = Json({"k": pl.String, "ts": pl.Datetime("us")})
    rows = topology.read.kafka("rides", format=form, event_time="ts", partitioned_by="k")
    groups = rows.with_watermark("1m").group_by(F.window("ts", "1m"), "k").agg(n=F.count())
    groups.write.kafka("out", key="k", watermark="carried")
    driver = TestDriver(topology, partitions=2)
    driver.feed([{"k": "a", "ts": "2026-08-01T12:00:00"}], key="a")
    driver.run()
    raised(driver, 4)
    before = driver.committed()
    with pytest.raises(StateMismatchError, match="would be late for who reads them"):
        rebuilt(driver, 4)
    assert driver.committed() == before
    with pytest.raises(StateMismatchError, match="keys now lie elsewhere") as told:
        again(driver, topology, 4).run()
    assert "state is not dealt out anew" in told.value.remedy


def test_what_partitions_have_heard_of_their_writers_is_not_dealt_out():
    topology = Topology("heard")
    form = Json({"k": pl.String, "ts": pl.Datetime("us")})
    rows = topology.read.kafka(
        "rides", format=form, event_time="ts", partitioned_by="k", watermark="carried"
    )
    rows.group_by("k").agg(n=F.count()).write.kafka("out", key="k", mode="update")
    driver = TestDriver(topology, partitions=2)
    driver.feed([{"k": "a", "ts": "2026-08-01T12:00:00"}], key="a")
    driver.run()
    raised(driver, 4)
    before = driver.committed()
    with pytest.raises(StateMismatchError, match="heard of its writers"):
        rebuilt(driver, 4)
    assert driver.committed() == before
    with pytest.raises(StateMismatchError, match="keys now lie elsewhere") as told:
        again(driver, topology, 4).run()
    assert "state is not dealt out anew" in told.value.remedy


def test_windows_that_slide_are_not_dealt_out_from_watermarks_that_differ():
    def slid(mode: str) -> Topology:
        app = Topology("slid")
        form = Json({"t": pl.Datetime("us"), "k": pl.String, "n": pl.Int64})
        rows = app.read.kafka("rides", format=form, event_time="t", partitioned_by="k")
        rows.with_watermark("0 s").group_by(F.window("t", "1 hour", "10 minutes"), "k").agg(
            c=F.count()
        ).write.kafka("out", key="k", mode=mode)  # type: ignore[arg-type]
        return app

    with pytest.raises(StateMismatchError, match="windows that slide are published once"):
        rebuilt(raised(begun(slid("append"), 330)))
    assert rebuilt(raised(begun(slid("update"), 330))) is not None
