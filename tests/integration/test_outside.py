"""Files and a database on a real broker: each row once, whoever is killed when."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections import Counter

import orjson
import psutil
import pytest

from tests.integration.running import bench

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]

COUNT = 2_000
TOPOLOGY = """
import sqlite3

import polars as pl
from processor import Batch, Json, Topology


@Topology.define
def pay(*, app: str = "pay", source: str = "rows", folder: str = "out") -> Topology:
    database = f"{folder}.db"

    def save(frame: pl.DataFrame, epoch: int, batch: Batch) -> None:
        with sqlite3.connect(database, timeout=30) as connection:
            key = (batch.life, batch.task, epoch)
            new = connection.execute("insert or ignore into epochs values (?, ?, ?)", key)
            if new.rowcount:
                connection.executemany("insert into rows values (?, ?)", frame.rows())
        connection.close()

    topology = Topology(app)
    rows = topology.read.kafka(
        source, format=Json({"user": pl.String, "n": pl.Int64}), on_error="fail"
    )
    rows.write.files(folder)
    rows.write.foreach_batch(save)
    return topology
"""


def test_files_and_a_database_have_each_row_once_whoever_is_killed(bench):
    app, source = f"pay-{bench.id}", f"rows-{bench.id}"
    folder = bench.directory / "out"
    (bench.directory / "pay.py").write_text(TOPOLOGY)
    with sqlite3.connect(f"{folder}.db") as database:
        database.execute("create table rows (user text, n int)")
        database.execute(
            "create table epochs (life int, task text, epoch int, primary key (life, task, epoch))"
        )
    rows = [{"user": f"u{n % 7}", "n": n} for n in range(COUNT)]
    bench.topics.create(source, partitions=2)
    for number in range(2):
        bench.topics.fill(source, [orjson.dumps(row) for row in rows[number::2]], partition=number)

    def run(*args, env=None):
        return bench.start(
            f"{bench.directory}/pay.py", "--bootstrap-servers", bench.servers, "--redis-url",
            bench.redis_url, "--session-timeout", "6s", "--batch-records-max", "100",
            "--set", f"app={app}", "--set", f"source={source}", "--set", f"folder={folder}",
            *args, env=env,
        )  # fmt: skip

    killed = run("--until-caught-up", env={"PROCESSOR_CRASH_AT": f"after:commit#2@{app}"})
    assert killed.exit_code() == 70
    at_work = run("--interval", "20ms")
    at_work.until(lambda _: len(saved(folder)) > 100, "the database has rows")
    for child in psutil.Process(at_work.process.pid).children(recursive=True):
        child.kill()  # -9: the worker of either stage
    os.killpg(at_work.process.pid, signal.SIGKILL)
    at_work.process.wait(10)
    killed = run("--until-caught-up", env={"PROCESSOR_CRASH_AT": f"after:call#1@{app}.save"})
    assert killed.exit_code() in (0, 70)  # all may have been saved already
    run("--until-caught-up").succeeds()

    wanted = Counter((row["user"], row["n"]) for row in rows)
    assert Counter(saved(folder)) == wanted
    lines = [line for file in folder.glob("*.json") for line in file.read_bytes().splitlines()]
    told = map(orjson.loads, lines)
    assert Counter((row["user"], row["n"]) for row in told) == wanted
    assert not [*folder.rglob("*.json.pending")]


def saved(folder):
    with sqlite3.connect(f"{folder}.db") as database:
        return database.execute("select user, n from rows").fetchall()
