"""The campaign's short form: a minute of milder faults, then every record judged, with controls."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from tests.campaign import exits, faults
from tests.campaign.__main__ import UNAVAILABLE
from tests.campaign.child import ROOT
from tests.campaign.progress import Past, Seen

SEED = 2
ORACLE = ("collect", "expected", "judge", "oracle", "places", "terms")


@pytest.mark.nightly
@pytest.mark.kafka
@pytest.mark.redis
@pytest.mark.timeout(900)
def test_a_minute_of_faults_loses_doubles_and_changes_nothing(tmp_path):
    # A process of its own: it starts and stops many, which is nothing to do beside other tests.
    command = [
        sys.executable,
        "-m",
        "tests.campaign",
        "--short",
        "--seed",
        SEED,
        "--keep",
        tmp_path,
    ]
    done = subprocess.run(
        [*map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=840, check=False
    )
    if done.returncode == UNAVAILABLE and os.environ.get("CI", "").lower() not in ("1", "true"):
        pytest.skip(done.stdout[-500:])
    assert done.returncode == 0, done.stdout[-30_000:] + done.stderr[-5_000:]


@pytest.mark.parametrize(("terminated", "explained"), [(True, True), (False, False)])
def test_a_process_that_stood_still_when_it_was_to_stop_is_explained(terminated, explained):
    told = '{"event":"error","code":"shutdown","reason":"w: told to stop, and not done after 30 s"}'
    ended = exits.Ended(2, told, terminated=terminated, killed=False)
    assert exits.judged(ended)[0] is explained
    assert "shutdown" in exits.judged(ended)[1]


@pytest.mark.parametrize("name", ORACLE)
def test_the_oracle_knows_nothing_of_what_it_judges(name):
    tree = ast.parse(Path(__file__).with_name(f"{name}.py").read_text())
    imported = [
        module
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for module in [getattr(node, "module", None), *(alias.name for alias in node.names)]
        if module
    ]
    own = {f"tests.campaign.{each}" for each in ORACLE} | {"tests.campaign"}
    assert [m for m in imported if m.startswith(("processor", "tests")) and m not in own] == []


def test_a_seed_says_which_faults_come_and_when():
    first, again, other = (list(islice(faults.rounds(seed), 9)) for seed in (1, 1, 2))
    assert first == again != other


def test_a_broker_that_tells_of_the_past_is_seen_until_it_tells_what_it_told_before():
    past = Past()

    def look(at_s, **committed):
        found = {group: {0: at, 1: 5} for group, at in committed.items()}
        return past.look(Seen(at_s, found, {0: 99, 1: 99}))

    assert look(1.0, a=7, b=7) == ([], 0.0)
    assert look(2.0, a=9, b=8) == ([], 0.0)
    assert look(3.0, a=3, b=8) == (["a"], 0.0)
    assert look(8.0, a=8, b=0) == (["a", "b"], 5.0)
    past.begin_anew()
    assert look(9.0, a=8, b=8) == (["a"], 0.0)
    assert look(10.0, a=9, b=9) == ([], 0.0)
    assert look(11.0, a=8, b=9) == (["a"], 0.0)
