"""JSON with objects and lists in it: what is read, what is refused and where, what is written."""

from __future__ import annotations

import datetime as dt
import json

import polars as pl
import pytest

from processor import Json, Topology, TopologyError
from processor.testing import TestDriver

ITEM = pl.Struct({"sku": pl.String, "price": pl.Float64, "n": pl.Int16})
ORDER = Json(
    {
        "id": pl.Int64,
        "to": pl.Struct({"city": pl.String, "at": pl.Datetime("us"), "geo": pl.List(pl.Float32)}),
        "items": pl.List(ITEM),
    },
    optional=frozenset({"items"}),
)
GOOD = {
    "id": 7,
    "to": {"city": "Bonn", "at": "2014-08-01T00:03:00.250", "geo": [50.5, 7.0]},
    "items": [{"sku": "a", "price": 1.5, "n": 2}],
}


def changed(**members):
    """The good order with other members; a dot leads into one."""
    order = json.loads(json.dumps(GOOD))
    for path, value in members.items():
        *way, last = path.split("__")
        place = order
        for name in way:
            place = place[name]
        place[last] = value
    return json.dumps(order).encode()


def test_objects_and_lists_are_columns_with_the_types_of_their_leaves():
    decoded = ORDER.decode([json.dumps(GOOD).encode()])
    assert decoded.bad == {}
    assert dict(decoded.frame.schema) == dict(ORDER.columns)
    assert decoded.frame.row(0) == (
        7,
        {"city": "Bonn", "at": dt.datetime(2014, 8, 1, 0, 3, 0, 250_000), "geo": [50.5, 7.0]},
        [{"sku": "a", "price": 1.5, "n": 2}],
    )


def test_what_is_missing_or_null_inside_is_null_and_other_members_are_ignored():
    decoded = ORDER.decode(
        [
            b'{"id":1,"to":{}}',
            b'{"id":2,"to":{"city":null,"x":[{"y":1}]},"items":[]}',
            b'{"id":3,"to":{"geo":[null,1]},"items":[null,{"n":null}]}',
        ]
    )
    empty = {"city": None, "at": None, "geo": None}
    assert decoded.bad == {}
    assert decoded.frame.rows() == [
        (1, empty, None),
        (2, empty, []),
        (3, empty | {"geo": [None, 1.0]}, [None, {"sku": None, "price": None, "n": None}]),
    ]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"to": None}, "column 'to': null"),
        ({"to": 5}, "column 'to': 5 is no object"),
        ({"to": [1]}, "column 'to': [1] is no object"),
        ({"items": {"a": 1}}, "column 'items': {'a': 1} is no list"),
        ({"items": "a"}, "column 'items': 'a' is no list"),
        ({"items": [GOOD["items"][0], 3]}, "column 'items[1]': 3 is no object"),
        ({"items": [{"price": "1.5"}]}, "column 'items[0].price': '1.5' is no Float64"),
        ({"items": [{"n": 1.5}]}, "column 'items[0].n': 1.5 is no Int16"),
        ({"items": [{"n": True}]}, "column 'items[0].n': True is no Int16"),
        ({"items": [{}, {"n": 40_000}]}, "column 'items[1].n': 40000 is no Int16"),
        ({"to__at": "yesterday"}, "column 'to.at': 'yesterday' is no time"),
        ({"to__at": 12}, "column 'to.at': '12' is no time"),
        ({"to__geo": [1, 1e300]}, "column 'to.geo[1]': 1e+300 is no Float32"),
    ],
)
def test_what_does_not_fit_is_told_by_its_place_and_harms_no_neighbour(members, reason):
    good = json.dumps(GOOD).encode()
    decoded = ORDER.decode([good, changed(**members), good])
    assert decoded.bad == {1: reason}
    assert decoded.frame.row(0) == decoded.frame.row(2) == ORDER.decode([good]).frame.row(0)


def test_a_record_without_a_column_is_bad():
    assert ORDER.decode([b'{"id":1}']).bad == {0: "column 'to': missing"}


