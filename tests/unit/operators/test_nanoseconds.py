"""Times in nanoseconds, all the way through a topology."""

from __future__ import annotations

import polars as pl
import pytest

from processor import Json, Topology
from processor import functions as F
from processor.testing import Crash, TestDriver

KIND = pl.Datetime("ns")
FORM = Json({"at": KIND, "k": pl.Int64})
NS = "2014-08-01T00:00:00.000000001"


def sent(*times: str, key: int = 1) -> list[dict[str, object]]:
    return [{"at": at, "k": key} for at in times]


def test_the_least_and_the_largest_keep_their_nanoseconds_through_a_crash() -> None:
    topology = Topology("t")
    rows = topology.read.kafka("in", format=FORM, partitioned_by="k")
    groups = rows.group_by("k").agg(first=F.min("at"), last=F.max("at"))
    groups.write.kafka("out", mode="update", key="k")
    driver = TestDriver(topology)
    driver.feed(sent(NS, "1677-09-21T00:12:43.145224193"))
    driver.run()
    driver.feed(sent("2262-04-11T23:47:16.854775807"))
    driver.crash_at("before:commit")
    with pytest.raises(Crash):
        driver.run()
    driver.restart()
    driver.run()
    assert driver.json("out") == [
        {"k": 1, "first": "1677-09-21T00:12:43.145224193", "last": NS},
        {
            "k": 1,
            "first": "1677-09-21T00:12:43.145224193",
            "last": "2262-04-11T23:47:16.854775807",
        },
    ]


def test_a_group_is_of_one_nanosecond_where_they_are_keys() -> None:
    topology = Topology("t")
    rows = topology.read.kafka("in", format=FORM, partitioned_by="at")
    rows.group_by("at").agg(n=F.count()).write.kafka("out", mode="update")
    driver = TestDriver(topology)
    driver.feed(sent(NS, NS, NS.replace("1", "2")[:-1] + "2"))
    driver.run()
    assert sorted(row["n"] for row in driver.json("out")) == [1, 2]
    assert {"at": NS, "n": 2} in driver.json("out")


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_as_event_times_they_count_to_the_microsecond_and_stay_as_they_are(
    zone: str | None,
) -> None:
    topology = Topology("t")
    form = Json({"at": pl.Datetime("ns", zone), "k": pl.Int64})
    rows = topology.read.kafka("in", format=form, event_time="at").with_watermark("0 s")
    rows.write.kafka("out", format=form)
    offset = "" if zone is None else "+02:00"
    driver = TestDriver(topology)
    at = "2014-08-01T00:00:00.00000"
    driver.feed(sent(*(f"{at}{end}{offset}" for end in ("1999", "1000", "0999", "2000", "1999"))))
    driver.run()
    found = [row["at"] for row in driver.json("out")]
    assert found == [f"{at}{end}{offset}" for end in ("1999", "1", "2")]
    assert sum(report.late for report in driver.reports) == 2


def test_a_window_has_what_is_in_it_to_the_last_nanosecond() -> None:
    topology = Topology("t")
    rows = topology.read.kafka("in", format=FORM, event_time="at", partitioned_by="k")
    groups = rows.with_watermark("1 day").group_by(F.window("at", "1 s"), "k")
    groups.agg(n=F.count()).write.kafka("out", mode="update")
    driver = TestDriver(topology)
    # Times before 1970 as well: a division cuts these off to the other side.
    for day in ("1969-07-20", "2014-08-01"):
        driver.feed(sent(f"{day}T00:00:00", f"{day}T00:00:00.999999999", f"{day}T00:00:01"))
    driver.run()
    found = {(row["window_start"], row["n"]) for row in driver.json("out")}
    assert found == {
        ("1969-07-20T00:00:00", 2), ("1969-07-20T00:00:01", 1),
        ("2014-08-01T00:00:00", 2), ("2014-08-01T00:00:01", 1),
    }  # fmt: skip


def test_a_time_that_nanoseconds_have_no_room_for_is_a_dead_letter() -> None:
    topology = Topology("t")
    topology.read.kafka("in", format=FORM, event_time="at").write.kafka("out", format=FORM)
    driver = TestDriver(topology)
    driver.feed(sent("1677-09-21T00:12:43.145224191", "2262-04-11T23:47:16.854775808", NS))
    driver.run()
    assert [row["at"] for row in driver.json("out")] == [NS]
    told = [dict(letter.headers())["processor.error"] for letter in driver.dead_letters()]
    assert len(told) == 2
    for reason in told:
        assert reason.endswith(b"has no place in nanoseconds, which end in 1677 and 2262")


def test_a_group_that_is_set_aside_shows_what_python_has_no_room_for() -> None:
    topology = Topology("t")
    form = Json({"at": KIND, "k": pl.Int64, "took": pl.Duration("ms")})
    rows = topology.read.kafka("in", format=form, partitioned_by="k")
    groups = rows.group_by("k").agg(last=F.max("at"), most=F.max("took"))
    refused = groups.with_columns(n=pl.col("last").dt.to_string("x").cast(pl.Int64))
    refused.write.kafka("out", mode="update")
    driver = TestDriver(topology)
    driver.feed([{"at": NS, "k": 1, "took": "P106751991167DT7H12M55.807S"}])
    driver.run()
    (letter,) = driver.dead_letters()
    assert b"00:00:00.000000001" in letter.value()
    assert b'"P106751991167DT7H12M55.807S"' in letter.value()
