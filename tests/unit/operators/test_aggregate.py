from __future__ import annotations

import datetime as dt
import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from processor.model.batch import Result
from processor.operators.aggregate import Aggregate, SumError, Term
from processor.operators.base import TASK, Context
from processor.plan.nodes import Aggregation, Window
from processor.state.slab import Slab
from tests.unit.messages import piece

MINUTE = Window("t", dt.timedelta(minutes=1))
US = 1_000_000
EPOCH = dt.datetime(1970, 1, 1)
SCHEMA = {TASK: pl.UInt32, "t": pl.Datetime("us"), "k": pl.String, "v": pl.Int64}


def operator(
    mode: str = "update", window: Window | None = MINUTE, delay_s: int | None = 0
) -> Aggregate:
    terms = [Term(Aggregation("n", "count", None), pl.Int64())]
    return Aggregate(
        "a", window=window, keys={"k": pl.String()}, terms=terms, mode=mode,  # type: ignore[arg-type]
        delay_us=None if delay_s is None else delay_s * US,
    )  # fmt: skip


class Tasks:
    """Tasks of one operator, batch after batch."""

    def __init__(self, aggregate: Aggregate, count: int = 1) -> None:
        self.aggregate = aggregate
        self.states = [{"a": aggregate.new_state()} for _ in range(count)]

    def batch(self, *rows: tuple[int, int, str | None], times: list[int | None]) -> list[tuple]:
        frame = pl.DataFrame(
            [(task, EPOCH + dt.timedelta(seconds=s), k, 1) for task, s, k in rows],
            schema=SCHEMA, orient="row",
        )  # fmt: skip
        result = Result(event_times_max=[None if t is None else t * US for t in times])
        context = Context([piece([]) for _ in self.states], self.states, result)
        out = self.aggregate.process(frame, context)
        return [
            (row[TASK], *((row["window_start"].minute,) if "window_start" in row else ()),
             row["k"], row["n"])
            for row in out.iter_rows(named=True)
        ]  # fmt: skip

    def commit(self) -> None:
        for state in self.states:
            state["a"].commit()


@pytest.mark.parametrize("mode", ["update", "append", "complete"])
@pytest.mark.parametrize("window", [MINUTE, None])
def test_no_rows_give_no_rows_of_the_same_columns(mode: str, window: Window | None) -> None:
    tasks = Tasks(operator(mode, window), 2)
    frame = pl.DataFrame(schema=SCHEMA)
    result = Result(event_times_max=[None, 5])
    context = Context([piece([]), piece([])], tasks.states, result)
    out = tasks.aggregate.process(frame, context)
    starts = ["window_start", "window_end"] if window else []
    assert out.columns == [*starts, "k", "n", TASK]
    assert out.height == 0


def test_update_gives_the_groups_that_changed_with_their_totals() -> None:
    tasks = Tasks(operator())
    assert tasks.batch((0, 1, "a"), (0, 2, "a"), (0, 3, "b"), times=[3]) == [
        (0, 0, "a", 2), (0, 0, "b", 1)
    ]  # fmt: skip
    assert tasks.batch((0, 4, "b"), times=[4]) == [(0, 0, "b", 2)]


def test_append_gives_a_window_once_when_the_watermark_has_reached_its_end() -> None:
    tasks = Tasks(operator("append", delay_s=10))
    assert tasks.batch((0, 1, "a"), (0, 59, "a"), times=[59]) == []
    tasks.commit()
    assert tasks.batch((0, 69, "b"), times=[69]) == []
    tasks.commit()
    assert tasks.batch(times=[70]) == [(0, 0, "a", 2)]
    tasks.commit()
    assert tasks.batch(times=[70]) == []
    assert tasks.states[0]["a"].rows() == 1


def test_a_window_that_is_not_over_when_another_is_goes_out_when_it_is() -> None:
    tasks = Tasks(operator("append", delay_s=60))
    gone = []
    for at in (30, 90, 130, 170, 190, 250):
        gone.append(tasks.batch((0, at, "a"), times=[at]))
        tasks.commit()
    assert gone == [[], [], [(0, 0, "a", 1)], [], [(0, 1, "a", 1)], [(0, 2, "a", 2)]]


def test_complete_gives_every_group_for_ever() -> None:
    tasks = Tasks(operator("complete"))
    tasks.batch((0, 1, "a"), times=[1])
    tasks.commit()
    assert tasks.batch((0, 601, "b"), times=[601]) == [(0, 0, "a", 1), (0, 10, "b", 1)]
    tasks.commit()
    assert len(tasks.batch(times=[9999])) == 2


