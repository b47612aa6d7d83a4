"""Topologies of several stages on a real broker, with workers as processes."""

from __future__ import annotations

import datetime as dt
import os
import random
import subprocess
import sys

import orjson
import psutil
import pytest

from tests.integration.running import ROOT, bench, until
from tests.nightly import further

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]

BEGIN = dt.datetime(2026, 8, 1)
TOPOLOGY = """
import polars as pl
from processor import Json, Topology, functions as F

ROW = Json({"user": pl.String, "shop": pl.String, "n": pl.Int64, "ts": pl.Datetime("us")})


@Topology.define
def spend(
    *, app: str = "spend", source: str = "rows", output: str = "spend", idle: str = "",
    mode: str = "update", dead_letters: str = "dead",
) -> Topology:
    topology = Topology(app)
    rows = topology.read.kafka(
        source, format=ROW, event_time="ts", partitioned_by="shop", dead_letters=dead_letters
    )
    rows = rows.with_watermark("5 minutes", idle=idle or None)
    by_user = rows.group_by(F.window("ts", "10 minutes"), "user").agg(
        n=F.count(), spent=F.sum("n")
    )
    by_user.write.kafka(output, key="user", mode=mode)
    return topology
"""


def rows(count):
    """In order of time, two a second, of 50 users, in shops that say nothing of the users."""
    for number in range(count):
        time = BEGIN + dt.timedelta(seconds=number / 2)
        yield {
            "user": f"u{number * 7 % 50}", "shop": f"s{number % 13}", "n": number % 10,
            "ts": time.isoformat(),
        }  # fmt: skip


