"""What JSON does by choice, against a reader of one record at a time."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from processor import Json
from tests.property.profile import QUICK

names = st.sampled_from(["a", "b", "x", "é", "a\n", 'q"', "[", "{"])
scalars = st.one_of(
    st.integers(-9, 9).map(str), st.sampled_from(["null", "true", "1.10", "1e400", '"a:1,"']),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4).map(json.dumps),
)  # fmt: skip
spaces = st.sampled_from(["", " ", "\n", "\t "])


def objects(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """JSON objects as text, whose members may have one name."""
    member = st.builds(
        lambda name, ascii_, a, b, value: f"{json.dumps(name, ensure_ascii=ascii_)}{a}:{b}{value}",
        names, st.booleans(), spaces, spaces, inner,
    )  # fmt: skip
    return st.lists(member, max_size=4).map(lambda found: f"{{{','.join(found)}}}")


values = st.recursive(
    scalars,
    lambda inner: (
        objects(inner) | st.lists(inner, max_size=3).map(lambda some: f"[{', '.join(some)}]")
    ),
    max_leaves=10,
)


class Twice(ValueError):  # noqa: N818 - it says what is found
    """Two members have one name."""


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise Twice
    return dict(pairs)


def is_twice(text: str) -> bool:
    try:
        json.loads(text, object_pairs_hook=once)
    except Twice:
        return True
    return False


@QUICK
@given(st.lists(objects(values), min_size=1, max_size=5))
def test_a_record_is_bad_exactly_when_some_object_has_two_members_of_one_name(
    drawn: list[str],
) -> None:
    form = Json({"x": pl.String}, optional=frozenset({"x"}), duplicates="refuse")
    decoded = form.decode([text.encode() for text in drawn])
    assert set(decoded.bad) == {row for row, text in enumerate(drawn) if is_twice(text)}


@QUICK
@given(st.lists(objects(values), min_size=1, max_size=5))
def test_what_is_missing_and_what_is_left_is_what_a_reader_of_pairs_says(drawn: list[str]) -> None:
    form = Json(
        {"x": pl.String, "no_x": pl.Boolean, "rest": pl.String},
        optional=frozenset({"x"}), missing={"x": "no_x"}, rest="rest",
    )  # fmt: skip
    decoded = form.decode([text.encode() for text in drawn])
    assert decoded.bad == {}
    for text, (_, missing, rest) in zip(drawn, decoded.frame.rows(), strict=True):
        pairs = json.loads(text, object_pairs_hook=list)
        others = [pair for pair in pairs if pair[0] != "x"]
        assert missing == (len(others) == len(pairs))
        assert json.loads(rest, object_pairs_hook=list) == others
    again = form.decode(form.encode(decoded.frame))
    assert again.bad == {}
    assert again.frame.equals(decoded.frame)


numbers = st.sampled_from(["1", "2.5", "NaN", "Infinity", "-Infinity", "null"])
texts = st.sampled_from(['"NaN"', '"a"', '"\\"Infinity"', '"-Infinity,NaN"', '"\\\\"'])


@QUICK
@given(st.lists(st.tuples(numbers, texts, st.lists(numbers, max_size=2)), min_size=1, max_size=5),
       st.booleans())  # fmt: skip
def test_a_number_that_is_not_finite_is_null_and_text_is_left_alone(
    drawn: list[tuple[str, str, list[str]]], bad: bool
) -> None:
    form = Json(
        {"x": pl.Float64, "s": pl.String, "l": pl.List(pl.Float64)},
        optional=frozenset({"x"}), nan="null",
    )  # fmt: skip
    records = [f'{{"s":{s},"x":{x},"l":[{",".join(some)}]}}'.encode() for x, s, some in drawn]
    decoded = form.decode(records + [b'{"x":NaN'] * bad)
    assert set(decoded.bad) == ({len(drawn)} if bad else set())

    def number(text: str) -> float | None:
        return float(text) if text[0].isdigit() else None

    for (x, s, some), row in zip(drawn, decoded.frame.rows(), strict=False):
        assert row == (number(x), json.loads(s), [number(each) for each in some])
