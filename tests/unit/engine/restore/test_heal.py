"""Checkpoints that are lost, in every way there is: what is healed, and by how much work."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from processor.clock import ManualClock
from processor.connectors.memory.log import MemoryLog
from processor.engine.commit import changelog, checkpoint
from processor.engine.restore.heal import CHANGED, Broken, Healed, _Replay
from processor.engine.running import audit
from processor.engine.running.pace import FIRST as FIRST_SIZE
from processor.errors import (
    AbortableError,
    InputLostError,
    RetriableError,
    SettingsError,
    StateLostError,
)
from processor.model.log import TopicPartition
from processor.model.manifest import Manifest
from processor.state import chain
from processor.testing import Crash, TestDriver
from processor.testing.faults import FaultyLog
from tests.topologies import ride, totals, windowed
from tests.unit.engine.commit.test_committer import right

RIDES = TopicPartition("rides", 0)
FIRST = 60
ALL = 90


def _totals():
    return totals()


def _hours():
    return windowed(delay="30 minutes")


def _closed_hours():
    return windowed(mode="append", delay="30 minutes")


TOPOLOGIES = [_totals, _hours, _closed_hours]


def rides(numbers: range) -> list[dict[str, object]]:
    """Rides in a shuffled order, so that some come late."""
    made = [ride(number * 7) for number in numbers]
    random.Random(3).shuffle(made)
    return made


def driven(topology, **options) -> TestDriver:
    """A worker that has committed twelve batches."""
    driver = TestDriver(topology(), **{"batch_records_max": 5, **options})
    driver.feed(rides(range(FIRST)))
    driver.run()
    return driver


def lose_all(driver: TestDriver) -> None:
    driver.store.lose()


def lose_tail(driver: TestDriver) -> None:
    head = manifest(driver).epoch
    drop(driver, lambda key: int(key.split(":")[1]) > head - 3)


def lose_one(driver: TestDriver) -> None:
    epoch = max(manifest(driver).epoch - 1, 1)
    drop(driver, lambda key: key.startswith(f"d:{epoch}:"))


def lose_oldest(driver: TestDriver) -> None:
    keys = driver.store.blobs(driver.task())
    oldest = min(keys, key=lambda key: int(key.split(":")[1]))
    drop(driver, lambda key: key == oldest)


def damage_one(driver: TestDriver) -> None:
    keys = driver.store.blobs(driver.task())
    head = manifest(driver).epoch
    driver.store.damage(driver.task(), next(k for k in keys if k.startswith(f"d:{head}:")))


def damage_oldest(driver: TestDriver) -> None:
    keys = driver.store.blobs(driver.task())
    driver.store.damage(driver.task(), min(keys, key=lambda key: int(key.split(":")[1])))


LOSSES = [lose_all, lose_tail, lose_one, lose_oldest, damage_one, damage_oldest]


def manifest(driver: TestDriver) -> Manifest:
    return Manifest.parse(driver.committed()[RIDES].metadata)


def drop(driver: TestDriver, gone: Callable[[str], bool]) -> None:
    task = driver.task()
    driver.store.drop(task, [key for key in driver.store.blobs(task) if gone(key)])


def as_if_nothing_had_been(driver: TestDriver, topology, *, more: bool = True) -> None:
    """The rest of the input comes, the worker starts once more; then against a quiet run."""
    quiet = driven(topology)
    for each in (driver, quiet):
        if more:
            each.feed(rides(range(FIRST, ALL)))
        each.run()
    # Within a batch, the order is that of the slots, which a restart may change.
    assert sorted(driver.values("out")) == sorted(quiet.values("out"))
    assert state(driver) == state(quiet)
    driver.kill()
    driver.restart()
    driver.run()
    assert state(driver) == state(quiet)


def state(driver: TestDriver) -> object:
    return {
        (partition, name): sorted(map(str, rows))
        for partition, operators in driver.state().items()
        for name, rows in operators.items()
    }


@pytest.fixture(params=["one chain", "snapshots"])
def chains(request, monkeypatch):
    if request.param == "snapshots":
        monkeypatch.setattr(checkpoint, "CHAIN_LENGTH_MAX", 5)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("policy", ["replay", "changelog"])
def test_what_is_lost_at_rest_comes_back(topology, loss, policy, chains):
    driver = driven(topology, on_checkpoint_loss=policy)
    driver.kill()
    loss(driver)
    driver.restart()
    driver.run()
    assert [healed.how for healed in driver.healed] == [policy]
    assert (sum(healed.records for healed in driver.healed) == 0) == (policy == "changelog")
    assert state(driver) == state(driven(topology))
    as_if_nothing_had_been(driver, topology)
    assert [healed.how for healed in driver.healed] == [policy]


@pytest.mark.parametrize("policy", ["replay", "changelog"])
@pytest.mark.parametrize("loss", [lose_all, lose_tail])
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_what_is_lost_in_the_middle_of_a_run_is_written_from_memory(topology, loss, policy, chains):
    driver = driven(topology, on_checkpoint_loss=policy)
    loss(driver)
    as_if_nothing_had_been(driver, topology)
    assert [healed.how for healed in driver.healed] == ["memory"]


@pytest.mark.parametrize("loss", LOSSES)
def test_to_stop_is_the_default_and_changes_nothing(loss):
    driver = driven(_totals)
    driver.kill()
    loss(driver)
    before = driver.committed(), driver.store.blobs(driver.task())
    driver.restart()
    with pytest.raises(StateLostError, match="on-checkpoint-loss replay"):
        driver.run()
    assert (driver.committed(), driver.store.blobs(driver.task())) == before
    assert len(driver.values("out")) == len(driven(_totals).values("out"))


@pytest.mark.parametrize(("low", "way"), [(0, "run with --on-checkpoint-loss replay"),
                                          (1, "begin anew with `processor reset`")])  # fmt: skip
def test_replay_is_not_advised_where_the_input_no_longer_has_what_it_takes(low, way):
    driver = driven(_totals)
    driver.kill()
    driver.store.lose()
    driver.log.trim(RIDES, low)
    driver.restart()
    with pytest.raises(StateLostError) as caught:
        driver.run()
    assert way in caught.value.remedy


@pytest.mark.parametrize("loss", [*LOSSES[:4], "snapshot"])
@pytest.mark.parametrize("idle", [True, False])
def test_what_memory_has_is_written_anew_whatever_the_policy(loss, idle, chains):
    """Found by an oracle: a lost snapshot was not seen before the restart, 25 epochs later."""
    driver = driven(_totals)
    if loss == "snapshot":
        drop(driver, lambda key: key.startswith("s:"))
    else:
        loss(driver)
    driver.advance(audit.AUDIT_S)
    if idle:
        driver.run()
        driver.kill()
        driver.restart()
        driver.run()
    as_if_nothing_had_been(driver, _totals)
    assert {healed.how for healed in driver.healed} <= {"memory"}


def test_a_loss_at_rest_is_seen_and_mended_without_a_record(chains):
    driver = driven(_totals)
    epoch = manifest(driver).epoch
    driver.store.lose()
    driver.run()
    assert manifest(driver).epoch == epoch
    driver.advance(audit.AUDIT_S)
    driver.run()
    assert manifest(driver).epoch == epoch + 1
    assert driver.store.missing({driver.task(): [f"s:{manifest(driver).snapshot[:-33]}"]}) == {}
    assert len(driver.healed) == 1


def test_a_store_that_keeps_nothing_is_told_by_name(monkeypatch):
    driver = driven(_totals)
    stage = driver.store.stage

    def forgetting(blobs):
        told = stage(blobs)
        driver.store.drop(driver.task(), driver.store.blobs(driver.task()))
        return told

    driver.feed(rides(range(FIRST, ALL)))
    monkeypatch.setattr(driver.store, "stage", forgetting)
    with pytest.raises(StateLostError, match="gone again 6 times in a row") as caught:
        driver.run()
    assert "noeviction" in caught.value.remedy


def test_a_store_that_went_back_to_an_older_copy_is_brought_up_to_date(chains):
    driver = TestDriver(totals(), batch_records_max=5, on_checkpoint_loss="replay")
    driver.feed(rides(range(FIRST - 20)))
    driver.run()
    old = driver.store._blobs[driver.task()].copy()
    driver.feed(rides(range(FIRST - 20, FIRST)))
    driver.run()
    driver.kill()
    driver.store.lose()
    driver.store._blobs[driver.task()] = old
    driver.restart()
    driver.run()
    (healed,) = driver.healed
    # One of its deltas is named by what was committed since: no need to begin at the beginning.
    assert 20 <= healed.records < FIRST
    assert state(driver) == state(driven(_totals))


def test_the_work_grows_with_what_was_lost_not_with_the_state():
    for lost in (1, 2, 5, 11):
        driver = TestDriver(totals(), batch_records_max=1, on_checkpoint_loss="replay")
        driver.feed(map(ride, range(60)))
        driver.run()
        driver.kill()
        head = manifest(driver).epoch
        drop(driver, lambda key: int(key.split(":")[1]) > head - lost)  # noqa: B023
        driver.restart()
        driver.run()
        (healed,) = driver.healed
        assert lost <= healed.records <= 4 * lost, (lost, healed)


def test_an_orphan_of_an_aborted_batch_is_never_built_upon():
    driver = TestDriver(totals(), batch_records_max=5, on_checkpoint_loss="replay")
    driver.feed(rides(range(20)))
    driver.run()
    for _ in range(3):  # tries that nobody committed, with another cut of the input
        driver.feed(rides(range(20, 23)))
        driver.crash_at("after:stage")
        with pytest.raises(Crash):
            driver.run()
        driver.restart()
    driver.run()
    driver.kill()
    committed = {f"d:{manifest(driver).epoch}:{manifest(driver).attempt}"}
    drop(driver, lambda key: key in committed)
    assert driver.store.blobs(driver.task())
    driver.restart()
    driver.run()
    assert state(driver) == {
        (RIDES, "aggregate-0"): sorted(map(str, _sums(driver))),
    }


def _sums(driver: TestDriver) -> list[dict[str, object]]:
    quiet = TestDriver(totals())
    quiet.feed([message.value() for message in driver.log.read("rides")])
    quiet.run()
    return quiet.state()[RIDES]["aggregate-0"]


@pytest.mark.parametrize("step", ["heal", "before:stage", "after:stage", "before:commit"])
def test_a_worker_that_dies_while_it_heals_begins_again(step):
    driver = driven(_hours, on_checkpoint_loss="replay")
    driver.kill()
    driver.store.lose()
    driver.feed(rides(range(FIRST, ALL)))
    driver.restart()
    driver.crash_at(step)
    with pytest.raises(Crash):
        driver.run()
    driver.restart()
    driver.run()
    quiet = driven(_hours)
    quiet.feed(rides(range(FIRST, ALL)))
    quiet.run()
    assert sorted(driver.values("out")) == sorted(quiet.values("out"))
    assert state(driver) == state(quiet)


def test_lost_again_and_again():
    driver = driven(_hours, on_checkpoint_loss="replay")
    for number in range(FIRST, ALL):
        if number % 3:
            driver.kill()
        driver.store.lose()
        if number % 3:
            driver.restart()
        driver.feed([ride(number * 7)])
        driver.run()
    quiet = driven(_hours)
    for number in range(FIRST, ALL):
        quiet.feed([ride(number * 7)])
        quiet.run()
    assert sorted(driver.values("out")) == sorted(quiet.values("out"))
    assert state(driver) == state(quiet)


def test_other_partitions_go_on_while_one_is_healed():
    driver = TestDriver(totals(), partitions=2, batch_records_max=2, on_checkpoint_loss="replay")
    driver.feed(map(ride, range(100)), partition=0)
    driver.feed(map(ride, range(4)), partition=1)
    driver.run()
    driver.kill()
    driver.store.drop(driver.task(0), driver.store.blobs(driver.task(0)))
    driver.restart()
    while not driver.owned():
        driver.turn()
    assert driver.owned() == {TopicPartition("rides", 1)}
    driver.feed(map(ride, range(4, 6)), partition=1)
    while driver.committed()[TopicPartition("rides", 1)].offset < 6:
        driver.turn()
    assert driver.owned() == {TopicPartition("rides", 1)}
    driver.run()
    assert len(driver.owned()) == 2


def test_a_partition_that_is_taken_away_while_it_is_healed_is_healed_by_the_other():
    driver = TestDriver(totals(), workers=2, batch_records_max=2, on_checkpoint_loss="replay")
    driver.feed(map(ride, range(40)))
    driver.run()
    owner = 0 if driver.owned(0) else 1
    driver.kill(owner)
    driver.store.lose()
    driver.restart(owner)
    for _ in range(4):
        driver.turn(owner)
    driver.stop(owner)
    driver.run()
    assert driver.owned(1 - owner) == {RIDES}
    assert len(driver.healed) == 1
    driver.feed(map(ride, range(40, 50)))
    driver.run()
    last = {row["k"]: row["n"] for row in driver.json("out")}
    assert last == {f"k{i}": 10 for i in range(5)}


CHANGES = TopicPartition("totals-changelog", 0)


def test_with_a_changelog_neither_store_nor_input_is_needed(chains):
    driver = driven(_totals, on_checkpoint_loss="changelog")
    before = state(driver)
    driver.kill()
    driver.store.lose()
    driver.log.trim(RIDES, driver.committed()[RIDES].offset)
    driver.restart()
    driver.run()
    assert state(driver) == before


@pytest.mark.parametrize("key", [None, b"", b"no blob", b"\xff/0/1", b"d:1:a/x/1"])
def test_what_others_write_to_the_changelog_is_passed_over(key):
    driver = driven(_totals, on_checkpoint_loss="changelog")
    before = state(driver)
    driver.kill()
    driver.store.lose()
    driver.log.feed(CHANGES.topic, [b"of another"], [key], partition=0)
    driver.restart()
    driver.run()
    assert state(driver) == before


def test_a_replay_polls_after_small_batches_until_it_knows_how_long_they_take():
    """Found by an oracle: ten thousand slow records without a poll, and the group gave it up."""
    driver = driven(_totals, on_checkpoint_loss="replay")
    driver.kill()
    driver.store.lose()
    driver.restart()
    worker, sizes = driver._workers[0], []
    run = worker._pipeline.run

    def slow(slices, states, *more, **options):
        sizes.append(len(slices[0].messages))
        driver.advance(1.0 * len(slices[0].messages))
        return run(slices, states, *more, **options)

    worker._pipeline.run = slow
    driver.run()
    assert sizes[0] <= 32
    assert max(sizes[3:]) <= 4


def test_a_changelog_without_the_beginning_leaves_the_replay():
    driver = driven(_totals, on_checkpoint_loss="changelog")
    before = state(driver)
    driver.kill()
    driver.store.lose()
    driver.log.trim(CHANGES, 5)
    driver.restart()
    driver.run()
    assert [healed.how for healed in driver.healed] == ["replay"]
    assert state(driver) == before


def test_the_changelog_is_trimmed_behind_snapshots(monkeypatch):
    monkeypatch.setattr(checkpoint, "CHAIN_LENGTH_MAX", 5)
    driver = driven(_totals, on_checkpoint_loss="changelog", batch_records_max=1)
    assert manifest(driver).epoch == FIRST
    epochs = {int(m.key().split(b":")[1].split(b"/")[0]) for m in driver.read(CHANGES.topic)}
    assert max(epochs) == FIRST
    assert min(epochs) > FIRST - 15


@pytest.mark.parametrize("have", [0, 3])
def test_a_changelog_of_other_partitions_is_refused_before_anything_starts(have):
    log = MemoryLog()
    if have:
        log.create({"totals-changelog": have})
    with pytest.raises(SettingsError, match=f"has {have} partitions; it needs 4"):
        changelog.prepare(log, {"totals": 4}, create=False)
    log = MemoryLog()
    changelog.prepare(log, {"totals": 4}, create=True)
    assert len(log.describe(["totals-changelog"])["totals-changelog"].extents) == 4


def test_the_changelog_is_cut_in_pieces_and_put_together(monkeypatch):
    monkeypatch.setattr(changelog, "PIECE_BYTES_MAX", 100)
    monkeypatch.setattr(checkpoint, "CHAIN_LENGTH_MAX", 5)
    driver = driven(_hours, on_checkpoint_loss="changelog")
    before = state(driver)
    assert max(len(value or b"") for value in driver.values("hours-changelog")) == 100
    driver.kill()
    driver.store.lose()
    driver.restart()
    driver.run()
    assert [healed.how for healed in driver.healed] == ["changelog"]
    assert state(driver) == before


def test_what_an_aborted_batch_left_in_the_changelog_is_not_believed():
    driver = driven(_totals, on_checkpoint_loss="changelog")
    driver.feed(rides(range(FIRST, ALL)))
    for step in ("before:commit", "after:send-offsets", "after:flush"):
        driver.crash_at(step)
        with pytest.raises(Crash):
            driver.run()
        driver.restart()
    driver.kill()
    driver.store.lose()
    driver.restart()
    driver.run()
    quiet = driven(_totals)
    quiet.feed(rides(range(FIRST, ALL)))
    quiet.run()
    assert state(driver) == state(quiet)
    assert "changelog" in [healed.how for healed in driver.healed]


@pytest.mark.parametrize("policy", ["replay", "changelog"])
def test_a_snapshot_that_turns_out_half_way_not_to_be_whole_leaves_no_trace(policy, monkeypatch):
    monkeypatch.setattr(checkpoint, "CHAIN_LENGTH_MAX", 5)
    monkeypatch.setattr(chain, "CHUNK_BYTES_MAX", 8)
    driver = driven(_hours, on_checkpoint_loss=policy)
    before = state(driver)
    driver.kill()
    chunks = [key for key in driver.store.blobs(driver.task()) if key.count(":") == 3]
    assert len(chunks) > 2
    driver.store.damage(driver.task(), chunks[-1])
    driver.restart()
    driver.run()
    assert [healed.how for healed in driver.healed] == [policy]
    assert state(driver) == before


@pytest.mark.parametrize("call", range(1, 9))
def test_a_log_that_stops_answering_while_the_changelog_is_read_is_asked_again(call, monkeypatch):
    monkeypatch.setattr(changelog, "WINDOW_BYTES", 1)
    driver = driven(_totals, on_checkpoint_loss="changelog")
    before = state(driver)
    driver.kill()
    driver.store.lose()
    calls, scan = 0, driver.log.scan

    def failing(*where, **options):
        nonlocal calls
        calls += 1
        if calls == call:
            raise RetriableError("nothing came")
        return scan(*where, **options)

    monkeypatch.setattr(driver.log, "scan", failing)
    driver.restart()
    driver.run()
    assert calls > call
    assert [healed.how for healed in driver.healed] == ["changelog"]
    assert state(driver) == before


@pytest.mark.parametrize("low", [1, 30])
def test_input_that_is_gone_is_named_with_the_choices(low):
    driver = driven(_totals, on_checkpoint_loss="replay")
    driver.kill()
    driver.store.lose()
    driver.log.trim(RIDES, low)
    driver.restart()
    with pytest.raises(InputLostError, match=f"begins at {low}: {low} records") as caught:
        driver.run()
    assert "another application id" in caught.value.remedy
    assert "restore" in caught.value.remedy


def test_input_that_is_gone_does_not_matter_behind_the_ancestor():
    driver = driven(_totals, on_checkpoint_loss="replay")
    driver.kill()
    lose_tail(driver)
    driver.log.trim(RIDES, 30)
    driver.restart()
    driver.run()
    assert driver.healed[0].offset_from >= 30
    as_if_nothing_had_been(driver, _totals)


def test_a_task_that_began_at_the_end_is_computed_from_there():
    driver = TestDriver(totals(), batch_records_max=5, on_checkpoint_loss="replay")
    driver._options = replace(driver._options, start_from="latest")
    driver.kill()
    driver.feed(rides(range(20)))
    driver.restart()
    driver.run()
    driver.feed(rides(range(20, 40)))
    driver.run()
    before = state(driver)
    driver.kill()
    driver.store.lose()
    driver.restart()
    driver.run()
    assert driver.healed[0].offset_from == driver.committed()[RIDES].offset - 20
    assert state(driver) == before


def test_input_that_is_not_what_it_was_is_refused():
    driver = driven(_hours, on_checkpoint_loss="replay")
    driver.kill()
    driver.store.lose()
    entries = driver.log._broker.partition(RIDES)._entries
    entries[:] = [entries[0] for _ in entries]
    driver.restart()
    with pytest.raises(StateLostError, match="the input is not what it was"):
        driver.run()


@pytest.mark.parametrize(("size", "given"), [(1, 1), (3, 1), (3, 3), (20, 3)])
def test_a_log_that_stops_answering_within_a_replay_is_read_on_from_where_it_stood(
    size, given, monkeypatch
):
    log = FaultyLog(ManualClock())
    driver = TestDriver(totals(), log=log, batch_records_max=size, on_checkpoint_loss="replay")
    driver.feed(map(ride, range(10)))
    driver.run()
    before = driver.state()
    driver.kill()
    driver.store.lose()
    scan = driver.log.scan

    def failing(*where, **options):
        messages = [message for run in scan(*where, **options) for message in run]
        if messages:
            yield messages[:given]
        if messages[given:]:
            raise RetriableError("nothing more came")

    monkeypatch.setattr(driver.log, "scan", failing)
    driver.restart()
    driver.run()
    assert driver.healed == [Healed(driver.task(), "replay", 10, 0, 10)]
    assert state_of(before) == state_of(driver.state())
    assert any(key.startswith("s:") for key in driver.store.blobs(driver.task()))
    assert not driver._workers[0]._recovery.healer._replays
    # What was healed is what a batch that is refused goes back to.
    log.before["flush"] = [AbortableError("refused")]
    driver.feed(map(ride, range(10, 15)))
    driver.run()
    right(driver, 15)


def state_of(found) -> list[str]:
    return sorted(str(row) for operators in found.values() for row in operators["aggregate-0"])


def test_what_memory_has_is_told_to_cost_no_input():
    driver = TestDriver(totals())
    driver.feed(map(ride, range(10)))
    driver.run()
    healer, task = driver._workers[0]._recovery.healer, driver._workers[0].tasks[RIDES]
    healer.rebase(task)
    assert driver.healed == [Healed(driver.task(), "memory", 0, 10, 10)]


def test_what_the_changelog_does_not_have_is_taken_from_the_store(monkeypatch):
    driver = TestDriver(totals(), on_checkpoint_loss="changelog")
    driver.run()
    healer = driver._workers[0]._recovery.healer
    logged, stored = {"a": b"log", "b": b"log"}, {"b": b"store", "c": b"store"}
    monkeypatch.setattr(
        healer._changelog, "loader", lambda *_: lambda keys: [*map(logged.get, keys)]
    )
    monkeypatch.setattr(healer._store, "load", lambda _, keys: [*map(stored.get, keys)])
    load = healer._loader(lost(driver), manifest(driver))
    assert load(["a", "b", "c", "d"]) == [b"log", b"log", b"store", None]


def lost(driver: TestDriver) -> Broken:
    error = StateLostError("gone", remedy="look")
    return Broken(driver.task(), RIDES, driver.committed()[RIDES], 0, error)


class Stepped:
    """A replay whose steps take so long, or fail."""

    restored = False

    def __init__(self, driver: TestDriver, steps=()) -> None:
        self.broken = lost(driver)
        self.driver, self.steps = driver, list(steps)
        self.paced, self.closed = [], 0

    def step(self, *_) -> bool:
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        self.driver.advance(step)
        return False

    def pace(self, fast: bool) -> None:
        self.paced.append(fast)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def healing():
    driver = TestDriver(totals(), on_checkpoint_loss="replay")
    driver.run()
    driver.advance(64 - driver.clock.monotonic_s())
    healer = driver._workers[0]._recovery.healer
    healer._step_s = 1.0
    return driver, healer


@pytest.mark.parametrize(
    ("steps", "paced"),
    [
        ([0.25, 0.5, 0.75], [True, True, False]),
        ([0.5, 0.5], [True, True]),
        ([0.75, 0.25], [False, True]),
        ([3.0], [False]),
    ],
)
def test_healing_ends_its_turn_when_its_time_is_over_and_fits_its_batches_to_it(
    steps, paced, healing
):
    driver, healer = healing
    replay = healer._replays[RIDES] = Stepped(driver, steps)
    healer.turns()
    assert healer.go_on(RIDES, driver._workers[0].tasks[RIDES].owner) is None
    assert (replay.paced, replay.steps) == (paced, [])
    assert (replay.closed, healer._replays) == (0, {RIDES: replay})


def test_partitions_are_healed_one_after_the_other_in_the_time_of_all(healing):
    driver, healer = healing
    other = TopicPartition("rides", 1)
    owner = driver._workers[0].tasks[RIDES].owner
    first = healer._replays[RIDES] = Stepped(driver, [0.25] * 9)
    second = healer._replays[other] = Stepped(driver, [0.25] * 9)
    healer.turns()
    assert healer.go_on(RIDES, owner) is healer.go_on(other, owner) is None
    assert (len(first.steps), len(second.steps)) == (1, 9)  # two seconds, of a second each
    healer.forget(RIDES)  # whole, or another's
    healer.turns()
    assert healer.go_on(other, owner) is None
    assert len(second.steps) == 5


def test_a_partition_that_cannot_be_read_now_keeps_no_other_waiting(healing):
    driver, healer = healing
    other = TopicPartition("rides", 1)
    owner = driver._workers[0].tasks[RIDES].owner
    first = healer._replays[RIDES] = Stepped(driver, [RetriableError("its leader is away"), 0.25])
    first.restored = True
    second = healer._replays[other] = Stepped(driver, [0.25] * 9)
    healer.turns()
    assert healer.go_on(RIDES, owner) is healer.go_on(other, owner) is None
    assert (len(first.steps), len(second.steps)) == (1, 1)


def test_what_was_healed_is_committed_at_once_though_no_record_comes():
    driver = driven(_totals, on_checkpoint_loss="replay")
    driver.stop()
    before = driver.committed()
    lose_all(driver)
    driver.restart()
    driver.run()
    after = driver.committed()
    assert {p: c.offset for p, c in after.items()} == {p: c.offset for p, c in before.items()}
    assert {p: c.metadata for p, c in after.items()} != {p: c.metadata for p, c in before.items()}
    driver.stop()
    driver.restart()
    driver.run()
    assert driver.committed() == after  # nothing is healed again


@pytest.mark.parametrize("restored", [False, True])
def test_healing_that_was_not_answered_begins_anew_unless_a_state_was_whole(restored, healing):
    driver, healer = healing
    replay = healer._replays[RIDES] = Stepped(driver, [RetriableError("nothing came")])
    replay.restored = restored
    assert healer.go_on(RIDES, driver._workers[0].tasks[RIDES].owner) is None
    assert replay.closed
    assert (RIDES in healer._replays) == restored


def test_healing_that_is_given_up_lets_go_of_what_it_reads(healing):
    driver, healer = healing
    first, second = Stepped(driver), Stepped(driver)
    healer._replays[RIDES] = first
    healer.begin(lost(driver))
    assert first.closed == 1
    assert isinstance(healer._replays[RIDES], _Replay)
    other = TopicPartition("rides", 1)
    healer._replays |= {RIDES: first, other: second}
    healer.close()
    assert (first.closed, second.closed, healer._replays) == (2, 1, {})
    healer.policy = "stop"
    with pytest.raises(StateLostError, match="gone"):
        healer.begin(lost(driver))
    assert healer._replays == {}


class Held:
    """An operator's state that notes what it is made of."""

    def __init__(self) -> None:
        self.rows: list[str] = []

    def restore(self, rows: str) -> None:
        self.rows.append(rows)