def test_update_frees_what_is_over() -> None:
    tasks = Tasks(operator())
    tasks.batch((0, 1, "a"), times=[1])
    tasks.commit()
    assert tasks.batch((0, 60, "b"), times=[60]) == [(0, 1, "b", 1)]
    tasks.commit()
    assert tasks.states[0]["a"].rows() == 1


def test_a_window_that_opens_and_closes_in_one_batch_goes_out() -> None:
    tasks = Tasks(operator("append"))
    assert tasks.batch((0, 1, "a"), (0, 61, "a"), times=[61]) == [(0, 0, "a", 1)]


def test_without_a_watermark_nothing_is_freed() -> None:
    tasks = Tasks(operator(delay_s=None))
    tasks.batch((0, 1, "a"), (0, 9999, "a"), times=[9999])
    tasks.commit()
    assert tasks.states[0]["a"].rows() == 2


def test_tasks_of_one_batch_share_nothing() -> None:
    tasks = Tasks(operator("append"), 3)
    rows = [(0, 1, "a"), (0, 2, "a"), (2, 1, "a"), (2, 61, "a")]
    assert tasks.batch(*rows, times=[2, None, 61]) == [(2, 0, "a", 1)]
    assert [state["a"].rows() for state in tasks.states] == [1, 0, 2]


def test_times_before_1970_lie_in_windows_that_begin_before_them() -> None:
    tasks = Tasks(operator())
    assert tasks.batch((0, -1, "a"), (0, -60, "a"), (0, 0, "a"), times=[0]) == [
        (0, 59, "a", 2), (0, 0, "a", 1)
    ]  # fmt: skip


def test_a_null_key_is_a_group() -> None:
    tasks = Tasks(operator())
    assert tasks.batch((0, 1, None), (0, 1, ""), (0, 1, None), times=[1]) == [
        (0, 0, None, 2), (0, 0, "", 1)
    ]  # fmt: skip


def test_live_windows_are_looked_at_only_when_one_may_be_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[int] = []
    live = Slab.live
    monkeypatch.setattr(Slab, "live", lambda slab: looked.append(1) or live(slab))
    tasks = Tasks(operator())
    for second in range(60):
        tasks.batch((0, second, "a"), times=[second])
        tasks.commit()
    assert looked == []
    tasks.batch((0, 60, "a"), times=[60])
    assert looked == [1]
    # The window that is open now is the oldest by then.
    for second in range(61, 120):
        tasks.batch((0, second, "a"), times=[second])
        tasks.commit()
    assert looked == [1]
    tasks.batch((0, 120, "a"), times=[120])
    assert looked == [1, 1]


