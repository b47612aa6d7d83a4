from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from processor import Csv, Json, Parquet, Text, Topology
from processor.testing import TestDriver


def written(folder: Path, form: Any, *records: Any, columns: Any = None) -> TestDriver:
    app = Topology("app")
    read = Json(columns or {"a": pl.String, "n": pl.Int64}, optional={"a"})
    rows = app.read.kafka("in", format=read)
    (rows.select("a") if isinstance(form, Text) else rows).write.files(folder, format=form)
    driver = TestDriver(app, partitions=2)
    for number, record in enumerate(records):
        driver.feed([record], partition=number % 2)
    driver.run()
    return driver


ROWS = [{"a": "x", "n": 1}, {"a": "é,\"'", "n": -2}, {"a": "z", "n": 3}]


@pytest.mark.parametrize(
    ("form", "ending"),
    [
        (Json(), "json"), (Parquet(), "parquet"), (Parquet(compression="uncompressed"), "parquet"),
        (Csv({"a": pl.String, "n": pl.Int64}), "csv"),
        (Csv({"a": pl.String, "n": pl.Int64}, header=True, separator=";"), "csv"),
        (Text(), "txt"),
    ],
)  # fmt: skip
def test_rows_come_back_from_files_of_each_format(tmp_path: Path, form: Any, ending: str) -> None:
    driver = written(tmp_path / "out", form, *ROWS)
    assert len([*(tmp_path / "out").glob(f"*.{ending}")]) == 2
    if isinstance(form, Text):
        lines = [file.read_text() for file in sorted((tmp_path / "out").glob("*.txt"))]
        assert lines == ["x\nz\n", "é,\"'\n"]
        return
    told = sorted(driver.files(tmp_path / "out"), key=lambda row: row["n"])
    assert told == sorted(ROWS, key=lambda row: row["n"])


def test_a_header_is_the_first_line_of_each_file(tmp_path: Path) -> None:
    written(tmp_path, Csv({"a": pl.String, "n": pl.Int64}, header=True), *ROWS)
    assert {file.read_text().splitlines()[0] for file in tmp_path.glob("*.csv")} == {"a,n"}
    assert pl.read_csv(tmp_path / "*.csv").height == 3


def test_a_row_that_is_no_line_is_a_dead_letter_and_the_others_are_written(tmp_path: Path) -> None:
    records = [{"a": "x", "n": 1}, {"a": "b\nc", "n": 2}, {"a": None, "n": 3}, {"a": "y", "n": 4}]
    driver = written(tmp_path, Text(), *records)
    assert sorted("".join(f.read_text() for f in tmp_path.glob("*.txt")).split()) == ["x", "y"]
    assert len(driver.dead_letters()) == 2
    assert sum(report.dead_lettered for report in driver.reports) == 2


def test_a_null_that_no_reader_of_the_format_takes_is_a_dead_letter(tmp_path: Path) -> None:
    form = Csv({"a": pl.String, "n": pl.Int64})
    driver = written(tmp_path, form, {"a": None, "n": 3}, {"a": "y", "n": 4})
    assert driver.files(tmp_path) == [{"a": "y", "n": 4}]
    assert len(driver.dead_letters()) == 1


def test_types_of_columns_are_kept_by_parquet(tmp_path: Path) -> None:
    columns = {"a": pl.String, "at": pl.Datetime("us", "UTC"), "d": pl.Decimal(10, 2),
               "l": pl.List(pl.Int64), "s": pl.Struct({"x": pl.Float64})}  # fmt: skip
    record = {"a": "x", "at": "2024-01-01T00:00:00Z", "d": "1.25", "l": [1, 2], "s": {"x": 0.5}}
    written(tmp_path, Parquet(), record, columns=columns)
    assert dict(pl.read_parquet(tmp_path / "*.parquet").schema) == columns
