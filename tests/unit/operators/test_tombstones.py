"""Records without a value: bad, or passed over where the source says so."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest

from processor import (
    Arrow,
    Avro,
    Csv,
    Debezium,
    Json,
    JsonSchema,
    Registered,
    Text,
    Topology,
    TopologyError,
)
from processor import functions as F
from processor.cli.verify import verified
from processor.plan.fingerprint import identity
from processor.testing import TestDriver

SCHEMA = {"type": "record", "name": "R", "fields": [{"name": "n", "type": "long"}]}
FORMS = {
    "json": Json({"n": pl.Int64}),
    "csv": Csv({"n": pl.Int64}),
    "avro": Avro(SCHEMA),
    "registered": Registered(Avro(SCHEMA)),
    "json schema": JsonSchema({"type": "object", "properties": {"n": {"type": "integer"}}}),
    "arrow": Arrow({"n": pl.Int64}),
}


def copied(form, **reading) -> Topology:
    topology = Topology("copied")
    topology.read.kafka("in", format=form, **reading).select("n").write.kafka("out")
    return topology


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_they_are_passed_over_where_the_source_says_so(form) -> None:
    driver = TestDriver(copied(form, tombstones="pass"))
    row = b"7" if isinstance(form, Csv) else {"n": 7}
    driver.feed([None, row, None, b"\xff", row, None])
    driver.run()
    assert driver.json("out") == [{"n": 7}, {"n": 7}]
    assert [letter.value() for letter in driver.dead_letters()] == [b"\xff"]
    assert sum(report.filtered for report in driver.reports) == 3


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_else_they_are_bad(form) -> None:
    driver = TestDriver(copied(form))
    driver.feed([None])
    driver.run()
    (letter,) = driver.dead_letters()
    assert letter.value() is None


def test_a_format_that_makes_a_row_of_them_keeps_it() -> None:
    topology = Topology("kept")
    rows = topology.read.kafka("in", format=Text(tombstones=True), tombstones="pass")
    rows.write.kafka("out", format=Text(tombstones=True))
    driver = TestDriver(topology)
    driver.feed([None, "a"])
    driver.run()
    assert driver.values("out") == [None, b"a"]
    events = Topology("events")
    form = Debezium({"id": pl.Int64}, tombstones="row")
    events.read.kafka("in", format=form, tombstones="pass").select("op").write.kafka("out")
    driver = TestDriver(events)
    driver.feed([None])
    driver.run()
    assert driver.json("out") == [{"op": "tombstone"}]


def test_totals_with_keys_and_times_do_not_see_them_and_verify_agrees() -> None:
    topology = Topology("totals")
    rows = topology.read.kafka(
        "in", format=Json({"n": pl.Int64, "at": pl.Datetime("us")}), event_time="at",
        key="k", partitioned_by="k", tombstones="pass",
    ).with_watermark("1 minute")  # fmt: skip
    totals = rows.group_by(F.window("at", "1 hour"), "k").agg(n=F.sum("n"), c=F.count())
    totals.write.kafka("out", key="k", mode="update")
    driver = TestDriver(topology, batch_records_max=2)
    row = {"n": 2, "at": "2026-05-01T09:10:00"}
    driver.feed([row, None, row, None, None, row], key="a")
    driver.run()
    assert driver.json("out")[-1] | {"window_start": 0, "window_end": 0} == {
        "window_start": 0, "window_end": 0, "k": "a", "n": 6, "c": 3,
    }  # fmt: skip
    assert driver.dead_letters() == []
    assert not verified(driver.plan, driver.log).findings


def test_change_events_in_avro_are_read_by_the_connectors_schema() -> None:
    item = {
        "type": "record", "name": "Value", "namespace": "shop.public.items",
        "fields": [
            {"name": "id", "type": "long"},
            {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 6,
                                       "scale": 2, "connect.name": "o.a.k.c.d.Decimal"}},
            {"name": "sold", "type": ["null", {"type": "long", "connect.version": 1,
                "connect.name": "io.debezium.time.MicroTimestamp"}], "default": None},
        ],
    }  # fmt: skip
    envelope = {
        "type": "record", "name": "Envelope", "namespace": "shop.public.items",
        "fields": [
            {"name": "before", "type": ["null", item], "default": None},
            {"name": "after", "type": ["null", "Value"], "default": None},
            {"name": "op", "type": "string"},
            {"name": "ts_ms", "type": ["null", "long"], "default": None},
        ],
    }  # fmt: skip
    topology = Topology("items")
    rows = topology.read.kafka("in", format=Registered(Avro(envelope)), tombstones="pass")
    after = pl.col("after").struct
    rows.filter(pl.col("op") != "d").select(
        id=after.field("id"),
        price=after.field("price"),
        sold=pl.from_epoch(after.field("sold"), "us"),
    ).write.kafka("out")
    driver = TestDriver(topology)
    row = {"id": 7, "price": Decimal("5.00"), "sold": 1_777_626_600_000_000}
    event = {"before": None, "after": row, "op": "c", "ts_ms": 1}
    driver.feed([event, {**event, "before": row, "after": None, "op": "d"}, None])
    driver.run()
    assert driver.json("out") == [{"id": 7, "price": "5.00", "sold": "2026-05-01T09:10:00"}]
    assert driver.dead_letters() == []


def test_another_choice_is_another_topology() -> None:
    one, other = (copied(FORMS["json"], tombstones=t).plan() for t in ("bad", "pass"))
    assert identity(one) != identity(other)


@pytest.mark.parametrize("choice", ["row", True, None])
def test_a_word_that_is_none_is_refused(choice) -> None:
    with pytest.raises(TopologyError, match='say "bad" or "pass"'):
        copied(FORMS["json"], tombstones=choice)
