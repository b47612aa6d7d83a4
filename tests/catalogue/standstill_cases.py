"""Standstills with all servers up: topics that are gone, partitions that are lost, what is held."""

from __future__ import annotations

import signal

from confluent_kafka import Producer

from tests.catalogue.case import case
from tests.catalogue.counting import Counting, alone
from tests.catalogue.recording import SCRAPE_S, recorded
from tests.integration.running import enriched_lines, popular, trips, until

METRICS = ("--metrics-port", 0)
LIMIT_S = 20


def _at_work(servers, *args):
    """A worker that has counted its first trips, and a recording of it."""
    stage = Counting(servers.bench())
    stage.feed(200)
    run = stage.start("a", *METRICS, *args)
    stage.counted(run)
    recording = recorded(run, servers)
    recording.until(lambda look: look.status == 200, "that it is ready")
    return stage, run, recording


def _delete(bench, topic):
    for answer in bench.topics._admin.delete_topics([topic]).values():
        answer.result(LIMIT_S)


def _fired(recording, servers, *alerts):
    """The recording ends; all of ``alerts`` have to have fired."""
    recording.close()
    fired = recording.fired(servers.directory)
    assert fired is None or fired.keys() >= set(alerts), fired
    return fired


def _warns(run, *words):
    run.until(
        lambda r: any(
            line["level"] == "warning" and all(word in line["what"] for word in words)
            for line in r.events("not well")
        ),
        f"a warning with {words}",
    )


@case(
    "standstill: the output topic is deleted",
    done="deleted under a worker, then records come",
    expected="not ready, alive; metric, warning and alert name it; given up by name, rc 2",
)
def output_deleted(servers):
    stage, run, recording = _at_work(servers, "--give-up-after", "10s")
    topic = stage.bench.popular
    recording.mark()
    _delete(stage.bench, topic)
    stage.feed(100)
    waited = recording.not_ready(f"output topic {topic} is not there")
    down = recording.shows("topic_up", 0, topic=topic, role="output")
    _warns(run, f"output topic {topic} is not there")
    recording.until(lambda look: look.total("consumer_lag_records") == 100, "lag")
    fails = recording.until(
        lambda look: look.total("batch_aborts_total", reason="log") > 0, "aborts"
    )
    undone = run.events("batch undone")
    assert all(line["level"] == "warning" and topic in line["reason"] for line in undone), (
        run.tail()
    )
    stage.stops(run, "error (topic_gone)", f"output topic {topic} is not there; given up after")
    fired = _fired(recording, servers, "ProcessorTopicDown")
    return (
        f"not ready after {waited} s, topic_up 0 after {down} s, a batch failed after {fails} s, "
        f"alerts {fired}"
    )


@case(
    "standstill: the input topic is deleted",
    done="deleted under a worker, for ever",
    expected="not ready, alive; metric, warning and alert name it; given up by name, rc 2",
)
def input_deleted(servers):
    stage, run, recording = _at_work(servers, "--give-up-after", "10s")
    topic = stage.bench.enriched
    recording.mark()
    _delete(stage.bench, topic)
    waited = recording.not_ready(f"input topic {topic} is not there")
    down = recording.shows("topic_up", 0, topic=topic, role="input")
    lost = recording.shows("partitions_assigned", 0)
    _warns(run, f"input topic {topic} is not there")
    recording.until(
        lambda look: look.samples and not look.values("consumer_lag_records"), "no lag is shown"
    )
    recording.until(lambda look: look.total("state_rows") == 0, "no state is shown")
    stage.stops(run, "error (topic_gone)", f"input topic {topic} is not there; given up after")
    fired = _fired(recording, servers, "ProcessorTopicDown")
    return (
        f"not ready after {waited} s, topic_up 0 after {down} s, no partitions after {lost} s, "
        f"alerts {fired}"
    )


