from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from processor import Json, Topology, TopologyError
from processor import functions as F
from processor.errors import SinkError
from processor.model.log import TopicPartition
from processor.sinks.tables import Tables
from processor.testing import TestDriver

TASKS = [TopicPartition("in", number) for number in range(2)]


def topology(mode: Any) -> Topology:
    app = Topology("app")
    rows = app.read.kafka(
        "in", format=Json({"user": pl.String, "n": pl.Int64}), partitioned_by="user"
    )
    totals = rows if mode == "append" else rows.group_by("user").agg(n=F.sum("n"))
    totals.write.memory("t", mode=mode)
    return app


def frame(*rows: tuple[str, int]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), {"user": pl.String, "n": pl.Int64}, orient="row")


def test_each_mode_keeps_what_it_means() -> None:
    for mode, wanted in {
        "append": [("ann", 1), ("bob", 2), ("ann", 3), ("eve", 4)],
        "update": [("bob", 2), ("ann", 3), ("eve", 4)],
        "complete": [("ann", 3), ("eve", 4)],
    }.items():
        tables = Tables([topology(mode).plan()])
        assert tables.table("t").schema == {"user": pl.String, "n": pl.Int64}
        tables.show("table:t", TASKS[0], frame(("ann", 1), ("bob", 2)))
        tables.show("table:t", TASKS[0], frame(("ann", 3)))
        tables.show("table:t", TASKS[1], frame(("eve", 4)))
        assert tables.table("t").sort("n").rows() == wanted


def test_many_batches_are_kept_as_few_pieces() -> None:
    tables = Tables([topology("append").plan()])
    for number in range(300):
        tables.show("table:t", TASKS[0], frame(("ann", number)))
    assert tables.table("t")["n"].to_list() == [*range(300)]
    assert len(tables._tables["t"].parts[None]) < 100


def test_a_total_has_one_row() -> None:
    app = Topology("app")
    rows = app.read.kafka("in", format=Json({"n": pl.Int64}))
    rows.agg(n=F.sum("n")).write.memory("t", mode="update")
    driver = TestDriver(app, partitions=2, batch_records_max=1)
    driver.feed([{"n": n} for n in range(5)])
    driver.run()
    assert driver.table("t").rows() == [(10,)]
    assert driver.sql("select n + 1 as m from t").rows() == [(11,)]


def test_what_is_not_there_is_told_with_what_is() -> None:
    tables = Tables([topology("append").plan()])
    with pytest.raises(SinkError, match="no table 'tt'") as caught:
        tables.table("tt")
    assert "did you mean 't'?" in caught.value.remedy
    for query in ("select * from totals", "selekt", "select x from t"):
        with pytest.raises(SinkError, match="SQL: ") as caught:
            tables.sql(query)
        assert "'t'" in caught.value.remedy


@pytest.mark.parametrize("query", ["select user from t", "select t.user, n from t"])
def test_a_column_with_a_name_that_sql_has_itself_is_told_to_be_quoted(query: str) -> None:
    app = Topology("app")
    rows = app.read.kafka("in", format=Json({"user": pl.String}))
    rows.group_by("user").agg(n=F.count()).write.memory("t", mode="update")
    driver = TestDriver(app)
    driver.feed([{"user": "ann"}])
    driver.run()
    with pytest.raises(SinkError, match="SQL: ") as caught:
        driver.sql(query)
    assert caught.value.remedy.startswith("write \"user\": a word of SQL; the tables are 't'")
    assert driver.sql(query.replace("user", '"user"')).item(0, 0) == "ann"


def test_a_table_has_a_name_that_sql_can_have_and_one_place_in_a_topology() -> None:
    rows = Topology("app").read.kafka("in", format=Json({"n": pl.Int64}))
    with pytest.raises(TopologyError, match="cannot be a table"):
        rows.write.memory("my table")
    with pytest.raises(TopologyError, match="the table's name"):
        rows.write.memory(7)  # type: ignore[arg-type]
    rows.write.memory("t")
    rows.write.memory("t")
    with pytest.raises(TopologyError, match="written a second time"):
        rows._topology.plan()