def test_a_delay_puts_the_look_at_live_windows_off(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    live = Slab.live
    monkeypatch.setattr(Slab, "live", lambda slab: looked.append(1) or live(slab))
    tasks = Tasks(operator(delay_s=30))
    for second in range(90):
        tasks.batch((0, second % 60, "a"), times=[second])
        tasks.commit()
    assert looked == []
    tasks.batch((0, 90, "a"), times=[90])
    assert looked == [1]


def test_a_rollback_brings_a_closed_window_back() -> None:
    tasks = Tasks(operator("append"))
    tasks.batch((0, 1, "a"), times=[1])
    tasks.commit()
    for _ in range(2):
        assert tasks.batch((0, 61, "b"), times=[61]) == [(0, 0, "a", 1)]
        tasks.states[0]["a"].rollback()


def values(function: str, kind: Any, *batches: list) -> Any:
    aggregate = Aggregate(
        "a", window=None, keys={"k": pl.Int64()},
        terms=[Term(Aggregation("x", function, "v"), kind)], mode="update", delay_us=None,  # type: ignore[arg-type]
    )  # fmt: skip
    state = {"a": aggregate.new_state()}
    for batch in batches:
        frame = pl.DataFrame(
            {TASK: [0] * len(batch), "k": [1] * len(batch), "v": batch},
            schema={TASK: pl.UInt32, "k": pl.Int64, "v": kind},
        )
        context = Context([piece([])], [state], Result(event_times_max=[None]))
        out = aggregate.process(frame, context)
    return out["x"].item(), out["x"].dtype


DAY = dt.date(2014, 8, 1)
LOW, HIGH = -(2**63), 2**63 - 1


def at(*times: int) -> pl.DataFrame:
    count = len(times)
    columns = {TASK: pl.Series([0] * count, dtype=pl.UInt32), "t": times, "k": ["a"] * count}
    return pl.DataFrame(columns).with_columns(pl.col("t").cast(pl.Datetime("us")))


@pytest.mark.parametrize("time", [HIGH // (60 * US) * 60 * US, LOW])
def test_a_window_that_has_no_end_among_the_times_there_are_is_an_error(time: int) -> None:
    with pytest.raises(OverflowError, match="window"):
        operator().grouped(at(0, time))


@pytest.mark.parametrize("start_s", [0, 17])
@pytest.mark.parametrize("minutes", [1, 60, 1_440])
def test_a_time_before_the_first_window_there_is_is_an_error(minutes: int, start_s: int) -> None:
    size, start = minutes * 60 * US, start_s * US
    window = Window("t", dt.timedelta(minutes=minutes), start=dt.timedelta(seconds=start_s))
    aggregate = operator(window=window)
    for time in (LOW, LOW + 1, LOW + size // 2, LOW + size - 1, LOW + 4 * size):
        begins = (time - start) // size * size + start
        if begins < LOW:
            with pytest.raises(OverflowError, match="beginning"):
                aggregate.grouped(at(time))
        elif time >= LOW + 4 * size or not start:
            assert aggregate.grouped(at(time))["window_start"].to_physical().to_list() == [begins]


def test_windows_near_the_ends_of_time_are_right() -> None:
    times = [0, HIGH - 120 * US, LOW + 60 * US]
    starts = operator().grouped(at(*times))["window_start"].to_physical().to_list()
    assert starts == [time // (60 * US) * 60 * US for time in times]


def test_a_window_may_end_with_the_last_time_there_is() -> None:
    """There are as many microseconds as seven goes into: 2**63 - 1."""
    seven = operator(window=Window("t", dt.timedelta(microseconds=7)))
    assert seven.grouped(at(HIGH - 7))["window_start"].to_physical().to_list() == [HIGH - 7]
    with pytest.raises(OverflowError, match="window"):
        seven.grouped(at(HIGH))


def test_a_window_goes_out_with_its_beginning_and_its_end() -> None:
    for mode, time in (("update", 1), ("append", 61), ("complete", 1)):
        aggregate = operator(mode)
        result = Result(event_times_max=[time * US])
        context = Context([piece([])], [{"a": aggregate.new_state()}], result)
        out = aggregate.process(at(1 * US), context)
        assert out.rows() == [(EPOCH, EPOCH + dt.timedelta(minutes=1), "a", 1, 0)]


@pytest.mark.parametrize(
    ("function", "kind", "batches", "value", "out"),
    [
        ("count", pl.Int64(), ([1, None], [3]), 2, pl.Int64),
        ("sum", pl.Int64(), ([1, None], [3]), 4, pl.Int64),
        ("sum", pl.Int8(), ([127], [127]), 254, pl.Int64),
        ("sum", pl.Float64(), ([0.5], [0.25]), 0.75, pl.Float64),
        ("sum", pl.Float32(), ([0.5], [0.25]), 0.75, pl.Float64),
        ("sum", pl.Int64(), ([None],), 0, pl.Int64),
        ("min", pl.Int64(), ([5], [3], [4]), 3, pl.Int64),
        ("max", pl.Int8(), ([5], [None], [-4]), 5, pl.Int8),
        ("max", pl.Int64(), ([-5], [-7]), -5, pl.Int64),
        ("min", pl.Int64(), ([None],), None, pl.Int64),
        ("max", pl.Float64(), ([None], [None]), None, pl.Float64),
        ("min", pl.Float64(), ([2.5], [float("nan")]), 2.5, pl.Float64),
        ("max", pl.Date(), ([DAY], [None]), DAY, pl.Date),
        ("min", pl.Datetime("ms"), ([dt.datetime(2014, 8, 1)],), dt.datetime(2014, 8, 1),
         pl.Datetime("ms")),
        ("min", pl.Int64(), ([HIGH], [None], [HIGH]), HIGH, pl.Int64),
        ("max", pl.Int64(), ([None, LOW],), LOW, pl.Int64),
        ("min", pl.Int64(), ([None], [LOW, HIGH]), LOW, pl.Int64),
        ("min", pl.Float64(), ([math.inf], [math.inf]), math.inf, pl.Float64),
        ("max", pl.Float64(), ([None], [-math.inf]), -math.inf, pl.Float64),
        ("max", pl.Float64(), ([math.nan], [None]), None, pl.Float64),
        ("max", pl.Float64(), ([math.nan, 1.0], [math.nan]), 1.0, pl.Float64),
        ("min", pl.Float32(), ([math.inf],), math.inf, pl.Float32),
        ("min", pl.UInt32(), ([2**32 - 1],), 2**32 - 1, pl.UInt32),
        ("max", pl.Duration("us"), ([None], [DAY - DAY]), DAY - DAY, pl.Duration("us")),
        ("mean", pl.Int64(), ([HIGH, HIGH], [HIGH]), 2.0**63, pl.Float64),
        ("mean", pl.Float64(), ([1e308], [-1e308, 1e308]), 1e308 / 3, pl.Float64),
        ("mean", pl.Float64(), ([math.inf], [1.0]), math.inf, pl.Float64),
        ("mean", pl.Int64(), ([1, 2], [None, 6]), 3.0, pl.Float64),
        ("mean", pl.Float64(), ([None],), None, pl.Float64),
    ],
)  # fmt: skip
def test_each_function_folds_batch_by_batch(
    function: str, kind: pl.DataType, batches: tuple, value: object, out: Any
) -> None:
    assert values(function, kind, *batches) == (value, out)


def test_a_sum_of_floats_is_taken_record_after_record_where_a_batchs_would_leave_the_type() -> None:
    assert values("sum", pl.Float64(), [-1.5e308], [1e308, 1e308])[0] == -1.5e308 + 1e308 + 1e308
    assert values("mean", pl.Float64(), [-1.5e308], [1e308, 1e308])[0] == 0.5e308 / 3


@pytest.mark.parametrize("number", [0, 1])
def test_a_sum_that_leaves_its_type_and_comes_back_within_a_batch_is_found(number: int) -> None:
    """By the largest of the batch, since its total looks as if nothing had been."""
    aggregate = Aggregate(
        "a", window=None, keys={"k": pl.String()},
        terms=[Term(Aggregation("s", "sum", "v"), pl.Int64())], mode="update", delay_us=None,
    )  # fmt: skip
    keys, added = ["w", "x", "y", "z", "a", "a", "a"], [0, 1, 2, 3, HIGH, HIGH, 2]
    frame = pl.DataFrame(
        {TASK: [0] * 3 + [number] * 4, "k": keys, "v": added}, schema_overrides={TASK: pl.UInt32}
    )
    states = [{"a": aggregate.new_state()} for _ in range(2)]
    context = Context([piece([]), piece([])], states, Result(event_times_max=[None, None]))
    with pytest.raises(SumError, match="'s', the sum of the group k=a, out of Int64") as caught:
        aggregate.process(frame, context)
    assert caught.value.row == 5


@pytest.mark.parametrize(("column", "row"), [(None, 1), ("v", 2)])
def test_a_count_that_leaves_its_type_is_found_at_the_record(column: str | None, row: int) -> None:
    aggregate = Aggregate(
        "a", window=None, keys={"k": pl.String()},
        terms=[Term(Aggregation("n", "count", column), pl.Int64())], mode="update", delay_us=None,
    )  # fmt: skip
    slab = aggregate.new_state()
    slab.fold(pl.DataFrame({"k": ["a"]}), {"n": np.array([HIGH - 1])})
    slab.commit()
    frame = pl.DataFrame(
        {TASK: [0] * 4, "k": ["a"] * 4, "v": [5, None, 6, 7]}, schema_overrides={TASK: pl.UInt32}
    )
    for height, total in ((row, HIGH), (4, None)):
        context = Context([piece([])], [{"a": slab}], Result(event_times_max=[None]))
        if total:
            assert aggregate.process(frame[:height], context)["n"].to_list() == [total]
            slab.rollback()
        else:
            with pytest.raises(SumError, match="'n', the count of the group k=a") as caught:
                aggregate.process(frame, context)
            assert caught.value.row == row


def test_a_sum_of_floats_depends_on_batches_by_rounding_only() -> None:
    numbers = np.random.default_rng(1).normal(size=1000).tolist()
    whole, _ = values("sum", pl.Float64(), numbers)
    parts, _ = values("sum", pl.Float64(), *(numbers[i : i + 7] for i in range(0, 1000, 7)))
    assert whole == pytest.approx(parts, rel=1e-12, abs=1e-12)


def test_a_key_may_be_called_as_a_window_is_where_there_is_none() -> None:
    aggregate = Aggregate(
        "a", window=None, keys={"window_start": pl.Int64()},
        terms=[Term(Aggregation("n", "count", None), pl.Int64())], mode="update", delay_us=None,
    )  # fmt: skip
    frame = pl.DataFrame({TASK: [0, 0], "window_start": [1, 1]}, schema_overrides={TASK: pl.UInt32})
    context = Context([piece([])], [{"a": aggregate.new_state()}], Result(event_times_max=[None]))
    assert aggregate.process(frame, context).rows() == [(1, 2, 0)]
