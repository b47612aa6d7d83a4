"""What else a run does with the rows of a registered format: verify, feed, show."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from click.testing import CliRunner

from processor import Avro, JsonSchema, Protobuf, Registered, Topology, TopologyError
from processor import functions as F
from processor.cli.main import cli
from processor.cli.verify import verified
from processor.connectors.registry.client import Client
from processor.engine.offline.rows import for_columns, row_reader
from processor.testing import TestDriver
from tests.shop import class_of, shop

SPENT = {"type": "record", "name": "Spent", "fields": [
    {"name": "user", "type": "string"}, {"name": "price", "type": "double"},
]}  # fmt: skip
TOTAL = {"type": "record", "name": "Total", "fields": [
    {"name": "user", "type": "string"}, {"name": "total", "type": "double"},
]}  # fmt: skip


def spending(id_in):
    topology = Topology("spending")
    rows = topology.read.kafka("spent", format=Registered(Avro(SPENT)), partitioned_by="user")
    totals = rows.group_by("user").agg(total=F.sum("price"))
    form = Registered(Avro(TOTAL), auto_register=True, id_in=id_in)
    totals.write.kafka("totals", key="user", mode="update", format=form)
    return topology


@pytest.mark.parametrize("id_in", ["value", "header"])
def test_what_was_published_is_verified_and_what_is_wrong_is_found(id_in):
    driver = TestDriver(spending(id_in))
    driver.feed([{"user": "ann", "price": 0.1}, {"user": "ann", "price": 0.2}], key="ann")
    driver.run()
    report = verified(driver.plan, driver.log)
    assert report.findings == []
    assert [row["total"] for row in driver.rows("totals")] == [pytest.approx(0.3)]
    (value,) = driver.values("totals")
    wrong = value[:-8] + struct.pack("<d", 7.0)
    driver.log.feed("totals", [wrong], keys=[b"ann"], headers=None)
    assert [finding.kind for finding in verified(driver.plan, driver.log).findings] != []


def test_a_row_is_read_by_itself_and_what_is_none_is_an_error():
    client = Client("mock://rows", {})
    form = Registered(Avro(SPENT), auto_register=True).of("spent")
    form.connect(client)
    read = row_reader(form, ["user", "price"])
    (value,) = form.records([{"user": "a", "price": 1.5}])
    assert read(value) == {"user": "a", "price": 1.5}
    for broken in (value[:-1], b"", value[1:]):
        with pytest.raises(ValueError, match=r"."):
            read(broken)
    assert type(for_columns(form, {})).__name__ == "Json"


TOPOLOGY = """
from processor import Json, JsonSchema, Registered, Topology

SCHEMA = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}
topology = Topology("fed")
rows = topology.read.kafka("in", format=Registered(JsonSchema(SCHEMA)))
rows.write.kafka("out", format=Registered(JsonSchema(SCHEMA), auto_register=True))
"""


def test_a_file_can_be_fed_and_results_are_shown_on_the_embedded_log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("fed.py").write_text(TOPOLOGY)
    Path("in.jsonl").write_text('{"id": 1}\n{"id": "x"}\n{"id": 3}\n')
    done = CliRunner().invoke(
        cli, ["run", "./fed.py", "--feed", "in=in.jsonl", "--until-caught-up", "--print"]
    )
    assert done.exit_code == 0, done.output
    shown = [line.split("\t") for line in done.output.splitlines() if line.startswith("out\t")]
    assert [json.loads(value) for _, _, value in shown] == [{"id": 1}, {"id": 3}]
    assert "'x' is no Int64" in done.output


@pytest.mark.parametrize("form", [JsonSchema, Protobuf, Avro])
def test_rows_of_other_columns_are_refused_at_their_line(form):
    made = {
        JsonSchema: lambda: JsonSchema({"properties": {"id": {"type": "integer"}}}),
        Protobuf: lambda: Protobuf(class_of(shop(), "shop.Line")),
        Avro: lambda: Avro(TOTAL),
    }[form]()
    topology = Topology("t")
    rows = topology.read.kafka("in", format=Avro(SPENT))
    rows.write.kafka("out", format=Registered(made))
    with pytest.raises(TopologyError, match="rows cannot be written to 'out'"):
        topology.plan()


@pytest.mark.parametrize("id_in", ["value", "header"])
def test_headers_that_are_kept_tell_the_schema_that_is_written_and_not_the_inputs(id_in):
    topology = Topology("kept")
    rows = topology.read.kafka("in", format=Registered(Avro(SPENT), id_in="header"), headers="h")
    form = Registered(Avro(SPENT), id_in=id_in, auto_register=True)
    rows.write.kafka("out", format=form, headers="h")
    driver = TestDriver(topology)
    source = driver.plan.source().format
    (value,) = source.records([{"user": "ann", "price": 1.0}])
    header = b"\0" + struct.pack(">I", source.known().number)
    driver.feed([value[5:]], headers={"__value_schema_id": header, "x": "y"})
    driver.run()
    (record,) = driver.read("out")
    told = driver.plan.sinks[0].format.header()
    assert record.headers() == [("x", b"y"), *([] if told is None else [told])]
    assert (told is None) == (id_in == "value")
