"""Each trip once and every count right, whoever dies and wherever."""

from __future__ import annotations

import random
import time

import pytest

from tests.integration.running import (
    ENRICH,
    POPULAR,
    bench,
    enriched,
    enriched_lines,
    popular,
    read_enriched,
    read_popular,
    told,
    trips,
)
from tests.nightly import further

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]

CRASHED = 70
TRIPS = 500


@pytest.mark.parametrize("seed", [0, *map(further, range(1, 5))])
def test_a_worker_killed_at_any_moment_costs_and_doubles_nothing(bench, seed):
    choice = random.Random(seed)
    bench.create()
    lines = trips(TRIPS)

    def start(topology, instance):
        return bench.run(
            topology, "--instance", instance, "--batch-records-max", 25, "--interval", "5ms"
        )

    # Two workers of the stage that is hit, one of the other.
    hit, other = choice.sample([ENRICH, POPULAR], 2)
    victim, survivor, third = start(hit, "a"), start(hit, "b"), start(other, "a")
    victim.owns(2), survivor.owns(2), third.owns(4)
    wanted = popular(lines)
    with bench.topics.reader(bench.popular) as reader:
        bench.topics.fill(bench.trips, lines)
        after = choice.randint(1, 8)

        def time_to_die(run):
            reader.more(0.005)
            return run.batches() >= after or read_popular(reader.messages) == wanted

        victim.until(time_to_die, f"{after} batches")
        time.sleep(choice.uniform(0, 0.03))  # anywhere in the batch that follows
        victim.kill()
        again = start(hit, "a")
        again.until(lambda run: run.events("worker starts"), "its start")
        reader.until(
            lambda m: read_popular(m) == wanted, "all counts", runs=[again, survivor, third]
        )
    for run in (again, survivor, third):
        run.terminate()
    for run in (again, survivor, third):
        run.succeeds(20)
    assert read_enriched(bench.topics.read(bench.enriched)) == enriched(lines)
    messages = bench.topics.read(bench.popular)
    assert read_popular(messages) == wanted
    # No count was published twice, and none went back.
    assert all(counts == sorted(set(counts)) for counts in told(messages).values())


STEPS = [f"{when}:{step}" for step in ("stage", "begin") for when in ("before", "after")]
STEPS += ["after:produce", "after:flush", "after:send-offsets", "before:commit", "after:commit"]
STEPS += ["after:adopt"]


def _crash_and_run_again(bench, step, *args):
    """Both stages, each on its own: dies in its second batch at ``step``, then goes on."""
    bench.create()
    lines = trips(240)
    bench.topics.fill(bench.trips, lines)
    # What stage 2 reads here is not what stage 1 writes: the two run side by side.
    ready = f"ready-{bench.id}"
    bench.topics.create(ready)
    values, keys = enriched_lines(lines)
    bench.topics.fill(ready, values, keys=keys)

    def both(env):
        args_ = ["--until-caught-up", "--batch-records-max", 60, *args]
        return [
            bench.run(ENRICH, *args_, env=env),
            bench.run(POPULAR, *args_, env=env, sets={"input": ready}),
        ]

    for run in both({"PROCESSOR_CRASH_AT": f"{step}#2"}):
        assert run.exit_code() == CRASHED, run.tail()
        assert run.batches() == 1, run.tail()
    for run in both({}):
        run.succeeds()
    return lines


ALWAYS = ("before:stage", "before:commit", "after:commit")


@pytest.mark.parametrize("step", [s if s in ALWAYS else further(s) for s in STEPS])
def test_a_crash_at_any_step_is_made_good_by_a_restart(bench, step):
    lines = _crash_and_run_again(bench, step)
    assert read_enriched(bench.topics.read(bench.enriched)) == enriched(lines)
    messages = bench.topics.read(bench.popular)
    assert read_popular(messages) == popular(lines)
    assert all(counts == sorted(set(counts)) for counts in told(messages).values())


@pytest.mark.parametrize(
    "step", [further("after:flush"), "before:commit-offsets", further("after:commit-offsets")]
)
def test_at_least_once_a_crash_may_repeat_but_loses_nothing_and_counts_right(bench, step):
    lines = _crash_and_run_again(bench, step, "--guarantee", "at-least-once")
    got, wanted = read_enriched(bench.topics.read(bench.enriched)), enriched(lines)
    assert not wanted - got
    assert got.keys() == wanted.keys()
    repeated = (got - wanted).total()
    assert (repeated == 0) == (step == "after:commit-offsets"), repeated
    assert read_popular(bench.topics.read(bench.popular)) == popular(lines)


def test_at_least_once_is_exact_where_nothing_fails(bench):
    bench.create()
    lines = trips(600)
    bench.topics.fill(bench.trips, lines)
    for topology in (ENRICH, POPULAR):
        args = ("--until-caught-up", "--guarantee", "at-least-once", "--batch-records-max", 100)
        bench.run(topology, *args).succeeds()
    assert read_enriched(bench.topics.read(bench.enriched)) == enriched(lines)
    assert read_popular(bench.topics.read(bench.popular)) == popular(lines)
