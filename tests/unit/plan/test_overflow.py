from __future__ import annotations

import datetime as dt
import re
import sys
from typing import Any

import polars as pl
import polars.selectors as cs
import pytest

from processor import Json, Topology, TopologyError
from processor.plan import overflow
from processor.plan.nodes import Location, Source, expressions
from processor.plan.schema import columns
from tests.unit.plan.methods import same, words
from topologies.spend.totals import spend
from topologies.uber.enrich import enrich
from topologies.uber.popular import popular

M = 2**63 - 1
CELLS: dict[str, tuple[Any, list[Any]]] = {
    "a": (pl.Int64, [M, 1, None]), "n": (pl.Int64, [-M - 1, 2, 3]), "z": (pl.Int64, [0, 1, 2]),
    "i8": (pl.Int8, [127, 1, None]), "m8": (pl.Int8, [-128, 1, 2]), "u": (pl.UInt8, [0, 5, None]),
    "u64": (pl.UInt64, [2**64 - 1, 1, 2]), "f": (pl.Float64, [1e300, 0.5, None]),
    "us": (pl.Int64, [M - 5, 0, None]), "lo": (pl.Int64, [-M, 0, 1]), "by": (pl.String,
    ["99999999999d", "1d", "-2mo"]), "du": (pl.Int64, [M - 5, 0, 5]),
    "low": (pl.Int64, [-M - 1, 0, 1]), "d": (pl.Int32, [2**31 - 1, 0, None]),
    "l": (pl.List(pl.Int64), [[M, M], [1], None]), "l8": (pl.List(pl.Int8), [[127, 127], [1], []]),
    "s": (pl.String, ["3000-01-01", "2000-01-01", "2001-02-03"]),
    "bo": (pl.Boolean, [True, False, None]),
}  # fmt: skip
KINDS = {"us": pl.Datetime("us"), "lo": pl.Datetime("us"), "du": pl.Duration("us"),
         "low": pl.Duration("us"), "d": pl.Date()}  # fmt: skip
FRAME = pl.DataFrame(
    {name: pl.Series(cells, dtype=kind) for name, (kind, cells) in CELLS.items()}
).with_columns(
    *(pl.col(name).cast(kind) for name, kind in KINDS.items()),
    y=pl.lit(dt.datetime(3000, 1, 1)).cast(pl.Datetime("us")),
    st=pl.struct(p="a", q="i8"), ar=pl.concat_arr("a", "a"), pair=pl.concat_list("a", "n"),
)  # fmt: skip
a, n, z, i8, m8, u, u64, us, lo, by, du, low, d, l64, l8, s, bo, y, st_, ar, f = map(
    pl.col, words("a n z i8 m8 u u64 us lo by du low d l l8 s bo y st ar f")
)
one = pl.element()
la = pl.concat_list("a")
SECOND, DAY = dt.timedelta(seconds=1), dt.timedelta(days=1)
NS: Any = {"time_unit": "ns"}

