"""Topologies that read and write Avro, from the feed to the results."""

from __future__ import annotations

import io
import json
import math
import sys
from datetime import time
from decimal import Decimal
from typing import Any

import fastavro
import polars as pl
import pytest
from click.testing import CliRunner

from processor import Avro, Json, Topology, TopologyError
from processor import functions as F
from processor.cli.main import cli
from processor.cli.verify import verified
from processor.engine.offline.rows import for_columns, look_ahead, row_reader
from processor.plan import compacted
from processor.plan.describe import describe
from processor.testing import TestDriver


def schema(name: str, **fields: Any) -> dict[str, Any]:
    made = [
        {"name": n, "type": t} | ({"default": None} if isinstance(t, list) else {})
        for n, t in fields.items()
    ]
    return {"type": "record", "name": name, "fields": made}


AT = {"type": "long", "logicalType": "timestamp-millis"}
SALE = Avro(schema("Sale", at=AT, shop="string", x="double", note=["null", "string"], raw="bytes"))
OUT = Avro(schema("Out", shop="string", x="double", note=["null", "string"], raw="bytes"))
ROW = {"at": 1_406_851_380_000, "shop": "a", "x": 1.5, "note": None, "raw": b"\xff"}


def copied(*columns: pl.Expr, form: Avro = OUT, **sink: Any) -> TestDriver:
    topology = Topology("copy")
    rows = topology.read.kafka("in", format=SALE)
    rows.with_columns(*columns).select(*form.columns).write.kafka("out", format=form, **sink)
    return TestDriver(topology)


def test_mappings_are_fed_as_records_and_rows_are_read_back() -> None:
    driver = copied()
    driver.feed([ROW, ROW | {"note": "é", "x": math.inf}])
    driver.run()
    assert driver.rows("out") == [
        {"shop": "a", "x": 1.5, "note": None, "raw": b"\xff"},
        {"shop": "a", "x": math.inf, "note": "é", "raw": b"\xff"},
    ]
    with pytest.raises(ValueError, match="no field 'shops'"):
        driver.feed([{"shops": "a"}])


def test_what_is_no_record_is_a_dead_letter_and_its_neighbours_pass() -> None:
    driver = copied()
    (good,) = SALE.records([ROW])
    driver.feed([good, good[:-1], b"", good + b"\0", good])
    driver.run()
    assert [letter.offset() for letter in driver.dead_letters()] == [0, 1, 2]
    reasons = [dict(letter.headers())["processor.error"] for letter in driver.dead_letters()]
    assert reasons[0].startswith(b"column 'raw': the record ends in it")
    assert len(driver.values("out")) == 2


def test_a_row_with_a_null_that_the_schema_has_not_is_a_dead_letter() -> None:
    driver = copied(pl.when(pl.col("x") < 2).then("x").alias("x"), pl.lit("").alias("shop"))
    driver.feed([ROW, ROW | {"x": 9.0}, ROW | {"x": math.nan}])
    driver.run()
    reasons = [dict(letter.headers())["processor.error"] for letter in driver.dead_letters()]
    assert len(reasons) == 2
    assert b"column 'x' is null, and is not optional in the format of 'out'" in reasons[0]
    assert driver.rows("out") == [{"shop": "", "x": 1.5, "note": None, "raw": b"\xff"}]


def test_a_row_that_the_schema_has_no_value_for_is_a_dead_letter() -> None:
    form = Avro(schema("Out", raw={"type": "fixed", "name": "F", "size": 2}))
    driver = copied(form=form)
    driver.feed([ROW, ROW | {"raw": b"ab"}, ROW | {"raw": b"cd"}])
    driver.run()
    (letter,) = driver.dead_letters()
    assert b"is not of 2 bytes" in dict(letter.headers())["processor.error"]
    assert driver.rows("out") == [{"raw": b"ab"}, {"raw": b"cd"}]


def test_rows_of_other_columns_than_the_schema_are_refused_at_the_sink() -> None:
    topology = Topology("app")
    rows = topology.read.kafka("in", format=SALE)
    rows.select("shop").write.kafka("out", format=OUT)
    with pytest.raises(TopologyError, match="the format names 'x', and there is no such column"):
        topology.plan()
    topology = Topology("app")
    rows = topology.read.kafka("in", format=SALE)
    rows.select("shop", pl.col("x").cast(pl.Float32), "note", "raw").write.kafka("out", format=OUT)
    with pytest.raises(TopologyError, match="'x' is Float32, and Float64 in the format") as caught:
        topology.plan()
    assert "cast(pl.Float64)" in caught.value.remedy


