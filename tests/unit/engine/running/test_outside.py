"""What batches show outside of Kafka: promises, lives, and files that are finished."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from processor import Batch, Frame, Json, Topology
from processor import functions as F
from processor.clock import ManualClock
from processor.engine.offline import reset, setback
from processor.engine.restore.promised import check_kept
from processor.engine.running.pace import Pace, TooSlowError
from processor.engine.running.trim import EVERY
from processor.errors import InputLostError, SinkError, StateMismatchError
from processor.model import moment
from processor.model.log import Committed, TopicPartition
from processor.model.manifest import Intent, Manifest
from processor.plan.nodes import Per
from processor.testing import Crash, TestDriver
from processor.testing.driver import START_MS

IN = TopicPartition("in", 0)


class Seen:
    """A function that remembers, and fails as long as it is told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[Batch, list[Any]]] = []
        self.fails = False

    def save(self, frame: pl.DataFrame, epoch: int, batch: Batch) -> None:
        if self.fails:
            raise ValueError("no room")
        self.calls.append((batch, frame["n"].to_list()))


def read(app: Topology) -> Frame:
    return app.read.kafka("in", format=Json({"user": pl.String, "n": pl.Int64}))


def calling(seen: Seen, *, more: bool = False) -> Topology:
    app = Topology("app")
    rows = read(app)
    (rows.filter(pl.col("n") > 1) if more else rows).write.foreach_batch(seen.save, per="task")
    return app


def filing(folder: Path) -> Topology:
    app = Topology("app")
    read(app).write.files(folder)
    return app


def fed(topology: Topology, count: int = 5, **options: Any) -> TestDriver:
    driver = TestDriver(topology, **options)
    driver.feed([{"user": "ann", "n": n} for n in range(count)])
    return driver


def died(driver: TestDriver, step: str) -> None:
    driver.crash_at(step)
    with pytest.raises(Crash):
        driver.run()


def manifest(driver: TestDriver) -> Manifest:
    return Manifest.parse(driver.committed()[IN].metadata)


