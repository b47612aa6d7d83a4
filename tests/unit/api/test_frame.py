from __future__ import annotations

import inspect
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from processor import Json, Topology, TopologyError
from processor import functions as F
from processor.plan import nodes

if TYPE_CHECKING:
    from processor import Frame


@pytest.fixture
def app() -> Topology:
    return Topology("a")


@pytest.fixture
def rows(app: Topology) -> Frame:
    form = Json({"dt": pl.Datetime("us"), "user": pl.String, "n": pl.Int64})
    return app.read.kafka("in", format=form, event_time="dt", partitioned_by="user")


def test_a_method_gives_a_new_handle_and_leaves_the_old_one(app: Topology, rows: Frame) -> None:
    rows.filter(pl.col("n") > 1)
    rows.write.kafka("out")
    assert [type(node) for node in app.plan().nodes()] == [nodes.Source]


def test_every_step_knows_the_line_that_asked_for_it(app: Topology, rows: Frame) -> None:
    line = inspect.currentframe().f_lineno  # type: ignore[union-attr]
    one = rows.select("user")
    two = one.where(pl.col("user") == "a")
    two.write.kafka("out")
    _, select, filter_ = app.plan().nodes()
    assert [select.at.line, filter_.at.line] == [line + 1, line + 2]
    assert app.plan().sinks[0].at.line == line + 3
    assert select.at.file == __file__


def test_names_and_expressions_may_be_mixed(app: Topology, rows: Frame) -> None:
    rows.select("user", pl.col("n"), twice=pl.col("n") * 2).write.kafka("out")
    node = app.plan().sinks[0].parent
    assert isinstance(node, nodes.Select)
    assert [e.meta.output_name() for e in node.expressions] == ["user", "n", "twice"]


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda r: r.select(5), "5 is no Polars expression"),
        (lambda r: r.with_columns(x=5), "5 is no Polars expression"),
        (lambda r: r.filter(1), "1 is no Polars expression"),
        (lambda r: r.with_watermark("soon"), "watermark"),
        (lambda r: r.with_watermark(timedelta(-1)), "negative"),
        (lambda r: r.group_by(), "at least one key"),
        (lambda r: r.group_by(F.window("dt", "1h"), F.window("dt", "2h")), "at most one window"),
        (lambda r: r.group_by(pl.col("user")), "a key of group_by is"),
        (lambda r: r.group_by("user").agg(), "agg needs an aggregate"),
        (lambda r: r.group_by("user").agg(n=pl.col("n").sum()), "is no aggregate"),
    ],
    ids=range(10),
)
def test_a_call_that_makes_no_sense_is_refused_at_its_line(
    rows: Frame, call: Any, what: str
) -> None:
    with pytest.raises(TopologyError, match=what) as caught:
        call(rows)
    assert caught.value.message.startswith(__file__)


def test_json_is_written_where_nothing_is_said(app: Topology, rows: Frame) -> None:
    rows.write.kafka("out")
    (sink,) = app.plan().sinks
    assert (sink.format, sink.key, sink.mode) == (Json(), None, "append")
