"""Change events: the envelope, with and without its schema, flattened, and tombstones."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from processor import Debezium, Json, Topology, TopologyError
from processor import functions as F
from processor.cli.late import looked_at
from processor.testing import TestDriver

ROW = {"id": pl.Int64, "name": pl.String}
AT_MS = 1_406_851_380_000
AT = datetime(2014, 8, 1, 0, 3)


def event(op="c", *, after=None, before=None, schema=False, **more) -> bytes:
    body = {"before": before, "after": after, "source": {"ts_ms": AT_MS, "table": "t"}, "op": op,
            "ts_ms": AT_MS + 1, "transaction": None, **more}  # fmt: skip
    return json.dumps({"schema": {"type": "struct"}, "payload": body} if schema else body).encode()


ANN = {"id": 1, "name": "ann"}


@pytest.mark.parametrize("schema", [None, True, False])
def test_each_operation_has_the_rows_before_and_after(schema):
    form = Debezium(ROW, schema=schema)
    decoded = form.decode(
        [
            event("r", after=ANN, schema=bool(schema)),
            event("u", before={"id": 1}, after=ANN, schema=bool(schema)),
            event("d", before=ANN, schema=bool(schema)),
            event("t", schema=bool(schema)),
        ]
    )
    assert decoded.bad == {}
    assert decoded.frame.drop("ts_ms", "source_ts_ms").rows() == [
        ("r", None, ANN),
        ("u", {"id": 1, "name": None}, ANN),
        ("d", ANN, None),
        ("t", None, None),
    ]
    assert set(decoded.frame["source_ts_ms"]) == {AT}
    assert decoded.frame.schema == pl.Schema(form.columns)


def test_records_with_and_without_the_schema_may_be_mixed():
    decoded = Debezium(ROW).decode(
        [event(after=ANN), event("d", before=ANN, schema=True), b"x", event(after=ANN, schema=True)]
    )
    assert decoded.frame["op"].to_list() == ["c", "d", None, "c"]
    assert decoded.frame["after"].to_list() == [ANN, None, None, ANN]
    assert list(decoded.bad) == [2]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "the record is empty"),
        (b"{", "no JSON: "),
        (b"\xff", "no JSON: "),
        (b"[]", "no JSON object"),
        (b"{}", "column 'op': missing: this is no change event"),
        (b'{"schema":null,"payload":null}', "column 'op': missing"),
        (event("x", after=ANN), "column 'op': 'x' is none of c, r, u, d, t"),
        (event("c"), "column 'after': missing, and the row was created"),
        (event("u", before=ANN), "column 'after': missing, and the row was updated"),
        (event(after={"id": 1}), "column 'after.name': null or missing"),
        (event(after={"id": "1", "name": "a"}), "column 'after.id': '1' is no Int64"),
        (event(after={"id": "1"}, schema=True), "column 'payload.after.id': '1' is no Int64"),
        (event(before={"id": 2**70}, after=ANN), f"column 'before.id': {2**70} is no Int64"),
        (event(after=[]), "column 'after': [] is no object"),
        (event(after=ANN, source={}), "column 'source_ts_ms': null or missing"),
        (event(after=ANN, ts_ms=AT_MS // 1000), "column 'ts_ms': 1406851380 is 1970-01-17 in "),
        (event(after={**ANN, "more": "x" * 300}), "the record has "),
    ],
)  # fmt: skip
def test_what_is_no_change_event_is_bad_and_harms_no_neighbour(value, reason):
    good = event(after=ANN)
    decoded = Debezium(ROW, value_bytes_max=400).decode([good, value, good])
    assert list(decoded.bad) == [1]
    assert decoded.bad[1].startswith(reason)
    assert decoded.frame["after"].gather([0, 2]).to_list() == [ANN, ANN]


def test_a_deep_record_is_bad_and_no_end_of_the_run():
    deep = b'{"op":"c","after":' + b'{"id":' * 50_000
    assert list(Debezium(ROW).decode([deep, event(after=ANN)]).bad) == [0]


def test_an_empty_batch_has_the_columns():
    form = Debezium(ROW)
    assert form.decode([]).frame.schema == pl.Schema(form.columns)


def test_columns_of_the_row_are_null_where_they_may_be():
    decoded = Debezium(ROW, optional=frozenset({"name"})).decode([event(after={"id": 1})])
    assert decoded.bad == {}
    assert decoded.frame["after"].to_list() == [{"id": 1, "name": None}]


def test_a_tombstone_is_passed_over_or_a_row_of_its_own():
    events = [None, event("d", before=ANN), None]
    passed = Debezium(ROW).decode(events)
    assert (passed.bad, passed.passed) == ({}, {0, 2})
    kept = Debezium(ROW, tombstones="row").decode(events)
    assert (kept.bad, kept.passed) == ({}, frozenset())
    assert kept.frame["op"].to_list() == ["tombstone", "d", "tombstone"]
    assert kept.frame.drop("op").row(0) == (None,) * 4


def run(form: Debezium, *values: bytes | None, **read) -> TestDriver:
    topology = Topology("changes")
    rows = topology.read.kafka("db.t", format=form, **read)
    rows.select("op", id=pl.coalesce(pl.col("after"), pl.col("before")).struct.field("id")).filter(
        pl.col("id") != 3
    ).write.kafka("out")
    driver = TestDriver(topology)
    driver.log.feed("db.t", list(values), [b"k"] * len(values))
    driver.run()
    return driver


def test_tombstones_that_are_passed_over_are_counted_as_filtered_and_move_no_watermark():
    three = event(after={"id": 3, "name": "x"})
    driver = run(
        Debezium(ROW), event(after=ANN), None, three, b"x", event("d", before=ANN), None,
        event_time="ts_ms",
    )  # fmt: skip
    assert driver.json("out") == [{"op": "c", "id": 1}, {"op": "d", "id": 1}]
    (report,) = driver.reports
    assert (report.records_in, report.contributed, report.filtered, report.dead_lettered) == (
        6, 2, 3, 1,
    )  # fmt: skip
    assert report.late == 0


def test_a_tombstone_is_not_late_by_any_delay():
    topology = Topology("changes")
    rows = topology.read.kafka("db.t", format=Debezium(ROW), event_time="ts_ms")
    rows.with_watermark("1 minute").select("op").write.kafka("out")
    driver = TestDriver(topology)
    late = event(after=ANN, ts_ms=AT_MS - 3_600_000)
    driver.log.feed("db.t", [event(after=ANN), None, late, None], [b"k"] * 4)
    known, _ = looked_at(driver.plan, driver.log)
    assert (known.records, known.loss(timedelta(0)).late) == (2, 1)
    driver.run()
    assert (driver.reports[0].late, driver.reports[0].filtered) == (1, 2)


def test_a_tombstone_is_passed_over_whatever_its_key_and_a_time_is_not_asked_of_it():
    topology = Topology("changes")
    at = pl.col("after").struct.field("id").cast(pl.String).str.to_datetime("%Y").alias("at")
    rows = topology.read.kafka(
        "db.t", format=Debezium({"id": pl.Int64}), event_time=at, key_format=Json({"id": pl.Int64})
    )
    rows.select("id", "op").write.kafka("out")
    driver = TestDriver(topology)
    values = [None, event(after={"id": 2014}), event(after={"id": 20_145}), None]
    driver.log.feed("db.t", values, [b'{"id":1}', b'{"id":1}', b'{"id":1}', b"bad"])
    driver.run()
    assert driver.json("out") == [{"id": 1, "op": "c"}]
    (report,) = driver.reports
    assert (report.filtered, report.dead_lettered) == (2, 1)


def test_the_event_time_may_not_be_of_tombstones():
    topology = Topology("changes")
    form = Debezium(ROW, tombstones="row")
    topology.read.kafka("db.t", format=form, event_time="ts_ms").write.kafka("out")
    with pytest.raises(TopologyError, match="event_time='ts_ms' may be missing"):
        topology.plan()


def test_changes_are_counted_by_the_key_of_the_row():
    topology = Topology("counts")
    rows = topology.read.kafka(
        "db.t", format=Debezium(ROW), key_format=Json({"id": pl.Int64}), partitioned_by="id"
    )
    rows.group_by("id", "op").agg(n=F.count()).write.kafka("out", key="id", mode="update")
    driver = TestDriver(topology, partitions=3)
    for number in (1, 1, 2):
        driver.feed([event(after={**ANN, "id": number})], key=f'{{"id":{number}}}')
    driver.run()
    counts = {(row["id"], row["op"]): row["n"] for row in driver.json("out")}
    assert counts == {(1, "c"): 2, (2, "c"): 1}


FLAT = {"id": 1, "name": "ann", "__op": "u", "__source_ts_ms": AT_MS, "__table": "t"}


@pytest.mark.parametrize("schema", [True, False])
def test_flattened_events_are_the_row_and_what_was_added(schema):
    form = Debezium(
        ROW, unwrap=True, added={"op": pl.String, "source_ts_ms": pl.Datetime("ms")}
    )  # fmt: skip
    value = json.dumps({"schema": {}, "payload": FLAT} if schema else FLAT).encode()
    decoded = form.decode([value, None, b'{"id":1}'])
    assert decoded.frame.row(0, named=True) == {
        "id": 1, "name": "ann", "op": "u", "source_ts_ms": AT,
    }  # fmt: skip
    assert decoded.passed == {1}
    assert decoded.bad == {2: "column 'name': null or missing"}


def test_a_flattened_row_that_was_deleted_has_what_there_is_of_it():
    form = Debezium(ROW, unwrap=True, added={"deleted": pl.Boolean})
    values = [
        {"id": 1, "name": "ann", "__deleted": "false"},
        {"id": 1, "__deleted": "true"},
        {"id": 1, "__deleted": "false"},
        {"id": 1, "name": "ann", "__deleted": "yes"},
        ANN,
    ]
    decoded = form.decode([json.dumps(value).encode() for value in values])
    assert decoded.frame["deleted"].to_list()[:3] == [False, True, False]
    assert decoded.bad == {
        2: "column 'name': null or missing",
        3: "column 'deleted': 'yes' is no Boolean",
        4: "column 'deleted': null or missing",
    }


@pytest.mark.parametrize(
    ("kind", "more", "written", "read"),
    [
        (pl.Date, {}, 16_283, date(2014, 8, 1)),
        (pl.Date, {}, -719_162, date(1, 1, 1)),
        (pl.Date, {}, 2**31 - 1, None),
        (pl.Datetime("ms"), {}, AT_MS, AT),
        (pl.Datetime("us"), {}, AT_MS * 1000 + 1, AT.replace(microsecond=1)),
        (pl.Datetime("us"), {}, AT_MS, None),
        (pl.Datetime("us"), {"units": {"c": "ms"}}, AT_MS, AT),
        (pl.Datetime("us"), {"units": {"c": "ns"}}, AT_MS * 10**6 + 1999,
         AT.replace(microsecond=1)),
        (pl.Datetime("us"), {}, 2**63 - 1, None),
        (pl.Datetime("us", "Europe/Berlin"), {}, "2014-08-01T00:03:00Z",
         datetime(2014, 8, 1, 2, 3, tzinfo=ZoneInfo("Europe/Berlin"))),
        (pl.Datetime("us"), {"times": "text"}, "2014-08-01T00:03:00.25",
         AT.replace(microsecond=250_000)),
        (pl.Date, {"times": "text"}, "2014-08-01", date(2014, 8, 1)),
        (pl.Time, {}, 3_600_000_001, time(1, 0, 0, 1)),
        (pl.Time, {"units": {"c": "ms"}}, 3_600_001, time(1, 0, 0, 1000)),
        (pl.Time, {}, 86_400_000_000, None),
        (pl.Time, {}, -1, None),
        (pl.Decimal(6, 2), {}, "AfQ=", Decimal("5.00")),
        (pl.Decimal(6, 2), {}, "/w==", Decimal("-0.01")),
        (pl.Decimal(6, 2), {}, "AA==", Decimal(0)),
        (pl.Decimal(6, 2), {}, "D0JA", None),
        (pl.Decimal(6, 2), {}, "D0I/", Decimal("9999.99")),
        (pl.Decimal(6, 2), {}, "", None),
        (pl.Decimal(6, 2), {}, "5.00", None),
        (pl.Decimal(38, 0), {}, "SztMqFqGxHoJiiJAAAAAAA==", None),
        (pl.Decimal(38, 0), {}, "SztMqFqGxHoJiiI//////w==", Decimal(10**38 - 1)),
        (pl.Decimal(38, 0), {}, "tMSzV6V5O4X2dd3AAAAAAQ==", Decimal(1 - 10**38)),
        (pl.Decimal(38, 0), {}, "AAAAAAAAAAAAAAAAAAAAAQ==AAAA", None),
        (pl.Decimal(6, 2), {}, {"scale": 1, "value": "AfQ="}, Decimal("50.0")),
        (pl.Decimal(6, 2), {}, {"scale": 3, "value": "AfQ="}, Decimal("0.5")),
        (pl.Decimal(6, 2), {}, {"scale": 3, "value": "AfU="}, None),
        (pl.Decimal(6, 2), {}, {"scale": "1", "value": "AfQ="}, None),
        (pl.Decimal(6, 2), {}, {"value": "AfQ="}, None),
        (pl.Decimal(6, 2), {"decimals": "text"}, "5.00", Decimal("5.00")),
        (pl.Decimal(6, 2), {"decimals": "text"}, 5.25, Decimal("5.25")),
        (pl.Decimal(6, 2), {"decimals": "text"}, 5.255, None),
        (pl.Float64, {}, 5.25, 5.25),
        (pl.Binary, {}, "AAH/", b"\x00\x01\xff"),
        (pl.Binary, {}, "", b""),
        (pl.Binary, {}, "?", None),
        (pl.List(pl.Date), {}, [16_283, None], [date(2014, 8, 1), None]),
        (pl.Enum(["a", "b"]), {}, "b", "b"),
        (pl.Enum(["a", "b"]), {}, "c", None),
        (pl.String, {}, "__debezium_unavailable_value", "__debezium_unavailable_value"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("unwrap", [False, True])
def test_values_are_read_by_the_declared_type(kind, more, written, read, unwrap):
    form = Debezium({"c": kind}, unwrap=unwrap, **more)
    value = json.dumps({"c": written}).encode() if unwrap else event(after={"c": written})
    decoded = form.decode([value])
    if read is None:
        place = "c" if unwrap else "after.c"
        assert f"column '{place}" in decoded.bad[0]
    else:
        assert decoded.bad == {}
        cells = decoded.frame if unwrap else decoded.frame["after"].struct.unnest()
        assert cells["c"].to_list() == [read]


@pytest.mark.parametrize(
    ("row", "more", "told"),
    [
        ({}, {}, "no columns of the row"),
        ({"a": pl.Duration}, {}, "column 'a' cannot be read as Duration"),
        ({"a": pl.Datetime("ns")}, {}, "times have microseconds"),
        ({"a": pl.Int64}, {"optional": {"b"}}, "'b' is no column"),
        ({"a": pl.Int64}, {"tombstones": "drop"}, "tombstones='drop'"),
        ({"a": pl.Int64}, {"decimals": "precise"}, "decimals='precise'"),
        ({"a": pl.Int64}, {"times": "iso"}, "times='iso'"),
        ({"a": pl.Int64}, {"units": {"a": "s"}}, "'s' is no unit"),
        ({"a": pl.Int64}, {"units": {"b": "ms"}}, "'b' is no column"),
        ({"a": pl.Int64}, {"added": {"op": pl.String}}, "'op' stands for two columns"),
        ({"a": pl.Int64}, {"added": {"a": pl.Int64}, "unwrap": True}, "'a' stands for two"),
        ({"payload": pl.Int64}, {"unwrap": True}, "looks like one that has its schema"),
        ({"a": pl.Int64}, {"value_bytes_max": 0}, "value_bytes_max is 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_at_its_line(row, more, told):
    with pytest.raises(TopologyError, match=r"test_debezium.py:\d+: Debezium: ") as refused:
        Debezium(row, **more)
    assert told in refused.value.message
    assert refused.value.remedy


def test_a_row_with_a_column_called_payload_is_read_where_it_is_said_whether_there_is_a_schema():
    form = Debezium({"payload": pl.String}, unwrap=True, schema=False)
    assert form.decode([b'{"payload":"x"}']).frame["payload"].to_list() == ["x"]


def test_change_events_are_not_written():
    topology = Topology("t")
    rows = topology.read.kafka("in", format=Debezium(ROW))
    rows.write.kafka("out", format=Debezium(ROW))
    with pytest.raises(TopologyError, match=r"test_debezium.py:\d+: change events are read only"):
        topology.plan()


def test_another_way_to_read_is_another_description():
    forms = [
        Debezium(ROW), Debezium(ROW, unwrap=True), Debezium(ROW, tombstones="row"),
        Debezium(ROW, decimals="text"), Debezium(ROW, times="text"), Debezium({"id": pl.Int64}),
        Debezium(ROW, added={}), Debezium({"id": pl.Datetime("us")}, units={"id": "ms"}),
    ]  # fmt: skip
    assert len({form.describe() for form in forms}) == len(forms)


def test_keys_of_connects_json_converter_are_read_with_their_schema_and_without_it():
    form = Debezium({"id": pl.Int64}, unwrap=True)
    decoded = form.decode([b'{"schema":{"type":"struct"},"payload":{"id":7}}', b'{"id":8}'])
    assert (decoded.frame["id"].to_list(), decoded.bad) == ([7, 8], {})


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("f/////////8=", "is 92233720368547758.07, which does not fit Decimal"),
        ({"scale": 2, "value": "f/////////8="}, "is 92233720368547758.07, which does not fit"),
        ({"scale": 5, "value": "AfQ="}, "is 0.00500, which does not fit"),
        ({"scale": 0, "value": b64encode(b"\x7f" * 60).decode()}, "is a number of 145 digits"),
        ({"scale": 2, "value": "!"}, "is no base64 of a Decimal"),
        ({"scale": "2", "value": "AfQ="}, "is no base64 of a Decimal"),
        ({"scale": 2}, "is no base64 of a Decimal"),
        ("x", "is no base64 of a Decimal"),
        ("", "is no base64 of a Decimal"),
    ],
)
def test_a_decimal_with_too_many_digits_is_told_apart_from_what_is_none(cell, told):
    form = Debezium({"d": pl.Decimal(6, 2)}, unwrap=True)
    (reason,) = form.decode([json.dumps({"d": cell}).encode()]).bad.values()
    assert reason.startswith("column 'd': ")
    assert told in reason


def test_a_decimal_of_more_bytes_than_it_needs_is_one():
    wide = b64encode((500).to_bytes(20, "big")).decode()
    form = Debezium({"d": pl.Decimal(6, 2)}, unwrap=True)
    assert form.decode([json.dumps({"d": wide}).encode()]).frame["d"].to_list() == [Decimal("5.00")]