def test_text_inside_is_taken_as_it_stands():
    form = Json({"o": pl.Struct({"s": pl.String, "l": pl.List(pl.String)})})
    values = [
        b'{"o":{"s":1.10,"l":[1E5,"1.10",{"a": 2.0}]}}',
        b'{"o":{"s":"1.10","l":[]}}',
        b'{"x":"1.10","o":{"s":"-0","l":null}}',
        b'{"o":{"l":[-0],"s":{"b": [1.0]}}}',
    ]
    assert form.decode(values).frame["o"].to_list() == [
        {"s": "1.10", "l": ["1E5", "1.10", '{"a": 2.0}']},
        {"s": "1.10", "l": []},
        {"s": "-0", "l": None},
        {"s": '{"b": [1.0]}', "l": ["-0"]},
    ]


def test_of_members_with_one_name_inside_the_first_counts():
    form = Json({"o": pl.Struct({"n": pl.Int64, "s": pl.String})})
    assert form.decode([b'{"o":{"n":1,"n":2,"s":1.50,"s":"x"},"o":{"n":3}}']).frame.row(0) == (
        {"n": 1, "s": "1.50"},
    )


def test_line_breaks_between_the_tokens_do_no_harm():
    pretty = json.dumps(GOOD, indent=2).encode()
    decoded = ORDER.decode([pretty, json.dumps(GOOD).encode()])
    assert decoded.bad == {}
    assert decoded.frame.row(0) == decoded.frame.row(1)


@pytest.mark.parametrize("depth", [1_000, 400_000])
def test_values_that_are_too_deep_are_bad_and_no_crash(depth):
    deep = b"[" * depth + b"]" * depth
    decoded = ORDER.decode([json.dumps(GOOD).encode(), b'{"id":1,"to":{},"items":' + deep + b"}"])
    assert decoded.bad.keys() == {1}


def test_times_inside_are_written_as_columns_of_times_are():
    zone = pl.Datetime("us", "Europe/Berlin")
    form = Json({"o": pl.Struct({"at": zone, "day": pl.Date, "l": pl.List(pl.Datetime("ms"))})})
    inside = b'"at":"2014-10-26T02:30:00+01:00","day":"2014-10-26","l":["2014-10-26T00:00:00.250"]'
    value = b'{"o":{' + inside + b"}}"
    assert form.encode(form.decode([value]).frame) == [value]


def test_forms_of_times_hold_inside_too():
    form = Json({"l": pl.List(pl.Datetime("us"))}, times=("%d/%m/%Y %H:%M",))
    decoded = form.decode([b'{"l":["01/08/2014 00:03"]}', b'{"l":["2014-08-01T00:03:00"]}'])
    assert decoded.frame.row(0) == ([dt.datetime(2014, 8, 1, 0, 3)],)
    assert decoded.bad == {1: "column 'l[0]': '2014-08-01T00:03:00' is no time"}


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (pl.List(pl.Int128), r"'x\[\]' cannot be read as Int128"),
        (pl.Struct({"a": pl.List(pl.Null)}), r"'x.a\[\]' cannot be read as Null"),
        (pl.Struct({}), "'x' cannot be read as Struct"),
        (pl.List, "'x' cannot be read as List"),
        (pl.Struct({"a": pl.Datetime("us", "Mars/Olympus")}), "'x.a': there is no zone"),
    ],
)
def test_a_type_inside_that_json_has_not_is_refused_at_its_line(kind, told):
    with pytest.raises(TopologyError, match=rf"test_nested.py:\d+: Json: column {told}"):
        Json({"x": kind})


def test_a_topology_reaches_into_columns_groups_by_what_is_there_and_writes_them_whole():
    topology = Topology("orders")
    place = pl.col("to").struct.field
    rows = topology.read.kafka("orders", format=ORDER, event_time=place("at").alias("at"))
    worth = pl.element().struct.field("price") * pl.element().struct.field("n")
    rows.with_columns(city=place("city"), worth=pl.col("items").list.eval(worth).list.sum()).select(
        "id", "items", "city", "worth"
    ).write.kafka("worth", key="city")
    driver = TestDriver(topology)
    driver.feed([GOOD, GOOD | {"to": 5}, GOOD | {"id": 8, "items": None}])
    driver.run()
    assert driver.json("worth") == [
        {"id": 7, "items": GOOD["items"], "city": "Bonn", "worth": 3.0},
        {"id": 8, "items": None, "city": "Bonn", "worth": None},
    ]
    (letter,) = driver.dead_letters()
    assert dict(letter.headers())["processor.error"] == b"column 'to': 5 is no object"
