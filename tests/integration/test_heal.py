"""Redis loses everything under a real run, which heals and comes out exact."""

from __future__ import annotations

import pytest
import redis

from tests.integration.running import (
    POPULAR,
    Bench,
    bench,
    enriched_lines,
    popular,
    read_popular,
    told,
    trips,
)
from tests.services import climb, redis_rungs

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]

SMALL = ("--batch-records-max", 30, "--interval", "10ms", "--instance", "a")


@pytest.fixture
def own_redis(redis_server):
    """A Redis that the test may empty."""
    if redis_server.rung == "given by the environment":
        pytest.skip("the server is given: the tests may not empty it")
    server = climb(redis_rungs())
    yield server
    server.close()


@pytest.fixture
def half(kafka, own_redis, tmp_path):
    """Stage 2 alone, on a Redis of its own; it is fed in halves."""
    made = Bench(kafka, own_redis.url, tmp_path)
    made.create()
    made.lines = trips(900)
    yield made
    made.close()


def _feed(made, lines):
    values, keys = enriched_lines(lines)
    made.topics.fill(made.enriched, values, keys=keys)


def _counted(made, lines, run):
    with made.topics.reader(made.popular) as reader:
        reader.until(lambda m: read_popular(m) == popular(lines), "all counts", runs=[run])


def _flush(server):
    with redis.Redis.from_url(server.url) as client:
        client.flushall()


@pytest.mark.parametrize("policy", ["replay", "changelog"])
def test_a_redis_that_lost_everything_costs_nothing(half, own_redis, policy):
    def start():
        return half.run(POPULAR, *SMALL, "--on-checkpoint-loss", policy, "--create-topics", 4)

    run = start()
    _feed(half, half.lines[:300])
    _counted(half, half.lines[:300], run)
    _flush(own_redis)  # in the middle: what is in memory is written anew
    _feed(half, half.lines[300:600])
    _counted(half, half.lines[:600], run)
    run.terminate().succeeds(20)
    assert {e["how"] for e in run.events("lost checkpoints healed")} == {"memory"}

    _flush(own_redis)  # between two runs: what nobody has in memory
    again = start()
    _feed(half, half.lines[600:])
    _counted(half, half.lines, again)
    again.terminate().succeeds(20)
    healed = again.events("lost checkpoints healed")
    assert {e["how"] for e in healed} == {policy}
    messages = half.topics.read(half.popular)
    assert read_popular(messages) == popular(half.lines)
    # No count was published twice, and none went back.
    assert all(counts == sorted(set(counts)) for counts in told(messages).values())