def test_a_promise_leaves_the_offset_and_says_where_the_batch_ends() -> None:
    seen = Seen()
    driver = fed(calling(seen))
    died(driver, "before:call")
    promised = manifest(driver)
    assert driver.committed()[IN].offset == 0
    assert (promised.epoch, promised.life) == (0, START_MS // 1000)
    assert promised.intent is not None
    assert (promised.intent.end, promised.intent.records) == (5, 5)
    assert seen.calls == []


@pytest.mark.parametrize("step", ["after:intent", "after:call", "before:commit", "before:stage"])
def test_a_batch_that_was_shown_is_shown_again_as_it_was_and_then_the_next_one(step: str) -> None:
    seen = Seen()
    driver = fed(calling(seen))
    died(driver, step)
    driver.feed([{"user": "bob", "n": n} for n in range(5, 9)])
    driver.restart()
    driver.run()
    first = [rows for batch, rows in seen.calls if batch.epoch == 1]
    assert all(rows == [0, 1, 2, 3, 4] for rows in first)
    assert len(first) == 1 + (step != "after:intent")
    assert seen.calls[-1] == (Batch("app", START_MS // 1000, "in[0]", "save", 2), [5, 6, 7, 8])
    assert manifest(driver).intent is None


def test_what_a_function_raises_ends_the_run_and_commits_nothing() -> None:
    seen = Seen()
    driver = fed(calling(seen))
    seen.fails = True
    with pytest.raises(SinkError, match=r"in\[0\] offsets 0 to 4: .* no room"):
        driver.run()
    assert driver.committed()[IN].offset == 0
    seen.fails = False
    driver.kill()
    driver.restart()
    driver.run()
    assert [rows for _, rows in seen.calls] == [[0, 1, 2, 3, 4]]


def test_another_topology_does_not_redo_a_promise() -> None:
    seen = Seen()
    driver = fed(calling(seen))
    died(driver, "after:call")
    changed = TestDriver(calling(seen, more=True), log=driver.log, store=driver.store)
    with pytest.raises(StateMismatchError, match="from offset 0 to 5 may have been shown") as error:
        changed.run()
    assert "run the topology as it was" in error.value.remedy
    changed.kill()
    again = TestDriver(calling(seen), log=driver.log, store=driver.store)
    again.run()
    again.stop()
    changed.restart()
    changed.run()
    assert [rows for _, rows in seen.calls] == [[0, 1, 2, 3, 4]] * 2


def test_records_that_are_gone_are_told() -> None:
    seen = Seen()
    driver = fed(calling(seen))
    died(driver, "after:call")
    head = driver.committed()[IN]
    intent = Intent(5, 7, manifest(driver).intent.plan)
    text = str(replace(manifest(driver), intent=intent))
    driver.stop() if driver.running() else driver.expire()
    driver.log.reset("app", {IN: Committed(head.offset, text)})
    driver.restart()
    with pytest.raises(InputLostError, match="with 7 records, and 5 of them are left"):
        driver.run()


def test_a_watermark_is_not_set_back_under_a_promise() -> None:
    promised = Manifest(3, "a", "", "", 7, "f", 1, "app:0", intent=Intent(9, 4, "p"))
    with pytest.raises(StateMismatchError, match="would come to other rows") as error:
        check_kept(IN, promised)
    assert "run the topology once more" in error.value.remedy
    app = Topology("app")
    rows = app.read.kafka("in", format=Json({"t": pl.Datetime("us")}), event_time="t")
    rows = rows.with_watermark("1 minute")
    rows.write.foreach_batch(lambda frame, epoch: None, per="task")
    driver = TestDriver(app)
    driver.feed([{"t": "2024-01-01T10:00:00"}])
    driver.run()
    driver.feed([{"t": "2024-01-01T11:00:00"}])
    died(driver, "before:call")
    driver.expire()
    with pytest.raises(StateMismatchError, match="may have been shown"):
        setback.setbacks(driver.plan, driver.log, moment.parse("2023-01-01"))


def test_a_reset_begins_the_next_life_and_a_database_takes_its_epochs() -> None:
    seen = Seen()
    driver = fed(calling(seen), partitions=1)
    driver.run()
    driver.stop()
    for _ in range(2):
        wanted = reset.resets(driver.plans, driver.log, driver.store, "earliest")
        reset.reset(wanted, driver.log, driver.store)
        driver.restart()
        driver.run()
        driver.stop()
    life = START_MS // 1000
    assert [batch.life for batch, _ in seen.calls] == [life, life + 1, life + 2]
    assert {batch.epoch for batch, _ in seen.calls} == {1}
    assert len({batch.key for batch, _ in seen.calls}) == 3


def reset_to(driver: TestDriver, place: str) -> None:
    wanted = reset.resets(driver.plans, driver.log, driver.store, place)
    reset.reset(wanted, driver.log, driver.store)


@pytest.mark.parametrize("place", ["latest", "5", "3", "earliest"])
@pytest.mark.parametrize("times", [1, 2])
def test_what_is_committed_stays_where_a_reset_comes_before_its_files_have_their_names(
    place: str, times: int, tmp_path: Path
) -> None:
    driver = fed(filing(tmp_path), 3)
    driver.run()
    driver.feed([{"user": "ann", "n": n} for n in (3, 4)])
    died(driver, "after:commit")
    driver.expire()
    for _ in range(times):
        reset_to(driver, place)
    driver.restart()
    driver.run()
    once, again = [0, 1, 2, 3, 4], {"3": [3, 4], "earliest": [0, 1, 2, 3, 4]}.get(place, [])
    assert sorted(row["n"] for row in driver.files(tmp_path)) == sorted(once + again)
    driver.feed([{"user": "ann", "n": 5}])
    died(driver, "after:commit")
    driver.restart()
    driver.run()
    assert sorted(row["n"] for row in driver.files(tmp_path)) == [*sorted(once + again), 5]
    assert [*tmp_path.rglob("*.pending")] == [tmp_path / ".pending"]


def test_what_was_never_committed_is_cleared_after_a_reset_too(tmp_path: Path) -> None:
    driver = fed(filing(tmp_path), 3)
    died(driver, "before:commit")
    driver.expire()
    reset_to(driver, "latest")
    driver.restart()
    driver.run()
    assert driver.files(tmp_path) == []
    assert [*tmp_path.rglob("*.pending")] == [tmp_path / ".pending"]


def test_a_reset_begins_anew_where_the_directory_is_gone_and_says_so(tmp_path: Path) -> None:
    driver = fed(filing(tmp_path / "a"), 3)
    died(driver, "after:commit")
    driver.expire()
    shutil.rmtree(tmp_path / "a")
    reset_to(driver, "earliest")
    driver.restart()
    driver.run()
    assert [row["n"] for row in driver.files(tmp_path / "a")] == [0, 1, 2]
    assert sum("see that nothing of it is left" in note for note in driver.noted) == 1


def test_a_group_that_nobody_knows_begins_a_life_that_nobody_has_had() -> None:
    seen = Seen()
    first = fed(calling(seen))
    first.run()
    second = TestDriver(calling(seen))
    second.advance(10)
    second.feed([{"user": "ann", "n": 9}])
    second.run()
    assert [batch.life for batch, _ in seen.calls] == [START_MS // 1000, START_MS // 1000 + 10]


def test_topologies_of_topics_alone_have_no_life_and_promise_nothing() -> None:
    app = Topology("app")
    read(app).write.kafka("out")
    driver = fed(app)
    driver.run()
    assert (manifest(driver).life, manifest(driver).files) == (0, ())
    assert not {step for step in driver.steps if step.endswith(("intent", "write", "rename"))}


def test_functions_and_files_are_committed_in_transactions_whatever_the_guarantee(
    tmp_path: Path,
) -> None:
    seen = Seen()
    for topology in (calling(seen), filing(tmp_path)):
        driver = fed(topology, guarantee="at-least-once")
        driver.run()
        assert "before:commit" in driver.steps
        assert "before:commit-offsets" not in driver.steps


def test_recovery_finishes_its_own_files_and_clears_what_was_passed(tmp_path: Path) -> None:
    driver = fed(filing(tmp_path))
    died(driver, "before:commit")  # never committed, of epoch 1
    pending = [*tmp_path.rglob("*.json.pending")]
    assert len(pending) == 1
    driver.restart()
    died(driver, "after:commit")
    assert driver.files(tmp_path) == []
    next_one = pending[0].with_name(pending[0].name.replace("0000000001", "0000000002"))
    next_one.write_bytes(b"of a new owner")
    other = pending[0].with_name(pending[0].name.replace("app~in~0~", "app~in~1~"))
    other.write_bytes(b"of another task")
    driver.restart()
    driver.run()
    assert [row["n"] for row in driver.files(tmp_path)] == [0, 1, 2, 3, 4]
    assert not pending[0].exists()
    assert next_one.exists()
    assert other.exists()
    driver.kill()
    driver.feed([{"user": "ann", "n": 5}])
    driver.restart()
    driver.run()
    driver.kill()
    driver.restart()
    driver.run()
    assert not next_one.exists()


def test_an_empty_batch_writes_no_file(tmp_path: Path) -> None:
    app = Topology("app")
    read(app).filter(pl.col("n") > 100).write.files(tmp_path)
    driver = fed(app)
    driver.run()
    assert driver.committed()[IN].offset == 5
    assert not [*tmp_path.glob("[!.]*")]
    assert manifest(driver).files == ()


def test_another_directory_in_the_place_of_the_one_that_was_written_to_is_noticed(
    tmp_path: Path,
) -> None:
    driver = fed(filing(tmp_path / "a"))
    driver.run()
    driver.kill()
    (tmp_path / "a").rename(tmp_path / "b")  # as where a volume is not mounted
    driver.restart()
    with pytest.raises(SinkError, match="and here is another one") as error:
        driver.run()
    assert "one directory, on one file system" in error.value.remedy
    driver.kill()
    for path in (tmp_path / "a", tmp_path / "a" / ".pending"):
        for entry in path.glob("*") if path.name == ".pending" else ():
            entry.rmdir()
    (tmp_path / "a" / ".pending").rmdir()
    (tmp_path / "a").rmdir()
    (tmp_path / "b").rename(tmp_path / "a")
    driver.restart()
    driver.run()
    assert len(driver.files(tmp_path / "a")) == 5


def test_a_sink_that_is_taken_out_is_told_where_its_files_may_wait(tmp_path: Path) -> None:
    driver = fed(filing(tmp_path))
    driver.run()
    driver.stop()
    app = Topology("app")
    read(app).write.kafka("out")
    without = TestDriver(app, log=driver.log, store=driver.store)
    without.run()
    assert any("no more in the topology" in note for note in without.noted)


def test_files_that_cannot_be_named_end_the_run_behind_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = fed(filing(tmp_path))
    driver.turn()
    (pending,) = tmp_path.glob(".pending/*")
    driver.pause_at("before:rename", 0, lambda: pending.chmod(0))
    monkeypatch.setattr(
        "processor.sinks.folder.Path.rename", lambda *_: (_ for _ in ()).throw(OSError(5, "broken"))
    )
    with pytest.raises(SinkError, match="which is committed"):
        driver.run()
    pending.chmod(0o755)
    monkeypatch.undo()
    assert driver.committed()[IN].offset == 5
    driver.kill()
    driver.restart()
    driver.run()
    assert len(driver.files(tmp_path)) == 5


def test_a_checkpoint_that_the_store_loses_under_a_promise_is_written_anew() -> None:
    seen = Seen()
    app = Topology("app")
    rows = read(app).group_by("user").agg(n=F.sum("n"))
    rows.write.foreach_batch(seen.save, per="task", mode="update")
    driver = fed(app)
    driver.run()
    driver.feed([{"user": "ann", "n": 1}])
    driver.pause_at("before:stage", ("by-user", 0), driver.store.lose)
    driver.run()
    assert [rows for _, rows in seen.calls][-1] == [11]
    assert not driver.committed(1)[TopicPartition("app.by-user", 0)].metadata.endswith("-")


def test_a_call_that_takes_long_makes_the_next_batches_smaller_and_one_that_never_fits_stops() -> (
    None
):
    clock = ManualClock()
    pace = Pace(clock, records_max=1000, limit_s=60)
    pace.begin([])
    pace.call("write at a.py:1")
    clock.advance(30)
    pace.called(100, again=False)
    assert pace.records_max == 50
    pace.begin([])
    pace.call("write at a.py:1")
    clock.advance(70)
    pace.called(100, again=False)
    pace.begin([])
    pace.call("write at a.py:1")
    clock.advance(70)
    with pytest.raises(TooSlowError, match=r"write at a\.py:1 took 70"):
        pace.called(100, again=True)


def test_rows_and_seconds_of_functions_are_in_the_report_of_a_batch() -> None:
    app = Topology("app")
    driver: list[TestDriver] = []
    read(app).write.foreach_batch(lambda frame, epoch: driver[0].advance(3), per="task")
    driver.append(fed(app))
    driver[0].run()
    (report,) = driver[0].reports
    assert report.records_out == 5
    assert report.phases["publish"] == pytest.approx(3.0)


def test_a_stage_without_state_keeps_no_more_of_its_topic_than_is_needed() -> None:
    seen = Seen()
    app = Topology("app")
    read(app).write.foreach_batch(seen.save)
    driver = TestDriver(app)
    for number in range(EVERY + 1):
        driver.feed([{"user": "ann", "n": number}])
        driver.run()
    extents = driver.log.describe(["app.save"])["app.save"].extents
    assert extents[0].low > 0
    assert [n for _, rows in seen.calls for n in rows] == [*range(EVERY + 1)]


@pytest.mark.parametrize("per", ["task", "batch"])
@pytest.mark.parametrize("names", [(None, None), ("one", "two")])
def test_two_sinks_of_one_function_have_keys_of_their_own(per: Per, names: tuple[Any, Any]) -> None:
    table: dict[Any, list[Any]] = {}

    def save(frame: pl.DataFrame, epoch: int, batch: Batch) -> None:
        table.setdefault(batch.key, frame["n"].to_list())

    app = Topology("app")
    rows = read(app)
    for name, user in zip(names, ("ann", "bob"), strict=True):
        rows.filter(pl.col("user") == user).write.foreach_batch(save, per=per, name=name)
    driver = TestDriver(app)
    driver.feed([{"user": user, "n": n} for n, user in enumerate(["ann", "bob", "ann"])])
    driver.run()
    assert sorted(table.values()) == [[0, 2], [1]]
    assert {key[3] for key in table} == set(names if names[0] else ("save", "save-2"))