def test_a_field_that_is_no_column_and_has_no_default_is_refused_at_the_sink() -> None:
    topology = Topology("app")
    rows = topology.read.kafka("in", format=SALE)
    form = Avro(schema("Out", shop="string", x="double"), select=("shop",))
    rows.select("shop").write.kafka("out", format=form)
    with pytest.raises(TopologyError, match="'x' is no column, and cannot be written") as caught:
        topology.plan()
    assert caught.value.message.startswith(f"{__file__}:")


def test_a_key_that_the_schema_has_not_is_beside_the_value() -> None:
    form = Avro(schema("Out", x="double"))
    topology = Topology("app")
    rows = topology.read.kafka("in", format=SALE).select("x", "shop")
    rows.write.kafka("out", key="shop", format=form)
    driver = TestDriver(topology)
    driver.feed([ROW])
    driver.run()
    assert [message.key() for message in driver.read("out")] == [b"a"]
    assert driver.rows("out") == [{"x": 1.5}]


def test_a_field_that_may_be_null_is_no_event_time_and_no_key_of_a_compacted_topic() -> None:
    topology = Topology("app")
    form = Avro(schema("Sale", at=["null", AT]))
    topology.read.kafka("in", format=form, event_time="at").write.kafka("out")
    with pytest.raises(TopologyError, match="event_time='at' may be missing"):
        topology.plan()
    for key, refused in (("note", True), ("shop", False)):
        topology = Topology("app")
        topology.read.kafka("in", format=SALE).select("shop", "note").write.kafka("out", key=key)
        if refused:
            with pytest.raises(TopologyError, match="its key 'note' may be null"):
                compacted.check(topology.plan(), {"out"})
        else:
            compacted.check(topology.plan(), {"out"})


def sums() -> Topology:
    topology = Topology("sums")
    sales = topology.read.kafka("in", format=SALE, event_time="at", partitioned_by="shop")
    hours = sales.with_watermark("1 hour").group_by(F.window("at", "1 hour"), "shop")
    local = {"type": "long", "logicalType": "local-timestamp-micros"}
    form = Avro(schema("Sum", window_start=local, window_end=local, shop="string", x="double"))
    hours.agg(x=F.sum("x")).write.kafka("out", key="shop", mode="update", format=form)
    return topology


def test_what_was_published_in_avro_is_verified() -> None:
    driver = TestDriver(sums(), partitions=2, batch_records_max=3)
    for number in range(20):
        row = ROW | {"at": ROW["at"] + number * 900_000, "x": number / 3, "shop": f"s{number % 3}"}
        driver.feed([row], key=row["shop"])
    driver.run()
    report = verified(driver.plan, driver.log, None, None)
    assert report.findings == []
    assert report.compared >= 20
    form = driver.plan.sinks[0].format
    last = driver.read("out")[-1]
    (wrong,) = form.records([driver.rows("out")[-1] | {"x": 99.0}])  # type: ignore[attr-defined]
    driver.log.feed("out", [wrong], [last.key()], partition=last.partition())
    assert verified(driver.plan, driver.log, None, None).findings


def test_a_record_is_taken_apart_as_json_would_be() -> None:
    nanos = {"type": "long", "logicalType": "timestamp-nanos"}
    kind = {"type": "array", "items": "bytes"}
    form = Avro(schema("R", a=kind, n=["null", "int"], at=nanos))
    read = row_reader(form, list(form.columns))
    assert read is not None
    (value,) = form.records([{"a": [b"\x01\xff"], "n": None, "at": 1}])
    assert read(value) == {"a": ["01ff"], "n": None, "at": "1970-01-01 00:00:00.000000001+00:00"}
    with pytest.raises(ValueError, match="no record of the schema"):
        read(value[:-1])
    look_ahead(read, [value, None, value[:-1]])
    assert read(value)["n"] is None
    with pytest.raises(ValueError, match="no record of the schema"):
        read(b"")
    assert for_columns(form, {"n": pl.Int64()}) == Json()


MODULE = f"""
from processor import Avro, Topology

topology = Topology("sales")
form = Avro({schema("Sale", shop="string", n="int")!r})
rows = topology.read.kafka("in", format=form, partitioned_by="shop")
rows.write.kafka("out", key="shop", format=form)
rows.write.console(format=form)
"""


