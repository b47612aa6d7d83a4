"""What customers spend by day, over the real files, against a plain group_by."""

from __future__ import annotations

import os
import subprocess
import sys

import polars as pl
import pytest

from processor import collect
from processor.testing import TestDriver
from tests.golden.data import RETAIL
from tests.integration.running import until
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


def processor_run(folder, directory, **environment):
    command = ["run", "topologies.retail.purchases", "--set", f"input={folder}"]
    done = subprocess.run(
        [sys.executable, "-m", "processor", *command, "--data-dir", directory, "--until-caught-up"],
        env=os.environ | environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    return done.returncode


def test_killed_and_started_again_it_is_right_and_can_be_asked_in_sql(folder, tmp_path):
    paths = sorted(folder.glob("*.csv"))[:6]
    sales, kept = tmp_path / "sales", tmp_path / "kept"
    sales.mkdir()
    for path in paths[:-1]:
        (sales / path.name).symlink_to(path)
    assert processor_run(sales, kept, PROCESSOR_CRASH_AT="before:commit#3") == 70
    assert processor_run(sales, kept) == 0
    (sales / paths[-1].name).symlink_to(paths[-1])
    expected = plain(sales)
    topology = purchases.build({"input": str(sales), "table": "spent"})
    with topology.start(data_dir=kept) as query:
        until(lambda: query.table("spent").height == expected.height, "the sixth day")
        found = query.sql("select customer, sum(spent) as total from spent group by customer")
    wanted = expected.group_by("customer").agg(wanted=pl.col("spent").sum())
    both = found.join(wanted, "customer", how="full", nulls_equal=True)
    assert both.height == found.height == wanted.height
    assert (both["total"] - both["wanted"]).abs().max() < 1e-6
