"""Servers that go away, records that cannot be read, workers that are told to stop."""

from __future__ import annotations

import random
import signal

import psutil
import pytest
import redis
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from tests.integration.running import (
    ENRICH,
    POPULAR,
    ROOT,
    Bench,
    bench,
    enriched,
    enriched_lines,
    popular,
    read_enriched,
    read_popular,
    trips,
)
from tests.services import climb, redis_rungs

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]

SMALL = ("--batch-records-max", 30, "--interval", "10ms")


def _ours(server):
    """Skips where somebody else runs the server."""
    if server.rung == "given by the environment":
        pytest.skip("the server is given: the tests may not stop it")
    return server


@pytest.fixture
def own_redis(redis_server):
    """A Redis that the test may stop and empty; climbing again costs little."""
    _ours(redis_server)
    server = climb(redis_rungs())
    yield server
    server.close()


@pytest.fixture
def counting(kafka, own_redis, tmp_path):
    """Stage 2 alone, on a Redis of its own, with half of its trips counted."""
    made = Bench(kafka, own_redis.url, tmp_path)
    made.create()
    made.lines = trips(600)
    made.run_ = made.run(POPULAR, "--instance", "a", *SMALL)
    _feed_popular(made, made.lines[:300])
    _counted(made, made.lines[:300])
    yield made
    made.close()


def _feed_popular(bench, lines):
    values, keys = enriched_lines(lines)
    bench.topics.fill(bench.enriched, values, keys=keys)


def _counted(bench, lines, run=None):
    wanted = popular(lines)
    with bench.topics.reader(bench.popular) as reader:
        reader.until(lambda m: read_popular(m) == wanted, "counts", runs=[run or bench.run_])


def test_a_redis_that_restarts_is_a_pause(counting, own_redis):
    own_redis.stop()
    _feed_popular(counting, counting.lines[300:])
    own_redis.restart()
    _counted(counting, counting.lines)
    counting.run_.terminate().succeeds(20)


def test_a_redis_that_lost_its_data_stops_the_run_and_every_restart(counting, own_redis):
    before = read_popular(counting.topics.read(counting.popular))
    counting.run_.kill()  # a living worker has it in memory, and writes it anew
    with redis.Redis.from_url(own_redis.url) as client:
        client.flushall()
    _feed_popular(counting, counting.lines[300:])

    def refused(run):
        assert run.exit_code(40) != 0
        text = run.text()
        # What is missing, and what the choices are.
        assert "state_lost" in text, run.tail()
        assert f"{counting.app(POPULAR)}/{counting.enriched}/" in text, run.tail()
        assert "remedy:" in text, run.tail()

    refused(counting.run(POPULAR, "--instance", "a", *SMALL))
    refused(counting.run(POPULAR, "--instance", "other", "--until-caught-up"))
    assert read_popular(counting.topics.read(counting.popular)) == before


def test_a_kafka_that_restarts_is_a_pause(bench):
    _ours(bench.kafka)
    bench.create()
    lines = trips(600)
    runs = [bench.run(topology, "--instance", "a", *SMALL) for topology in (ENRICH, POPULAR)]
    bench.topics.fill(bench.trips, lines[:300])
    _counted(bench, lines[:300], runs[1])
    bench.topics.fill(bench.trips, lines[300:450])
    bench.kafka.restart()
    bench.topics.fill(bench.trips, lines[450:])
    with bench.topics.reader(bench.popular) as reader:
        wanted = popular(lines)
        reader.until(lambda m: read_popular(m) == wanted, "counts", 120, runs=runs)
    for run in runs:
        run.terminate()
    for run in runs:
        run.succeeds(30)
    assert read_enriched(bench.topics.read(bench.enriched)) == enriched(lines)


