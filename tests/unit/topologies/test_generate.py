from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path

import pytest
from click.testing import CliRunner

from topologies.uber.enrich import TRIP
from topologies.uber.generate import BASES, CHUNK, DISORDER_S, feed, main, trips

ROOT = Path(__file__).parents[3]
LINE = re.compile(
    rb"2014-08-\d\d \d\d:\d\d:\d\d,\d\d\.\d{1,4},-\d\d\.\d{1,4},(" + "|".join(BASES).encode() + b")"
)


def lines(*args, **kwargs):
    return list(chain.from_iterable(trips(*args, **kwargs)))


def times(found):
    return [datetime.fromisoformat(line[:19].decode()) for line in found]


def test_the_same_seed_makes_the_same_lines():
    assert lines(12_000, 3) == lines(12_000, 3) != lines(12_000, 4)


@pytest.mark.parametrize("records", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1])
def test_there_are_as_many_as_were_asked_for(records):
    assert len(lines(records)) == records


def test_every_line_is_a_trip_in_or_near_new_york():
    found = lines(20_000)
    assert all(LINE.fullmatch(line) for line in found)
    decoded = TRIP.decode(found)
    assert not decoded.bad
    assert decoded.frame["lat"].is_between(40.5, 41.0).all()
    assert decoded.frame["lon"].is_between(-74.4, -73.6).all()


def test_times_cover_august_and_are_mildly_out_of_order():
    found = times(lines(50_000))
    assert min(found) < datetime(2014, 8, 1, 2)
    assert max(found) > datetime(2014, 8, 31, 22)
    assert min(found) >= datetime(2014, 8, 1)
    assert max(found) < datetime(2014, 9, 1)
    known, worst, behind = found[0], timedelta(), 0
    for at in found:
        worst, behind = max(worst, known - at), behind + (at < known)
        known = max(known, at)
    assert timedelta(0) < worst <= timedelta(seconds=DISORDER_S)
    assert behind > 1000


@pytest.mark.parametrize(("share", "bad"), [(0.0005, 10), (0.01, 200), (1, 20_000)])
def test_the_share_of_broken_lines_is_exact(share, bad):
    assert len(TRIP.decode(lines(20_000, 1, share)).bad) == bad


def test_broken_lines_leave_the_others_as_they_are():
    good, mixed = lines(5_000), lines(5_000, malformed=0.01)
    assert sum(a != b for a, b in zip(good, mixed, strict=True)) == 50


def test_standard_output_gets_the_lines():
    done = CliRunner().invoke(main, ["--records", "300", "--seed", "9"])
    assert done.exit_code == 0
    assert done.stdout_bytes.splitlines() == lines(300, 9)


@pytest.mark.parametrize(
    "options",
    [["--records", "-1"], ["--rate", "0"], ["--malformed", "2"], ["--seed", "x"]],
)
def test_options_that_mean_nothing_are_refused(options):
    done = CliRunner().invoke(main, options)
    assert done.exit_code == 2
    assert options[0] in done.output


def test_the_rate_is_not_exceeded():
    sent = []
    started = time.monotonic()
    assert feed(trips(100), sent.extend, threading.Event(), rate=400) == 100
    assert time.monotonic() - started >= 0.24
    assert sent == lines(100)


def test_a_stop_ends_it_between_two_sendings():
    stop, sent = threading.Event(), []

    def send(part):
        sent.extend(part)
        if len(sent) >= 30:
            stop.set()

    assert feed(trips(1000), send, stop, rate=1_000_000 / 10_000) == 30
    assert sent == lines(1000)[:30]


def test_sigterm_ends_it_in_good_order():
    with subprocess.Popen(
        [sys.executable, "-m", "topologies.uber.generate", "--records", "10000", "--rate", "50"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ),
    ) as running:  # fmt: skip
        assert running.stdout is not None
        first = running.stdout.readline()
        running.send_signal(signal.SIGTERM)
        rest, errors = running.communicate(timeout=60)
    assert running.returncode == 0
    assert errors == b""
    found = (first + rest).splitlines()
    assert found == lines(10_000)[: len(found)]
    assert (first + rest).endswith(b"\n")
