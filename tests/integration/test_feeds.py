"""Feeds on a real broker: a process that is killed, a server that goes away, a log on disk."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing

import orjson
import pytest

from processor.connectors.sqlite.log import SqliteLog
from tests.feeding import put, text_of
from tests.integration.running import ROOT, bench, until

__all__ = ["bench"]

FILES = """
import polars as pl
from processor import Csv, Topology


@Topology.define
def copy(*, app: str = "copy", folder: str = "in", output: str = "out", clean: str = "delete"):
    topology = Topology(app)
    form = Csv({"user": pl.String, "n": pl.Int64}, header=True)
    rows = topology.read.files(
        folder, format=form, name="in", file="file", clean_source=clean or None
    )
    rows.write.kafka(output)
    return topology
"""
SOCKET = """
from processor import Topology


@Topology.define
def lines(*, app: str = "lines", port: int = 1, output: str = "out"):
    topology = Topology(app)
    topology.read.socket("127.0.0.1", port).write.kafka(output)
    return topology
"""


def filled(folder, count, rows=100):
    folder.mkdir(exist_ok=True)
    expected = []
    for number in range(count):
        given = [(f"u{n}", n) for n in range(rows)]
        put(folder, f"{number:03}.csv", text_of(given), number)
        expected += [(user, n, f"{number:03}.csv") for user, n in given]
    return expected


def rows(values):
    found = [orjson.loads(value) for value in values]
    return [(row["user"], row["n"], row["file"]) for row in found]


@pytest.mark.kafka
@pytest.mark.redis
def test_a_process_that_feeds_files_is_killed_at_its_steps_and_each_row_comes_once(bench):
    expected = filled(bench.directory / "in", 12)
    (bench.directory / "copies.py").write_text(FILES)
    app, output = f"copy-{bench.id}", f"out-{bench.id}"
    bench.topics.create(output, f"{app}-dead-letters", partitions=1)

    def run(env=None, *more):
        return bench.start(
            "./copies.py", "--bootstrap-servers", bench.servers, "--redis-url", bench.redis_url,
            "--set", f"app={app}", "--set", f"output={output}", "--session-timeout", "6s",
            "--batch-records-max", "150", *more, env=env, cwd=bench.directory,
        )  # fmt: skip

    for step in ("after:commit#2", "after:send-offsets#2"):
        crashed = run({"PROCESSOR_CRASH_AT": f"{step}@{app}.feed-in"}, "--until-caught-up")
        assert crashed.exit_code() == 70
    killed = run()  # beside the worker, in a run without an end
    killed.until(lambda _: killed.events("fed"), "it feeds", 60)
    killed.kill()
    run(None, "--until-caught-up").succeeds()
    found = rows(message.value() for message in bench.topics.read(output))
    assert found == expected
    assert list((bench.directory / "in").iterdir()) == []


@pytest.mark.kafka
@pytest.mark.redis
def test_lines_of_a_server_that_goes_away_and_comes_back_come_once(bench):
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]

    def serve(lines):
        listening.settimeout(60)
        connection, _ = listening.accept()
        with connection:
            connection.sendall(b"".join(b"%d\n" % n for n in lines))

    (bench.directory / "lines.py").write_text(SOCKET)
    app, output = f"lines-{bench.id}", f"out-{bench.id}"
    bench.topics.create(output, f"{app}-dead-letters", partitions=1)
    serving = threading.Thread(target=serve, args=(range(500),))
    serving.start()
    run = bench.start(
        "./lines.py", "--bootstrap-servers", bench.servers, "--redis-url", bench.redis_url,
        "--set", f"app={app}", "--set", f"output={output}", "--set", f"port={port}",
        cwd=bench.directory,
    )  # fmt: skip

    def found():
        return [int(orjson.loads(m.value())["value"]) for m in bench.topics.read(output)]

    until(lambda: found() == list(range(500)), "the first lines are there", 60, 0.3)
    serving.join()
    serve(range(500, 900))
    until(lambda: found() == list(range(900)), "so are those after it", 60, 0.3)
    run.terminate()
    run.succeeds()
    listening.close()
    assert "the other side has ended the connection" in run.text()


def test_on_a_log_on_disk_files_are_fed_once_and_a_reset_feeds_them_again(tmp_path):
    expected = filled(tmp_path / "in", 3)
    (tmp_path / "copies.py").write_text(FILES)

    def command(word, *args, env=None, code=0):
        done = subprocess.run(
            [sys.executable, "-m", "processor", word, "./copies.py", "--set", "clean=",
             "--data-dir", "data", *args],
            cwd=tmp_path, env={"PYTHONPATH": str(ROOT), **(env or {})}, capture_output=True,
            text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def found():
        with closing(SqliteLog(tmp_path / "data")) as log:
            return rows(message.value() for message in log.read("out"))

    crash = {"PROCESSOR_CRASH_AT": "before:commit@copy.feed-in"}
    command("run", "--until-caught-up", env=crash, code=70)
    command("run", "--until-caught-up")
    assert found() == expected
    assert "all is right" in command("verify")
    told = command("reset", "--yes")
    assert "copy is reset" in told
    assert "the feed in begins anew: files of in" in told
    command("run", "--until-caught-up")
    assert Counter(found()) == Counter(expected * 2)