@pytest.fixture
def sales(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PROCESSOR_LOG_LEVEL", "error")
    (tmp_path / "sales.py").write_text(MODULE)

    def run(data: bytes):
        (tmp_path / "in.avro").write_bytes(data)
        given = ["run", "sales", "--until-caught-up", "--feed", "in=in.avro", "--print"]
        return CliRunner().invoke(cli, given)

    yield run
    sys.modules.pop("sales", None)


def container(written: dict[str, Any], *rows: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.writer(out, written, rows, codec="deflate", sync_interval=20)
    return out.getvalue()


def test_a_file_of_avro_is_fed_and_its_rows_are_shown_as_json(sales) -> None:
    rows = [{"shop": f"s{i}", "n": i} for i in range(9)]
    done = sales(container(schema("Sale", shop="string", n="int"), *rows))
    assert done.exit_code == 0, done.output
    shown = [line.split("\t") for line in done.stdout.splitlines()]
    assert sorted(json.loads(line[0])["n"] for line in shown if len(line) == 1) == list(range(9))
    published = [line for line in shown if line[0] == "out"]
    assert {key: json.loads(value) for _, key, value in published} == {r["shop"]: r for r in rows}


def test_a_file_of_another_schema_is_resolved(sales) -> None:
    written = schema("Sale", n="int", more="string", shop="string")
    done = sales(container(written, {"n": 1, "more": "x", "shop": "a"}))
    assert done.exit_code == 0, done.output
    assert 'out\ta\t{"shop":"a","n":1}' in done.stdout


@pytest.mark.parametrize("data", [b'{"shop":"a","n":1}\n', b"Obj\x01", b""])
def test_a_file_that_is_no_avro_is_refused(sales, data) -> None:
    done = sales(data)
    assert done.exit_code == 2
    assert "--feed in=in.avro: it " in done.output
    assert "Traceback" not in done.output


def test_a_file_whose_records_do_not_fit_is_refused(sales) -> None:
    done = sales(container(schema("Sale", shop="string", n="string"), {"shop": "a", "n": "b"}))
    assert done.exit_code == 2
    assert "'n' is written as string" in done.output


EVERY = schema(
    "Every", b="boolean", i="int", l="long", f="float", d="double", y="bytes", s="string", z="null",
    fix={"type": "fixed", "name": "Fix", "size": 2},
    e={"type": "enum", "name": "E", "symbols": ["A", "B"]},
    a={"type": "array", "items": ["null", "string"]}, m={"type": "map", "values": "double"},
    r=schema("Inner", at=AT, day={"type": "int", "logicalType": "date"}),
    u=["null", "int", {"type": "array", "items": "Inner"}],
    dec={"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 3},
    t={"type": "long", "logicalType": "time-micros"},
    ns={"type": "long", "logicalType": "timestamp-nanos"},
    ms={"type": "long", "logicalType": "local-timestamp-millis"},
    id={"type": "fixed", "name": "Id", "size": 16, "logicalType": "uuid"},
    span={"type": "fixed", "name": "Span", "size": 12, "logicalType": "duration"},
)  # fmt: skip
FULL: dict[str, Any] = {
    "b": True, "i": -1, "l": 2**60, "f": 0.5, "d": math.inf, "y": b"\x00", "s": "", "z": None,
    "fix": b"ab", "e": "B", "a": ["x", None], "m": [{"key": "k", "value": 1.5}],
    "r": {"at": 0, "day": 16_000}, "u": {"int": None, "array": [{"at": 5, "day": 1}]},
    "dec": Decimal("-12345678901234567890.125"), "t": time(12, 30), "ns": 1, "ms": 1,
    "id": "12345678-1234-1234-1234-123456789abc",
    "span": {"months": 1, "days": 2, "milliseconds": 3},
}  # fmt: skip


def test_every_type_passes_through_a_topology_unchanged() -> None:
    form = Avro(EVERY)
    topology = Topology("copy")
    rows = topology.read.kafka("in", format=form)
    rows.filter(pl.col("i") < 0).with_columns(l=pl.col("l")).write.kafka("out", format=form)
    driver = TestDriver(topology)
    driver.feed([FULL, FULL | {"u": None, "i": -5}, FULL | {"i": 5}])
    driver.run()
    assert driver.dead_letters() == []
    assert driver.values("out") == form.records([FULL, FULL | {"u": None, "i": -5}])
    assert "Every" in describe(topology.plan())
