"""What a format writes, it reads back: a null where it has none is set aside."""

from __future__ import annotations

import json
from datetime import datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor import Csv, Json, Text, Topology
from processor import functions as F
from processor.errors import RecordError
from processor.testing import TestDriver

FORM = Json({"id": pl.String, "n": pl.Int64, "x": pl.Float64}, optional=frozenset({"id", "n", "x"}))
CLEAN = {"id": pl.String, "n": pl.Int64}


def driven(form, *, on_error="dead_letter", key=None, columns=("id", "n")) -> TestDriver:
    topology = Topology("orders")
    rows = topology.read.kafka("in", format=FORM, on_error=on_error)
    rows.select(*columns).write.kafka("clean", format=form, key=key)
    return TestDriver(topology)


def fed(driver: TestDriver, *rows: dict) -> TestDriver:
    driver.feed([json.dumps(row) for row in rows])
    driver.run()
    return driver


def reasons(driver: TestDriver) -> list[str]:
    return [dict(m.headers())["processor.error"].decode() for m in driver.dead_letters()]


@pytest.mark.parametrize("key", [None, "id"])
@pytest.mark.parametrize("form", [Json(CLEAN), Csv(CLEAN)])
def test_a_null_in_a_required_column_is_a_dead_letter_and_its_neighbours_go_on(form, key):
    driver = fed(
        driven(form, key=key), {"id": "a", "n": 1}, {"n": 2}, {"id": "c"}, {"id": "d", "n": 4}
    )
    assert form.decode(driver.values("clean")).frame.rows() == [("a", 1), ("d", 4)]
    assert [m.value() for m in driver.dead_letters()] == [b'{"n": 2}', b'{"id": "c"}']
    first, second = reasons(driver)
    assert "column 'id' is null" in first
    assert "'clean'" in first
    assert "column 'n' is null" in second
    stage = dict(driver.dead_letters()[0].headers())["processor.stage"].decode()
    assert stage.startswith(f"orders/write at {__file__}:")


@pytest.mark.parametrize("form", [Json(), Json(CLEAN, optional=frozenset(CLEAN))])
def test_a_format_that_may_have_a_null_writes_it(form):
    driver = fed(driven(form), {"n": 2}, {"id": "c"})
    assert driver.json("clean") == [{"id": None, "n": 2}, {"id": "c", "n": None}]
    assert driver.dead_letters() == []


@pytest.mark.parametrize("kind", [pl.String, pl.Categorical])
def test_text_without_anything_is_set_aside_as_no_reader_takes_it(kind):
    topology = Topology("orders")
    rows = topology.read.kafka("in", format=FORM)
    rows.select(pl.col("id").cast(kind)).write.kafka("clean", format=Text())
    driver = fed(TestDriver(topology), {"n": 1}, {"id": ""}, {"id": "a"})
    assert driver.values("clean") == [b"a"]
    assert ["null" in reasons(driver)[0], "empty text" in reasons(driver)[1]] == [True, True]


def test_text_has_numbers_that_are_none():
    topology = Topology("orders")
    topology.read.kafka("in", format=FORM).select(pl.col("x") / 0).write.kafka("y", format=Text())
    assert fed(TestDriver(topology), {"x": 1.0}, {"x": 0.0}).values("y") == [b"inf", b"NaN"]


@pytest.mark.parametrize(("cell", "why"), [("", "empty text"), ("a\0b", "NUL")])
def test_a_text_that_csv_cannot_read_is_set_aside(cell, why):
    rows = [{"id": "a", "n": 1}, {"id": cell, "n": 2}, {"id": " ", "n": 3}]
    driver = fed(driven(Csv(CLEAN)), *rows)
    assert driver.values("clean") == [b"a,1", b" ,3"]
    (reason,) = reasons(driver)
    assert why in reason


def test_json_has_every_text():
    rows = [{"id": "", "n": 1}, {"id": "a\0b", "n": 2}]
    assert fed(driven(Json(CLEAN)), *rows).json("clean") == rows


