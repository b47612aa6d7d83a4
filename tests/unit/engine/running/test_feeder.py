"""What feeds outside the log into a topic: its place, its notes, and who may go on."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from processor import Csv, Json, Queue, Text, Topology
from processor.clock import ManualClock
from processor.connectors.memory.log import MemoryLog
from processor.connectors.memory.store import MemoryStore
from processor.engine.commit.protocol import Verdict
from processor.engine.offline.reset import reset, resets
from processor.engine.running import fed as fed_module
from processor.engine.running.feeder import Feeder
from processor.engine.running.options import Options
from processor.errors import (
    FeedError,
    InputLostError,
    InputReplacedError,
    RetriableError,
    SettingsError,
    StateMismatchError,
)
from processor.model.log import TopicPartition
from processor.model.manifest import Manifest
from processor.testing import Crash, TestDriver
from tests.feeding import COLUMNS, FEEDER, copying, put, rows_of, text_of

ONE = TopicPartition("app.in", 0)
LEDGER = "app.feed-in"


def place(driver: TestDriver, topic: str = "app.in", group: str = LEDGER):
    head = driver.log.committed(group, topic)[TopicPartition(topic, 0)]
    return json.loads(Manifest.parse(head.metadata).place)


def ledger(driver: TestDriver) -> list[dict]:
    return [json.loads(value) for value in driver.values(LEDGER)]


def filled(folder: Path, count: int, rows: int = 2) -> list[tuple[str, int, str]]:
    expected = []
    for number in range(count):
        given = [(f"u{n}", n) for n in range(rows)]
        put(folder, f"{number:04}.csv", text_of(given), number)
        expected += [(user, n, f"{number:04}.csv") for user, n in given]
    return expected


def test_the_place_in_a_file_is_committed_with_its_rows_and_a_note_when_it_is_read(tmp_path):
    filled(tmp_path, 1, rows=3)
    driver = TestDriver(copying(tmp_path), batch_records_max=2)
    driver.turn(FEEDER)
    assert place(driver)["at"] | {"s": 0, "m": 0, "i": 0, "k": []} == {
        "f": "0000.csv", "s": 0, "m": 0, "i": 0, "k": [], "at": 17, "r": 2,
    }  # fmt: skip
    assert (len(driver.values("app.in")), ledger(driver)) == (2, [])
    driver.turn(FEEDER)
    assert place(driver)["at"] == {}
    assert len(driver.values("app.in")) == 3
    (note,) = ledger(driver)
    assert (note["f"], note["r"], note["life"]) == ("0000.csv", 3, place(driver)["n"][0])


def test_rows_become_true_with_the_place_and_not_before(tmp_path):
    filled(tmp_path, 1)
    driver = TestDriver(copying(tmp_path))
    before = place
    driver.crash_at("before:commit", FEEDER)
    with pytest.raises(Crash):
        driver.turn(FEEDER)
    assert driver.values("app.in") == []
    driver.expire(FEEDER)
    assert before(driver)["at"] == {}
    driver.restart(FEEDER)
    driver.run()
    assert len(driver.values("app.in")) == 2


def test_the_offset_is_the_end_of_the_topic_before_the_batch_and_never_goes_back(tmp_path):
    filled(tmp_path, 3)
    driver = TestDriver(copying(tmp_path, max_files_per_trigger=1))
    offsets = []
    while driver.turn(FEEDER):
        offsets.append(driver.log.committed(LEDGER, "app.in")[ONE].offset)
    assert offsets == [0, 3, 6]


def test_each_batch_is_of_the_next_epoch_and_a_try_of_its_own(tmp_path):
    filled(tmp_path, 3)
    driver = TestDriver(copying(tmp_path, max_files_per_trigger=1))
    heads = []
    while driver.turn(FEEDER):
        head = driver.log.committed(LEDGER, "app.in")[ONE]
        heads.append(Manifest.parse(head.metadata))
        assert driver._workers[FEEDER].tasks[ONE].task.base == head
        assert driver._workers[FEEDER].standing().positions == {ONE: head.offset}
    assert [head.epoch for head in heads] == [1, 2, 3]
    assert len({head.attempt for head in heads}) == 3
    assert {head.fingerprint for head in heads} == {"feed-files"}


def test_notes_that_an_open_transaction_hides_are_waited_for(tmp_path):
    """Else the file that they are of would be read twice."""
    expected = filled(tmp_path, 2)
    driver = TestDriver(copying(tmp_path, max_files_per_trigger=1))
    driver.turn(FEEDER)
    hides = driver.log.producer("app.feed-in:gone")
    hides.start(0)
    hides.begin()
    from processor.model.log import Output

    hides.produce(Output(LEDGER, [b"{}"], partition=0))
    driver.turn(FEEDER)  # its note stands behind the one that hides it
    driver.kill(FEEDER)
    driver.restart(FEEDER)
    for _ in range(5):
        driver.turn(FEEDER)
    assert len(driver.values("app.in")) == 4
    driver.log.expire("app.feed-in:gone")
    driver.run()
    assert rows_of(driver) == expected
    assert len(driver.values("app.in")) == 4


def test_notes_that_are_gone_stop_the_feed_by_name(tmp_path):
    filled(tmp_path, 1)
    driver = TestDriver(copying(tmp_path))
    driver.run()
    driver.kill(FEEDER)
    driver.log.trim(TopicPartition(LEDGER, 0), 1)
    driver.restart(FEEDER)
    with pytest.raises(StateMismatchError, match=r"has made 1 notes .* and 0 are there"):
        driver.turn(FEEDER)


def test_positions_that_were_lost_are_noticed_by_what_is_there(tmp_path):
    filled(tmp_path, 1)
    driver = TestDriver(copying(tmp_path))
    driver.run()
    driver.kill(FEEDER)
    driver.log._broker.group(LEDGER).committed.clear()
    driver.restart(FEEDER)
    with pytest.raises(StateMismatchError, match="no committed position, and there are records"):
        driver.turn(FEEDER)


def test_a_feed_of_another_kind_or_other_partitions_under_the_same_name_is_refused(tmp_path):
    filled(tmp_path, 1)
    driver = TestDriver(copying(tmp_path))
    driver.run()
    driver.stop(FEEDER)
    topology = Topology("app")
    form = Csv(COLUMNS)
    topology.read.queue(Queue(), format=form, name="in").write.kafka("out")
    other = TestDriver(topology, log=driver.log, store=driver.store)
    with pytest.raises(StateMismatchError, match=r"position of another kind of feed .feed-files"):
        other.turn(FEEDER)
    with pytest.raises(StateMismatchError, match="had 1 partitions, and has 3"):
        TestDriver(
            copying(tmp_path, partitions=3), log=driver.log, store=driver.store
        ).turn(FEEDER)  # fmt: skip


def test_a_topic_that_was_made_anew_is_noticed(tmp_path):
    filled(tmp_path, 1)
    driver = TestDriver(copying(tmp_path))
    driver.run()
    driver.kill(FEEDER)
    del driver.log._broker.topics["app.in"]
    driver.log.create({"app.in": 1})
    driver.restart(FEEDER)
    with pytest.raises((InputReplacedError, InputLostError)):
        driver.turn(FEEDER)


def test_notes_of_files_that_are_gone_are_given_up_now_and_then(tmp_path, monkeypatch):
    monkeypatch.setattr(fed_module, "SPARE", 6)
    expected = filled(tmp_path, 30)
    driver = TestDriver(copying(tmp_path, clean_source="delete", max_files_per_trigger=1))
    driver.run()
    assert len(ledger(driver)) < 20
    low = driver.log.describe([LEDGER])[LEDGER].extents[0].low
    assert low > 0
    driver.kill(FEEDER)
    driver.restart(FEEDER)
    expected += [("z", 1, "z.csv")]
    put(tmp_path, "z.csv", text_of([("z", 1)]))
    driver.run()
    assert rows_of(driver) == expected


def test_notes_of_files_that_are_there_are_kept_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(fed_module, "SPARE", 6)
    filled(tmp_path, 20)
    driver = TestDriver(copying(tmp_path, max_files_per_trigger=1))
    driver.run()
    assert [note["f"] for note in ledger(driver)] == [f"{n:04}.csv" for n in range(20)]
    assert len({note["life"] for note in ledger(driver)}) == 1


def test_what_stops_the_run_is_raised_with_its_file(tmp_path):
    put(tmp_path, "a.csv", b"other,header\n")
    driver = TestDriver(copying(tmp_path, on_error="fail"))
    with pytest.raises(FeedError, match=r"a.csv: it begins with"):
        driver.run()


def test_an_empty_line_of_text_is_a_row_and_can_be_written_as_one(tmp_path):
    put(tmp_path, "a", b"a\n\nb\n\n")
    topology = Topology("app")
    rows = topology.read.files(tmp_path, format=Text(), name="in")
    rows.write.kafka("out", format=Text(empty=True))
    driver = TestDriver(topology)
    driver.run()
    assert driver.values("out") == [b"a", b"", b"b", b""]


def test_what_was_passed_over_is_noted(tmp_path):
    put(tmp_path, "a.csv", b"other,header\n")
    driver = TestDriver(copying(tmp_path))
    driver.run()
    assert "a.csv: it begins with" in driver.noted[0]


def test_an_evicted_feeder_loads_its_place_again(tmp_path):
    expected = filled(tmp_path, 4)
    driver = TestDriver(copying(tmp_path, max_files_per_trigger=1))
    driver.turn(FEEDER)
    driver.pause_at("before:guard", FEEDER, lambda: driver.evict(FEEDER))
    driver.turn(FEEDER)
    driver.run()
    assert rows_of(driver) == expected


def test_rows_of_a_queue_outlive_a_transaction_that_failed():
    queue = Queue()
    topology = Topology("app")
    topology.read.queue(queue, format=Json({"n": pl.Int64}), name="in").write.kafka("out")
    driver = TestDriver(topology, batch_records_max=2)
    queue.put([{"n": n} for n in range(5)])
    driver.turn(FEEDER)
    driver.pause_at("before:produce", FEEDER, lambda: driver.log.expire("app.feed-in:0"))
    driver.turn(FEEDER)
    driver.run()
    assert [row["n"] for row in driver.json("out")] == [0, 1, 2, 3, 4]


def test_a_reset_reads_the_files_again_and_their_former_rows_no_more(tmp_path):
    expected = filled(tmp_path, 3)
    driver = TestDriver(copying(tmp_path))
    driver.run()
    driver.stop(FEEDER)
    driver.stop()
    (tmp_path / "0001.csv").unlink()
    reset(resets(driver.plans, driver.log, driver.store, "earliest"), driver.log, driver.store)
    driver.restart()
    driver.restart(FEEDER)
    driver.run()
    left = [row for row in expected if row[2] != "0001.csv"]
    assert rows_of(driver) == [*expected, *left]


def test_a_reset_where_files_are_cleared_away_reads_what_was_fed_again(tmp_path):
    expected = filled(tmp_path, 3)
    driver = TestDriver(copying(tmp_path, clean_source="delete"))
    driver.run()
    driver.stop(FEEDER)
    driver.stop()
    reset(resets(driver.plans, driver.log, driver.store, "earliest"), driver.log, driver.store)
    driver.restart()
    driver.restart(FEEDER)
    driver.run()
    assert rows_of(driver) == [*expected, *expected]


def test_a_reset_waits_for_the_feeder_to_be_stopped(tmp_path):
    filled(tmp_path, 1)
    driver = TestDriver(copying(tmp_path))
    driver.run()
    driver.stop()
    with pytest.raises(Exception, match=r"app.feed-in is at work"):
        resets(driver.plans, driver.log, driver.store, "earliest")


def test_a_topology_of_feeds_that_never_ran_cannot_be_reset(tmp_path):
    with pytest.raises(SettingsError, match="there is no topic"):
        resets([copying(tmp_path).plan()], MemoryLog(), MemoryStore(), "earliest")


def test_a_changed_topology_goes_on_from_the_place_that_the_name_has(tmp_path):
    folder, moved = tmp_path / "in", tmp_path / "moved"
    folder.mkdir()
    expected = filled(folder, 2)
    driver = TestDriver(copying(folder))
    driver.run()
    driver.stop(FEEDER)
    driver.stop()
    folder.rename(moved)
    put(moved, "later.csv", text_of([("z", 9)]), 99)
    topology = copying(moved, max_files_per_trigger=1, clean_source="delete")
    changed = TestDriver(topology, log=driver.log, store=driver.store)
    changed.run()
    assert rows_of(changed) == [*expected, ("z", 9, "later.csv")]
    assert list(moved.iterdir()) == []


def test_a_folder_that_is_away_is_waited_for_and_told(tmp_path):
    folder = tmp_path / "in"
    source = copying(folder).plan().source()
    log = MemoryLog()
    log.create({"app.in": 1, LEDGER: 1})
    feeder = Feeder(
        source, log, MemoryStore(), ManualClock(), instance=f"{LEDGER}.0",
        options=Options(stable_s=0.0), wait_s=0.0,
    )  # fmt: skip
    feeder.start()
    for _ in range(3):
        with pytest.raises(RetriableError, match="No such file or directory"):
            feeder.turn()
        assert not feeder.ready
        feeder.rejoin()
    expected = filled_in(folder)
    assert feeder.turn()
    assert len(log.read("app.in")) == len(expected)
    assert feeder.ready
    assert feeder.standing().positions == {ONE: 0}
    feeder.close(leave=True)


def filled_in(folder):
    folder.mkdir()
    return filled(folder, 1)


def test_a_position_that_is_held_open_is_waited_for_and_told_in_the_end(tmp_path):
    filled(tmp_path, 1)
    driver = TestDriver(copying(tmp_path))
    driver.crash_at("after:send-offsets", FEEDER)
    with pytest.raises(Crash):
        driver.turn(FEEDER)
    other = ("feed-in", 1)
    driver.log.evict(f"{LEDGER}.0")
    driver.restart(other)  # its transaction is not its own to end by starting
    driver.run()
    assert len(driver.values("app.in")) == 2


def test_a_feeder_whose_transaction_is_taken_joins_anew_and_gives_each_row_once(tmp_path):
    expected = filled(tmp_path, 3)
    driver = TestDriver(copying(tmp_path, max_files_per_trigger=1))
    driver.turn(FEEDER)

    def taken():
        driver.log.producer(f"{LEDGER}:0").start(0)

    for step in ("before:produce", "before:commit"):
        driver.pause_at(step, FEEDER, taken)
        driver.turn(FEEDER)
        assert driver.undone[-1] is Verdict.REJOIN
        assert not driver._workers[FEEDER].tasks
    driver.run()
    assert rows_of(driver) == expected


def test_what_a_feeder_has_open_is_closed_with_it_and_what_it_lost_is_too(tmp_path):
    filled(tmp_path, 1, rows=9)
    driver = TestDriver(copying(tmp_path), batch_records_max=2)
    closed = []

    def watched():
        reading = driver._workers[FEEDER].tasks[ONE].reading
        real = reading.close
        reading.close = lambda: (closed.append(reading), real())
        return reading

    driver.turn(FEEDER)
    first = watched()
    feeder = driver._workers[FEEDER]
    feeder.rejoin()
    assert closed == []  # nobody else had the partition: what was read and not committed is held
    driver.turn(FEEDER)
    assert feeder.tasks[ONE].reading is first
    driver.evict(FEEDER)
    driver.turn(FEEDER)
    assert closed == [first]
    while ONE not in feeder.tasks:
        driver.turn(FEEDER)
    second = watched()
    assert second is not first
    driver.stop(FEEDER)
    assert closed == [first, second]
