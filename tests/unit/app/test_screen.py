"""Results on the screen of an embedded run."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from processor.cli.main import cli

MODULE = """
import polars as pl
from processor import Json, Topology, functions as F

@Topology.define
def orders(*, app: str = "orders", least: int = 0, api_key: str = "hunter2") -> Topology:
    topology = Topology(app)
    rows = topology.read.kafka(
        "in", format=Json({"user": pl.String, "n": pl.Int64}), partitioned_by="user"
    )
    large = rows.filter(pl.col("n") >= least)
    large.write.kafka("large", key="user")
    WRITE
    return topology
"""
ROWS = [{"user": "ann", "n": 1}, {"user": "bob", "n": 2}, {"user": "ann", "n": 3}]
TOTALS = 'large.group_by("user").agg(total=F.sum("n"))'


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != ""])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PROCESSOR_LOG_LEVEL", "error")

    def do(*args, write="", command="run"):
        (tmp_path / "orders.py").write_text(MODULE.replace("WRITE", write))
        lines = [*map(json.dumps, ROWS), "no json"]
        (tmp_path / "in.json").write_text("".join(f"{line}\n" for line in lines))
        given = ["--until-caught-up", "--feed", "in=in.json"] if command == "run" else []
        return CliRunner().invoke(cli, [command, "orders", *given, *args])

    yield do
    sys.modules.pop("orders", None)


def test_rows_of_the_console_are_lines(run):
    done = run(write=f'{TOTALS}.write.console(mode="update")')
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["user"]: row["total"] for row in rows} == {"ann": 4, "bob": 2}


def test_print_shows_all_that_is_published_with_topic_and_key_and_the_reason(run):
    done = run("--print")
    assert done.exit_code == 0, done.output
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    large = [(key, json.loads(value)) for topic, key, value in lines[:-1] if topic == "large"]
    assert sorted(large, key=str) == sorted(((row["user"], row) for row in ROWS), key=str)
    topic, _, value, reason = next(line for line in lines if line[0] == "orders-dead-letters")
    assert (topic, value) == ("orders-dead-letters", "no json")
    assert "no JSON" in reason


def test_print_shows_headers_behind_the_value(run):
    write = """large.select("n", origin=pl.lit("web"), who=pl.col("user")).write.kafka(
        "told", headers={"origin": "origin", "who": "who"}, watermark=None
    )"""
    done = run("--print", write=write)
    assert done.exit_code == 0, done.output
    told = [line.split("\t") for line in done.stdout.splitlines() if line.startswith("told\t")]
    found = sorted((json.loads(value)["n"], headers) for _, _, value, *headers in told)
    assert found == [(r["n"], ["origin=web", f"who={r['user']}"]) for r in ROWS]


def test_without_either_nothing_is_on_the_screen(run):
    done = run()
    assert (done.exit_code, done.stdout) == (0, "")


def test_on_kafka_the_console_is_refused_at_its_line_and_so_is_print(run):
    done = run("--bootstrap-servers", "b:9092", write="large.write.console()", command="run")
    assert done.exit_code == 2
    done = CliRunner().invoke(cli, ["run", "orders", "--bootstrap-servers", "b:9092"])
    assert done.exit_code == 2
    assert "orders.py:13: write.console() shows rows" in done.output
    done = CliRunner().invoke(cli, ["run", "orders", "--print", "--bootstrap-servers", "b:9092"])
    assert done.exit_code == 2
    assert "--print shows what is published on the embedded log only" in done.output


def test_describe_shows_the_plan_that_run_would_run(run, tmp_path, monkeypatch):
    (tmp_path / "processor.toml").write_text("[set]\nleast = 2\n")
    monkeypatch.setenv("PROCESSOR_SET__APP", "mine")
    done = run("--set", "app=yours", command="describe")
    assert done.exit_code == 0, done.output
    text = done.stdout
    assert "topology yours" in text
    assert "partitioned by user" in text
    assert "(dyn int: 2)" in text
    assert "app = yours (str, given)" in text
    assert "least = 2 (int, given)" in text
    assert "api_key = *** (str, default)" in text
    assert "hunter2" not in text


def test_describe_refuses_what_run_would_refuse(run, monkeypatch):
    monkeypatch.setenv("PROCESSOR_SET__WINDOW", "1 hour")
    done = run(command="describe")
    assert done.exit_code == 2
    assert "no topology here has a parameter 'window'" in done.output


def test_of_a_log_that_is_kept_only_what_is_new_is_shown(run, tmp_path):
    args = ("--print", "--data-dir", str(tmp_path / "data"))
    assert len(run(*args).stdout.splitlines()) == 4
    again = run(*args)
    assert again.exit_code == 0, again.output
    assert again.stdout == ""


def test_print_shows_nothing_of_what_goes_from_stage_to_stage(run):
    write = 'rows.group_by("n").agg(c=F.count()).write.kafka("counts", key="n", mode="update")'
    done = run("--print", write=write)
    assert done.exit_code == 0, done.output
    topics = {line.split("\t")[0] for line in done.stdout.splitlines()}
    assert topics == {"counts", "large", "orders-dead-letters"}