def test_a_column_that_is_not_in_the_value_may_be_null():
    driver = fed(driven(Json({"n": pl.Int64}), key="id"), {"n": 2})
    assert driver.json("clean") == [{"n": 2}]


def test_a_number_that_is_none_is_set_aside_too():
    topology = Topology("orders")
    rows = topology.read.kafka("in", format=FORM)
    rows.select(y=pl.col("x") / pl.col("n")).write.kafka("y", format=Json({"y": pl.Float64}))
    driver = fed(TestDriver(topology), {"x": 1.0, "n": 2}, {"x": 0.0, "n": 0}, {"x": 1.0, "n": 0})
    assert driver.json("y") == [{"y": 0.5}]
    assert ["nan" in reasons(driver)[0], "inf" in reasons(driver)[1]] == [True, True]


def test_a_sink_that_is_told_to_fail_stops_with_place_and_cause():
    with pytest.raises(RecordError, match=r"in\[0\] offset 1: step .*column 'id' is null"):
        fed(driven(Json(CLEAN), on_error="fail"), {"id": "a", "n": 1}, {"n": 1})


def test_a_group_with_a_null_is_set_aside_and_others_are_published():
    topology = Topology("means")
    rows = topology.read.kafka(
        "in", format=Json({"id": pl.String, "x": pl.Float64}, optional=frozenset({"x"})),
        partitioned_by="id",
    )  # fmt: skip
    form = Json({"id": pl.String, "m": pl.Float64})
    means = rows.group_by("id").agg(m=F.mean("x"))
    means.write.kafka("out", format=form, key="id", mode="update")
    driver = fed(TestDriver(topology), {"id": "a", "x": 1.0}, {"id": "b"})
    assert driver.json("out") == [{"id": "a", "m": 1.0}]
    (letter,) = driver.dead_letters()
    assert json.loads(letter.value()) == {"id": "b", "m": None}
    fed(driver, {"id": "b", "x": 3.0})
    assert driver.json("out")[-1] == {"id": "b", "m": 3.0}


_CELLS = {
    pl.String: st.sampled_from(["a", "b,c", '"', "", "\0", " "]),
    pl.Int64: st.integers(-5, 5),
    pl.Float64: st.sampled_from([0.5, -1.0, float("nan"), float("inf")]),
    pl.Boolean: st.booleans(),
    pl.Datetime("us"): st.just(datetime(2014, 8, 1)),
}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_is_written_is_read_back_by_the_same_format(data):
    kinds = data.draw(st.lists(st.sampled_from(list(_CELLS)), min_size=1, max_size=4))
    names = [f"c{number}" for number in range(len(kinds))]
    schema = dict(zip(names, kinds, strict=True))
    cells = [st.none() | _CELLS[kind] for kind in kinds]
    rows = data.draw(st.lists(st.tuples(*cells), min_size=1, max_size=6))
    form = data.draw(st.sampled_from([Json, Csv]))(schema)
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    topology = Topology("a")
    made = topology.read.kafka("in", format=Json({"row": pl.Int64})).with_columns(
        **{name: _picked(frame[name]) for name in names}
    )
    made.select(*names).write.kafka("out", format=form)
    driver = fed(TestDriver(topology), *({"row": number} for number in range(len(rows))))
    read = form.decode(driver.values("out"))
    assert read.bad == {}
    assert len(driver.values("out")) + len(driver.dead_letters()) == len(rows)
    texts = {"", "\0"} if isinstance(form, Csv) else set()
    whole = [row for row in rows if all(_is(cell) and cell not in texts for cell in row)]
    assert read.frame.rows() == whole


def _picked(column: pl.Series) -> pl.Expr:
    whens = pl.lit(None, column.dtype)
    for number, cell in enumerate(column.to_list()):
        whens = pl.when(pl.col("row") == number).then(pl.lit(cell, column.dtype)).otherwise(whens)
    return whens


def _is(cell: object) -> bool:
    return cell is not None and not (isinstance(cell, float) and abs(cell) not in (0.5, 1.0))