@case(
    "standstill: a worker stands still for longer than its session",
    done="SIGSTOP of one of two workers until the other has all, records come; then SIGCONT",
    expected="the other shows all state and lag at once; the first is told; both go on, exact",
)
def worker_frozen(servers):
    stage = Counting(servers.bench())
    stage.feed(200)
    runs = [stage.start(name, *METRICS) for name in "ab"]
    for run in runs:
        run.owns(2)
    stage.counted(*runs)
    first, second = (recorded(run, servers) for run in runs)
    for recording in (first, second):
        # A counter that has grown is one that was seen before.
        recording.until(lambda look: look.status == 200 and look.at_s > 2 * SCRAPE_S, "readiness")
        recording.mark()
    runs[0].process.send_signal(signal.SIGSTOP)
    alone(runs[1])
    groups = len(popular(stage.lines[:200]))
    taken = second.shows("partitions_assigned", 4)
    # Nothing was fed since: no batch, and its state is shown all the same.
    shown = second.shows("state_rows", groups)
    stage.feed(200)
    second.until(lambda look: look.total("batches_total") > 0, "batches")
    runs[0].process.send_signal(signal.SIGCONT)
    lost = first.until(lambda look: look.total("rebalances_total", kind="lost") == 1, "its loss")
    warned = [line for line in runs[0].events("partitions changed") if line["kind"] == "lost"]
    assert [line["level"] for line in warned] == ["warning"], runs[0].tail()
    first.until(lambda look: look.status == 200 and look.total("partitions_assigned") == 2, "back")
    stage.counted(*runs)
    first.lasts(lost + 10)
    fired = _fired(first, servers, "ProcessorPartitionsLost")
    stage.finish(*runs)
    return f"taken over after {taken} s, state shown after {shown} s, told after {lost} s, {fired}"


@case(
    "standstill: a worker takes over and no record comes",
    done="SIGKILL of a worker, another starts; nothing is fed",
    expected="the new one shows state, partitions and lag 0 before any batch",
    in_tests=True,
)
def taken_over(servers):
    stage, run, recording = _at_work(servers)
    rows = recording.looks[-1].total("state_rows")
    size = recording.looks[-1].total("state_bytes")
    recording.close()
    run.kill()
    other = stage.start("a", *METRICS)
    recording = recorded(other, servers)
    shown = recording.shows("state_rows", rows)
    recording.shows("state_bytes", size)
    recording.until(lambda look: look.status == 200, "that it is ready")
    recording.until(lambda look: look.values("consumer_lag_records") == [0.0] * 4, "lag 0")
    look = recording.looks[-1]
    assert rows == len(popular(stage.lines[:200]))
    assert look.total("batches_total") == look.total("last_commit_timestamp_seconds") == 0
    assert look.total("records_late_total") == 0
    stage.finish(other)
    return f"{rows:g} groups shown after {shown} s"


def _transactional(stage, name):
    producer = Producer(
        {
            "bootstrap.servers": stage.bench.servers, "transactional.id": name,
            "transaction.timeout.ms": 300_000, "partitioner": "murmur2_random", "log_level": 2,
        }
    )  # fmt: skip
    producer.init_transactions(LIMIT_S)
    return producer


def _send(producer, stage, count):
    producer.begin_transaction()
    part = stage.lines[stage.fed : stage.fed + count]
    for value, key in zip(*enriched_lines(part), strict=True):
        producer.produce(stage.bench.enriched, value, key)
    assert producer.flush(LIMIT_S) == 0


@case(
    "standstill: nothing but marks of transactions behind the last record",
    done="records in transactions that commit, others in one that aborts; then nothing",
    expected="lag 0, though the committed position is before the end; nothing fires",
)
def behind_marks(servers):
    stage, run, recording = _at_work(servers)
    producer = _transactional(stage, f"marks-{stage.bench.id}")
    recording.mark()
    for _ in range(3):
        _send(producer, stage, 50)
        producer.commit_transaction(LIMIT_S)
        stage.fed += 50
    _send(producer, stage, 50)
    producer.abort_transaction(LIMIT_S)
    stage.counted(run)
    batches = run.batches()
    recording.lasts(recording.looks[-1].at_s - recording.looks[0].at_s + 3)
    zero = recording.until(lambda look: look.values("consumer_lag_records") == [0.0] * 4, "lag 0")
    assert recording.looks[-1].values("input_held_records") == [0.0] * 4
    assert run.batches() == batches
    fired = _fired(recording, servers)
    assert not fired, fired
    stage.finish(run)
    return f"lag 0 after {zero} s"


