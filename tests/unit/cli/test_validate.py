"""``processor validate``: a plan, compared with what the registry has."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from processor.cli.main import cli

RIDE = {"type": "record", "name": "Ride", "fields": [{"name": "id", "type": "long"}]}
TEXT = {"type": "record", "name": "Ride", "fields": [{"name": "id", "type": "string"}]}
WIDER = {"type": "record", "name": "Ride", "fields": [{"name": "id", "type": "int"}]}
TOPOLOGY = f"""
from processor import Avro, Registered, Registry, Topology

topology = Topology("rides")
rows = topology.read.kafka("rides", format=Registered(Avro({RIDE!r}), Registry("URL")))
rows.write.kafka("out", format=Registered(Avro({RIDE!r}), Registry("URL"), auto_register=AUTO))
"""


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def validate(tmp_path, registry):
    def run(*, auto=False, text=TOPOLOGY):
        path = tmp_path / "rides.py"
        path.write_text(text.replace("URL", registry.url).replace("AUTO", str(auto)))
        done = CliRunner().invoke(cli, ["validate", str(path)])
        lines = [line.strip() for line in done.output.splitlines()]
        return done.exit_code, [line.partition(":")[0] for line in lines[1:]], done.output

    return run


def test_all_is_well_where_both_subjects_have_what_is_needed(registry, validate):
    registry.register("rides-value", json.dumps(RIDE))
    registry.register("out-value", json.dumps(RIDE))
    code, weights, output = validate()
    assert (code, weights) == (0, ["ok", "ok"])
    assert "version 1 of 'rides-value' (schema 1) is read as the columns" in output
    assert "rides.py:5" in output


def test_a_last_version_that_cannot_be_read_is_a_break_and_an_older_one_a_note(registry, validate):
    registry.register("out-value", json.dumps(RIDE))
    registry.register("rides-value", json.dumps(TEXT))
    code, weights, output = validate()
    assert (code, weights) == (2, ["break", "ok"])
    assert "is the last, and cannot be read" in output
    registry.register("rides-value", json.dumps(WIDER))
    assert validate()[:2] == (0, ["ok", "note", "ok"])
    registry.register("rides-value", '{"type": "object"}', "JSON")
    assert "it is of JSON, not AVRO" in validate()[2]


def test_a_sink_whose_schema_is_not_there_is_a_break_unless_it_may_be_registered(
    registry, validate
):
    registry.register("rides-value", json.dumps(RIDE))
    code, weights, output = validate()
    assert (code, weights) == (2, ["ok", "break"])
    assert "register it, or auto_register=True" in output
    assert validate(auto=True)[:2] == (0, ["ok", "note"])
    assert "out-value" not in registry.subjects
    registry.register("out-value", json.dumps(TEXT))
    registry.compatible = False
    code, weights, output = validate(auto=True)
    assert (code, weights) == (2, ["ok", "break"])
    assert "its rules do not let it be" in output


def test_a_subject_that_is_not_there_yet_is_a_note(registry, validate):
    registry.register("out-value", json.dumps(RIDE))
    assert validate()[:2] == (0, ["note", "ok"])


def test_a_registry_that_does_not_answer_and_a_plan_that_is_wrong_are_told_without_a_traceback(
    registry, validate
):
    registry.stop()
    code, _, output = validate()
    assert code == 2
    assert "Traceback" not in output
    assert validate(text=TOPOLOGY.replace('"rides"', '"no topic!"'))[0] == 2


def test_a_plan_without_a_registry_is_only_checked(validate):
    text = """
from processor import Text, Topology
topology = Topology("copy")
topology.read.kafka("a", format=Text()).write.kafka("b", format=Text())
"""
    code, weights, _ = validate(text=text)
    assert (code, weights) == (0, ["ok"])


KEYED = f"""
import polars as pl
from processor import Avro, Json, Registered, Registry, Topology, functions as F

topology = Topology("rides")
form = Registered(Avro({RIDE!r}), Registry("URL"), auto_register=AUTO)
rows = topology.read.kafka("rides", format=Json({{"n": pl.Int64}}), key_format=form,
                           partitioned_by="id")
totals = rows.group_by("id").agg(n=F.sum("n"))
totals.write.kafka("out", key="id", key_format=form, mode="update")
"""


def test_schemas_of_keys_are_compared_too(registry, validate):
    code, weights, output = validate(text=KEYED)
    assert (code, weights) == (2, ["note", "break"])
    assert "the key of 'rides': there is no subject 'rides-key' yet" in output
    registry.register("rides-key", json.dumps(RIDE))
    registry.register("out-key", json.dumps(RIDE))
    code, weights, output = validate(text=KEYED)
    assert (code, weights) == (0, ["ok", "ok"])
    assert "the key of 'rides': version 1 of 'rides-key' (schema 1) is read as the" in output
    assert "the key of 'out': the schema of 'out-key' is there" in output


def test_keys_that_a_change_of_their_schema_moves_are_told(registry, validate):
    registry.register("rides-key", json.dumps(WIDER))
    registry.register("rides-key", json.dumps(RIDE))
    registry.register("out-key", json.dumps(WIDER))
    code, weights, output = validate(text=KEYED, auto=True)
    assert (code, weights) == (2, ["ok", "ok", "note", "break"])
    assert "written with the schemas 1, 2 in turns" in output
    assert "keys were written with schema 1: they would go to other partitions" in output
    registry.register("out-key", json.dumps(RIDE))
    code, weights, output = validate(text=KEYED)
    assert (code, weights) == (0, ["ok", "ok", "note", "note"])
    assert "keys of schema 1 have other bytes, and lie in other partitions" in output
