"""``processor demo`` as a user starts it."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from xml.etree import ElementTree as ET

import pytest

from tests.golden.data import ROOT, by_hour, centroids, enriched, final, parsed, uber

COMMAND = (sys.executable, "-m", "processor", "demo")


def environment():
    return {k: v for k, v in os.environ.items() if not k.startswith("PROCESSOR_")}


def demo(output, *options, code=0):
    done = subprocess.run(
        [*COMMAND, "--output", output, *map(str, options)],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def rows(output, name):
    return [json.loads(line) for line in (output / name).read_text().splitlines()]


def trips(output):
    return [parsed(line) for line in (output / "trips-enriched.jsonl").read_bytes().splitlines()]


def check(output, expected):
    assert Counter(trips(output)) == Counter(expected)
    assert final(rows(output, "popular-clusters.jsonl")) == dict(by_hour(expected))
    root = ET.parse(output / "clusters.svg").getroot()  # noqa: S314 - our own
    assert root.tag == "{http://www.w3.org/2000/svg}svg"


def test_without_options_made_up_trips_go_through(tmp_path):
    done = demo(tmp_path)
    assert "log: embedded" in done.stdout
    assert "Popular clusters by hour" in done.stdout
    assert done.stdout.splitlines()[-1] == "read 20000 = enriched 19990 + dead-lettered 10"
    assert len(done.stdout.splitlines()) < 30
    found = trips(tmp_path)
    assert len(found) == 19_990
    assert final(rows(tmp_path, "popular-clusters.jsonl")) == dict(by_hour(found))
    letters = rows(tmp_path, "dead-letters.jsonl")
    assert len({(letter["partition"], letter["offset"]) for letter in letters}) == 10
    for letter in letters:
        assert letter["topic"] == "trips"
        assert letter["error"]
        assert letter["stage"].startswith("uber-enrich")
        assert ("text" in letter) != ("base64" in letter)
    binary = [base64.b64decode(letter["base64"]) for letter in letters if "base64" in letter]
    assert all(b"\xff" in value for value in binary)


def test_the_same_seed_makes_the_same_trips(tmp_path):
    for name in ("a", "b"):
        demo(tmp_path / name, "--records", 3000, "--seed", 5)
    demo(tmp_path / "c", "--records", 3000, "--seed", 6)
    a, b, c = (Counter(trips(tmp_path / name)) for name in "abc")
    assert a == b != c


def test_the_real_file(tmp_path):
    path = uber("uber-2014-08.csv")
    done = demo(tmp_path, "--input", path, "--centroids", uber("centroids.json"))
    assert "read 46361 = enriched 46361 + dead-lettered 0" in done.stdout
    assert "header" not in done.stdout
    check(tmp_path, enriched(path.read_bytes().splitlines(), centroids()))


def test_a_real_file_with_a_header(tmp_path):
    path = uber("uber-raw-data-aug14.csv")
    done = demo(tmp_path, "--input", path, "--centroids", uber("centroids.json"))
    assert "skipped the header: Date/Time,Lat,Lon,Base" in done.stdout
    assert "read 65535 = enriched 65535 + dead-lettered 0" in done.stdout
    check(tmp_path, enriched(path.read_bytes().splitlines()[1:], centroids()))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_form_of_date_and_a_quoted_header(tmp_path, end):
    lines = [
        '"Date/Time","Lat","Lon","Base"',
        "2014-08-01 00:03:00,40.729,-73.9422,B02598",
        '"8/1/2014 0:03:00",40.7,-73.9,"B02512"',
        "2014/8/1 01:03:00,40.6,-74.1,B02617",
    ]
    path = tmp_path / "trips.csv"
    path.write_bytes(b"\xef\xbb\xbf" + end.join(lines).encode())  # no line break at the end
    done = demo(tmp_path / "out", "--input", path)
    assert "skipped the header" in done.stdout
    assert "read 3 = enriched 3 + dead-lettered 0" in done.stdout
    assert sorted(str(trip[0]) for trip in trips(tmp_path / "out")) == [
        "2014-08-01 00:03:00",
        "2014-08-01 00:03:00",
        "2014-08-01 01:03:00",
    ]
    assert {trip[3] for trip in trips(tmp_path / "out")} == {"B02598", "B02512", "B02617"}


def test_an_empty_file(tmp_path):
    path = tmp_path / "empty.csv"
    path.touch()
    done = demo(tmp_path / "out", "--input", path)
    assert "read 0 = enriched 0 + dead-lettered 0" in done.stdout
    check(tmp_path / "out", [])


def test_a_file_without_a_single_trip(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_bytes(b"one\n\ntwo,2\n\xff\n" * 500)
    done = demo(tmp_path / "out", "--input", path)
    assert "read 2000 = enriched 0 + dead-lettered 2000" in done.stdout
    check(tmp_path / "out", [])
    letters = rows(tmp_path / "out", "dead-letters.jsonl")
    texts = Counter(letter.get("text", letter.get("base64")) for letter in letters)
    assert texts == {"one": 500, "": 500, "two,2": 500, base64.b64encode(b"\xff").decode(): 500}


def test_a_file_that_is_not_there(tmp_path):
    done = demo(tmp_path, "--input", tmp_path / "none.csv", code=2)
    assert "error (settings)" in done.stderr
    assert "none.csv cannot be read: No such file" in done.stderr
    assert "remedy:" in done.stderr


def test_a_folder_is_no_file(tmp_path):
    assert "cannot be read" in demo(tmp_path, "--input", tmp_path, code=2).stderr


def test_an_output_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    assert "cannot be made" in demo(tmp_path / "file" / "out", code=2).stderr


def test_a_centroid_file_that_is_none(tmp_path):
    (tmp_path / "c.json").write_text("{}")
    done = demo(tmp_path / "out", "--centroids", tmp_path / "c.json", code=2)
    assert "error (topology)" in done.stderr


def test_a_store_that_is_not_there_is_said(tmp_path):
    done = demo(tmp_path, "--redis-url", "redis://127.0.0.1:1/0", code=2)
    assert "error (store_away)" in done.stderr


def test_the_rate_is_kept(tmp_path):
    started = time.monotonic()
    demo(tmp_path, "--records", 1000, "--rate", 500)
    assert time.monotonic() - started >= 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(tmp_path, number):
    with subprocess.Popen(
        [*COMMAND, "--output", tmp_path, "--rate", "200"],
        cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        assert running.stdout.readline().startswith("log: embedded")  # the stages run by then
        running.send_signal(number)
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 2
    assert "stopped before all trips were through" in errors
    assert "Traceback" not in errors
