from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from processor.cli.main import cli

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # no processor.toml
    for name in ("BOOTSTRAP_SERVERS", "REDIS_URL", "CONFIG", "WORKERS"):
        monkeypatch.delenv(f"PROCESSOR_{name}", raising=False)


def invoke(*arguments):
    return CliRunner().invoke(cli, arguments)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ((), ["run", "describe", "demo"]),
        (("run",), ["--bootstrap-servers", "--redis-url", "--until-caught-up", "--set", "--feed"]),
        (("describe",), ["--set", "TOPOLOGY"]),
        (("late",), ["--set", "TOPOLOGY", "--delays", "--json", "--bootstrap-servers"]),
        (("infer",), ["TOPIC", "--records", "1000", "--bootstrap-servers"]),
        (("reset",), ["--set", "TOPOLOGY", "--to", "--yes", "--bootstrap-servers", "--redis-url"]),
        (("dlq",), ["ls", "show", "redrive", "NAME"]),
        (("dlq", "ls"), ["--set", "NAME", "--error", "--step", "--partition", "--from", "--to",
                         "--json", "--topic", "--bootstrap-servers"]),
        (("dlq", "show"), ["--set", "NAME", "--error", "--limit", "10", "--json"]),
        (("dlq", "redrive"), ["--set", "NAME", "--error", "--attempts", "3", "--dry-run", "--app",
                              "--input", "--timestamps", "original", "now", "--json"]),
        (("verify",), ["--set", "TOPOLOGY", "--from", "--to", "--json", "--bootstrap-servers"]),
        (("demo",), ["--input", "--records", "--seed", "--centroids", "--output", "--rate",
                     "--bootstrap-servers", "--redis-url", "out/demo", "20000"]),
    ],
)  # fmt: skip
def test_help_names_the_options(command, words):
    done = invoke(*command, "--help")
    assert done.exit_code == 0
    for word in words:
        assert word in done.output


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from processor.cli.main import cli; cli(['--help'], standalone_mode=False);"
        "print([m for m in ('polars', 'numpy', 'confluent_kafka', 'redis') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_told():
    assert "0." in invoke("--version").output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run",), "Missing argument"),
        (("run", "t", "--guarantee", "maybe"), "--guarantee"),
        (("run", "t", "--set", "window"), "give name=value, not "),
        (("run", "t", "--set", "=1"), "give name=value, not "),
        (("run", "t", "--feed", "trips"), "give TOPIC=FILE, not "),
        (("run", "t", "--feed", "in=a", "--feed", "in=b"), "in is fed by two files"),
        (("run", "t", "--kafka", "x"), "give name=value, not "),
        (("demo", "--records", "-1"), "--records"),
        (("demo", "--rate", "0"), "--rate"),
        (("demo", "--seed", "x"), "--seed"),
        (("nothing",), "No such command"),
    ],
)
def test_a_bad_option_is_named(arguments, words):
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert words in done.output


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("run", "t", "--workers", "0"), "settings"),
        (("run", "t", "--interval", "soon"), "settings"),
        (("run", "t", "--config", "none.toml"), "settings"),
        (("demo", "--config", "none.toml"), "settings"),
        (("run", "no.such.module"), "topology"),
        (("run", "topologies.uber.enrich", "--set", "windows=1"), "topology"),
        (("describe", "no.such.module"), "topology"),
        (("describe", "topologies.uber.popular", "--set", "window=soon"), "topology"),
    ],
)
def test_the_processors_errors_are_told_in_words(arguments, code):
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert f"error ({code}): " in done.output
    assert "Traceback" not in done.output


def test_describe_prints_the_plan():
    done = invoke("describe", "topologies.uber.popular", "--set", "window=2 hours")
    assert done.exit_code == 0
    for word in ("uber-popular", "trips-enriched", "popular-clusters", "cluster"):
        assert word in done.output


def test_demo_refuses_an_input_that_is_not_there():
    done = invoke("demo", "--input", "none.csv")
    assert done.exit_code == 2
    assert "error (settings): --input none.csv cannot be read" in done.output


def test_a_signal_that_comes_while_an_import_lock_is_freed_ends_the_command():
    """Python drops what is raised in such a callback, so an exception would end nothing."""
    program = """
import os, signal, sys, weakref

class Thing:
    pass

class Importing:
    def find_spec(self, name, path=None, target=None):
        if name == "processor.cli.main":
            thing = Thing()
            kept = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGTERM))
            del thing

sys.meta_path.insert(0, Importing())
sys.argv = ["processor", "--help"]
from processor.__main__ import main
main()
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_interrupt_before_there_is_work_ends_as_a_shell_says_it(monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("processor.app.load_stages", interrupted)
    assert invoke("describe", "somewhere").exit_code == 130
