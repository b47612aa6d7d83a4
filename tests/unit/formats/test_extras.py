"""Maps, the rest, what is missing, and the choices of JSON."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from processor import Json, Topology, TopologyError
from processor.formats.base import WriteError
from processor.formats.pieces import pieces, twice, twice_inside
from processor.testing import TestDriver

NUMBERS = pl.List(pl.Struct({"key": pl.String, "value": pl.Int64}))
MAP = Json({"m": NUMBERS}, maps=frozenset({"m"}))
REST = Json({"id": pl.Int64, "other": pl.String}, rest="other")
MISSING = Json(
    {"a": pl.Int64, "no_a": pl.Boolean}, optional=frozenset({"a"}), missing={"a": "no_a"}
)


@pytest.mark.parametrize("form", [MAP, REST, MISSING])
def test_an_empty_batch_has_the_columns_and_no_rows(form: Json) -> None:
    decoded = form.decode([])
    assert dict(decoded.frame.schema) == dict(form.columns or {})
    assert (decoded.frame.height, decoded.bad) == (0, {})
    assert form.encode(decoded.frame) == []


def test_a_map_is_a_list_of_its_members_in_their_order() -> None:
    decoded = MAP.decode([b'{"m":{"z":1,"\\u00e9":null,"a":-3}}', b'{ "m" : { } }'])
    assert decoded.bad == {}
    assert decoded.frame["m"].to_list() == [
        [{"key": "z", "value": 1}, {"key": "é", "value": None}, {"key": "a", "value": -3}],
        [],
    ]
    assert MAP.encode(decoded.frame) == ['{"m":{"z":1,"é":null,"a":-3}}'.encode(), b'{"m":{}}']


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{}", "column 'm': missing"),
        (b'{"m":null}', "column 'm': null"),
        (b'{"m":[]}', "column 'm': '[]' is no object"),
        (b'{"m":"x"}', "is no object"),
        (b'{"m":{"a":1,"b":2,"a":3}}', "column 'm': 'a' stands in it twice"),
        (b'{"m":{"a":1,"\\u0061":3}}', "column 'm': 'a' stands in it twice"),
        (b'{"m":{"a":1.5}}', "column 'm.a': 1.5 is no Int64"),
        (b'{"m":{"a b":"x"}}', "column 'm.a b': 'x' is no Int64"),
        (b'{"m":{"a":[[[[[[1]]]]]]}}', "column 'm.a': [[[[[[1]]]]]] is no Int64"),
        (b'{"m":{"a":9223372036854775808}}', "column 'm.a': 9223372036854775808 is no Int64"),
        (b'{"m":{"a":1}', "no JSON"),
        (b"", "the record is empty"),
        (None, "the record has no value"),
    ],
)
def test_a_bad_map_is_named_with_its_place_and_its_neighbours_stay(
    value: bytes | None, reason: str
) -> None:
    good = b'{"m":{"a":1}}'
    decoded = MAP.decode([good, value, good])
    assert set(decoded.bad) == {1}
    assert reason in decoded.bad[1]
    assert decoded.frame["m"].to_list()[::2] == [[{"key": "a", "value": 1}]] * 2


def test_values_of_a_map_of_texts_come_as_they_stand() -> None:
    form = Json({"m": pl.List(pl.Struct({"key": pl.String, "value": pl.String}))}, maps={"m"})  # type: ignore[arg-type]
    decoded = form.decode([b'{"m":{"a":1.10,"b":[1, 2.0],"c":"x","d":{"q" : "}"}}}'])
    assert decoded.bad == {}
    values = [entry["value"] for entry in decoded.frame["m"][0].to_list()]
    assert values == ["1.10", "[1, 2.0]", "x", '{"q" : "}"}']


def test_the_first_of_members_with_the_name_of_a_map_counts() -> None:
    decoded = MAP.decode([b'{"x":{"m":{"b":2}},"m":{"a":1},"m":5}'])
    assert decoded.frame["m"].to_list() == [[{"key": "a", "value": 1}]]


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([{"key": "a", "value": 1}, {"key": "a", "value": 2}], "'a' stands in the map twice"),
        ([{"key": None, "value": 1}], "an entry of the map has no key"),
        ([None], "an entry of the map has no key"),
    ],
)
def test_a_map_that_would_be_read_back_as_another_is_not_written(entries: Any, why: str) -> None:
    with pytest.raises(WriteError, match=why):
        MAP.encode(pl.DataFrame({"m": [[], entries]}, schema={"m": NUMBERS}))


def test_a_key_may_stand_in_two_maps() -> None:
    entries = [{"key": "a", "value": 1}]
    frame = pl.DataFrame({"m": [entries, entries]}, schema={"m": NUMBERS})
    assert MAP.encode(frame) == [b'{"m":{"a":1}}'] * 2


def test_what_is_wrong_with_a_value_of_a_map_is_told_with_the_column() -> None:
    kind = pl.List(pl.Struct({"key": pl.String, "value": pl.Float64}))
    frame = pl.DataFrame({"m": [[{"key": "a", "value": float("nan")}]]}, schema={"m": kind})
    with pytest.raises(WriteError, match="column 'm' is nan"):
        Json({"m": kind}, maps=frozenset({"m"})).encode(frame)


@pytest.mark.parametrize(
    ("value", "other"),
    [
        (b'{"id":1}', "{}"),
        (b'{"a":1.10,"id":1,"b":[1, {"c": null}]}', '{"a":1.10,"b":[1, {"c": null}]}'),
        (b'{ "id" : 1 , "a b" : "\\"}" }', r'{"a b":"\"}"}'),
        (b'{"id":1,"a":1,"a":2,"id":3}', '{"a":1,"a":2}'),
        (b'{"id":1,"other":7}', '{"other":7}'),
        (b'{"id":1,"a":1e400,"b":%s}' % (b"9" * 40), '{"a":1e400,"b":%s}' % ("9" * 40)),
        (b'{"id":1,"a":[[[[[[[{"id":2}]]]]]]]}', '{"a":[[[[[[[{"id":2}]]]]]]]}'),
        (b'{"\\u0069d":1,"a\\n":2}', r'{"a\n":2}'),
        (b'\n{"id":\n1,\n"a":\n[1,\n2]}', '{"a":[1,\n2]}'),
    ],
)
def test_the_rest_has_all_other_members_as_they_stand(value: bytes, other: str) -> None:
    for company in ([], [b"junk"]):
        decoded = REST.decode([value, *company])
        assert 0 not in decoded.bad
        assert decoded.frame.row(0) == (1, other)
    again = REST.decode(REST.encode(decoded.frame[:1]))
    assert again.frame.equals(decoded.frame[:1])


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        (None, "column 'other' is null"),
        ("", "the record is empty"),
        ("5", "no JSON object"),
        ("[1]", "no JSON object"),
        ('{"a":1', "no JSON"),
        ('{"a":NaN}', "no JSON"),
        ('{"a":1}{}', "no JSON"),
        ('{"a":"\ud7ff\n"}', "no JSON"),
        ('{"a":"\\ud800"}', "no JSON"),
        ('{"id":2}', "has a member 'id', which is a column"),
        ('{"\\u0069d":null}', "has a member 'id', which is a column"),
    ],
)
def test_a_rest_that_would_be_read_back_as_another_is_not_written(
    cell: str | None, why: str
) -> None:
    frame = pl.DataFrame({"id": [1, 2], "other": ["{}", cell]}, schema=dict(REST.columns or {}))
    with pytest.raises(WriteError, match=why):
        REST.encode(frame)


def test_one_bad_rest_sets_its_row_aside_alone() -> None:
    topology = Topology("t")
    rows = topology.read.kafka("in", format=Json({"id": pl.Int64, "s": pl.String}))
    rows.select("id", other=pl.col("s")).write.kafka("out", format=REST)
    driver = TestDriver(topology)
    driver.feed(['{"id":1,"s":"{}"}', '{"id":2,"s":"{"}', '{"id":3,"s":"{\\"a\\":0}"}'])
    driver.run()
    assert driver.values("out") == [b'{"id":1}', b'{"id":3,"a":0}']
    assert len(driver.dead_letters()) == 1


def test_missing_is_told_from_null_both_ways() -> None:
    values = [b"{}", b'{"a":null}', b'{"a":5}', b'{"b":{"a":1}}']
    decoded = MISSING.decode(values)
    assert decoded.bad == {}
    assert decoded.frame.rows() == [(None, True), (None, False), (5, False), (None, True)]
    assert MISSING.encode(decoded.frame) == [b"{}", b'{"a":null}', b'{"a":5}', b"{}"]


@pytest.mark.parametrize(("flag", "why"), [(True, "'a' has a value"), (None, "'no_a' is null")])
def test_a_flag_that_says_otherwise_is_not_written(flag: bool | None, why: str) -> None:
    frame = pl.DataFrame({"a": [1], "no_a": [flag]}, schema=dict(MISSING.columns or {}))
    with pytest.raises(WriteError, match=why):
        MISSING.encode(frame)


def test_members_are_written_in_the_order_of_the_columns() -> None:
    form = Json(
        {"a": pl.Int64, "m": NUMBERS, "b": pl.Int64, "r": pl.String, "c": pl.Int64},
        maps=frozenset({"m"}), rest="r",
    )  # fmt: skip
    value = b'{"a":1,"m":{"x":1},"b":2,"q":0,"c":3}'
    assert form.encode(form.decode([value]).frame) == [value]


def test_without_columns_maps_and_the_rest_are_written_too() -> None:
    frame = MAP.decode([b'{"m":{"a":1}}']).frame.with_columns(n=7, r=pl.lit('{"q":1}'))
    written = Json(maps=frozenset({"m"}), rest="r").encode(frame)
    assert written == [b'{"m":{"a":1},"n":7,"q":1}']
    with pytest.raises(ValueError, match="there is no column 'x'"):
        Json(rest="x").encode(frame)
    with pytest.raises(ValueError, match="no map"):
        Json(maps=frozenset({"n"})).encode(frame)


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"-Infinity"])
def test_a_number_that_is_not_finite_is_bad_or_null_by_choice(value: bytes) -> None:
    record, good = b'{"s":"NaN, Infinity","x":%s}' % value, b'{"s":"a","x":1}'
    kinds = {"s": pl.String, "x": pl.Float64}
    assert set(Json(kinds).decode([good, record]).bad) == {1}
    form = Json(kinds, optional=frozenset({"x"}), nan="null")
    decoded = form.decode([good, record])
    assert decoded.bad == {}
    assert decoded.frame.rows() == [("a", 1.0), ("NaN, Infinity", None)]
    assert Json(kinds, nan="null").decode([record]).bad == {0: "column 'x': null"}


@pytest.mark.parametrize("value", [b'{"x":NaNNaN}', b'{"x":-NaN}', b'{"x":NaN', b"{NaN:1}"])
def test_what_is_no_json_but_for_that_is_bad_whatever_was_chosen(value: bytes) -> None:
    form = Json({"x": pl.Float64}, optional=frozenset({"x"}), nan="null")
    assert set(form.decode([value]).bad) == {0}


def test_a_too_large_record_is_not_looked_into_for_them() -> None:
    form = Json({"x": pl.Float64}, optional=frozenset({"x"}), nan="null", value_bytes_max=10)
    assert "more than 10" in form.decode([b'{"x":Infinity}']).bad[0]


NAN, INF = float("nan"), float("inf")
CELLS = [NAN, INF, [1.0, NAN], {"a": -INF}, [{"a": NAN}]]


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_a_number_that_is_not_finite_is_not_written_unless_null_was_chosen(cell: Any) -> None:
    frame = pl.DataFrame({"x": [cell]})
    kinds = dict(frame.schema)
    for form in (Json(kinds, optional=frozenset({"x"})), Json(nan="refuse")):
        with pytest.raises(WriteError, match=r"column 'x.*' is (nan|inf|-inf), which is no number"):
            form.encode(frame)
    for form in (Json(), Json(nan="null"), Json(kinds, optional=frozenset({"x"}), nan="null")):
        assert b"null" in form.encode(frame)[0]


@pytest.mark.parametrize(
    ("value", "name"),
    [(b'{"x":1,"x":2}', "x"), (b'{"x":1,"y":[{"a":{"b":1,"b":2}}]}', "b"),
     (b'{"x":1,"y":1,"y":1}', "y"), (b'{"x":1,"\\u0078":1}', "x"),
     (b'{"x":1,"y":[[[[[{"a":1,"a":1}]]]]]}', "a")],
)  # fmt: skip
def test_two_members_of_one_name_are_bad_by_choice(value: bytes, name: str) -> None:
    good = b'{"x":1,"y":[{"a":1},{"a":1}],"z":{"x":1}}'
    decoded = Json({"x": pl.Int64}, duplicates="refuse").decode([good, value, good])
    assert decoded.bad == {1: f"two members are called {name!r}"}
    assert Json({"x": pl.Int64}).decode([good, value, good]).bad == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"maps": {"x"}}, "'x' is no column"),
        ({"maps": "m"}, "'m' is a text where a set of names is due"),
        ({"maps": {"n"}}, "'n' is Int64, no map"),
        ({"maps": {"o.l"}}, "'o.l' is List(Int64), no map"),
        ({"maps": {"o.x"}}, "'o.x' is no column"),
        ({"rest": "x"}, "'x' has all other members, and is no column"),
        ({"rest": "n"}, "'n' has all other members, and is Int64"),
        ({"rest": "s", "optional": {"s"}}, "and is never null"),
        ({"missing": {"n": "f"}}, "missing names 'n', which is not optional"),
        (
            {"missing": {"n": "x"}, "optional": {"n"}},
            "'x' tells whether a member is missing, and is no",
        ),
        ({"missing": {"n": "s"}, "optional": {"n"}}, "and is String"),
        ({"missing": {"n": "f"}, "optional": {"n", "f"}}, "and is never null"),
        ({"missing": {"n": "f", "m": "f"}, "optional": {"n", "m"}}, "'f' tells of two columns"),
        ({"missing": "n"}, "missing='n'"),
        ({"nan": "zero"}, "nan='zero'"),
        ({"duplicates": "last"}, "duplicates='last'"),
    ],
)
def test_what_cannot_be_is_refused_at_the_line(options: dict[str, Any], message: str) -> None:
    lists = pl.Struct({"l": pl.List(pl.Int64)})
    kinds = {"n": pl.Int64, "s": pl.String, "f": pl.Boolean, "m": NUMBERS, "o": lists}
    with pytest.raises(TopologyError) as raised:
        Json(kinds, **options)
    assert message in raised.value.message
    assert raised.value.message.startswith(__file__)
    assert raised.value.remedy


def test_a_record_that_is_nested_beyond_all_measure_is_bad_and_its_neighbours_stay() -> None:
    deep = b'{"id":1,"a":%s%s}' % (b"[" * 5_000, b"]" * 5_000)
    decoded = REST.decode([b'{"id":1,"a":0}', deep, b'{"id":2}'])
    assert set(decoded.bad) == {1}
    assert decoded.frame.rows()[::2] == [(1, '{"a":0}'), (2, "{}")]


def test_pieces_of_odd_records_are_those_of_plain_ones() -> None:
    records = ['{"a": [1, {"b": "]"}] , "c":"\\\\"}', '{"a":[[[[1]]]],"a":{"x":{"y":{"z":{}}}}}']
    table, bad = pieces(pl.Series(records))
    assert bad == {}
    assert table.select("row", "name", "text").rows() == [
        (0, "a", '[1, {"b": "]"}]'), (0, "c", '"\\\\"'),
        (1, "a", "[[[[1]]]]"), (1, "a", '{"x":{"y":{"z":{}}}}'),
    ]  # fmt: skip
    assert twice(table) == {1: "a"}
    assert twice_inside(table) == {}


INNER = Json(
    {"o": pl.Struct({"id": pl.Int64, "tags": NUMBERS}),
     "items": pl.List(pl.Struct({"t": NUMBERS}))},
    optional=frozenset({"items"}), maps=frozenset({"o.tags", "items[].t"}),
)  # fmt: skip


def test_maps_inside_of_objects_and_lists_are_read_and_written() -> None:
    value = b'{"o":{"id":1,"tags":{"a":1,"b":null}},"items":[{"t":{"c":2}},{"t":null},null]}'
    decoded = INNER.decode([value, b'{"items":[],"o":{"more":[],"tags":{}}}', b"junk"])
    assert set(decoded.bad) == {2}
    assert decoded.frame["o"].to_list()[:2] == [
        {"id": 1, "tags": [{"key": "a", "value": 1}, {"key": "b", "value": None}]},
        {"id": None, "tags": []},
    ]
    assert INNER.encode(decoded.frame[:2]) == [
        value, b'{"o":{"id":null,"tags":{}},"items":[]}'
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{}", "column 'o': missing"),
        (b'{"o":null}', "column 'o': null"),
        (b'{"o":5}', "column 'o': 5 is no object"),
        (b'{"o":{"tags":[]}}', "column 'o.tags': '[]' is no object"),
        (b'{"o":{"tags":{"a":1,"a":1}}}', "column 'o.tags': 'a' stands in it twice"),
        (b'{"o":{"tags":{"a":"x"}}}', "column 'o.tags[0].value': 'x' is no Int64"),
        (b'{"o":{},"items":[{"t":{"a":true}}]}', "column 'items[0].t[0].value': True is no Int64"),
        (b'{"o":{"x":%s%s}}' % (b"[" * 5_000, b"]" * 5_000), ""),
    ],
    ids=range(8),
)
def test_a_bad_map_inside_is_named_and_its_neighbours_stay(value: bytes, reason: str) -> None:
    good = b'{"o":{"id":1,"tags":{}}}'
    decoded = INNER.decode([good, value, good])
    assert set(decoded.bad) == {1}
    assert reason in decoded.bad[1]
    assert decoded.frame["o"].to_list()[::2] == [{"id": 1, "tags": []}] * 2


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([{"key": "a", "value": 1}, {"key": "a", "value": 2}], "column 'o.tags': \"a\" stands in"),
        ([{"key": None, "value": 1}], "column 'o.tags': an entry of the map has no key"),
        ([None], "column 'o.tags': an entry of the map has no key"),
    ],
)
def test_a_map_inside_that_would_be_read_back_as_another_is_not_written(
    entries: Any, why: str
) -> None:
    rows = {"o": [{"id": 1, "tags": []}, {"id": 2, "tags": entries}], "items": [None, None]}
    with pytest.raises(WriteError, match=why):
        INNER.encode(pl.DataFrame(rows, schema=dict(INNER.columns or {})))
