from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from processor.cli import run, work
from processor.errors import RecordError, SettingsError, TopologyError
from processor.settings import Settings

ROOT = Path(__file__).parents[3]
COPY = """
from processor import Json, Text, Topology
import polars as pl

@Topology.define
def copy(*, app: str = "copy", on_error: str = "fail") -> Topology:
    topology = Topology(app)
    rows = topology.read.kafka("in", format=Json({"n": pl.Int64}), on_error=on_error)
    rows.write.kafka("out")
    return topology
"""


@pytest.fixture
def topology(tmp_path, monkeypatch):
    (tmp_path / "copied_in_a_test.py").write_text(COPY)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "copied_in_a_test"
    sys.modules.pop("copied_in_a_test", None)


def lines(tmp_path, *rows):
    path = tmp_path / "rows"
    path.write_text("".join(f"{row}\n" for row in rows))
    return {"in": str(path)}


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_fed_is_processed_and_then_it_ends(topology, tmp_path, capsys, workers):
    feed = lines(tmp_path, *(json.dumps({"n": n}) for n in range(2500)))
    run.run([topology], Settings(until_caught_up=True, workers=workers), feed)
    assert "log: embedded" in capsys.readouterr().err


def test_what_breaks_a_worker_is_raised(topology, tmp_path):
    with pytest.raises(RecordError, match="cannot read the record"):
        run.run([topology], Settings(until_caught_up=True), lines(tmp_path, "bad"))
    with pytest.raises(RecordError):  # also when it would go on without an end
        run.run([topology], Settings(), lines(tmp_path, "bad"))


def test_signals_are_as_before_afterwards(topology, tmp_path):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    run.run([topology], Settings(until_caught_up=True), lines(tmp_path, '{"n":1}'))
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_on_the_embedded_log_too_a_run_begins_at_a_time(topology, tmp_path):
    feed = lines(tmp_path, "bad")
    run.run([topology], Settings(until_caught_up=True, from_="2999-01-01"), feed)  # not read
    with pytest.raises(RecordError):
        run.run([topology], Settings(until_caught_up=True, from_="2024-01-01"), feed)


def test_a_signal_asks_for_an_end():
    stop = threading.Event()
    with run.signals(stop):
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(5)


def test_a_file_to_feed_that_is_not_there(topology):
    with pytest.raises(SettingsError, match="--feed in=/none: No such file"):
        run.run([topology], Settings(until_caught_up=True), {"in": "/none"})


def test_kafka_is_not_fed_from_files():
    with pytest.raises(SettingsError, match="embedded log only"):
        run.run(["x"], Settings(bootstrap_servers="h:1"), {"in": "f"})


def test_parameters_of_other_topologies_are_passed_over(topology):
    settings = Settings(set={"on_error": "skip", "window": "1 hour"})
    assert work.plan_of(topology, settings).source().on_error == "skip"


MOVING = """
import itertools
import polars as pl
from processor import Json, Topology

numbers = itertools.count()

@Topology.define
def moving(*, app: str = "moving") -> Topology:
    topology = Topology(app)
    rows = topology.read.kafka("in", format=Json({"n": pl.Int64}))
    rows.with_columns(at=pl.lit(next(numbers))).write.kafka("out")
    return topology
"""


def test_a_topology_that_is_another_one_each_time_is_refused_not_waited_for(tmp_path):
    path = tmp_path / "moving.py"
    path.write_text(MOVING)
    command = [sys.executable, "-m", "processor", "run", str(path), "--until-caught-up"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "moving.py is not the topology that this run began with" in done.stderr
    assert "datetime.now()" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_starts_where_a_topology_is_wrong(topology):
    with pytest.raises(TopologyError):
        run.run([topology, "no.such.module"], Settings(), {})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_command_ends_well_on_a_signal(tmp_path, number):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PROCESSOR_")}
    with subprocess.Popen(
        [sys.executable, "-m", "processor", "run", "topologies.uber.enrich"],
        cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        assert running.stderr is not None
        for line in running.stderr:
            if "worker starts" in line:
                break
        running.send_signal(number)
        rest = running.stderr.read()
        assert running.wait(60) == 0
    assert "worker stopped" in rest
    assert "Traceback" not in rest


def test_what_watches_over_workers_holds_nothing_that_only_they_need():
    code = (
        "import sys, processor.cli.main, processor.cli.run, processor.cli.supervise; "
        "from processor import settings; from processor.cli import logs; "
        "settings.load(None); logs.configure(); "
        "print({'polars', 'numpy', 'confluent_kafka', 'redis'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
