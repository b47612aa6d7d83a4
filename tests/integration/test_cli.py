"""``processor run`` at its edges: what it refuses, where its settings come from, what it tells."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from importlib.metadata import version

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.running import (
    ENRICH,
    POPULAR,
    bench,
    enriched,
    enriched_lines,
    popular,
    read_enriched,
    read_popular,
    trips,
)
from tests.services.handle import free_port

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]


def _refused(run, *words):
    assert run.exit_code() == 2, run.tail()
    text = run.text()
    assert "Traceback" not in text, run.tail()
    for word in words:
        assert word in text, run.tail()


def test_missing_topics_are_named_and_refused(bench):
    _refused(bench.run(ENRICH), bench.trips, bench.enriched, bench.dead, "--create-topics")
    assert not {bench.trips, bench.enriched, bench.dead} & bench.topics.names()


def test_create_topics_creates_what_is_missing(bench):
    bench.run(ENRICH, "--create-topics", 3, "--until-caught-up").succeeds()
    lines = trips(90)
    bench.topics.fill(bench.trips, lines)  # to all partitions, of which there have to be 3
    bench.run(ENRICH, "--until-caught-up").succeeds()
    messages = bench.topics.read(bench.enriched)
    assert read_enriched(messages) == enriched(lines)
    assert len({m.partition() for m in messages}) == 3


@pytest.mark.parametrize(
    ("topology", "options", "words"),
    [
        ("topologies.uber.nothing", [], ["topologies.uber.nothing", "remedy:"]),
        (f"{ENRICH}:other", [], ["other"]),
        (ENRICH, ["--set", "nothing=1"], ["nothing"]),
        (ENRICH, ["--set", "nothing=1", "--workers", "2"], ["nothing"]),
        (POPULAR, ["--set", "window=a while"], ["a while"]),
        (ENRICH, ["--workers", "0"], ["--workers"]),
        (ENRICH, ["--interval", "soon"], ["--interval", "soon"]),
        (ENRICH, ["--kafka", "no.such.setting=1"], ["no.such.setting"]),
        (
            ENRICH,
            ["--bootstrap-servers", "127.0.0.1:1", "--give-up-after", "0s"],
            ["127.0.0.1:1", "remedy:"],
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else value,
)
def test_what_cannot_run_is_refused_in_words(bench, topology, options, words):
    servers = ["--bootstrap-servers", bench.servers, "--redis-url", bench.redis_url]
    _refused(bench.start(topology, *servers, *options), *words)


def test_several_workers_without_a_redis_share_an_embedded_one_that_is_kept(bench):
    bench.create()
    state = {"XDG_STATE_HOME": str(bench.directory / "state")}
    args = ["--bootstrap-servers", bench.servers, "--workers", 2, "--until-caught-up"]
    values, keys = enriched_lines(trips(400))
    for part in (slice(200), slice(200, 400)):
        bench.topics.fill(bench.enriched, values[part], keys=keys[part])
        bench.start(POPULAR, *args, *bench.sets(POPULAR), env=state).succeeds()
    assert read_popular(bench.topics.read(bench.popular)) == popular(trips(400))


@pytest.mark.parametrize("moment", ["log: Kafka", '"event":"worker starts"', '"kind":"assigned"'])
def test_an_interrupt_at_the_terminal_ends_several_workers_in_order(bench, moment):
    bench.create()
    run = bench.run(ENRICH, "--workers", 2, "--log-format", "json")
    run.until(lambda run: moment in run.text(), moment)
    os.killpg(run.process.pid, signal.SIGINT)
    run.succeeds()
    assert "Traceback" not in run.text(), run.tail()


def test_settings_of_the_client_pass_through(bench):
    bench.create()
    bench.topics.fill(bench.trips, trips(40))
    args = ("--kafka", "linger.ms=1", "--kafka", "producer.compression.type=gzip")
    bench.run(ENRICH, "--until-caught-up", *args).succeeds()
    assert len(bench.topics.read(bench.enriched)) == 40


def test_settings_come_from_the_file_the_environment_and_the_command_line(bench):
    bench.create()
    lines = trips(60)
    bench.topics.fill(bench.trips, lines)
    (bench.directory / "processor.toml").write_text(
        f"""
        bootstrap-servers = "{bench.servers}"
        redis-url = "redis://127.0.0.1:1/0"
        batch-records-max = 7
        until-caught-up = true
        [set]
        app = "overruled"
        input = "{bench.trips}"
        output = "{bench.enriched}"
        dead_letters = "{bench.dead}"
        centroids = "{bench.centroids}"
        [kafka]
        linger.ms = 1
        """
    )
    run = bench.start(
        ENRICH,
        "--batch-records-max",
        20,
        env={
            "PROCESSOR_REDIS_URL": bench.redis_url,
            "PROCESSOR_SET__APP": bench.app(ENRICH),
            "PROCESSOR_BATCH_RECORDS_MAX": "9",
        },
        cwd=bench.directory,
    )
    run.succeeds()
    batches = run.events("batch")
    assert max(batch["records_in"] for batch in batches) == 20, run.tail()
    assert {batch["topology"] for batch in batches} == {bench.app(ENRICH)}
    assert read_enriched(bench.topics.read(bench.enriched)) == enriched(lines)


def _get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.status, answer.read().decode()


CATALOGUE = {
    "records_in", "records_out", "records_dead_lettered", "records_late", "records_skipped",
    "records_filtered", "batches", "batch_aborts", "rebalances", "batch_duration_seconds",
    "batch_records", "state_rows", "state_bytes", "checkpoint_bytes", "consumer_lag_records",
    "watermark_lag_seconds", "records_contributed", "checkpoint_failures", "input_held_records",
    "last_commit_timestamp_seconds", "partitions_assigned", "ready", "broker_up", "store_up",
    "topic_up", "topic_partitions", "build_info",
}  # fmt: skip


def test_metrics_and_the_log_tell_what_a_known_run_did(bench):
    bench.create()
    lines, bad = trips(200), [b"x", b"", b"y,z"]
    bench.topics.fill(bench.trips, [*lines, *bad])
    port = free_port()
    run = bench.run(ENRICH, "--metrics-port", port, "--batch-records-max", 100)

    def read_all(run):
        return sum(b["records_in"] for b in run.events("batch")) == len(lines) + len(bad)

    run.until(read_all, "all records")
    run.until(lambda _: "consumer_lag_records{" in _get(port, "/metrics")[1], "its lag")
    assert _get(port, "/livez")[0] == 200
    assert _get(port, "/readyz")[0] == 200
    status, text = _get(port, "/metrics")
    assert status == 200
    values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values.setdefault(sample.name, []).append(sample)

    families = {f.name.removeprefix("processor_") for f in text_string_to_metric_families(text)}
    assert families >= CATALOGUE

    def total(name, **labels):
        found = [
            sample.value
            for sample in values.get(f"processor_{name}", [])
            if labels.items() <= sample.labels.items()
        ]
        return sum(found)

    batches = run.events("batch")
    app = bench.app(ENRICH)
    assert total("records_in_total", topology=app) == 203
    assert total("records_out_total", topology=app) == 200
    assert total("records_dead_lettered_total", topology=app) == 3
    assert total("records_skipped_total") == total("records_late_total") == 0
    assert total("batches_total", topology=app) == len(batches)
    assert total("batch_records_sum", topology=app) == 203
    assert total("batch_duration_seconds_count", phase="commit") == len(batches)
    assert total("batch_aborts_total") == total("checkpoint_failures_total") == 0
    assert total("ready") == total("broker_up") == total("store_up") == 1
    assert total("partitions_assigned") == 4
    assert abs(total("last_commit_timestamp_seconds") - time.time()) < 60
    of_topics = values["processor_topic_up"]
    assert {(s.labels["role"], s.value) for s in of_topics} == {
        ("input", 1), ("output", 1), ("dead_letters", 1),
    }  # fmt: skip
    assert total("topic_partitions", role="input", topic=bench.trips) == 4
    (build,) = values["processor_build_info"]
    assert build.labels["version"] == version("processor")
    assert values["process_resident_memory_bytes"][0].value > 0
    assert total("rebalances_total", kind="assigned") == 1
    lags = values["processor_consumer_lag_records"]
    assert {sample.labels["partition"] for sample in lags} == {"0", "1", "2", "3"}
    assert all(sample.value == 0 for sample in lags)

    assert sum(b.get("dead_lettered", 0) for b in batches) == 3
    assert sum(b["records_out"] for b in batches) == 200
    for batch in batches:
        assert batch.keys() >= {
            "topology", "worker", "batch", "records_in", "records_out", "seconds",
            "records_per_s", "poll_s", "process_s", "stage_s", "publish_s", "commit_s",
            "state_rows", "state_bytes", "checkpoint_bytes", "partitions", "lag_records",
            "level", "timestamp",
        }  # fmt: skip
    assert [batch["batch"] for batch in batches] == list(range(1, len(batches) + 1))
    run.terminate().succeeds(20)


def test_metrics_of_state_tell_rows_and_checkpoints(bench):
    bench.create()
    lines = trips(200)
    bench.topics.fill(bench.trips, lines)
    bench.run(ENRICH, "--until-caught-up").succeeds()
    port = free_port()
    run = bench.run(POPULAR, "--metrics-port", port)
    with bench.topics.reader(bench.popular) as reader:
        reader.until(lambda m: read_popular(m) == popular(lines), "counts", runs=[run])
    run.until(lambda run: sum(b["records_in"] for b in run.events("batch")) == 200, "the log")
    _, text = _get(port, "/metrics")
    values = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("kind") != "snapshot"
    }
    assert values["processor_state_rows"] == len(popular(lines))
    assert values["processor_state_bytes"] > 0
    assert values["processor_checkpoint_bytes_total"] > 0
    run.terminate().succeeds(20)
