"""The campaign's short form: a minute of milder faults, then every record judged, with controls."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from tests.campaign import faults
from tests.campaign.__main__ import UNAVAILABLE
from tests.campaign.child import ROOT

SEED = 2
ORACLE = ("collect", "expected", "judge", "oracle", "places", "terms")


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
