"""What the guide says of values, in words and not by an example: a new Polars may differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from processor import Json, Topology, TopologyError
from processor import functions as F
from processor.errors import StateMismatchError
from processor.testing import TestDriver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from processor import Frame

WHOLE = pl.col("o").str.json_decode(pl.Struct({"v": pl.Int64})).struct.field("v")
CAST = pl.col("o").str.json_decode(pl.Struct({"v": pl.String})).struct.field("v").cast(pl.Int64)
PATH = pl.col("o").str.json_path_match("$.v")


def computed(expression: pl.Expr, *records: str) -> tuple[list[Any], int]:
    """The values, and how many dead letters there are."""
    topology = Topology("t")
    rows = topology.read.kafka("in", format=Json({"o": pl.String}))
    rows.select(v=expression).write.kafka("out")
    driver = TestDriver(topology)
    driver.feed(records)
    driver.run()
    return [row["v"] for row in driver.json("out")], len(driver.dead_letters())


@pytest.mark.parametrize(
    ("given", "decoded"), [("1.5", 1), ("true", 1), ("99999999999999999999", None)]
)
def test_numbers_that_do_not_fit_are_taken_by_json_decode_and_refused_by_a_cast(given, decoded):
    record = f'{{"o":{{"v":{given}}}}}'
    assert computed(WHOLE, record) == ([decoded], 0)
    assert computed(CAST, record) == ([], 1)


def test_a_number_in_quotes_passes_the_cast_and_so_does_a_member_that_is_not_there():
    assert computed(CAST, '{"o":{"v":"7"}}', '{"o":{}}') == ([7, None], 0)
    assert computed(CAST, '{"o":"no JSON"}', '{"o":[1]}') == ([], 2)


def test_a_path_is_text_and_null_where_the_text_is_no_json():
    numbers = ['{"o":{"v":1.10}}', '{"o":{"v":1E5}}', '{"o":{"v":12345678901234567890123}}']
    assert computed(PATH, *numbers) == (["1.1", "100000.0", "1.2345678901234568e+22"], 0)
    assert computed(PATH, '{"o":"no JSON"}', '{"o":{}}') == ([None, None], 0)


def test_a_decimal_is_rounded_to_even_and_written_as_text():
    money = pl.col("o").cast(pl.Decimal(10, 2))
    records = ['{"o":"9.9"}', '{"o":"1.005"}', '{"o":"1.015"}']
    assert computed(money, *records) == (["9.90", "1.00", "1.02"], 0)
    read = Json({"o": pl.Decimal(10, 2)}).decode([record.encode() for record in records])
    assert str(read.frame["o"][0]) == "9.90"
    assert read.bad.keys() == {1, 2}


def test_the_sum_of_an_empty_list_of_fractions_is_0_as_the_guide_writes_it():
    of = pl.col("o").str.json_decode(pl.List(pl.Float64))
    total = pl.when(of.list.len() > 0).then(of.list.sum()).otherwise(0.0)
    values, _ = computed(total, '{"o":[]}', '{"o":[2.5]}')
    assert [str(value) for value in values] == ["0.0", "2.5"]


def totals(of: Callable[[Frame], Frame], kind: Any = pl.Int64) -> Topology:
    topology = Topology("t")
    form = Json({"c": pl.String, "a": kind, "at": pl.Datetime("us", "Europe/Berlin")},
                optional=frozenset({"a"}))  # fmt: skip
    rows = topology.read.kafka("in", format=form, event_time="at", partitioned_by="c")
    of(rows).write.kafka("out", key="c", mode="update")
    return topology


def test_a_sum_of_nulls_is_0_and_the_others_are_null():
    aggregates = {"s": F.sum("a"), "n": F.count("a"), "records": F.count(),
                  "low": F.min("a"), "high": F.max("a"), "mean": F.mean("a")}  # fmt: skip
    null = pl.when(pl.col("n") > 0).then(pl.col("s"))
    driver = TestDriver(totals(lambda r: r.group_by("c").agg(**aggregates).with_columns(null=null)))
    driver.feed([{"c": "x", "at": "2026-07-01T00:30:00+02:00"}], key="x")
    driver.run()
    wanted = {"s": 0, "n": 0, "records": 1, "low": None, "high": None, "mean": None, "null": None}
    assert driver.json("out") == [{"c": "x", **wanted}]


def test_windows_over_a_zone_are_days_of_utc():
    driver = TestDriver(
        totals(lambda r: r.with_watermark("1 day").group_by(F.window("at", "1 day"), "c")
               .agg(n=F.count()))
    )  # fmt: skip
    driver.feed([{"c": "x", "at": "2026-07-01T00:30:00+02:00"}], key="x")
    driver.run()
    (row,) = driver.json("out")
    assert (row["window_start"], row["window_end"]) == (
        "2026-06-30T00:00:00", "2026-07-01T00:00:00",
    )  # fmt: skip


def taken_over(kind: Any, old: Mapping[str, Any], new: Mapping[str, Any]) -> Any:
    """The last row of a topology whose aggregates were ``old``, and are ``new``."""
    driver = None
    for aggregates in (old, new):
        topology = totals(lambda r, have=aggregates: r.group_by("c").agg(**have), kind)
        kept = {} if driver is None else {"log": driver.log, "store": driver.store}
        driver = TestDriver(topology, **kept)
        driver.feed([{"c": "x", "a": 4, "at": "2026-07-01T00:30:00+02:00"}], key="x")
        driver.run()
    return driver.json("out")[-1]


SUM, VALUES, RECORDS, MEAN = F.sum("a"), F.count("a"), F.count(), F.mean("a")


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        (pl.Float64, {"s": SUM, "n": VALUES}, {"m": MEAN}),
        (pl.Float32, {"s": SUM, "n": VALUES}, {"m": MEAN}),
        (pl.Int64, {"s": SUM, "n": VALUES}, {"m": MEAN}),
        (pl.Int64, {"m": MEAN}, {"m": MEAN, "other": MEAN, "n": VALUES}),
        (pl.Float64, {"m": MEAN}, {"m": MEAN, "s": SUM, "n": VALUES}),
    ],
)
def test_an_added_mean_is_made_of_a_sum_and_a_count_of_values(kind, old, new):
    assert taken_over(kind, old, new)["m"] == 4.0


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        (pl.Float64, {"s": SUM, "n": RECORDS}, {"s": SUM, "n": RECORDS, "m": MEAN}),
        (pl.Int64, {"m": MEAN}, {"m": MEAN, "s": SUM}),
    ],
)
def test_an_added_aggregate_without_all_its_parts_is_refused(kind, old, new):
    with pytest.raises(StateMismatchError, match="has no history"):
        taken_over(kind, old, new)


def test_update_and_append_of_one_aggregate_are_refused():
    topology = Topology("t")
    form = Json({"c": pl.String, "at": pl.Datetime("us")})
    rows = topology.read.kafka("in", format=form, event_time="at", partitioned_by="c")
    counts = rows.with_watermark("1 h").group_by(F.window("at", "1 h"), "c").agg(n=F.count())
    counts.write.kafka("last", key="c", mode="update")
    counts.write.kafka("closed", mode="append")
    with pytest.raises(TopologyError, match="different output modes"):
        topology.plan()
