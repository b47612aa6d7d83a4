"""A column that cannot be written, or be a key, is refused when the plan is built."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from processor import Bytes, Csv, Json, Text, Topology, TopologyError
from processor.formats.base import Decoded

READ = Json({"s": pl.String, "n": pl.Int64, "x": pl.Float64, "dt": pl.Datetime("us")})
COLUMNS: dict[str, Any] = {
    "list": pl.concat_list("n", "n"),
    "texts": pl.col("s").str.split(","),
    "struct": pl.struct("n", "s"),
    "deep": pl.struct(pl.struct(pl.col("s").cast(pl.Binary)).alias("b")),
    "binary": pl.col("s").cast(pl.Binary),
    "binaries": pl.concat_list(pl.col("s").cast(pl.Binary)),
    "array": pl.struct(a=pl.concat_list(pl.col("s").cast(pl.Binary)).list.to_array(1)),
    "duration": pl.col("dt") - pl.col("dt"),
    "null": pl.lit(None),
    "decimal": pl.col("n").cast(pl.Decimal(10, 2)),
    "date": pl.col("dt").dt.date(),
    "time": pl.col("dt").dt.time(),
    "zoned": pl.col("dt").dt.replace_time_zone("Europe/Berlin"),
    "category": pl.col("s").cast(pl.Categorical),
    "choice": pl.lit("a").cast(pl.Enum(["a"])),
    "bool": pl.col("n") > 1,
    "int": pl.col("n").cast(pl.Int128),
}


def plan(columns: pl.Expr, **sink: Any) -> Topology:
    app = Topology("app")
    rows = app.read.kafka("in", format=READ).select(value=columns)
    rows.write.kafka("out", **sink)
    return app


def refused(app: Topology) -> TopologyError:
    with pytest.raises(TopologyError) as caught:
        app.plan()
    assert caught.value.message.startswith(f"{__file__}:")
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize(
    ("column", "format_"),
    [
        ("array", Json()),
        *((c, Csv({"value": pl.String})) for c in ("list", "texts", "struct", "binary",
                                                   "duration")),
        *((c, Bytes()) for c in ("list", "null", "bool")),
        *((c, Text()) for c in ("list", "texts", "duration")),
    ],
)  # fmt: skip
def test_a_column_that_the_format_cannot_write_is_refused_at_the_sink(column, format_):
    assert "out" in refused(plan(COLUMNS[column], format=format_)).message


@pytest.mark.parametrize(
    "column", ["list", "struct", "decimal", "date", "time", "zoned", "category", "choice", "bool",
               "int", "duration", "deep", "binary", "binaries"],
)  # fmt: skip
def test_what_json_can_write_passes(column):
    plan(COLUMNS[column]).plan()


@pytest.mark.parametrize(
    "column", ["list", "texts", "struct", "deep", "duration", "null"]
)  # fmt: skip
def test_a_column_that_can_be_no_key_is_refused_at_the_sink(column):
    app = Topology("app")
    rows = app.read.kafka("in", format=READ).select("n", k=COLUMNS[column])
    rows.write.kafka("out", key="k")
    error = refused(app)
    assert "key='k' is " in error.message
    assert "concat_str" in error.remedy


@pytest.mark.parametrize(
    "column", ["decimal", "date", "time", "zoned", "category", "choice", "bool", "int", "binary"]
)
def test_what_has_a_text_of_its_own_can_be_a_key(column):
    app = Topology("app")
    app.read.kafka("in", format=READ).select("n", k=COLUMNS[column]).write.kafka("out", key="k")
    app.plan()


class Moody:
    columns = None

    def decode(self, values):
        return Decoded(pl.DataFrame())

    def encode(self, frame):
        if frame["n"].null_count():
            return [b"nothing"]
        raise RuntimeError("no numbers today\nnor tomorrow")

    def describe(self):
        return "moody(1)"


def test_a_format_that_takes_null_only_is_found_and_its_column_named():
    app = Topology("app")
    app.read.kafka("in", format=READ).select("n").write.kafka("out", format=Moody())
    message = refused(app).message
    assert message.endswith(
        "column 'n', which is Int64, cannot be written to 'out' as moody: no numbers today"
    )


def test_no_panic_of_the_column_engine_is_shown(capfd):
    refused(plan(COLUMNS["array"]))
    assert capfd.readouterr().err == ""
