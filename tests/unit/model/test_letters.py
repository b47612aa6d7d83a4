"""A dead letter is known by its headers, whatever else is in them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.connectors.memory.records import StoredMessage
from processor.model.letters import PLACED, REDRIVEN, letter_of, reason_of, sort_of
from processor.operators.aside import origin

NAMES = ["processor.topic", "processor.partition", "processor.offset", "processor.timestamp",
         "processor.stage", "processor.error"]  # fmt: skip


def record(headers=(), topic="in", partition=2, offset=7, at_ms=5):
    return StoredMessage(topic, partition, offset, b"k", b"v", at_ms, headers)


def dead(headers):
    return StoredMessage("dead", 0, 0, b"k", b"v", 9, headers)


def set_aside(message, stage="rides/decode", **more):
    return dead(origin(message, stage, more or {"error": "no"}))


names = st.one_of(st.sampled_from([*NAMES, *PLACED, "trace", ""]), st.text(max_size=5))
headers = st.lists(st.tuples(names, st.none() | st.binary(max_size=5)), max_size=6)


@settings(deadline=None)
@given(
    own=headers,
    partition=st.integers(0, 2**31 - 1),
    offset=st.integers(0, 2**63 - 1),
    at_ms=st.integers(-1, 2**53),
    error=st.text(max_size=20),
)
def test_what_was_set_aside_is_told_by_its_letter(own, partition, offset, at_ms, error):
    letter = letter_of(set_aside(record(own, "in", partition, offset, at_ms), error=error))
    assert letter.kind == "record"
    assert (letter.topic, letter.partition, letter.offset) == ("in", partition, offset)
    assert letter.timestamp_ms == (None if at_ms < 0 else at_ms)
    assert (letter.app, letter.step) == ("rides", "decode")
    assert letter.error.encode() == error.encode(errors="backslashreplace")
    assert [*letter.headers] == [header for header in own if header[0] not in PLACED]


@settings(deadline=None)
@given(headers)
def test_any_headers_are_read_without_an_error(found):
    assert letter_of(dead(found)).kind in {"record", "late", "group", "foreign"}


def test_a_letter_that_was_set_aside_once_more_tells_of_the_last_time():
    first = set_aside(record([("trace", b"t")]), error="first")
    again = letter_of(dead(origin(first, "other/write at x.py:1", {"error": "second"})))
    assert (again.topic, again.offset, again.app, again.error) == ("dead", 0, "other", "second")
    # What it had as a letter is its own now.
    assert [name for name, _ in again.headers] == ["trace", *NAMES]


def test_headers_that_somebody_has_put_behind_are_the_records_own():
    found = origin(record([("a", b"1")]), "rides/decode", {"error": "no"})
    letter = letter_of(dead([*found, ("copied", b"yes")]))
    assert letter.kind == "record"
    assert letter.headers == [("a", b"1"), ("copied", b"yes")]


def test_a_late_record_is_known_though_it_was_a_dead_letter_before():
    first = set_aside(record(), error="first")
    late = origin(first, "rides/watermark", {"event-time": "2024-01-01", "behind": 5.0})
    letter = letter_of(dead(late))
    assert (letter.kind, letter.error, letter.topic) == ("late", "late", "dead")


def test_a_group_has_no_timestamp():
    told = [header for header in set_aside(record()).headers() if header[0] != NAMES[3]]
    letter = letter_of(dead(told))
    assert (letter.kind, letter.reason, letter.timestamp_ms) == ("group", "group", None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("processor.partition", b"-1"), ("processor.partition", None), ("processor.offset", b"x"),
        ("processor.offset", "٣".encode()), ("processor.offset", b"9" * 5000),
        ("processor.stage", b"rides"), ("processor.stage", None),
    ],
)  # fmt: skip
def test_headers_that_make_no_sense_are_not_the_processors(name, value):
    told = [(n, value if n == name else v) for n, v in set_aside(record()).headers()]
    assert letter_of(dead(told)).kind == "foreign"


@pytest.mark.parametrize(("value", "attempts"), [(b"2", 2), (b"x", 0), (None, 0), (b"-1", 0)])
def test_attempts_are_counted_by_a_header_and_one_that_is_no_number_counts_none(value, attempts):
    letter = letter_of(set_aside(record([("a", b"1"), (REDRIVEN, value)])))
    assert letter.attempts == attempts
    assert letter.headers == [("a", b"1")]


def test_the_watermark_of_who_wrote_the_input_does_not_go_with_it():
    letter = letter_of(set_aside(record([("processor.watermark", b"x"), ("a", b"1")])))
    assert letter.headers == [("a", b"1")]


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ("decode", "decode"), ("watermark", "watermark"), ("write at t.py:3", "write"),
        ("select at t.py:3", "step"), ("writer at t.py:3", "step"), ("agg at t.py:3", "step"),
    ],
)  # fmt: skip
def test_reasons_are_few(step, reason):
    assert reason_of(step) == reason


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("column 'fare': 'n/a' is no Float64", "column 'fare': 'it\\'s' is no Float64"),
        ("column 'at': \"it's\" is no time", "column 'at': 'x' is no time"),
        ("column 'p[0].g': 1.5 is no Int64", "column 'p[0].g': -7e3 is no Int64"),
        ("3 fields, 4 expected", "17 fields, 4 expected"),
        ("column 't': 2099-01-01T00:00:00.000000 is more", "column 't': 2098-02-03 is more"),
        ("'" + "a" * 500, "'" + "b" * 900),
    ],
)  # fmt: skip
def test_errors_that_differ_by_values_only_are_of_one_sort(one, other):
    assert sort_of(one) == sort_of(other)


def test_errors_of_two_columns_or_types_are_two_sorts():
    texts = ["column 'a': 'x' is no Int64", "column 'b': 'x' is no Int64",
             "column 'a': 'x' is no Int32"]  # fmt: skip
    assert len({sort_of(text) for text in texts}) == 3


@settings(deadline=None)
@given(st.text(max_size=400))
def test_a_sort_is_short(text):
    assert len(sort_of(text)) <= 160
