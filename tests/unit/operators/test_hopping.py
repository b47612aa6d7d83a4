from __future__ import annotations

import datetime as dt
import json
from typing import Any

import polars as pl
import pytest

from processor import Json, Topology
from processor import functions as F
from processor.errors import RecordError
from processor.operators import hopping
from processor.operators.windows import Panes, check_windows
from processor.plan.nodes import Window
from processor.testing import TestDriver

COLUMNS = {"at": pl.Datetime("us"), "k": pl.String, "n": pl.Int64, "x": pl.Float64}
IN = Json(COLUMNS, optional=frozenset({"k", "n", "x"}))
EPOCH = dt.datetime(2026, 1, 1)
MAX = 2**63 - 1


def topology(
    *window: str, mode: Any = "append", delay: str | None = "0 s", **aggregates: Any
) -> Topology:
    app = Topology("slide")
    rows = app.read.kafka("in", format=IN, event_time="at", partitioned_by="k")
    rows = rows if delay is None else rows.with_watermark(delay)
    rows.group_by(F.window("at", *window), "k").agg(**(aggregates or {"c": F.count()})).write.kafka(
        "out", key="k", mode=mode
    )
    return app


def at(minute: float, **more: Any) -> dict[str, Any]:
    return {"at": (EPOCH + dt.timedelta(minutes=minute)).isoformat(), "k": "a", **more}


def minutes(text: str) -> float:
    return (dt.datetime.fromisoformat(text) - EPOCH) / dt.timedelta(minutes=1)


def windows(driver: TestDriver, *names: str) -> list[tuple[Any, ...]]:
    return [
        (minutes(row["window_start"]), minutes(row["window_end"]), *(row[name] for name in names))
        for row in driver.json("out")
    ]


def test_a_window_comes_out_once_when_it_is_over_also_one_that_began_before_the_first_row():
    driver = TestDriver(topology("20 minutes", "10 minutes"), batch_records_max=1)
    driver.feed([at(5), at(12), at(15), at(31)])
    driver.run()
    assert windows(driver, "c") == [(-10, 10, 1), (0, 20, 3), (10, 30, 2)]
    driver.feed([at(100)])
    driver.run()
    assert windows(driver, "c")[3:] == [(20, 40, 1), (30, 50, 1)]


def test_a_pane_is_kept_until_its_last_window_is_over():
    driver = TestDriver(topology("30 minutes", "20 minutes"), batch_records_max=1)
    kept = []
    for minute in (15, 29.5, 30, 39, 40, 49, 50, 70):
        driver.feed([at(minute)])
        driver.run()
        (task,) = driver.state().values()
        kept.append(sorted(minutes(row["window_start"].isoformat()) for row in task["aggregate-0"]))
    # [20, 50) is the last window with minute 29, [40, 70) that with 40.
    assert kept == [
        [10], [10, 20], [20, 30], [20, 30], [20, 30, 40], [20, 30, 40], [40, 50], [70],
    ]  # fmt: skip


def test_an_update_is_of_all_windows_of_the_panes_that_changed_and_of_no_others():
    driver = TestDriver(topology("20 minutes", "10 minutes", mode="update"))
    driver.feed([at(5, k="b"), at(5), at(15)])
    driver.run()
    first = windows(driver, "k", "c")
    assert sorted(first) == [
        (-10, 10, "a", 1), (-10, 10, "b", 1), (0, 20, "a", 2), (0, 20, "b", 1), (10, 30, "a", 1),
    ]  # fmt: skip
    driver.feed([at(16)])
    driver.run()
    assert windows(driver, "k", "c")[5:] == [(0, 20, "a", 3), (10, 30, "a", 2)]


@pytest.mark.parametrize("mode", ["append", "update", "complete"])
def test_in_small_pieces_it_is_the_same(mode, monkeypatch):
    def rows() -> list[tuple[Any, ...]]:
        driver = TestDriver(topology("1 hour", "5 minutes", mode=mode, s=F.sum("n"), c=F.count()))
        driver.feed([at(minute * 7 % 97, n=minute) for minute in range(0, 60, 2)] + [at(1000, n=1)])
        driver.run()
        return sorted(windows(driver, "s", "c"))

    whole = rows()
    monkeypatch.setattr(hopping, "_AT_ONCE", 5)
    assert rows() == whole
    assert whole


def test_the_least_the_largest_and_the_mean_are_of_the_values_that_are_there():
    made = {"low": F.min("n"), "high": F.max("n"), "mean": F.mean("n"), "x": F.max("x")}
    driver = TestDriver(topology("20 minutes", "10 minutes", **made))
    driver.feed([at(1, n=4), at(2), at(11, n=-2, x=0.5), at(31)])
    driver.run()
    assert windows(driver, "low", "high", "mean", "x") == [
        (-10, 10, 4, 4, 4.0, None), (0, 20, -2, 4, 1.0, 0.5), (10, 30, -2, -2, -2.0, 0.5),
    ]  # fmt: skip


