"""The code that is printed for a sample reads the whole of it, without a dead letter."""

from __future__ import annotations

import csv
import io
import json
from datetime import date, datetime, time
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from processor.app.sketch import Record, sketch
from processor.testing import TestDriver
from tests.property.profile import QUICK

names = st.sampled_from(["id", "at", "a b", "é", "n", "", "__x", "key", 'q"', "class", "a\nb"])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
leaves = (
    st.none() | st.booleans() | st.integers() | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False) | texts
    | st.datetimes().map(datetime.isoformat) | st.dates().map(date.isoformat)
    | st.times().map(time.isoformat) | st.integers(10**12, 2 * 10**12)
    | st.sampled_from(["007", "1.10", "true", "2014-08-01T00:03:00Z", "0000-01-01", "9999-12-31",
                       "2014-08-01 00:03:00+02:00", "24:00", "8/1/2014 0:03:00", "null"])
)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip


@st.composite
def alike(draw: st.DrawFn) -> list[bytes]:
    """Objects whose members are of a sort each, mostly: some are missing, null, or of another."""
    kinds = draw(st.dictionaries(names, st.sampled_from([
        st.integers(-5, 2**40), st.floats(-1e6, 1e6), texts, st.booleans(),
        st.datetimes().map(datetime.isoformat), st.dates().map(date.isoformat),
        st.integers(10**12, 2 * 10**12), st.lists(st.integers(0, 9), max_size=3),
        st.fixed_dictionaries({}, optional={"a": st.dates().map(date.isoformat), "b": texts}),
        st.lists(st.fixed_dictionaries({"a": st.none() | st.integers(0, 9)}), max_size=2),
    ]), min_size=1, max_size=5))  # fmt: skip
    odd = st.integers(0, 9).flatmap(lambda n: values if n == 0 else st.nothing())
    record = st.fixed_dictionaries({}, optional={n: k | st.none() | odd for n, k in kinds.items()})
    rows = draw(st.lists(record, min_size=1, max_size=6))
    return [json.dumps(row, ensure_ascii=draw(st.booleans())).encode() for row in rows]


@st.composite
def lines(draw: st.DrawFn) -> list[bytes]:
    """Lines of fields."""
    kinds = draw(st.lists(st.sampled_from([
        st.integers(-5, 2**70).map(str), st.floats(-1e6, 1e6).map(str), st.booleans().map(str),
        st.datetimes().map(str), st.dates().map(str), texts, st.sampled_from(["true", "false"]),
        st.integers(10**12, 2 * 10**12).map(str), st.sampled_from(["007", "1", "-0", "1e5"]),
    ]), min_size=1, max_size=4))  # fmt: skip
    found = []
    for row in draw(st.lists(st.tuples(*kinds), min_size=1, max_size=6)):
        out = io.StringIO()
        csv.writer(out, delimiter=draw(st.sampled_from(",,,;")), lineterminator="").writerow(row)
        found.append(out.getvalue().encode())
    return found


mixed = st.lists(
    st.dictionaries(names, values, max_size=4).map(json.dumps).map(str.encode)
    | texts.map(str.encode) | st.sampled_from([b"{", b"[1]", b"{}", b'{"a":1,"a":"x"}', b"a,b"]),
    min_size=1, max_size=4,
)  # fmt: skip
keys = (
    st.just(None) | texts.map(str.encode)
    | st.integers(0, 3).map(lambda n: b'{"id":%d}' % n) | st.sampled_from([b"", b"1", b"{}"])
)  # fmt: skip


@st.composite
def samples(draw: st.DrawFn) -> list[Record]:
    found = draw(alike() | lines() | mixed)
    one = draw(
        st.sampled_from([keys, st.just(None), st.integers(0, 3).map(lambda n: b'{"id":%d}' % n)])
    )
    return [(draw(one), value) for value in found if value]


def dead_letters(code: str, records: list[Record]) -> list[Any]:
    made: dict[str, Any] = {}
    exec(compile(code, "inferred.py", "exec", dont_inherit=True), made)  # noqa: S102 - our own text
    driver = TestDriver(made["topology"])
    for key, value in records:
        driver.log.feed("in", [value], None if key is None else [key])
    driver.run()
    return [(m.value(), dict(m.headers())["processor.error"]) for m in driver.dead_letters()]


@QUICK
@example([(None, b'{"a":1.5}'), (None, b'{"a":99999999999999999999}')])
@example([(b"", b'{"a":1}')])
@example([(b'{"a":1}', b'{"a":1,"key_a":2}')])
@given(samples().filter(bool))
def test_the_code_reads_the_sample_without_a_dead_letter(records: list[Record]) -> None:
    code = sketch("in", records)
    assert dead_letters(code, records) == [], code