# "X" stands for a row whose value does not fit.
FOUND: list[tuple[pl.Expr, str]] = [
    (a * 2, "X.."), (a + 1, "X.."), (1 + a, "X.."), (n - 1, "X.."), (-n, "X.."), (n.abs(), "X.."),
    (n // -1, "X.."), (n.truncdiv(-1), "X.."), (a**2, "X.."), (a.pow(3), "X.."), (2**i8, "X.."),
    (i8 + 1, "X.."), (i8 * 1000, "X.."), (-m8, "X.."), (m8.abs(), "X.."), (u - 1, "X.."),
    (u64 + 1, "X.."), (a * 2**70, "XX."), (pl.sql_expr("a + 1"), "X.."),
    (a.cast(pl.Int128) * a * 4, "X.."), (a * 2 > 0, "X.."), ((a * 2).cast(pl.Float64) / 3, "X.."),
    (pl.struct(w=a * 2).struct.field("w"), "X.."), (st_.struct.field("p") * 2, "X.."),
    (st_.struct.with_fields(w=pl.field("p") + 1), "X.."),
    (st_.struct.with_fields(w=pl.field("q") + 1), "X.."),
    (pl.sum_horizontal("a", "a"), "X.."),
    (pl.sum_horizontal("i8", "i8", ignore_nulls=False), "X.."),
    (pl.mean_horizontal("a", "a"), "X.."), (pl.mean_horizontal("i8", "i8", "i8"), "X.."),
    (l64.list.sum(), "X.."), (l64 * 2, "X.."), (l64.list.eval(one * 2), "X.."),
    (l64.list.eval(one.sum()), "X.."), (l64.list.eval(one.cum_sum()), "X.."),
    (l64.list.eval(one.cum_prod(reverse=True)), "X.."), (l64.list.agg(one.sum()), "X.."),
    (l64.list.agg(one.product()), "X.."), (l64.list.eval(one.dot(one)), "X.."),
    (l64.list.filter(one * 2 > 0), "X.."), (l8.list.eval(one + 1), "X.."),
    (pl.col("pair").list.diff(), "X.."), (pl.col("pair").list.diff(-1, "drop"), "X.."),
    (pl.col("pair").list.eval(one.diff()), "X.."), (ar * 2, "X.."), (ar.arr.sum(), "X.."),
    (ar.arr.eval(one + 1), "X.."), (ar.arr.eval(one + 1, as_list=True), "X.."),
    (ar.arr.dot(ar), "X.."),
    (pl.when(a > 5).then(a * 2).otherwise(0), "X.."), (pl.when(a > 5).then(a + 1), "X.."),
    (pl.coalesce(a * 2, z), "X.."), ((a > 5) & (a * 2 > 5), "X.."), ((a < 5) | (a * 2 > 5), "X.."),
    (cs.by_name("a", "i8") * 2, "X.."), (pl.col("^a$") * 2, "X.."), (pl.col("a", "z") + 1, "X.."),
    (cs.by_name("a", "u64") + cs.by_name("z", "n"), "..."),
    (pl.sum_horizontal(cs.by_name("a", "z", "u")), "..."),
    (pl.sum_horizontal(cs.by_name("a", "u64", "i8")), "..."),
    (a.map_elements(same, return_dtype=pl.Int64) * 2, "X.."),
    (us + du, "X.."), (us + SECOND, "X.."), (lo - DAY, "X.."), (us - lo, "X.."), (du + du, "X.."),
    (du * 2, "X.."), (du * 2.5, "X.."), (du / 0.1, "X.."), (-low, "X.."), (low.abs(), "X.."),
    (d + DAY, "X.."), (pl.sum_horizontal("du", "du"), "X.."), (us.dt.offset_by("1s"), "X.."),
    (y.dt.offset_by("200000000d"), "XXX"), (y.dt.offset_by("-4w400000000d"), "XXX"),
    (y.dt.offset_by("99999999999999999999d"), "XXX"), (y.dt.offset_by(by), "X.."),
    (y.dt.cast_time_unit("ms").dt.offset_by("1000000000000000s"), "XXX"),
    (y.dt.date().dt.offset_by("1000000000000s"), "XXX"),
    (pl.date(2020, 1, 1) + du, "X.."), (pl.date(2020, 1, 1) - low, "X.."),
    (y.dt.epoch("ns"), "XXX"), (y.dt.timestamp("ns"), "XXX"), (du.dt.total_nanoseconds(), "X.."),
    (pl.from_epoch(a, "s"), "X.."), (pl.from_epoch(a, "ms"), "X.."), (pl.duration(days=a), "X.."),
    (pl.duration(hours=1, seconds=a, time_unit="ms"), "X.."), (lo.dt.truncate("1h"), "X.."),
    (us.dt.round("1h"), "X.."), (s.str.to_datetime("%Y-%m-%d", **NS), "X.."),
    (s.str.strptime(pl.Datetime("ns"), "%Y-%m-%d").dt.year(), "X.."),
    (y.dt.date().dt.combine(pl.time(1), "ns"), "XXX"),
    # What has room, or does not count.
    (a // z, "..."), (n % -1, "..."), (a * 1.5, "..."), (a.cast(pl.Float64) * 2, "..."),
    (a / 2, "..."),
    (i8 + z, "..."), (i8.cast(pl.Int64) * 1000, "..."), (bo + bo, "..."), (s + s, "..."),
    (f * f, "..."),
    (l8.list.sum(), "..."), (pl.when(a < 5).then(a * 2).otherwise(0), "..."),
    (pl.when(a > 5).then(0).when(z > 5).then(n - 1).otherwise(z), "..."),
    (a.fill_null(n * 2), "..."),
    (pl.coalesce("z", a * 2), "..."), ((a < 5) & (a * 2 > 5), "..."),
    ((a > 5) | (a * 2 > 5), "..."),
    ((a * 2 > 5) & (a < 5), "..."), (pl.when(z == 5).then(l64.list.eval(one * 2)), "..."),
    (l64.list.eval(pl.when(one < 5).then(one * 2).otherwise(0)), "..."), (a.sign() + z, "..."),
    (y.dt.epoch("ms"), "..."), (du.dt.total_seconds(), "..."), (us.dt.truncate("1h"), "..."),
    (y.dt.offset_by("1mo"), "..."), (y.dt.offset_by("-3y2mo1w"), "..."), (us - us, "..."),
    (s.str.to_datetime("%Y-%m-%d") + DAY, "..."), (pl.mean_horizontal("a", "f"), "..."),
    (pl.duration(days=z, hours=z), "..."), (pl.duration(days=i8), "..."), (du - du, "..."),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "rows"), FOUND, ids=[str(e)[:60] for e, _ in FOUND])
@pytest.mark.filterwarnings("ignore::polars.exceptions.PolarsInefficientMapWarning")
def test_the_rows_whose_values_do_not_fit_are_found_and_no_others(
    expression: pl.Expr, rows: str
) -> None:
    found = overflow.checks(Location("t.py", 1), [expression], FRAME.schema)
    marks = [FRAME.with_columns(mark=check.rows)["mark"].to_list() for check in found]
    assert "".join("X" if any(of) else "." for of in zip([False] * 3, *marks, strict=True)) == rows


@pytest.mark.parametrize("definition", [enrich, popular, spend])
def test_the_topologies_that_come_with_it_have_nothing_to_be_looked_at(definition: Any) -> None:
    plan = definition.build().plan()
    kinds = columns(plan)
    for node in plan.nodes():
        if not isinstance(node, Source):
            assert overflow.checks(node.at, expressions(node), kinds[id(node.parent)]) == []


@pytest.mark.parametrize(
    ("expression", "remedy"),
    [
        (st_ + st_, "one by one"),
        (pl.col("ll") * 2, "one by one"),
        (a.pipe_with_dtype(lambda e, _: e * 2), "use pipe"),
        (s.map_elements(str.upper, return_dtype=pl.String).str.to_datetime("%Y", **NS), '"us"'),
        (la.list.eval(one.rolling_sum(2)), "Float64"),
        (la.list.eval(one.rolling_sum(2)).list.get(1) + 1, "Float64"),
        (la.list.eval(one.rolling_sum_by(one, "2i")), "Float64"),
        (la.list.to_array(1).arr.eval(one.rolling_sum(1)), "Float64"),
        (la.list.eval(one.cumulative_eval(one.sum())), "Float64"),
        (la.list.eval(one.sum().over(one % 2)), "Float64"),
        (la.list.eval(one.sum().rolling(one, period="2i")), "Float64"),
        (la.list.eval(pl.fold(pl.lit(0, pl.Int64), lambda p, q: p + q, [one, one])), "Float64"),
        (la.list.eval(pl.reduce(lambda p, q: p + q, [one, one])), "Float64"),
    ],
)
@pytest.mark.filterwarnings("ignore::polars.exceptions.PolarsInefficientMapWarning")
def test_what_cannot_be_seen_into_is_refused_at_its_line(
    monkeypatch: pytest.MonkeyPatch, expression: pl.Expr, remedy: str
) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)  # it comes with the tests only
    topology = Topology("app")
    rows = topology.read.kafka("in", format=Json({"a": pl.Int64, "s": pl.String}))
    rows = rows.with_columns(
        st=pl.struct("a"), ll=pl.concat_list(pl.concat_list("a")).list.eval(pl.concat_list(one))
    )
    rows.select(y=expression).write.kafka("out")
    with pytest.raises(TopologyError) as error:
        topology.plan()
    assert re.match(re.escape(__file__) + r":\d+: whether the values of", error.value.message)
    assert remedy in error.value.remedy


@pytest.mark.parametrize(
    "expression",
    [one.cast(pl.Float64).rolling_sum(2), one.rolling_mean(2), one.cumulative_eval(one.max()),
     one.max().over(one % 2), one.cumulative_eval(one.cast(pl.Float64).sum())],
)  # fmt: skip
def test_what_has_room_in_parts_of_a_list_is_taken(expression: pl.Expr) -> None:
    checks = overflow.checks(Location("t.py", 1), [l64.list.eval(expression)], FRAME.schema)
    marks = [FRAME.select(check.rows).to_series().any() for check in checks]
    assert not any(marks)
