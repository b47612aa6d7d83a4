"""The command around the comparison: exit codes, words, JSON.

The run's one transaction has 9 records and a mark, so that what is planted begins at offset 10.
"""

from __future__ import annotations

import importlib
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


TOTALS = """
import polars as pl
from processor import Json, Topology
from processor import functions as F

topology = Topology("totals")
rows = topology.read.kafka("in", format=Json({"c": pl.String}), partitioned_by="c")
rows.group_by("c").agg(n=F.count()).write.kafka("out", mode="update"KEY)
"""


def totals(tmp_path, monkeypatch, key="", place=None):
    (tmp_path / "totals_of_a_test.py").write_text(TOTALS.replace("KEY", key))
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("totals_of_a_test", None)
    made = importlib.import_module("totals_of_a_test").topology
    driver = TestDriver(made, partitions=4)
    for n in range(40):
        driver.log.feed(
            "in", [json.dumps({"c": f"c{n % 9}"}).encode()], keys=[f"land-{n % 7}".encode()],
            partition=n % 9 % 4 if place is None else place,
        )  # fmt: skip
    driver.run()
    monkeypatch.setattr(app, "reading", lambda _: driver.log)
    return lambda *options: CliRunner().invoke(cli, ["verify", "totals_of_a_test", *options])


def test_where_nothing_could_be_compared_that_is_said_with_the_reason(tmp_path, monkeypatch):
    done = totals(tmp_path, monkeypatch, place=0)
    last = done().output.splitlines()[-1]
    assert "all is right" not in last
    assert "nothing was compared" in last
    assert "out: its key is no column of the group" in last
    assert json.loads(done("--json").output.splitlines()[-1])["right"] is None


def test_all_is_right_with_a_caveat_where_there_are_notes(tmp_path, monkeypatch):
    done = totals(tmp_path, monkeypatch, key=', key="c"')()
    assert done.exit_code == 0
    note, *_, last = done.output.splitlines()
    assert "the topic is not keyed by 'c': the record's key is 'land-" in note
    assert last.endswith("all is right, but see the notes")


def test_a_range_in_which_nothing_is_committed_is_refused(tmp_path, monkeypatch):
    verify = totals(tmp_path, monkeypatch, key=', key="c"')
    done = verify("--from", "99999999")
    assert done.exit_code == 2
    assert "in has no committed record from 99999999 to now" in done.output
    assert "in[0] up to 13, in[1] up to 9" in done.output
    assert verify("--from", "10", "--to", "9").exit_code == 2
    assert verify("--from", "0").exit_code == 0


def test_outputs_of_another_form_of_the_topology_are_compared_with_a_word_on_it(
    tmp_path, monkeypatch
):
    verify = totals(tmp_path, monkeypatch, key=', key="c"')
    assert "another form" not in verify().output
    edited = TOTALS.replace("KEY", ', key="c"')
    edited = edited.replace("rows.group_by", 'rows.filter(pl.col("c") != "c1").group_by')
    (tmp_path / "totals_of_a_test.py").write_text(edited)
    sys.modules.pop("totals_of_a_test")
    done = verify()
    assert done.exit_code == 3
    assert "note: in[0] was last committed by another form of totals" in done.output
