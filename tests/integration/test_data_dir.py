"""``--data-dir``: a program that is killed at any point goes on, and each record counts once."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from contextlib import closing, suppress

import psutil
import pytest
import structlog

from processor import app
from processor.cli import supervise
from processor.connectors.sqlite.log import SqliteLog
from processor.settings import load
from tests.integration.running import ROOT, Run
from tests.nightly import further

TOPOLOGY = """
import polars as pl
from processor import Json, Topology, functions as F

topology = Topology("shop")
rows = topology.read.kafka(
    "orders",
    format=Json({"id": pl.Int64, "user": pl.String, "n": pl.Int64, "text": pl.String}),
    partitioned_by="user",
)
rows.write.kafka("copied", key="user")
rows.group_by("user").agg(total=F.sum("n"), orders=F.count()).write.kafka(
    "totals", key="user", mode="update"
)
"""
CRASHES = (
    "before:process#2", "before:stage#3", "after:stage#2", "before:begin#2", "after:produce#3",
    "after:send-offsets#2", "before:commit#3", "before:commit", "after:commit#3", "after:adopt",
)  # fmt: skip


class Shop:
    """One data directory, the file that is fed, and what has to come of it."""

    def __init__(self, directory, orders, large=0):
        self.directory, self.place = directory, directory / "data"
        self.runs = []
        (directory / "shop.py").write_text(TOPOLOGY)
        self.fed = [self.order(i, large if i % 997 == 5 else 0) for i in range(orders)]
        (directory / "orders.json").write_bytes(b"".join(line + b"\n" for line in self.fed))

    @staticmethod
    def order(number, size):
        row = {"id": number, "user": f"u{number * 7 % 31}", "n": number % 13, "text": "x" * size}
        return json.dumps(row).encode()

    def run(self, *args, env=None):
        fixed = (
            "./shop.py", "--data-dir", self.place, "--feed", "orders=orders.json",
            "--until-caught-up", "--interval", "0s", "--batch-records-max", "100",
            "--log-format", "json",
        )  # fmt: skip
        run = Run(self.directory, *fixed, *args, env=env, cwd=self.directory)
        self.runs.append(run)
        return run

    def command(self, name, *args, code=0):
        done = subprocess.run(
            [sys.executable, "-m", "processor", name, *args, "--data-dir", self.place],
            cwd=self.directory, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def rows(self, topic):
        with closing(SqliteLog(self.place)) as log:
            return [json.loads(message.value()) for message in log.read(topic)]

    def totals(self):
        """The last that was said of each user."""
        return {row["user"]: (row["total"], row["orders"]) for row in self.rows("totals")}

    def wanted(self):
        """A plain group-by."""
        total, orders = Counter(), Counter()
        for row in map(json.loads, self.fed):
            total[row["user"]] += row["n"]
            orders[row["user"]] += 1
        return {user: (total[user], orders[user]) for user in orders}

    def is_right(self):
        read = Counter(row["id"] for row in self.rows("copied"))
        assert read == Counter(range(len(self.fed)))
        assert self.totals() == self.wanted()
        told = json.loads(self.command("verify", "./shop.py", "--json"))
        assert (told["right"], told["recomputed"]) == (True, len(self.fed))


@pytest.fixture
def shop(tmp_path):
    made = []

    def make(*args, **options):
        made.append(Shop(tmp_path, *args, **options))
        return made[-1]

    yield make
    for run in [run for one in made for run in one.runs]:
        run.close()
        print(run.tail())  # noqa: T201 - shown where a test has failed


def kill(run, *, redis):
    """SIGKILL; with its Redis, as when a container is killed or the memory is full."""
    servers = []
    if redis:
        with suppress(psutil.NoSuchProcess):
            servers = psutil.Process(run.process.pid).children(recursive=True)
    for server in servers:
        with suppress(psutil.NoSuchProcess):
            server.kill()
    run.kill()


def killed_again_and_again(shop, seed, kills, *args):
    """Killed at moments that the seed gives: of the start, of the feeding, of batches, of the end.

    Returns how many of the kills met a living process.
    """
    pick, met = random.Random(seed), 0
    for number in range(kills):
        run = shop.run(*args)
        batches = pick.choice([0, 0, 1, 2, 5, 9])
        if batches:
            with suppress(AssertionError):  # it had less to do
                run.until(lambda run, n=batches: run.batches() >= n, f"{batches} batches")
        with suppress(subprocess.TimeoutExpired):
            run.process.wait(pick.random() * (0.05 if batches else 1.5))
        met += run.process.poll() is None
        kill(run, redis=number % 2 == 0)
    shop.run(*args).succeeds()
    return met


@pytest.mark.parametrize(("seed", "workers"), [further(0, "1"), (1, "3"), further(2, "1")])
def test_sigkill_at_many_moments_and_each_record_counts_once(shop, seed, workers):
    one = shop(5_000, large=300_000)
    assert killed_again_and_again(one, seed, 7, "--workers", workers) >= 3
    one.is_right()


def test_a_crash_at_each_step_of_the_commit_and_each_record_counts_once(shop):
    one = shop(9_000)
    for step in CRASHES:
        assert one.run(env={"PROCESSOR_CRASH_AT": step}).exit_code() == 70, step
    one.run().succeeds()
    one.is_right()


def test_at_least_once_loses_nothing_and_its_state_is_exact(shop):
    one = shop(2_000)
    for step in ("after:flush#3", "before:commit-offsets#2", "after:commit-offsets#2"):
        run = one.run("--guarantee", "at-least-once", env={"PROCESSOR_CRASH_AT": step})
        assert run.exit_code() == 70, step
    one.run("--guarantee", "at-least-once").succeeds()
    assert {row["id"] for row in one.rows("copied")} == set(range(2_000))
    assert one.totals() == one.wanted()


def test_what_retention_takes_of_the_input_does_not_touch_what_comes(shop):
    one = shop(3_000)
    assert one.run(env={"PROCESSOR_CRASH_AT": "after:commit#9"}).exit_code() == 70
    with closing(SqliteLog(one.place)) as log:
        positions = log.committed("shop", "orders")
        for partition, at in positions.items():
            log.trim(partition, at.offset)
        assert sum(log.describe(["orders"])["orders"].extents[p.partition].low
                   for p in positions) > 0  # fmt: skip
    one.run().succeeds()
    assert Counter(row["id"] for row in one.rows("copied")) == Counter(range(3_000))
    assert one.totals() == one.wanted()


def test_commands_work_on_the_directory_and_a_second_process_is_refused(shop):
    one = shop(300)
    one.run().succeeds()
    assert "all is right" in one.command("verify", "./shop.py")
    assert "topology.read.kafka" in one.command("infer", "orders")
    with closing(SqliteLog(one.place)):
        said = one.command("verify", "./shop.py", code=2)
        assert f"{one.place} is in use by process" in said
        assert one.run().exit_code() == 2
        assert "is in use by process" in one.runs[-1].text()
    said = one.command("reset", "./shop.py", "--yes")
    assert "shop is reset" in said
    one.run().succeeds()
    read = Counter(row["id"] for row in one.rows("copied"))
    assert read == Counter(dict.fromkeys(range(300), 2))
    assert one.totals() == one.wanted()


def test_a_dead_letter_is_sent_again_once_and_the_log_keeps_that(shop):
    one = shop(300)
    lines = b"".join(line + b"\n" for line in [*one.fed, b"no json"])
    (one.directory / "orders.json").write_bytes(lines)
    one.run().succeeds()

    def dlq(name, *args):
        done = subprocess.run(
            [sys.executable, "-m", "processor", "dlq", name, "./shop.py", *args, "--json",
             "--data-dir", one.place],
            cwd=one.directory, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        return json.loads(done.stdout)

    assert dlq("ls")["letters"] == 1
    assert dlq("redrive")["sent"] == 1
    assert dlq("redrive")["sent"] == 0
    with closing(SqliteLog(one.place)) as log:
        sent = [m for m in log.read("orders") if m.value() == b"no json"]
        assert len(sent) == 2


def test_demos_of_one_directory_do_not_meet(tmp_path):
    for number in (1, 2):
        done = subprocess.run(
            [sys.executable, "-m", "processor", "demo", "--records", "500", "--output",
             tmp_path / f"out-{number}", "--data-dir", tmp_path / "data"],
            cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "topics and applications of this run: demo-" in done.stdout
    outputs = [sorted((tmp_path / f"out-{n}").iterdir()) for n in (1, 2)]
    assert [path.name for path in outputs[0]] == [path.name for path in outputs[1]] != []
    with closing(SqliteLog(tmp_path / "data")) as log:
        assert len([name for name in log._broker.topics if name.endswith("-trips")]) == 2


@pytest.mark.kafka
def test_with_kafka_it_keeps_the_embedded_redis_alone(kafka, redis_server, tmp_path):
    place = tmp_path / "data"
    given = {"bootstrap_servers": kafka.bootstrap_servers, "data_dir": place}
    with app.backends(load(**given)) as used:
        assert used.store_name.startswith(f"embedded Redis in {place / 'kafka-checkpoints'}")
    assert [path.name for path in place.iterdir()] == ["kafka-checkpoints"]
    with supervise.embedded_redis(load(**given)) as shared:
        assert shared.redis_url is not None
        # What is for all workers is not looked for again by each.
        assert shared.data_dir is None
    with structlog.testing.capture_logs() as lines:
        with app.backends(load(**given, redis_url=redis_server.url)):
            pass
        assert [line["event"] for line in lines] == [
            "the data directory is not used: neither the log nor Redis is embedded"
        ]
