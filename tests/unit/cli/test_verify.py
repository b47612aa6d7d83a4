"""The command around the comparison: exit codes, words, JSON.

The run's one transaction has 9 records and a mark, so that what is planted begins at offset 10.
"""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from processor import app
from processor.cli.main import cli
from processor.testing import TestDriver
from tests.topologies import ride, stateless

COPY = "from tests.topologies import stateless\ntopology = stateless()\n"


@pytest.fixture
def driver(tmp_path, monkeypatch):
    (tmp_path / "verified_in_a_test.py").write_text(COPY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    driver = TestDriver(stateless())
    driver.feed([ride(n) for n in range(9)])
    driver.run()
    monkeypatch.setattr(app, "reading", lambda _: driver.log)
    yield driver
    sys.modules.pop("verified_in_a_test", None)


def invoke(*options):
    return CliRunner().invoke(cli, ["verify", "verified_in_a_test", *options])


def test_all_right_is_0(driver):
    done = invoke()
    assert done.exit_code == 0
    assert done.output == "copy: 9 records recomputed, 9 outputs compared: all is right\n"


def test_something_amiss_is_3(driver):
    driver.log.feed("out", [b"?"] * 60)
    done = invoke()
    assert done.exit_code == 3
    assert "wrong out[0] offset 10: ?" in done.output
    assert "... and 10 more" in done.output
    assert "0 missing, 0 duplicate, 60 wrong" in done.output


def test_json_has_all_findings(driver):
    driver.log.feed("out", [b"?"] * 60)
    done = invoke("--json")
    assert done.exit_code == 3
    told = json.loads(done.output)
    assert (told["right"], told["wrong"], len(told["findings"])) == (False, 60, 60)
    assert told["findings"][0] == {
        "kind": "wrong", "topic": "out", "partition": 0, "offset": 10, "what": "?", "origin": "",
    }  # fmt: skip


def test_a_range_that_is_none_is_2(driver):
    done = invoke("--from", "soon")
    assert done.exit_code == 2
    assert "neither an offset nor a time" in done.output


def test_nothing_to_look_at_is_2(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PROCESSOR_BOOTSTRAP_SERVERS", raising=False)
    done = CliRunner().invoke(cli, ["verify", "topologies.uber.enrich"])
    assert done.exit_code == 2
    assert "--bootstrap-servers" in done.output