@case(
    "standstill: an open transaction of another holds the input back",
    done="a transaction stays open for 150 s while records follow it; then it is aborted",
    expected="alive and ready; a metric and an alert tell; then goes on, exact",
)
def held_back(servers):
    stage, run, recording = _at_work(servers)
    producer = _transactional(stage, f"hangs-{stage.bench.id}")
    recording.mark()
    producer.begin_transaction()
    for value, key in zip(*enriched_lines(trips(20, first=5000)), strict=True):
        producer.produce(stage.bench.enriched, value, key)
    assert producer.flush(LIMIT_S) == 0
    stage.feed(100)
    held = recording.until(lambda look: (look.total("input_held_records") or 0) >= 120, "held")
    recording.lasts(150)
    assert all(look.status == 200 for look in recording.since()), run.tail()
    producer.abort_transaction(LIMIT_S)
    stage.counted(run)
    fired = _fired(recording, servers, "ProcessorInputHeld")
    stage.finish(run)
    return f"held records after {held} s, alerts {fired}"


def _at_work_on_three(servers, topic, **options):
    """The same on three brokers, where ``topic`` of the bench is made as told."""
    cluster = servers.own_cluster()
    stage = Counting(servers.bench(kafka=cluster), options={topic: options})
    stage.feed(200)
    run = stage.start("a", *METRICS)
    stage.counted(run)
    recording = recorded(run, servers)
    recording.until(lambda look: look.status == 200, "that it is ready")
    recording.mark()
    return cluster, stage, run, recording


def _goes_on(cluster, broker, stage, run):
    broker.restart()
    cluster.whole()
    stage.feed(100).counted(run)


@case(
    "standstill: a partition of the input has no leader",
    done="three brokers, the input on one of them only, which is killed for 30 s",
    expected="not ready, alive; metric, warning and alert name topic and partition; then exact",
)
def no_leader(servers):
    cluster, stage, run, recording = _at_work_on_three(
        servers, "enriched", replica_assignment=[[3]] * 4, min_insync_replicas=1
    )
    topic, broker = stage.bench.enriched, cluster.brokers[2]
    broker.kill()
    waited = recording.not_ready(f"input topic {topic} has no leader for partition")
    down = recording.shows("topic_up", 0, topic=topic, role="input")
    _warns(run, topic, "has no leader for partition")
    recording.lasts(30)
    assert run.process.poll() is None, run.tail()
    _goes_on(cluster, broker, stage, run)
    fired = _fired(recording, servers, "ProcessorTopicDown")
    stage.finish(run)
    return f"not ready after {waited} s, topic_up 0 after {down} s, alerts {fired}"


@case(
    "standstill: the output takes no records",
    done="three brokers, the output needs all of them; one is killed for 90 s, records come",
    expected="not ready, alive, with the reason; alerts; then goes on, exact",
)
def output_refuses(servers):
    cluster, stage, run, recording = _at_work_on_three(servers, "popular", min_insync_replicas=3)
    broker = cluster.brokers[2]
    broker.kill()
    stage.feed(100)
    # Not even the transaction can be ended, so the identity cannot be taken anew.
    waited = recording.not_ready("the worker is in no group, or waits: ")
    recording.lasts(90)
    assert run.process.poll() is None, run.tail()
    _goes_on(cluster, broker, stage, run)
    fired = _fired(recording, servers, "ProcessorNotReady")
    stage.finish(run)
    return f"not ready after {waited} s, alerts {fired}"


@case(
    "standstill: more workers than partitions",
    done="five workers for four partitions; then the four that have them are killed one by one",
    expected="the fifth is ready with none while others have all; and takes over",
)
def standby(servers):
    stage = Counting(servers.bench())
    stage.feed(200)
    runs = {name: stage.start(name, *METRICS) for name in "abcde"}
    until(lambda: sorted(len(r.owned()) for r in runs.values()) == [0, 1, 1, 1, 1], "all at work")
    stage.counted(*runs.values())
    idle = next(run for run in runs.values() if not run.owned())
    recording = recorded(idle, servers)
    recording.until(
        lambda look: look.status == 200 and look.total("partitions_assigned") == 0, "ready"
    )
    assert recording.looks[-1].total("state_rows") == 0
    recording.mark()
    for run in runs.values():
        if run is not idle:
            run.kill()
    taken = recording.shows("partitions_assigned", 4)
    recording.until(
        lambda look: look.status == 200 and look.total("partitions_assigned") == 4, "ready"
    )
    stage.feed(100).counted(idle)
    stage.finish(idle)
    return f"took over after {taken} s"
