"""What customers spend by day, over the real files, against a plain group_by."""

from __future__ import annotations

import polars as pl
import pytest

from processor import collect
from processor.testing import TestDriver
from tests.golden.data import RETAIL
from topologies.retail.purchases import purchases


@pytest.fixture
def folder():
    if not RETAIL.is_dir():
        pytest.skip(f"no data set at {RETAIL}")
    return RETAIL


def plain(folder):
    """The same with nothing of the processor."""
    sales = pl.concat(
        pl.read_csv(path, schema_overrides={"InvoiceNo": pl.String, "StockCode": pl.String})
        for path in sorted(folder.glob("*.csv"))
    )
    days = sales.with_columns(
        customer=pl.col("CustomerID").cast(pl.Int64),
        window_start=pl.col("InvoiceDate").str.to_datetime("%Y-%m-%d %H:%M:%S").dt.truncate("1d"),
        cost=pl.col("UnitPrice") * pl.col("Quantity"),
    )
    return days.group_by("customer", "window_start").agg(spent=pl.col("cost").sum())


def compared(rows, folder):
    expected = plain(folder)
    both = rows.join(expected, ["customer", "window_start"], how="full", nulls_equal=True)
    assert both.height == rows.height == expected.height > 1_000
    assert (both["spent"] - both["spent_right"]).abs().max() < 1e-6


def test_the_days_of_customers_are_those_of_a_plain_group_by(folder):
    rows = collect(purchases.build({"input": str(folder)}))
    compared(rows, folder)


def test_each_batch_of_results_has_all_of_them_and_the_last_is_right(folder, tmp_path):
    names = [path.name for path in sorted(folder.glob("*.csv"))][:3]
    for name in names:
        (tmp_path / name).symlink_to(folder / name)
    driver = TestDriver(purchases, {"input": str(tmp_path), "files": "1"})
    driver.run()
    feeds = [r for r in driver.reports if r.topology.endswith("feed-sales")]
    assert len(feeds) == 3
    last = pl.DataFrame(driver.json("spent-by-customer"), infer_schema_length=None)
    last = last.unique(["customer", "window_start"], keep="last")
    when = pl.col("window_start").str.to_datetime(time_zone="UTC").dt.replace_time_zone(None)
    last = last.with_columns(when)
    expected = plain(tmp_path)
    both = last.join(expected, ["customer", "window_start"], how="full", nulls_equal=True)
    assert both.height == last.height == expected.height
    assert (both["spent"] - both["spent_right"]).abs().max() < 1e-6