HUGE = random.Random(1).randbytes(2_000_000)  # does not get smaller by compression
BAD = {
    "fewer fields": b"2014-08-01 00:03:00,40.7366,-73.9906",
    "more fields": b"2014-08-01 00:03:00,40.7366,-73.9906,B02512,1",
    "no number": b"2014-08-01 00:03:00,forty,-73.9906,B02512",
    "not finite": b"2014-08-01 00:03:00,nan,-73.9906,B02512",
    "no date": b"2014-13-01 00:03:00,40.7366,-73.9906,B02512",
    "empty": b"",
    "no value": None,
    "a field empty": b"2014-08-01 00:03:00,40.7366,-73.9906,",
    "not UTF-8": b"2014-08-01 00:03:00,40.7366,-73.9906,B\xff\xfe",
    "NUL": b"2014-08-01 00:03:00,40.7366,-73.9906,B\x0002",
    "only NUL": b"\0\0\0",
    "2 MB": HUGE,
    "2 MB of text": b"2014-08-01 00:03:00,40.7,-73.9," + b"B" * 2_000_000,
}


def _feed_with_bad(bench, lines):
    """All in one partition: good ones, the bad ones one by one between them, good ones."""
    mixed = list(lines[:20])
    for i, value in enumerate(BAD.values()):
        mixed += [value, lines[20 + i]]
    mixed += lines[20 + len(BAD) :]
    bench.topics.fill(bench.trips, mixed, partition=0)
    return {offset: value for offset, value in enumerate(mixed) if value in BAD.values()}


def test_bad_records_go_to_the_dead_letters_and_their_neighbours_pass(bench):
    bench.create(max_message_bytes=10_000_000)
    lines = trips(100)
    bad = _feed_with_bad(bench, lines)
    bench.run(ENRICH, "--until-caught-up").succeeds()
    assert read_enriched(bench.topics.read(bench.enriched)) == enriched(lines)

    dead = {}
    for message in bench.topics.read(bench.dead):
        headers = {name: value.decode() for name, value in message.headers()}
        assert headers["processor.topic"] == bench.trips
        assert headers["processor.partition"] == "0"
        assert headers["processor.stage"].startswith(bench.app(ENRICH))
        assert headers["processor.error"]
        assert int(headers["processor.offset"]) not in dead
        dead[int(headers["processor.offset"])] = message.value()
    assert dead == bad


@pytest.mark.nightly
def test_a_dead_letter_that_is_refused_stops_the_run_and_nothing_is_lost(bench):
    bench.topics.create(bench.trips, bench.enriched, max_message_bytes=10_000_000)
    bench.topics.create(bench.dead, max_message_bytes=100_000)
    lines = trips(100)
    bad = _feed_with_bad(bench, lines)
    stopped = bench.run(ENRICH, "--until-caught-up")
    assert stopped.exit_code() == 2, stopped.tail()
    assert bench.dead in stopped.text(), stopped.tail()
    assert "max.message.bytes" in stopped.text(), stopped.tail()
    assert HUGE not in {message.value() for message in bench.topics.read(bench.dead)}

    resource = ConfigResource(
        ConfigResource.Type.TOPIC,
        bench.dead,
        incremental_configs=[
            ConfigEntry(
                "max.message.bytes",
                "10000000",
                incremental_operation=AlterConfigOpType.SET,
            )
        ],
    )
    admin = AdminClient({"bootstrap.servers": bench.servers})
    for answer in admin.incremental_alter_configs([resource]).values():
        answer.result(10)
    bench.run(ENRICH, "--until-caught-up").succeeds()
    assert read_enriched(bench.topics.read(bench.enriched)) == enriched(lines)
    assert len(bench.topics.read(bench.dead)) == len(bad)


def test_topics_that_the_processor_makes_take_large_dead_letters(bench):
    bench.topics.create(bench.trips, max_message_bytes=10_000_000)
    lines = trips(100)
    bad = _feed_with_bad(bench, lines)
    bench.run(ENRICH, "--until-caught-up", "--create-topics", 2).succeeds()
    assert len(bench.topics.read(bench.dead)) == len(bad)


