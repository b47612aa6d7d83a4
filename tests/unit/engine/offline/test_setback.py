"""A watermark that ran ahead is set back; offsets and state stay, and nothing heals past it."""

from __future__ import annotations

import pytest

from processor import functions as F
from processor.cli.verify import verified
from processor.engine.commit import checkpoint
from processor.engine.offline.reset import reset, resets
from processor.engine.offline.setback import set_back, setbacks
from processor.errors import (
    FencedError,
    LogError,
    ProcessorError,
    SettingsError,
    StateLostError,
    StateMismatchError,
)
from processor.model import moment
from processor.model.log import TopicPartition
from processor.model.manifest import Manifest
from processor.testing import Crash, TestDriver
from tests.topologies import ride, rides, stateless, totals, windowed

FAR = {"k": "k0", "t": "2096-01-01T00:00:00", "n": 7}
TIME = "2024-01-01T01:00:00"
DELAY = "30 minutes"


def copies():
    topology, frame = rides("copy")
    frame.with_watermark(DELAY, late="late").write.kafka("out", key="k")
    return topology


def sums():
    """Totals that show for ever what was late."""
    topology, frame = rides("sums")
    grouped = frame.with_watermark(DELAY).group_by("k")
    grouped.agg(n=F.count(), total=F.sum("n")).write.kafka("out", key="k", mode="update")
    return topology


def ahead(topology=windowed, *, partitions=1, stop=True, **options):
    """Sixty minutes of rides, and one of 2096 in partition 0: all that follows there is late."""
    driver = TestDriver(topology(), partitions=partitions, batch_records_max=5, **options)
    for number in range(partitions):
        driver.feed([ride(n) for n in range(60)], partition=number)
    driver.feed([FAR], partition=0)
    driver.run()
    if stop:
        driver.stop()
    return driver


def planned(driver, time=TIME, only=None):
    return setbacks(driver.plan, driver.log, moment.parse(time), only)


def carried_out(driver, time=TIME, only=None, crash=""):
    def probe(step):
        if step == crash:
            raise Crash(step)

    set_back(driver.plan, driver.log, planned(driver, time, only), probe)


def manifests(driver):
    return {p.partition: Manifest.parse(h.metadata) for p, h in driver.committed().items()}


def more(driver, numbers=range(60, 90), partition=0):
    """What comes on; how many of it are late."""
    before = sum(report.late for report in driver.reports)
    driver.feed([ride(n) for n in numbers], partition=partition)
    driver.run()
    return sum(report.late for report in driver.reports) - before


def state(driver):
    return {
        (p.partition, name): sorted(map(str, rows))
        for p, operators in driver.state().items()
        for name, rows in operators.items()
    }


def counted(driver):
    return {(row["window_start"], row["k"]): row["n"] for row in driver.json("out")}


@pytest.mark.parametrize("topology", [windowed, copies])
def test_without_it_all_that_follows_is_late(topology):
    driver = ahead(topology)
    driver.restart()
    assert more(driver) == 30


@pytest.mark.parametrize("topology", [windowed, copies])
def test_what_comes_after_it_is_counted(topology):
    driver = ahead(topology)
    carried_out(driver)
    driver.restart()
    assert more(driver) == 0


def test_offset_epoch_and_checkpoints_stay_and_no_earlier_state_is_named():
    driver = ahead()
    (before,), (old,) = driver.committed().values(), manifests(driver).values()
    blobs = driver.store.blobs(driver.task())
    carried_out(driver)
    (after,), (new,) = driver.committed().values(), manifests(driver).values()
    assert (after.offset, new.epoch, new.digest) == (before.offset, old.epoch, old.digest)
    assert (new.snapshot, new.plan, new.log, new.end) == (old.snapshot, old.plan, old.log, old.end)
    assert (new.origin, new.trail, new.rewound) == (None, (), old.epoch)
    assert new.event_time_max == moment.micros(moment.parse("2024-01-01T01:30:00"))
    assert new.log_time is None
    assert driver.store.blobs(driver.task()) == blobs


def test_a_plan_of_it_tells_what_is_and_what_will_be_and_changes_nothing():
    driver = ahead(partitions=2)
    before = driver.committed()
    far, near = planned(driver)
    assert moment.text(far.now) == "2095-12-31T23:30:00"
    assert moment.text(far.to) == TIME
    assert moment.text(near.now) == moment.text(near.to) == "2024-01-01T00:29:00"
    assert near.new is None
    assert driver.committed() == before


@pytest.mark.parametrize("time", [TIME, "2024-01-01T00:29:00"])  # which is the watermark of one
def test_a_watermark_that_is_not_ahead_of_the_time_stays_with_all_that_belongs_to_it(time):
    driver = ahead(partitions=2)
    before = driver.committed()
    carried_out(driver, time)
    after = driver.committed()
    changed = {p.partition for p in after if after[p] != before[p]}
    assert changed == {0}