def test_windows_begin_at_their_start():
    driver = TestDriver(topology("20 minutes", "10 minutes", "3 minutes"))
    driver.feed([at(2.9), at(3), at(100)])
    driver.run()
    assert windows(driver, "c") == [(-17, 3, 1), (-7, 13, 2), (3, 23, 1)]


def test_a_slide_as_long_as_the_size_is_the_tumbling_window_as_it_was():
    slid, plain = F.window("at", "1 hour", "1 hour"), F.window("at", "1 hour")
    assert slid == plain


def test_a_window_that_tumbles_may_begin_elsewhere():
    driver = TestDriver(topology("1 hour", "1 hour", "15 minutes"))
    driver.feed([at(14), at(15), at(200)])
    driver.run()
    assert windows(driver, "c") == [(-45, 15, 1), (15, 75, 1)]


@pytest.mark.parametrize("mode", ["append", "update", "complete"])
@pytest.mark.parametrize(("one", "other"), [(MAX - 5, 6), (-MAX + 5, -7)])
def test_a_window_whose_total_is_out_of_its_type_stops_by_name_though_its_panes_are_not(
    mode, one, other
):
    driver = TestDriver(topology("20 minutes", "10 minutes", mode=mode, s=F.sum("n")))
    driver.feed([at(5, n=one), at(15, n=other), at(100, n=0)])
    with pytest.raises(RecordError) as caught:
        driver.run()
    assert "'s', the sum of the group window_start=2026-01-01 00:00:00, k=a" in str(caught.value)
    assert "out of Int64" in str(caught.value)
    driver = TestDriver(topology("20 minutes", "10 minutes", mode=mode, s=F.sum("n")))
    driver.feed([at(5, n=one), at(15, n=other - (1 if other > 0 else -1)), at(100, n=0)])
    driver.run()
    assert (0, 20, MAX if one > 0 else -MAX - 1) in windows(driver, "s")


def test_a_total_of_fractions_that_overflows_is_told_and_an_infinite_one_is_not():
    driver = TestDriver(topology("20 minutes", "10 minutes", s=F.sum("x")))
    driver.feed([at(5, x=1.5e308), at(15, x=1.5e308), at(100)])
    with pytest.raises(RecordError, match="out of Float64"):
        driver.run()


def test_a_time_whose_windows_are_not_all_among_the_times_there_are_is_a_dead_letter():
    form = Json({"at": pl.Datetime("us"), "k": pl.String}, epoch={"at": "us"})
    app = Topology("slide")
    rows = app.read.kafka("in", format=form, event_time="at", partitioned_by="k")
    rows.group_by(F.window("at", "20 minutes", "10 minutes"), "k").agg(c=F.count()).write.kafka(
        "out", key="k", mode="update"
    )
    driver = TestDriver(app)
    driver.feed([{"at": time, "k": "a"} for time in (MAX, -MAX, 0, MAX - 10**9, -MAX + 10**9)])
    driver.run()
    assert len(driver.dead_letters()) == 4
    assert [json.loads(value)["c"] for value in driver.values("out")] == [1, 1]


def test_a_late_record_is_dropped_though_windows_with_it_are_open():
    driver = TestDriver(topology("1 hour", "10 minutes", delay="5 minutes"))
    driver.feed([at(60), at(54), at(55), at(300)])
    driver.run()
    assert sum(report.late for report in driver.reports) == 1
    assert max(row["c"] for row in driver.json("out")) == 2


def test_a_shorter_delay_passes_over_no_window_that_nobody_has_published():
    driver = TestDriver(topology("20 minutes", "10 minutes", delay="1 hour"))
    driver.feed([at(5), at(30)])
    driver.run()
    assert windows(driver) == []
    again = TestDriver(topology("20 minutes", "10 minutes"), log=driver.log, store=driver.store)
    again.feed([at(31)])
    again.run()
    assert windows(again, "c") == [(-10, 10, 1), (0, 20, 1)]
    (upgraded,) = again.upgraded
    assert "the watermark goes on from where it is" in upgraded.table


def test_large_fractions_of_either_sign_are_a_total_as_any_other():
    driver = TestDriver(topology("20 minutes", "10 minutes", s=F.sum("x")))
    driver.feed([at(5, x=1.2e308), at(15, x=-1.2e308), at(25, x=1.0), at(100)])
    driver.run()
    assert (0, 20, 0.0) in windows(driver, "s")


SLIDE = Window("at", dt.timedelta(microseconds=30), dt.timedelta(microseconds=20))


@pytest.mark.parametrize(
    ("pane", "what"),
    [(MAX - 47, None), (MAX - 7, "no end"), (-MAX + 97, None), (-MAX + 7, "no beginning")],
)
def test_a_pane_has_all_its_windows_among_the_times_or_is_refused(pane, what):
    panes = Panes(SLIDE)
    pane = pane // 10 * 10
    times = pl.DataFrame({"at": [0, pane]}).cast(pl.Datetime("us"))
    looks = (lambda: panes.check(pl.Series([0, pane])), lambda: check_windows(times, SLIDE))
    for look in looks:
        if what is None:
            look()
        else:
            with pytest.raises(OverflowError, match=what):
                look()
    check_windows(times.clear(), SLIDE)
