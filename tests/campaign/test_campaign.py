"""The campaign's short form: a minute of milder faults, then every record judged, with controls."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.campaign.__main__ import UNAVAILABLE
from tests.campaign.child import ROOT

SEED = 1


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