def test_on_error_fail_stops_and_names_the_record(bench):
    bench.create()
    lines = trips(50)
    bench.topics.fill(bench.trips, [*lines, BAD["no number"]], partition=2)
    sets = {"on_error": "fail"}
    run = bench.run(ENRICH, "--until-caught-up", "--batch-records-max", 20, sets=sets)
    assert run.exit_code() == 2, run.tail()
    assert f"{bench.trips}[2] offset 50" in run.text(), run.tail()
    assert "forty" in run.text(), run.tail()
    assert read_enriched(bench.topics.read(bench.enriched)) <= enriched(lines)
    assert not bench.topics.read(bench.dead)


def test_on_error_skip_drops_and_counts(bench):
    bench.create()
    lines = trips(50)
    bench.topics.fill(bench.trips, [*lines, BAD["no number"], BAD["empty"]], partition=1)
    run = bench.run(ENRICH, "--until-caught-up", sets={"on_error": "skip"}).succeeds()
    assert sum(batch.get("skipped", 0) for batch in run.events("batch")) == 2, run.tail()
    assert read_enriched(bench.topics.read(bench.enriched)) == enriched(lines)
    assert not bench.topics.read(bench.dead)


def test_sigterm_ends_a_worker_in_order_and_the_other_takes_over_at_once(bench):
    bench.create()
    lines = trips(400)
    # With this session a worker that did not say good-bye would be missed for 45 s.
    args = ("--session-timeout", "45s", *SMALL)
    first, second = (bench.run(ENRICH, "--instance", name, *args) for name in "ab")
    first.owns(2), second.owns(2)
    bench.topics.fill(bench.trips, lines[:200])
    first.until(lambda run: run.batches() >= 2, "2 batches")
    first.terminate().succeeds(20)
    assert first.events("worker stopped")
    second.until(lambda run: len(run.owned()) == 4, "all partitions", 3)
    bench.topics.fill(bench.trips, lines[200:])
    wanted = enriched(lines)
    with bench.topics.reader(bench.enriched) as reader:
        reader.until(lambda m: len(m) >= len(lines), "all trips", runs=[second])
    second.terminate().succeeds(20)
    assert read_enriched(bench.topics.read(bench.enriched)) == wanted


def test_a_killed_worker_process_is_started_again_by_its_parent(bench):
    bench.create()
    lines = trips(400)
    run = bench.run(ENRICH, "--workers", 2, *SMALL)
    run.until(lambda run: len(run.events("worker starts")) == 2, "2 workers")
    run.owns(4)  # both processes together
    assert len(_workers(run)) == 2
    bench.topics.fill(bench.trips, lines[:200])
    run.until(lambda run: run.batches() >= 3, "3 batches")
    victim = _workers(run)[0]
    victim.kill()
    run.until(lambda run: run.events("worker was killed: starting it again"), "a new worker")
    run.until(lambda run: len(run.events("worker starts")) == 3, "a third start")
    bench.topics.fill(bench.trips, lines[200:])
    with bench.topics.reader(bench.enriched) as reader:
        reader.until(lambda m: len(m) >= len(lines), "all trips", runs=[run])
    assert victim.pid not in {worker.pid for worker in _workers(run)}
    run.terminate().succeeds(20)
    assert read_enriched(bench.topics.read(bench.enriched)) == enriched(lines)


DEADLY = """
import os, signal
import polars as pl
from processor import Text, Topology

def deadly(value):
    if value == "deadly":
        os.kill(os.getpid(), signal.SIGSEGV)
    return value

@Topology.define
def copy(*, app: str = "a", input: str = "in", output: str = "out") -> Topology:
    topology = Topology(app)
    lines = topology.read.kafka(input, format=Text(), on_error="skip")
    passed = pl.col("value").map_elements(deadly, return_dtype=pl.String)
    lines.select(value=passed).write.kafka(output, format=Text())
    return topology
"""


# The command, with pauses that a test has time for.
HASTY = """
from processor.__main__ import main
from processor.cli import watch

watch.MOST_S = 0.1
if __name__ == "__main__":
    main()
"""
KILLED = "worker was killed: starting it again"


