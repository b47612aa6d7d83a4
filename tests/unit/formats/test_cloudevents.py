"""CloudEvents: attributes around the data or in headers, read and written."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import datetime

import polars as pl
import pytest

from processor import CloudEvents, Csv, Json, Text, Topology, TopologyError
from processor.app.feed import feed
from processor.connectors.memory.log import MemoryLog
from processor.errors import SettingsError
from processor.plan.fingerprint import identity
from processor.testing import TestDriver

DATA = Json({"n": pl.Int64})
ALL = {"id": "id", "source": "origin", "type": "kind", "time": "time", "subject": "subject",
       "datacontenttype": "ct", "tenant": "tenant"}  # fmt: skip
EVENT = {"specversion": "1.0", "id": "a", "source": "/s", "type": "t"}
HEADERS = [("ce_specversion", b"1.0"), ("ce_id", b"a"), ("ce_source", b"/s"), ("ce_type", b"t")]


def event(**more) -> bytes:
    return json.dumps(
        {key: cell for key, cell in {**EVENT, **more}.items() if cell != ...}
    ).encode()


def test_attributes_and_data_of_a_structured_event_are_columns():
    form = CloudEvents(DATA, attributes=ALL)
    full = event(
        time="2026-05-01T09:10:00.250+02:00", subject="x", datacontenttype="application/json",
        tenant="7", data={"n": 1},
    )  # fmt: skip
    decoded = form.decode([full, event(data={"n": 2}, subject=None)])
    assert decoded.bad == {}
    assert decoded.frame.schema == pl.Schema(form.columns)
    at = datetime(2026, 5, 1, 7, 10, 0, 250_000)
    assert decoded.frame.rows() == [
        ("a", "/s", "t", at, "x", "application/json", "7", 1),
        ("a", "/s", "t", None, None, None, None, 2),
    ]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "the record is empty"),
        (None, "the record has no value"),
        (b"\xff", "no JSON: "),
        (b'{"specversion":"1.0"', "no JSON: "),
        (b"[]", "no JSON object"),
        (b"{}", "attribute 'specversion': null or missing"),
        (event(specversion="0.3", data={"n": 1}), "version '0.3', where 1.0 is read"),
        (event(id=..., data={"n": 1}), "attribute 'id': null or missing"),
        (event(id="", data={"n": 1}), "attribute 'id': empty"),
        (event(source=None, data={"n": 1}), "attribute 'source': null or missing"),
        (event(type=..., data={"n": 1}), "attribute 'type': null or missing"),
        (event(time="yesterday", data={"n": 1}), "attribute 'time': 'yesterday' is no time"),
        (event(), "data: column 'n': missing"),
        (event(data=None), "data: column 'n': missing"),
        (event(data={"n": None}), "data: column 'n': missing"),
        (event(data={"n": "1"}), "column 'data.n': '1' is no Int64"),
        (event(data=[1]), "column 'data': [1] is no object"),
        (event(data_base64=b64encode(b'{"n":"1"}').decode()), "data_base64: column 'n': '1' is no"),
        (event(data_base64="?"), "data_base64: the record has no value"),
        (event(data={"n": 1}, more="x" * 300), "the record has "),
    ],
)  # fmt: skip
def test_what_is_no_event_is_bad_and_harms_no_neighbour(value, reason):
    form = CloudEvents(DATA, value_bytes_max=300)
    decoded = form.decode([event(data={"n": 1}), value, event(data={"n": 2})])
    assert list(decoded.bad) == [1]
    assert decoded.bad[1].startswith(reason)
    assert decoded.frame["n"].gather([0, 2]).to_list() == [1, 2]


def test_an_empty_batch_has_the_columns():
    for mode in ("structured", "binary"):
        form = CloudEvents(DATA, mode=mode)
        assert form.decode([]).frame.schema == pl.Schema(form.columns)


@pytest.mark.parametrize(
    ("data", "given", "row"),
    [
        (DATA, {"data_base64": b64encode(b'{"n":1}').decode()}, {"n": 1}),
        (Csv({"n": pl.Int64, "s": pl.String}), {"data": '1,"a,b"'}, {"n": 1, "s": "a,b"}),
        (Text(), {"data": "é"}, {"value": "é"}),
        (Text(), {"data_base64": "w6k="}, {"value": "é"}),
        (Json({"s": pl.String}), {"data": {"s": 1.5}}, {"s": "1.5"}),
        (Json({"o": pl.Struct({"d": pl.Date})}), {"data": {"o": {"d": "2026-05-01"}}},
         {"o": {"d": datetime(2026, 5, 1).date()}}),
        (Json({"at": pl.Datetime("us")}, epoch={"at": "s"}), {"data": {"at": 1406851380.25}},
         {"at": datetime(2014, 8, 1, 0, 3, 0, 250_000)}),
        (Json({"n": pl.Int64}, optional=frozenset({"n"})), {}, {"n": None}),
    ],
)  # fmt: skip
def test_the_data_is_read_by_a_format_of_its_own(data, given, row):
    form = CloudEvents(data, attributes={})
    decoded = form.decode([event(**given), b"bad", event(**given)])
    assert list(decoded.bad) == [1]
    for number in (0, 2):
        assert decoded.frame.row(number, named=True) == row


def test_attributes_and_data_of_a_binary_event_are_columns():
    form = CloudEvents(DATA, mode="binary", attributes=ALL)
    more = [
        ("ce_time", b"2026-05-01T09:10:00Z"),
        ("ce_subject", "é".encode()),
        ("ce_tenant", b"7"),
        ("content-type", b"application/json"),
        ("other", b"\xff"),
    ]
    decoded = form.decode_with([b'{"n":1}', b'{"n":2}'], [HEADERS + more, HEADERS])
    assert decoded.bad == {}
    assert decoded.frame.rows() == [
        ("a", "/s", "t", datetime(2026, 5, 1, 9, 10), "é", "application/json", "7", 1),
        ("a", "/s", "t", None, None, None, None, 2),
    ]


@pytest.mark.parametrize(
    ("headers", "value", "reason"),
    [
        ([], b'{"n":1}', "attribute 'specversion': null or missing"),
        (HEADERS[1:], b'{"n":1}', "attribute 'specversion': null or missing"),
        ([("ce_specversion", b"2"), *HEADERS[1:]], b'{"n":1}', "version '2', where 1.0 is read"),
        ([*HEADERS, ("ce_id", None)], b'{"n":1}', "attribute 'id': null or missing"),
        ([*HEADERS, ("ce_id", b"")], b'{"n":1}', "attribute 'id': empty"),
        ([*HEADERS, ("ce_id", b"\xff")], b'{"n":1}', "attribute 'id': its header is not UTF-8"),
        ([*HEADERS, ("ce_time", b"x")], b'{"n":1}', "attribute 'time': 'x' is no time"),
        ([*HEADERS, ("content-type", b"application/cloudevents+json")], b'{"n":1}',
         "a structured event: its content-type is "),
        (HEADERS, b'{"n":"1"}', "column 'n': '1' is no Int64"),
        (HEADERS, None, "the record has no value"),
    ],
)  # fmt: skip
def test_a_record_whose_headers_make_no_event_is_bad_and_harms_no_neighbour(headers, value, reason):
    form = CloudEvents(DATA, mode="binary")
    decoded = form.decode_with([b'{"n":1}', value, b'{"n":2}'], [HEADERS, headers, HEADERS])
    assert list(decoded.bad) == [1]
    assert decoded.bad[1].startswith(reason)
    assert decoded.frame["id"].gather([0, 2]).to_list() == ["a", "a"]
    assert decoded.frame["n"].gather([0, 2]).to_list() == [1, 2]


def through(mode: str, **sink) -> TestDriver:
    """Rows to events, by a topology."""
    topology = Topology("events")
    form = Json({"id": pl.String, "n": pl.Int64, "who": pl.String, "at": pl.Datetime("us")},
                optional=frozenset({"id", "who"}))  # fmt: skip
    rows = topology.read.kafka("in", format=form, headers="h")
    events = CloudEvents(
        DATA, mode=mode, attributes={"id": "id", "time": "at", "subject": "who"},
        constants={"source": "/shop", "type": "paid"},
    )  # fmt: skip
    rows.write.kafka("out", format=events, **sink)
    driver = TestDriver(topology)
    at = "2026-05-01T09:10:00.250"
    more = {"traceparent": "x", "content-type": "text/plain", "ce_id": "old"}
    driver.feed([{"id": "a", "n": 1, "who": "ann", "at": at}], headers=more)
    driver.feed([{"id": "b", "n": 2, "at": at}, {"n": 3, "at": at}, {"id": "", "n": 3, "at": at}])
    driver.feed([{"id": "c", "who": "", "n": 3, "at": at}])
    driver.run()
    return driver


def test_structured_events_are_written_with_their_content_type():
    driver = through("structured", headers="h")
    assert driver.json("out") == [
        {"specversion": "1.0", "id": "a", "time": "2026-05-01T09:10:00.250Z", "subject": "ann",
         "source": "/shop", "type": "paid", "datacontenttype": "application/json",
         "data": {"n": 1}},
        {"specversion": "1.0", "id": "b", "time": "2026-05-01T09:10:00.250Z",
         "source": "/shop", "type": "paid", "datacontenttype": "application/json",
         "data": {"n": 2}},
    ]  # fmt: skip
    kind = ("content-type", b"application/cloudevents+json; charset=UTF-8")
    first, second = driver.read("out")
    assert list(first.headers()) == [("traceparent", b"x"), ("ce_id", b"old"), kind]
    assert list(second.headers()) == [kind]


def test_binary_events_are_written_as_headers_beside_their_data():
    driver = through("binary", headers="h")
    first, second = driver.read("out")
    assert (first.value(), second.value()) == (b'{"n":1}', b'{"n":2}')
    common = [("ce_source", b"/shop"), ("ce_type", b"paid"), ("content-type", b"application/json")]
    at = ("ce_time", b"2026-05-01T09:10:00.250Z")
    assert list(first.headers()) == [
        ("traceparent", b"x"), ("ce_specversion", b"1.0"), ("ce_id", b"a"), at,
        ("ce_subject", b"ann"), *common,
    ]  # fmt: skip
    assert list(second.headers()) == [("ce_specversion", b"1.0"), ("ce_id", b"b"), at, *common]


@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_rows_that_are_no_event_are_set_aside(mode):
    driver = through(mode, headers="h")
    reasons = [dict(m.headers())["processor.error"].decode() for m in driver.dead_letters()]
    assert [reason.partition(", and")[0] for reason in reasons] == [
        "WriteError: column 'id' is null",
        "WriteError: column 'id' is empty text",
        "WriteError: column 'who' is empty text",
    ]


@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_the_time_of_an_event_is_an_event_time_where_each_must_have_one(mode):
    topology = Topology("late")
    form = CloudEvents(DATA, mode=mode, required=frozenset({"time"}))
    rows = topology.read.kafka("in", format=form, event_time="time")
    rows.with_watermark("1 minute").select("n").write.kafka("out")
    driver = TestDriver(topology)
    for n, time in enumerate(["2026-05-01T09:10:00Z", None, "2026-05-01T09:00:00Z"]):
        if mode == "structured":
            driver.feed([event(time=time, data={"n": n})])
        else:
            more = {} if time is None else {"ce_time": time}
            driver.feed([{"n": n}], headers={**dict(HEADERS), **more})
    driver.run()
    assert driver.json("out") == [{"n": 0}]
    (letter,) = driver.dead_letters()
    assert dict(letter.headers())["processor.error"] == b"attribute 'time': null or missing"
    assert driver.reports[0].late == 1


def test_an_event_time_that_may_be_missing_is_refused():
    topology = Topology("late")
    topology.read.kafka("in", format=CloudEvents(DATA), event_time="time").write.kafka("out")
    with pytest.raises(TopologyError, match="'time' may be missing") as refused:
        topology.plan()
    assert 'required={"time"}' in refused.value.remedy


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"data": Json}, "is no format of data"),
        ({"mode": "batch"}, "mode='batch'"),
        ({"attributes": ["id"]}, "gives no texts by the attribute's name"),
        ({"attributes": {"ID": "id"}}, "'ID' is no attribute"),
        ({"attributes": {"data": "d"}}, "'data' is no attribute"),
        ({"constants": {"specversion": "1.0"}}, "'specversion' is no attribute"),
        ({"constants": {"type": ""}}, "'type' is ''"),
        ({"attributes": {"id": "n"}}, "'n' stands for two columns"),
        ({"attributes": {"id": "x", "type": "x"}}, "'x' stands for two columns"),
        ({"constants": {"id": "1"}}, "'id' is a column and a constant"),
        ({"required": frozenset({"subject"})}, "'subject' is no column"),
        ({"value_bytes_max": 0}, "value_bytes_max is 0"),
    ],
)
def test_what_makes_no_event_is_refused_at_its_line(arguments, told):
    with pytest.raises(TopologyError, match=r"test_cloudevents.py:\d+: CloudEvents: ") as refused:
        CloudEvents(**{"data": DATA, **arguments})
    assert told in refused.value.message
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("form", "columns", "told"),
    [
        ({"data": DATA, "attributes": {"id": "id"}}, ["id", "n"], "no source and no type"),
        ({"data": DATA}, ["n"], "the event's id is the column 'id', and there is none"),
        ({"data": DATA, "attributes": {"id": "id", "source": "who", "type": "at"}},
         ["id", "who", "at", "n"], "the event's type is the column 'at', of Datetime"),
        ({"data": Json(), "attributes": {"id": "id", "source": "who", "time": "n"},
          "constants": {"type": "t"}}, ["id", "who", "n"], "the event's time is the column 'n'"),
        ({"data": DATA, "attributes": {"id": "id", "source": "who"}, "constants": {"type": "t"}},
         ["id", "who", "at", "n"], "the format does not name the column 'at'"),
        ({"data": Text(), "attributes": {"id": "id", "source": "who"}, "constants": {"type": "t"}},
         ["id", "who", "at", "n"], "text is one column"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_events_are_refused_at_their_line(form, columns, told):
    topology = Topology("refused")
    read = Json({"id": pl.String, "n": pl.Int64, "who": pl.String, "at": pl.Datetime("us")})
    rows = topology.read.kafka("in", format=read)
    rows.select(*columns).write.kafka("out", format=CloudEvents(**form))
    with pytest.raises(TopologyError, match=r"test_cloudevents.py:\d+: ") as refused:
        topology.plan()
    assert told in refused.value.message


def test_a_key_that_is_no_part_of_the_event_is_left_out_of_it():
    topology = Topology("keyed")
    rows = topology.read.kafka("in", format=Json({"id": pl.String, "n": pl.Int64}), key="k")
    form = CloudEvents(DATA, attributes={"id": "id"}, constants={"source": "/s", "type": "t"})
    rows.write.kafka("out", key="k", format=form)
    driver = TestDriver(topology)
    driver.feed([{"id": "a", "n": 1}], key="x")
    driver.run()
    (record,) = driver.read("out")
    assert record.key() == b"x"
    assert json.loads(record.value())["data"] == {"n": 1}


def test_binary_events_are_not_fed_from_a_file(tmp_path):
    topology = Topology("fed")
    topology.read.kafka("in", format=CloudEvents(DATA, mode="binary")).write.kafka("out")
    with pytest.raises(SettingsError, match="in its headers, and a file has values alone"):
        feed(MemoryLog(), [topology.plan()], "in", tmp_path / "none")


def test_another_mode_and_other_attributes_are_another_topology():
    def written(**arguments):
        topology = Topology("one")
        form = CloudEvents(DATA, **{"constants": {"source": "/s", "type": "t"}, **arguments})
        rows = topology.read.kafka("in", format=Json({"id": pl.String, "n": pl.Int64}))
        rows.write.kafka("out", format=form)
        return identity(topology.plan())

    one = {"attributes": {"id": "id"}}
    made = [
        written(**one), written(**one, mode="binary"),
        written(**one, constants={"source": "/s", "type": "u"}),
    ]  # fmt: skip
    assert len(set(made)) == 3


def test_an_event_with_its_data_twice_is_bad():
    event = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": {"n": 1}}
    twice = json.dumps({**event, "data_base64": b64encode(b'{"n":2}').decode()}).encode()
    for form in (Json({"n": pl.Int64}), Json({"n": pl.Int64}, duplicates="refuse")):
        decoded = CloudEvents(form).decode([json.dumps(event).encode(), twice])
        assert decoded.bad == {1: "it has both data and data_base64"}
        assert decoded.frame["n"][0] == 1
