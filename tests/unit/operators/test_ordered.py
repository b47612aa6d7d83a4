from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from processor import Json, Topology
from processor import functions as F
from processor.errors import TopologyError
from processor.model.batch import Result
from processor.operators.base import TASK, Context
from processor.operators.ordered import Newest
from processor.testing import TestDriver
from tests.unit.messages import piece

ROW = Json(
    {"at": pl.Datetime("us"), "user": pl.String, "n": pl.Int64, "x": pl.Float64},
    optional=frozenset({"user", "n", "x"}),
)


def counted(app: Topology, **options: Any) -> Any:
    rows = app.read.kafka("in", format=ROW, event_time="at", partitioned_by="user", **options)
    return rows.group_by("user").agg(c=F.count(), s=F.sum("n"), low=F.min("at"), m=F.mean("x"))


def row(user: str | None, n: int | None = 1, x: float | None = None) -> dict[str, Any]:
    return {"at": "2026-01-01T00:00:00", "user": user, "n": n, "x": x}


def lists(build: Any, *batches: list[dict[str, Any]], **options: Any) -> list[list[Any]]:
    """What is published of each batch."""
    app = Topology("app")
    build(counted(app)).write.kafka("out", mode="complete")
    driver = TestDriver(app, **options)
    found, seen = [], 0
    for number, batch in enumerate(batches):
        driver.feed(batch, partition=number % options.get("partitions", 1))
        driver.run()
        rows = driver.json("out")
        found.append([tuple(one.values()) for one in rows[seen:]])
        seen = len(rows)
    return found


def test_the_whole_is_published_in_order_with_each_batch_and_equal_ones_by_their_keys():
    first, second = lists(
        lambda groups: groups.order_by("s", descending=True).limit(3).select("user", "s"),
        [row("eve", 2), row("ann", 5), row("bob", 5), row("joe", 1)],
        [row("joe", 9)],
    )
    assert first == [("ann", 5), ("bob", 5), ("eve", 2)]
    assert second == [("joe", 10), ("ann", 5), ("bob", 5)]


@pytest.mark.parametrize(("descending", "last", "users"), [
    (False, False, ["c", "a", "b"]), (True, False, ["c", "b", "a"]),
    (False, True, ["a", "b", "c"]), (True, True, ["b", "a", "c"]),
])  # fmt: skip
def test_nulls_come_first_or_last_in_either_direction(descending, last, users):
    (found,) = lists(
        lambda groups: groups.order_by("m", descending=descending, nulls_last=last).select("user"),
        [row("a", x=1.0), row("b", x=2.0), row("c")],
    )
    assert found == [(user,) for user in users]


def test_a_group_that_a_filter_leaves_out_later_is_gone_from_the_list():
    first, second = lists(
        lambda groups: groups.filter(pl.col("c") < 2).order_by("user").select("user"),
        [row("a"), row("b")], [row("a")],
    )  # fmt: skip
    assert (first, second) == ([("a",), ("b",)], [("b",)])


def test_without_an_order_the_first_are_those_by_the_keys_null_among_them():
    (found,) = lists(lambda groups: groups.limit(2).select("user"), [row("b"), row(None), row("a")])
    assert found == [(None,), ("a",)]


