"""Joins at their edges: bounds, nulls, duplicates, watermarks, types, restarts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from processor import Frame, Json, Topology
from processor import functions as F
from processor.engine.commit import checkpoint
from processor.errors import StateMismatchError
from processor.testing import Crash, TestDriver

EPOCH = datetime(2024, 1, 1)
LEFT = {"user": pl.String, "at": pl.Datetime("us"), "page": pl.String}
RIGHT = {"user": pl.String, "at": pl.Datetime("us"), "cents": pl.Int64}
MINUTE = 60_000_000


def sides(app: Topology, **options: Any) -> tuple[Frame, Frame]:
    """Both with a watermark without delay."""
    return tuple(
        app.read.kafka(
            topic, format=Json(columns, optional={"user"}), event_time="at", **options
        ).with_watermark("0 s")
        for topic, columns in (("left", LEFT), ("right", RIGHT))
    )  # type: ignore[return-value]


def joined(
    how: Any = "inner", between: Any = ("-10 minutes", "1 hour"), **options: Any
) -> Topology:
    app = Topology("app")
    left, right = sides(app)
    left.join(right, on="user", how=how, between=between, **options).write.kafka("out")
    return app


def at(microseconds: int) -> str:
    return (EPOCH + timedelta(microseconds=microseconds)).isoformat()


def row(user: str | None, time: int, **columns: Any) -> dict[str, Any]:
    return {"user": user, "at": at(time), **columns}


def run(app: Topology, left: list[Any], right: list[Any]) -> TestDriver:
    driver = TestDriver(app, partitions=1)
    feed(driver, left, right)
    driver.run()
    return driver


def feed(driver: TestDriver, left: list[Any], right: list[Any]) -> None:
    driver.feed([row(user, time, page=page) for user, time, page in left], topic="left")
    driver.feed([row(user, time, cents=cents) for user, time, cents in right], topic="right")


def pairs(driver: TestDriver) -> list[tuple[str, int | None]]:
    return sorted(((r["page"], r["cents"]) for r in driver.json("out")), key=repr)


def held(driver: TestDriver) -> dict[str, int]:
    (state,) = [of for of in driver.state().values() if "join-left" in of]
    return {name: len(state[name]) for name in ("join-left", "join-right")}


@pytest.mark.parametrize(
    ("time", "matches"),
    [
        (-10 * MINUTE, True),
        (-10 * MINUTE - 1, False),
        (60 * MINUTE, True),
        (60 * MINUTE + 1, False),
    ],
)
def test_both_ends_belong_to_the_stretch_to_the_microsecond(time: int, matches: bool) -> None:
    begin = 1_000 * MINUTE
    driver = run(joined(), [("ann", begin, "a")], [("ann", begin + time, 1)])
    assert pairs(driver) == ([("a", 1)] if matches else [])


def test_columns_are_the_lefts_then_the_rights_without_keys_and_names_that_are_taken_have_a_suffix(
) -> None:  # fmt: skip
    driver = run(joined(), [("ann", 0, "a")], [("ann", 5, 1)])
    assert driver.json("out") == [
        {"user": "ann", "at": at(0), "page": "a", "at_right": at(5), "cents": 1}
    ]
    driver = run(joined(suffix="_bought"), [("ann", 0, "a")], [("ann", 5, 1)])
    assert list(driver.json("out")[0]) == ["user", "at", "page", "at_bought", "cents"]


def test_equal_rows_make_a_pair_each() -> None:
    driver = run(joined(), [("ann", 0, "a")] * 2, [("ann", 0, 1)] * 3)
    assert pairs(driver) == [("a", 1)] * 6


def test_null_equals_nothing_and_a_left_row_with_one_goes_on_at_once() -> None:
    left, right = [(None, 0, "none"), ("ann", 0, "a")], [(None, 0, 1), ("ann", 0, 2)]
    assert pairs(run(joined(), left, right)) == [("a", 2)]
    driver = run(joined("left"), left, right)
    assert pairs(driver) == [("a", 2), ("none", None)]
    assert held(driver)["join-left"] == 1


def test_a_left_row_without_a_match_goes_on_once_when_none_can_come_any_more() -> None:
    driver = TestDriver(joined("left"), partitions=1)
    feed(driver, [("ann", 0, "a"), ("bob", 0, "b")], [("bob", 0, 1)])
    driver.run()
    assert pairs(driver) == [("b", 1)]
    feed(driver, [], [("eve", 60 * MINUTE, 2)])  # its last instant: one may still come
    driver.run()
    assert pairs(driver) == [("b", 1)]
    feed(driver, [], [("eve", 60 * MINUTE + 1, 3)])
    driver.run()
    assert pairs(driver) == [("a", None), ("b", 1)]
    feed(driver, [], [("eve", 600 * MINUTE, 4)])
    driver.run()
    assert pairs(driver) == [("a", None), ("b", 1)]


def test_a_row_is_kept_until_the_other_sides_watermark_has_passed_what_it_matches() -> None:
    driver = TestDriver(joined(), partitions=1)
    feed(driver, [("ann", 0, "a")], [("ann", 0, 1)])
    driver.run()
    assert held(driver) == {"join-left": 1, "join-right": 1}
    # The left goes by its own time: nothing of it is freed by its own watermark.
    feed(driver, [("eve", 10 * MINUTE, "e")], [])
    driver.run()
    assert held(driver) == {"join-left": 2, "join-right": 1}
    feed(driver, [("eve", 10 * MINUTE + 1, "f")], [])
    driver.run()
    assert held(driver) == {"join-left": 3, "join-right": 0}
    feed(driver, [], [("eve", 60 * MINUTE + 1, 2)])
    driver.run()
    assert held(driver) == {"join-left": 2, "join-right": 1}
    assert pairs(driver) == [("a", 1), ("e", 2), ("f", 2)]


def test_a_side_that_is_far_behind_still_finds_what_it_matches() -> None:
    driver = TestDriver(joined("left"), partitions=1)
    feed(driver, [], [("ann", 0, 1), ("eve", 10_000 * MINUTE, 2)])
    driver.run()
    feed(driver, [("ann", 0, "a"), ("bob", 0, "b")], [])
    driver.run()
    # What the right's watermark has passed already goes on in the batch that it came in.
    assert pairs(driver) == [("a", 1), ("b", None)]
    assert held(driver)["join-left"] == 0


def test_windows_behind_a_join_close_by_both_sides() -> None:
    app = Topology("app")
    left, right = sides(app)
    both = left.join(right, on="user", how="left", within="10 minutes")
    both.group_by(F.window("at", "1 hour")).agg(n=F.count(), c=F.sum("cents")).write.kafka("out")
    driver = TestDriver(app, partitions=1)
    feed(driver, [("ann", 0, "a"), ("bob", 59 * MINUTE, "b"), ("eve", 300 * MINUTE, "e")],
         [("ann", 0, 5)])  # fmt: skip
    driver.run()
    assert driver.json("out") == []
    feed(driver, [], [("eve", 75 * MINUTE, 1)])
    driver.run()
    assert [(r["n"], r["c"]) for r in driver.json("out")] == [(2, 5)]


@pytest.mark.parametrize(
    ("one", "other"),
    [(pl.Int32, pl.Int64), (pl.UInt8, pl.Int16), (pl.UInt64, pl.UInt32), (pl.Boolean, pl.Boolean),
     (pl.Date, pl.Date), (pl.Datetime("ms"), pl.Datetime("ms"))],
)  # fmt: skip
def test_keys_of_one_type_or_of_whole_numbers_are_equal_where_their_values_are(
    one: Any, other: Any
) -> None:
    app = Topology("app")
    made = [
        app.read.kafka(topic, format=Json({"k": kind, "at": time, "k2": pl.Int64}), event_time="at")
        .with_watermark("0 s")
        for topic, kind, time in (("left", one, pl.Datetime("ms")), ("right", other, pl.Date))
    ]  # fmt: skip
    made[0].join(made[1], on=["k", "k2"], within="1 day").select("k", "at", "at_right").write.kafka(
        "out"
    )
    driver = TestDriver(app, partitions=4)
    keys: dict[Any, list[Any]] = {
        pl.Boolean: [True, False], pl.Date: ["2024-01-01", "2024-01-02"],
        pl.Datetime("ms"): ["2024-01-01T00:00:00", "2024-01-01T00:00:01"],
    }  # fmt: skip
    values = keys.get(one, [1, 2])
    for topic, time in (("left", "2024-01-01T12:00:00"), ("right", "2024-01-01")):
        driver.feed([{"k": k, "at": time, "k2": 7} for k in values], topic=topic, partition=0)
    driver.run()
    assert sorted(str(r["k"]) for r in driver.json("out")) == sorted(map(str, values))


def test_a_crash_before_the_commit_leaves_no_mark_and_no_row_behind() -> None:
    driver = TestDriver(joined("left"), partitions=1)
    feed(driver, [("ann", 0, "a")], [])
    driver.run()
    feed(driver, [], [("ann", 0, 1), ("eve", 100 * MINUTE, 2)])
    (behind,) = [who for who in driver.running() if "join" in str(who)]
    for who in [w for w in driver.running() if w != behind]:
        while driver.turn(who):
            pass
    driver.crash_at("before:commit", behind)
    with pytest.raises(Crash):
        for _ in range(9):
            driver.turn(behind)
    driver.restart(behind)
    driver.run()
    assert pairs(driver) == [("a", 1)]


def test_state_comes_back_after_a_restart_and_through_snapshots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpoint, "CHAIN_LENGTH_MAX", 2)
    driver = TestDriver(joined("left"), partitions=1)
    for number in range(12):
        left = (f"u{number}", number * MINUTE, f"p{number}")
        feed(driver, [left], [(f"u{number - 5}", number * MINUTE, number)])
        driver.run()
        for who in driver.running():
            driver.drop(who)
            driver.restart(who)
    matched = [(f"p{number - 5}", number) for number in range(5, 12)]
    assert pairs(driver) == sorted(matched, key=repr)
    driver.run()
    assert held(driver) == {"join-left": 12, "join-right": 11}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"between": ("-10 minutes", "2 hours")}, "rows of join: inner -600000000 3600000000"),
        ({"how": "left"}, "rows of join: inner .* -> join: left"),
        ({"suffix": "_other"}, None),
    ],
)
def test_a_changed_join_takes_its_state_over_or_is_refused_by_name(
    change: dict[str, Any], told: str | None
) -> None:
    driver = TestDriver(joined(), partitions=1)
    feed(driver, [("ann", 0, "a")], [])
    driver.run()
    after = TestDriver(joined(**change), partitions=1, log=driver.log, store=driver.store)
    feed(after, [], [("ann", 0, 1)])
    if told is None:
        after.run()
        assert pairs(after) == [("a", 1)]
        return
    with pytest.raises(StateMismatchError, match=told):
        after.run()