def test_it_never_sets_a_watermark_on():
    driver = ahead()
    carried_out(driver)
    before = driver.committed()
    carried_out(driver, "2095-01-01")
    assert driver.committed() == before


def test_only_the_partitions_that_are_named_are_set_back():
    driver = ahead(partitions=3)
    driver.restart()
    driver.feed([FAR], partition=2)
    driver.run()
    driver.stop()
    before = driver.committed()
    carried_out(driver, only=[2])
    after = driver.committed()
    assert {p.partition for p in after if after[p] != before[p]} == {2}
    driver.restart()
    assert (more(driver, partition=2), more(driver, partition=0)) == (0, 30)


def test_what_was_counted_stays_counted_where_nothing_was_closed():
    driver = ahead(lambda: windowed(delay="40000 days"))
    expected = counted(driver)
    carried_out(driver, "2000-01-01")
    driver.restart()
    assert more(driver, range(30)) == 0
    again = counted(driver)
    assert again == expected | {
        (start, key): n + 6 for (start, key), n in expected.items() if not start.startswith("2096")
    }


def test_a_window_that_the_far_watermark_has_closed_begins_a_new_count():
    driver = ahead(lambda: windowed(mode="append"))
    windows = [r for r in driver.json("out") if r["window_start"].startswith("2024-01-01T00")]
    assert sum(row["n"] for row in windows) == 60
    carried_out(driver, "2024-01-01T00:00:00")
    driver.restart()
    assert more(driver, [58, 59, 60]) == 0
    assert more(driver, [200]) == 0  # which closes it
    windows = [r for r in driver.json("out") if r["window_start"].startswith("2024-01-01T00")]
    assert sum(row["n"] for row in windows) == 60 + 2


POLICIES = ["stop", "replay", "changelog"]


@pytest.fixture(params=["one chain", "snapshots"])
def chains(request, monkeypatch):
    if request.param == "snapshots":
        monkeypatch.setattr(checkpoint, "CHAIN_LENGTH_MAX", 5)


def run_on(policy, later, topology=windowed):
    """Set back, then ``later`` records more, and stopped."""
    driver = ahead(topology, on_checkpoint_loss=policy)
    carried_out(driver)
    driver.restart()
    assert more(driver, range(60, 60 + later)) == 0
    driver.stop()
    return driver


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("later", [0, 3, 40])
def test_it_is_loaded_again_under_every_policy(policy, later, chains):
    driver = run_on(policy, later)
    driver.restart()
    assert more(driver, range(100, 130)) == 0
    assert state(driver) == state(run_and_more("stop", later))
    assert driver.healed == []


def run_and_more(policy, later):
    driver = run_on(policy, later)
    driver.restart()
    more(driver, range(100, 130))
    return driver


def lose(driver, gone):
    task = driver.task()
    doomed = [key for key in driver.store.blobs(task) if gone(int(key.split(":")[1]))]
    driver.store.drop(task, doomed)
    return doomed


@pytest.mark.parametrize("later", [3, 40])
@pytest.mark.parametrize("back", [0, 2, 7, 99])
@pytest.mark.parametrize("policy", ["replay", "changelog"])
@pytest.mark.parametrize("far_again", [True, False])
def test_what_is_lost_after_it_comes_back_exactly_or_stops_by_name(
    policy, later, back, far_again, chains
):
    def whole():
        driver = run_on(policy, later, sums)
        if far_again:
            # The clock was not mended: the largest event time is what it was before.
            driver.restart()
            driver.feed([FAR])
            driver.run()
            driver.stop()
        return driver

    driver, quiet = whole(), whole()
    head = manifests(driver)[0].epoch
    lose(driver, lambda epoch: epoch >= head - back)
    for each in (driver, quiet):
        each.restart()
    quiet.run()
    lost = None
    try:
        driver.run()
    except StateLostError as error:
        lost = error
    if lost is not None:
        assert policy == "replay"
        assert "the watermark was set back" in lost.remedy
        return
    assert state(driver) == state(quiet)
    assert [healed.how for healed in driver.healed] in ([policy], [])


def test_what_is_lost_of_its_own_checkpoints_is_computed_again_from_behind_it():
    driver, quiet = run_on("replay", 40), run_on("replay", 40)
    head = manifests(driver)[0].epoch
    lose(driver, lambda epoch: epoch == head)
    for each in (driver, quiet):
        each.restart()
        each.run()
    (healed,) = driver.healed
    assert healed.how == "replay"
    assert healed.offset_from > 61
    assert state(driver) == state(quiet)