def expected(count):
    """Count and sum by user and ten minutes."""
    groups = {}
    for row in rows(count):
        time = dt.datetime.fromisoformat(row["ts"])
        start = time.replace(minute=time.minute // 10 * 10, second=0, microsecond=0)
        n, spent = groups.get((row["user"], start.isoformat()), (0, 0))
        groups[row["user"], start.isoformat()] = n + 1, spent + row["n"]
    return groups


def last(messages):
    found = {}
    for message in messages:
        row = orjson.loads(message.value())
        found[row["user"], row["window_start"]] = row["n"], row["spent"]
    return found


class Staged:
    """The re-keyed spend, with topics of its own."""

    def __init__(self, bench, count, partitions=4, filled=None):
        self.bench, self.count = bench, count
        self.app = f"spend-{bench.id}"
        self.source, self.output = f"rows-{bench.id}", f"out-{bench.id}"
        (bench.directory / "spend.py").write_text(TOPOLOGY)
        bench.topics.create(self.source, self.output, f"dead-{bench.id}", partitions=partitions)
        values = [orjson.dumps(row) for row in rows(count)]
        filled = filled or range(partitions)
        for place, number in enumerate(filled):
            mine = [v for i, v in enumerate(values) if i % 13 % len(filled) == place]
            bench.topics.fill(self.source, mine, partition=number)

    def names(self):
        bench = self.bench
        sets = {
            "app": self.app, "source": self.source, "output": self.output,
            "dead_letters": f"dead-{bench.id}",
        }  # fmt: skip
        return [part for k, v in sets.items() for part in ("--set", f"{k}={v}")]

    def run(self, *args, env=None):
        bench = self.bench
        return bench.start(
            f"{bench.directory}/spend.py", "--bootstrap-servers", bench.servers, "--redis-url",
            bench.redis_url, "--session-timeout", "6s", *self.names(), *map(str, args), env=env,
        )  # fmt: skip

    def command(self, word, *args, code=0):
        """A command that is not a run, and what it prints."""
        bench = self.bench
        redis = [] if word == "verify" else ["--redis-url", bench.redis_url]
        done = subprocess.run(
            [sys.executable, "-m", "processor", word, f"{bench.directory}/spend.py",
             "--bootstrap-servers", bench.servers, *redis, *self.names(), *args],
            cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def found(self):
        return last(self.bench.topics.read(self.output))


def workers_of(run):
    """The processes that are workers, of whatever stage."""
    found = []
    for child in psutil.Process(run.process.pid).children():
        try:
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("workers", [further(1), 3])
def test_what_is_dealt_out_anew_comes_to_a_plain_group_by_and_nothing_is_late(bench, workers):
    staged = Staged(bench, 20_000)
    done = staged.run("--workers", workers, "--until-caught-up")
    done.succeeds()
    assert staged.found() == expected(20_000)
    assert sum(batch.get("late", 0) for batch in done.events("batch")) == 0
    told = staged.command("verify")
    assert told.count("all is right") == 2


def test_workers_of_any_stage_are_killed_again_and_again_and_each_row_counts_once(bench):
    count, made = 30_000, random.Random(7)
    kills = int(os.environ.get("STAGES_KILLS", "6"))  # twenty in the nightly form
    staged = Staged(bench, count)
    run = staged.run("--workers", 2, "--batch-records-max", 400, "--interval", "20ms")
    killed = 0
    while killed < kills:
        before = len(run.events("batch"))
        run.until(lambda _, b=before: len(run.events("batch")) > b + 3, "it goes on", 90)
        run.until(lambda _: workers_of(run), "there are workers")
        victim = made.choice(workers_of(run))
        victim.kill()
        killed += 1
    until(lambda: staged.found() == expected(count), "all is counted, and once", 150, 0.5)
    run.terminate()
    run.succeeds()
    assert staged.found() == expected(count)
    assert "all is right" in staged.command("verify")


@pytest.mark.parametrize("step", ["after:send-offsets", further("before:commit"), "after:commit"])
def test_a_crash_at_a_step_of_each_stage_changes_nothing(bench, step):
    staged = Staged(bench, 4_000, partitions=2)
    args = ("--batch-records-max", 300, "--until-caught-up")
    for stage in (staged.app, f"{staged.app}.by-user"):
        run = staged.run(*args, env={"PROCESSOR_CRASH_AT": f"{step}#2@{stage}"})
        assert run.exit_code() == 70
        assert run.events("worker starts")[-1]["topology"] == stage
    staged.run(*args).succeeds()
    assert staged.found() == expected(4_000)


def test_windows_close_when_data_stops_and_what_comes_then_is_late(bench):
    staged = Staged(bench, 3_000)
    run = staged.run("--set", "idle=3s", "--set", "mode=append")
    closed = {key: value for key, value in expected(3_000).items() if key[1] < "2026-08-01T00:10"}
    until(lambda: closed.items() <= staged.found().items(), "the first windows are closed", 60, 0.3)
    everything = expected(3_000)
    early = {"user": "u1", "shop": "s1", "n": 1, "ts": BEGIN.isoformat()}
    bench.topics.fill(staged.source, [orjson.dumps(early)], partition=1)
    run.until(lambda _: any(b.get("late") for b in run.events("batch")), "it is late")
    run.terminate()
    run.succeeds()
    assert staged.found().items() <= everything.items()


def test_partitions_that_never_had_a_record_hold_nothing_back_whichever_worker_has_them(bench):
    staged = Staged(bench, 3_000, partitions=8, filled=range(0, 8, 2))
    run = staged.run("--workers", 2, "--set", "mode=append")
    closed = {key: value for key, value in expected(3_000).items() if key[1] < "2026-08-01T00:10"}
    until(lambda: closed.items() <= staged.found().items(), "the first windows are closed", 60, 0.3)
    run.terminate()
    run.succeeds()
    assert staged.found().items() <= expected(3_000).items()
    assert not any(batch.get("late") for batch in run.events("batch"))


def test_a_reset_begins_all_stages_anew(bench):
    staged = Staged(bench, 5_000)
    staged.run("--until-caught-up").succeeds()
    told = staged.command("reset", "--yes")
    assert f"{staged.app} is reset" in told
    assert f"{staged.app}.by-user" in told
    staged.run("--until-caught-up").succeeds()
    found = bench.topics.read(staged.output)
    assert last(found) == expected(5_000)
    # What was handed on before is of a former life, and the stage behind passes it over too.
    assert "5000 outputs compared: all is right" in staged.command("verify")


def test_a_changed_topology_is_refused_with_rows_unread_and_goes_on_where_it_can(bench):
    staged = Staged(bench, 2_000, partitions=2)
    staged.run("--until-caught-up").succeeds()
    later = [orjson.dumps(row) for row in rows(4_000)][2_000:]
    bench.topics.fill(staged.source, later, partition=0)
    staged.run("--until-caught-up", "--stages", staged.app).succeeds()  # handed on, and not read

    def changed(code, words, *replaced):
        text = TOPOLOGY
        for before, after in replaced:
            assert before in text
            text = text.replace(before, after)
        (bench.directory / "spend.py").write_text(text)
        run = staged.run("--until-caught-up")
        assert run.exit_code() == code, run.tail()
        assert words in run.text(), run.tail()

    handed = len(bench.topics.read(f"{staged.app}.by-user"))
    more = ("by_user = rows", 'by_user = rows.with_columns(who=pl.col("shop"), m=pl.col("n") * 2)')
    keys = ('"user").agg(', '"who", "user", name="by-user").agg(')
    changed(2, "dealt out by other keys", more, keys)
    changed(2, "is not read yet", more, ('F.sum("n")', 'F.sum("m")'))
    assert len(bench.topics.read(f"{staged.app}.by-user")) == handed
    changed(0, "", ('n=F.count(), spent=F.sum("n")', "n=F.count()"))
    found = bench.topics.read(staged.output)
    newest = {(r["user"], r["window_start"]): r["n"] for r in map(decoded, found)}
    assert newest == {group: n for group, (n, _) in expected(4_000).items()}


def decoded(message):
    return orjson.loads(message.value())


def test_an_internal_topic_that_others_write_to_stops_the_stage_by_name(bench):
    staged = Staged(bench, 500, partitions=1)
    staged.run("--until-caught-up").succeeds()
    bench.topics.fill(f"{staged.app}.by-user", [b"hello"], partition=0)
    again = staged.run("--until-caught-up")
    assert again.exit_code() == 2
    assert f"{staged.app}.by-user[0] offset" in again.text()
    assert "no block" in again.text()