def _deadly(bench, module="processor"):
    """Two workers; four lines are through, and then one has come that kills whoever reads it."""
    bench.create()
    for name, text in (("deadly", DEADLY), ("hasty", HASTY)):
        (bench.directory / f"{name}.py").write_text(text)
    path = {"PYTHONPATH": f"{bench.directory}:{ROOT}"}
    sets = {"app": f"deadly-{bench.id}", "input": bench.trips, "output": bench.enriched}
    given = [part for name, value in sets.items() for part in ("--set", f"{name}={value}")]
    servers = ("--bootstrap-servers", bench.servers, "--redis-url", bench.redis_url)
    run = bench.start("deadly", "--workers", 2, *servers, *given, env=path, module=module)
    run.until(lambda run: len(run.events("worker starts")) == 2, "2 workers")
    run.owns(4)
    for partition in range(4):
        bench.topics.fill(bench.trips, [b"good"], partition=partition)
    with bench.topics.reader(bench.enriched) as reader:
        reader.until(lambda m: len(m) == 4, "all lines", runs=[run])
    bench.topics.fill(bench.trips, [b"deadly"], partition=0)
    return run


def test_a_step_that_kills_its_process_is_tried_again_with_pauses_and_a_stop_is_heard(bench):
    run = _deadly(bench)
    told = run.until(lambda run: len(e := run.events(KILLED)) >= 4 and e, "4 kills")
    assert {event["signal"] for event in told} == {signal.SIGSEGV}
    pauses = {}
    for event in told:
        pauses.setdefault(event["worker"], []).append(event["pause_s"])
    # Whoever has the line is killed by it, and both may have had it in turns.
    for of_one in pauses.values():
        assert of_one == [0.5, 1.0, 2.0, 4.0][: len(of_one)]
    run.terminate().succeeds(30)
    assert len(bench.topics.read(bench.enriched)) == 4


@pytest.mark.nightly
def test_a_step_that_kills_its_process_again_and_again_stops_the_run_by_name(bench):
    run = _deadly(bench, "hasty")
    assert run.exit_code(120) == 2, run.tail()
    assert "of deadly was killed by SIGSEGV, 10 times in a row" in run.text(), run.tail()
    assert "remedy: read its last log lines" in run.text(), run.tail()
    assert run.events("worker stopped"), run.tail()  # the other one, in good order
    assert len(bench.topics.read(bench.enriched)) == 4


def _workers(run):
    children = psutil.Process(run.process.pid).children()
    found = []
    for child in children:
        try:
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize(
    ("topology", "running"),
    [
        pytest.param(ENRICH, True, id="without state, under a worker"),
        pytest.param(POPULAR, True, id="with state, under a worker"),
        pytest.param(
            ENRICH, False, id="without state, between two runs", marks=pytest.mark.nightly
        ),
        pytest.param(POPULAR, False, id="with state, between two runs", marks=pytest.mark.nightly),
    ],
)
def test_an_input_topic_that_was_made_anew_ends_the_run_by_name(bench, topology, running):
    bench.create()
    lines = trips(60)
    source, output = (
        (bench.trips, bench.enriched) if topology == ENRICH else (bench.enriched, bench.popular)
    )
    values, keys = (lines, None) if topology == ENRICH else enriched_lines(lines)
    started = ("--instance", "a", *SMALL)
    run = bench.run(topology, *started)
    bench.topics.fill(source, values[:30], keys=keys and keys[:30])
    run.until(lambda r: sum(e["records_in"] for e in r.events("batch")) == 30, "30 records")
    if not running:
        run.terminate().succeeds(20)
    before = bench.topics.read(output)
    admin = AdminClient({"bootstrap.servers": bench.kafka.bootstrap_servers, "log_level": 2})
    for done in admin.delete_topics([source]).values():
        done.result()
    bench.topics.create(source)
    bench.topics.fill(source, values[:60], keys=keys and keys[:60])
    if not running:
        run = bench.run(topology, *started)
    assert run.exit_code(60) == 2, run.tail()
    text = run.text()
    # Kafka forgets the positions in a topic that is deleted, now or a little later.
    assert "input_replaced" in text or "state_mismatch" in text, run.tail()
    assert "processor reset" in text, run.tail()
    assert len(bench.topics.read(output)) == len(before)