def test_lost_checkpoints_of_before_it_are_not_computed_again_from_the_input(chains):
    driver = run_on("replay", 0)
    driver.store.lose()
    driver.restart()
    with pytest.raises(StateLostError) as told:
        driver.run()
    assert "the watermark was set back" in told.value.remedy


def test_it_survives_an_upgrade_and_a_longer_delay_keeps_the_watermark():
    driver = run_on("stop", 3)
    changed = windowed(delay="45 minutes")
    again = TestDriver(changed, log=driver.log, store=driver.store)
    again.run()
    assert "the watermark does not go back" in again.upgraded[0].table
    assert more(again, range(90, 100)) == 0
    assert Manifest.parse(next(iter(again.committed().values())).metadata).origin is None


@pytest.mark.parametrize("topology", [windowed, copies])
@pytest.mark.parametrize("later", [0, 5])
def test_verify_refuses_by_name_what_it_cannot_know(topology, later):
    driver = run_on("stop", later, topology)
    with pytest.raises(SettingsError, match=r"watermark of rides\[0\] was set back"):
        verified(driver.plan, driver.log)


@pytest.mark.parametrize("crash", ["before:offsets", "after:offsets"])
def test_one_who_is_killed_in_between_has_done_all_or_nothing(crash):
    driver = ahead(partitions=2)
    before = driver.committed()
    with pytest.raises(Crash):
        carried_out(driver, crash=crash)
    assert (driver.committed() == before) == (crash == "before:offsets")
    carried_out(driver)
    driver.restart()
    assert more(driver) == 0


def test_a_live_group_is_refused():
    driver = ahead(stop=False)
    with pytest.raises(LogError, match="is at work"):
        planned(driver)


def test_a_worker_that_was_there_in_between_stops_it_before_anything_is_changed():
    driver = ahead()
    wanted = planned(driver)
    driver.restart()
    more(driver)
    with pytest.raises(LogError, match="is at work"):
        set_back(driver.plan, driver.log, wanted)
    driver.stop()
    before = driver.committed()
    with pytest.raises(FencedError, match="has committed meanwhile"):
        set_back(driver.plan, driver.log, wanted)
    assert driver.committed() == before


def test_a_group_that_has_committed_nothing_has_nothing_to_set_back():
    driver = TestDriver(windowed(), partitions=2)
    driver.stop()
    carried_out(driver)
    assert [step.new for step in planned(driver)] == [None, None]


@pytest.mark.parametrize("topology", [totals, stateless])
def test_a_topology_without_a_watermark_is_refused(topology):
    driver = ahead(topology)
    with pytest.raises(SettingsError, match="has no watermark"):
        planned(driver)


def test_a_watermark_that_records_carry_is_refused():
    def carried():
        topology, frame = rides("reader", watermark="carried")
        frame.group_by("k").agg(n=F.count()).write.kafka("out", key="k", mode="update")
        return topology

    driver = TestDriver(carried())
    driver.stop()
    with pytest.raises(SettingsError, match="that its records carry"):
        planned(driver)


def test_another_topologys_commit_is_refused():
    driver = ahead()
    other = windowed(delay="45 minutes").plan()
    with pytest.raises(StateMismatchError, match="another topology has committed"):
        setbacks(other, driver.log, moment.parse(TIME))


def test_a_partition_that_is_not_there_is_refused():
    with pytest.raises(SettingsError, match=r"rides\[3\] is not there"):
        planned(ahead(), only=[0, 3])


def test_a_reset_after_it_begins_anew_with_nothing_of_it():
    driver = ahead()
    carried_out(driver)
    reset(resets(driver.plans, driver.log, driver.store, "0"), driver.log, driver.store)
    assert manifests(driver)[0].rewound == 0
    assert manifests(driver)[0].origin == 0


def test_every_error_of_it_says_what_to_do():
    driver = ahead(totals)
    with pytest.raises(ProcessorError) as told:
        planned(driver)
    assert told.value.remedy


def test_records_that_are_stamped_by_the_same_clock_are_looked_at_anew():
    driver = TestDriver(windowed(), batch_records_max=5)
    far_ms = moment.millis(moment.parse("2099-01-01"))
    driver.log.feed("rides", [b'{"k":"k","t":"2099-01-01T00:00:00","n":1}'], timestamps_ms=[far_ms])
    driver.run()
    driver.stop()
    carried_out(driver)
    driver.restart()
    driver.feed([ride(60), FAR | {"t": "2098-01-01T00:00:00"}, ride(61)])
    driver.run()
    assert sum(report.dead_lettered for report in driver.reports) == 1
    assert sum(report.late for report in driver.reports) == 0
    assert TopicPartition("rides", 0) in driver.committed()