def test_several_columns_have_a_direction_each_and_steps_may_follow():
    (found,) = lists(
        lambda groups: (
            groups.with_columns(half=pl.col("s") // 2)
            .order_by("half", "user", descending=[True, False])
            .with_columns(twice=pl.col("half") * 2)
            .limit(3)
            .select("user", "twice")
        ),
        [row("d", 2), row("c", 3), row("b", 8), row("a", 1)],
    )
    assert found == [("b", 8), ("c", 2), ("d", 2)]


def test_all_partitions_come_to_one_list_and_values_keep_their_types():
    found = lists(
        lambda groups: groups.order_by("user"),
        [row("a", x=0.5)], [row("b")], [row("c")], partitions=3, workers=2,
    )  # fmt: skip
    assert found[2] == [
        ("a", 1, 1, "2026-01-01T00:00:00", 0.5), ("b", 1, 1, "2026-01-01T00:00:00", None),
        ("c", 1, 1, "2026-01-01T00:00:00", None),
    ]  # fmt: skip


def test_a_batch_without_rows_publishes_nothing():
    first, nothing = lists(lambda groups: groups.order_by("user"), [row("a")], [])
    assert (len(first), nothing) == (1, [])


def test_one_list_beside_all_groups_and_another_list():
    app = Topology("app")
    groups = counted(app)
    groups.write.kafka("all", key="user", mode="complete")
    groups.order_by("s").select("user").write.kafka("low", mode="complete")
    groups.order_by("s", descending=True).limit(1).select("user").write.kafka(
        "high", mode="complete"
    )
    assert [stage.plan.app for stage in app.stages()] == ["app", "app.ordered-by-user"]
    driver = TestDriver(app)
    driver.feed([row("a", 2), row("b", 1)])
    driver.run()
    assert [one["user"] for one in driver.json("low")] == ["b", "a"]
    assert [one["user"] for one in driver.json("high")] == ["a"]
    assert len(driver.json("all")) == 2


def test_windows_are_groups_too():
    app = Topology("app")
    rows = app.read.kafka("in", format=ROW, event_time="at")
    hours = rows.with_watermark("1 hour").group_by(F.window("at", "1 hour")).agg(c=F.count())
    hours.order_by("window_start", descending=True).limit(2).write.kafka("out", mode="complete")
    driver = TestDriver(app)
    driver.feed([{**row("a"), "at": f"2026-01-01T{hour:02}:30:00"} for hour in (1, 5, 3, 5, 4)])
    driver.run()
    assert [one["window_start"][11:13] for one in driver.json("out")][-2:] == ["05", "04"]


def test_collect_gives_the_list_as_it_is_at_the_end():
    app = Topology("app")
    counted(app).order_by("s", descending=True).limit(2).select("user", "s").write.kafka(
        "out", mode="complete"
    )
    fed = [row("a", 1), row("b", 2), row("c", 3), row("a", 9)]
    assert app.collect(feed={"in": fed}).rows() == [("a", 10), ("c", 3)]


def refused(build: Any, **sink: Any) -> TopologyError:
    app = Topology("app")
    with pytest.raises(TopologyError) as caught:
        build(app).write.kafka("out", **{"mode": "complete", **sink})
        app.stages()
    assert f"{__file__}:" in caught.value.message
    return caught.value


def test_what_has_no_order_is_refused_by_name():
    ordered = lambda app: counted(app).order_by("s")  # noqa: E731
    plain = lambda app: app.read.kafka("in", format=ROW)  # noqa: E731
    assert "rows without end have no order" in refused(lambda app: plain(app).order_by("n")).message
    assert "rows without end" in refused(lambda app: plain(app).limit(3)).message
    assert "is one row" in refused(lambda app: plain(app).agg(c=F.count()).order_by("c")).message
    assert "published as a whole" in refused(ordered, mode="update").message
    assert "published as a whole" in refused(ordered, mode="append").message
    assert "stay together in one partition" in refused(ordered, key="user").message
    assert (
        "come again with every batch"
        in refused(lambda app: ordered(app).group_by("user").agg(c=F.count())).message
    )
    assert (
        "come again with every batch" in refused(lambda app: ordered(app).union(plain(app))).message
    )
    assert "cannot be computed" in refused(lambda app: counted(app).order_by("nothing")).message
    assert (
        "descending is [True]"
        in refused(lambda app: counted(app).order_by("s", "c", descending=[True])).message
    )
    assert "limit is 0" in refused(lambda app: counted(app).limit(0)).message
    assert "no 'sort'" in refused(lambda app: counted(app).sort("s")).message


def test_of_a_group_that_comes_twice_in_a_batch_the_later_row_counts():
    newest = Newest("newest-0", {"user": pl.String()}, {"n": pl.Int64()})
    schema = {TASK: pl.UInt32, "user": pl.String, "n": pl.Int64}
    rows = pl.DataFrame(
        [(0, "a", 5), (0, "b", 1), (0, "a", None), (0, "b", 2)], schema, orient="row"
    )
    state = {"newest-0": newest.new_state()}
    context = Context([piece([])], [state], Result())
    assert newest.process(rows, context).rows() == [("a", None, 0), ("b", 2, 0)]
    newest.process(rows[:1], context)
    state["newest-0"].rollback()
    assert newest.process(rows[3:], context).rows() == [("b", 2, 0)]


def test_a_task_without_rows_does_not_keep_back_the_next_one():
    newest = Newest("newest-0", {"user": pl.String()}, {"n": pl.Int64()})
    rows = pl.DataFrame({TASK: [1], "user": ["a"], "n": [1]}, schema_overrides={TASK: pl.UInt32})
    states = [{"newest-0": newest.new_state()} for _ in range(2)]
    found = newest.process(rows, Context([piece([]), piece([])], states, Result()))
    assert found.rows() == [("a", 1, 1)]


def test_many_equal_rows_stay_in_the_order_of_their_keys():
    users = [f"u{number:04}" for number in range(3_000)]
    (found,) = lists(
        lambda groups: groups.order_by("c").select("user"), [row(user) for user in users[::-1]]
    )
    assert found[-3_000:] == [(user,) for user in users]


def test_order_by_leaves_the_columns_where_they_were():
    def columns_of(build: Any) -> list[str]:
        app = Topology("app")
        rows = app.read.kafka("in", format=ROW, event_time="at").with_watermark("1 minute")
        groups = rows.group_by(F.window("at", "5 minutes"), "user").agg(c=F.count())
        build(groups).write.memory("groups", mode="complete")
        driver = TestDriver(app)
        driver.feed([row("a"), row("b")])
        driver.run()
        return driver.table("groups").columns

    plain = columns_of(lambda groups: groups)
    assert plain == ["window_start", "window_end", "user", "c"]
    assert columns_of(lambda groups: groups.order_by("user")) == plain
    assert columns_of(lambda groups: groups.order_by("c").limit(1)) == plain
