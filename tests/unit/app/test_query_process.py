"""A query in a program of a user's: interrupted, left running, forked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LIMIT_S = 30.0

PROGRAM = """
import logging
import sys
import processor
from processor import Text, Topology

logging.basicConfig(level="INFO", stream=sys.stdout, format="%(message)s")
topology = Topology("copy")
topology.read.kafka("in", format=Text()).write.kafka("out", format=Text())

def told(report):
    print("batch of", report.records_in, flush=True)

"""
START = 'query = topology.start(feed={"in": ["a", "b"]}, on_progress=told)\n'
WAIT = "while not query.last_progress:\n    query.await_termination(0.01)\n"


def script(tmp_path, text):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM + text)
    return path


def environment():
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PROCESSOR_")}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return inherited | {"PYTHONPATH": path}


def done(tmp_path, text, *options):
    return subprocess.run(
        [sys.executable, *options, str(script(tmp_path, text))], cwd=tmp_path, env=environment(),
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip


def signalled(tmp_path, text, number):
    """What a program says that gets a signal behind its first batch, and how it ends."""
    with subprocess.Popen(
        [sys.executable, str(script(tmp_path, text))], cwd=tmp_path, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        for line in running.stdout:
            if line.startswith("batch of"):
                break
        running.send_signal(number)
        try:
            out, err = running.communicate(timeout=LIMIT_S)
        finally:
            running.kill()  # one that has ended is let be
        return running.returncode, out, err


def test_an_interrupt_ends_a_script_in_order_as_it_ends_any_other(tmp_path):
    code, out, err = signalled(tmp_path, START + "query.await_termination()", signal.SIGINT)
    assert code == -signal.SIGINT
    assert "worker stopped" in out
    assert err.strip().splitlines()[-1] == "KeyboardInterrupt"


def test_a_script_may_catch_the_interrupt_when_the_query_has_ended(tmp_path):
    text = START + (
        "try:\n    query.await_termination()\n"
        "except KeyboardInterrupt:\n    print(query.status.state, flush=True)\n"
    )
    code, out, err = signalled(tmp_path, text, signal.SIGINT)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "stopped"


def test_an_interrupt_outside_of_await_ends_the_query_with_the_program(tmp_path):
    text = START + "import threading\nwhile True:\n    threading.Event().wait(0.1)\n"
    code, out, err = signalled(tmp_path, text, signal.SIGINT)
    assert code == -signal.SIGINT
    assert "worker stopped" in out
    assert "KeyboardInterrupt" in err


def test_sigterm_ends_what_is_awaited_in_order_with_0(tmp_path):
    code, out, err = signalled(tmp_path, START + "query.await_termination()", signal.SIGTERM)
    assert (code, err) == (0, "")
    assert "worker stopped" in out


@pytest.mark.parametrize(
    ("end", "code"), [("", 0), ("sys.exit(3)\n", 3), ("raise ValueError('mine')\n", 1)]
)
def test_a_query_that_is_left_running_ends_in_order_with_the_program(tmp_path, end, code):
    found = done(tmp_path, START + WAIT + end)
    assert found.returncode == code
    assert "worker stopped" in found.stdout
    assert "batch of 2" in found.stdout
    said = found.stderr.strip().splitlines()
    assert said[-1:] == (["ValueError: mine"] if code == 1 else [])


def test_a_query_of_a_thread_that_outlives_the_main_one_is_stopped_too(tmp_path):
    text = START + (
        "import threading\n"
        "threading.Thread(target=lambda: print(query.await_termination(), flush=True)).start()\n"
    )
    found = done(tmp_path, text)
    assert (found.returncode, found.stderr) == (0, "")
    assert "True" in found.stdout.splitlines()


def test_a_worker_that_hangs_does_not_keep_the_interpreter(tmp_path):
    text = (
        "import threading, polars as pl\n"
        "inside = threading.Event()\n"
        "def hang(_):\n    inside.set()\n    threading.Event().wait()\n"
        "stuck = Topology('stuck')\n"
        "rows = stuck.read.kafka('in', format=Text())\n"
        "rows.select(v=pl.col('value').map_elements(hang, return_dtype=pl.String))"
        ".write.kafka('out')\n"
        "query = stuck.start(feed={'in': ['a']}, shutdown_timeout='50ms')\n"
        "inside.wait()\n"
    )
    found = done(tmp_path, text)
    assert (found.returncode, found.stderr) == (0, "")


def test_starting_working_and_ending_warn_of_nothing(tmp_path):
    found = done(tmp_path, START + WAIT + "query.stop()\n", "-W", "error")
    assert (found.returncode, found.stderr) == (0, "")


def test_a_query_is_not_at_work_in_a_fork_and_goes_on_where_it_was_started(tmp_path):
    text = START + WAIT + (
        "import os, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    assert not query.is_active and processor.active() == ()\n"
        "    try:\n        query.stop()\n"
        "    except processor.ProcessorError as error:\n"
        "        os._exit(0 if 'this is a fork of it' in str(error) else 1)\n"
        "    os._exit(2)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert query.is_active\n"
        "query.stop()\n"
    )  # fmt: skip
    found = done(tmp_path, text)
    assert (found.returncode, found.stderr) == (0, "")


def test_without_any_set_up_of_the_log_nothing_but_warnings_is_shown(tmp_path):
    quiet = PROGRAM.replace("logging.basicConfig", "(lambda **_: None)")
    path = tmp_path / "quiet.py"
    end = "query.stop()\ntopology.collect(feed={'in': [b'\\xff']})\n"
    path.write_text(quiet + START + WAIT + end)
    found = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, env=environment(), capture_output=True,
        text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert found.returncode == 0
    assert found.stdout == "batch of 2\n"
    assert len(found.stderr.splitlines()) == 1
    assert "records that are not in the result" in found.stderr


def test_one_file_is_a_script_and_a_topology_for_the_command_line(tmp_path):
    end = (
        'if __name__ == "__main__":\n    topology.start(feed={"in": ["a"]}, '
        "until_caught_up=True, print=True).await_termination()\n"
    )
    path = script(tmp_path, end)
    feed = tmp_path / "lines"
    feed.write_text("a\n")
    command = ["-m", "processor", "run", str(path), "--feed", f"in={feed}", "--until-caught-up",
               "--print", "--log-format", "json"]  # fmt: skip
    for arguments in ([str(path)], command):
        found = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment(), capture_output=True,
            text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
        assert found.returncode == 0, found.stderr
        assert "out\t-\ta" in found.stdout.splitlines()


def test_loading_the_names_of_a_topology_loads_nothing_that_runs_it(tmp_path):
    code = (
        "import json, sys; from processor import Topology, Json; "
        "print(json.dumps([m for m in sys.modules if m.startswith('processor.app')]))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True,
        text=True, timeout=LIMIT_S, check=True,
    )  # fmt: skip
    assert json.loads(found.stdout) == []


def test_a_fork_of_a_program_that_has_run_a_query_is_told_that_nothing_can_run_in_it(tmp_path):
    text = """
import os
print(topology.collect(feed={"in": ["a"]}).height, flush=True)
if not os.fork():
    try:
        topology.collect(feed={"in": ["a"]})
    except processor.errors.SettingsError as error:
        print(error.message, error.remedy, flush=True)
    os._exit(0)
os.wait()
"""
    said = done(tmp_path, text).stdout
    assert "1" in said.splitlines()
    assert "nothing can be started in a fork" in said
    assert "spawn" in said