def test_of_a_state_that_is_not_whole_nothing_is_left_and_the_next_older_one_is_taken(healing):
    driver, _ = healing

    def half():
        yield {"op": "half"}
        raise StateLostError("altered")

    older = chain.Ancestor([{"op": "whole"}, {"op": "too"}], 3, 77)
    ancestors = iter([chain.Ancestor(half(), 5, 99), older])
    replay = _Replay(lost(driver), lambda: {"op": Held()}, ancestors, driver.log)
    steps = 0
    while not replay.restored:
        assert not replay.step(None, 1, lambda _: None)
        steps += 1
    assert steps == 5
    assert replay.state["op"].rows == ["whole", "too"]
    assert (replay.start, replay._position, replay.event_time_max) == (3, 3, 77)
    assert replay.records == 0


def test_where_no_state_is_whole_the_loss_is_told_with_what_can_be_done(healing):
    driver, _ = healing
    broken = lost(driver)
    replay = _Replay(broken, dict, iter(()), driver.log)
    with pytest.raises(StateLostError) as caught:
        replay.step(None, 1, lambda _: None)
    assert caught.value is broken.error
    assert caught.value.remedy == CHANGED


def test_what_a_replay_reads_is_let_go_of(healing):
    driver, _ = healing
    replay = _Replay(lost(driver), dict, iter(()), driver.log)
    replay.close()
    closed = []
    runs = replay._runs = reading(closed)  # held, else it would end by itself
    next(runs)
    replay._waiting = [object()]
    replay.close()
    assert (closed, replay._runs, replay._waiting) == ([True], None, ())
    replay._runs = iter([])  # not every log has something to let go of
    replay.close()
    assert replay._runs is None


def reading(closed):
    try:
        yield []
    finally:
        closed.append(True)


def test_batches_of_a_replay_grow_and_shrink_by_the_factor_and_have_a_record_at_least(healing):
    driver, _ = healing
    replay = _Replay(lost(driver), dict, iter(()), driver.log)
    sizes = []
    for fast in (True, True, False, False, False, False, False, False, True):
        replay.pace(fast)
        sizes.append(replay._size)
    assert FIRST_SIZE == 32
    assert sizes == [128, 512, 128, 32, 8, 2, 1, 1, 4]
