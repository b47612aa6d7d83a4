"""What a longer delay would have saved; a run with that delay agrees."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from click.testing import CliRunner

from processor import Json, Text, Topology, app
from processor import functions as F
from processor.cli.late import looked_at
from processor.cli.main import cli
from processor.connectors.partitioner import partition as partition_of
from processor.errors import SettingsError
from processor.model.log import TopicPartition
from processor.testing import TestDriver
from tests.golden.data import uber
from tests.topologies import ride, rides, stateless, windowed
from topologies.uber import popular

SHIFTS = (0, 0, 3, 0, 40, 7, 0, 90, 0, 100, 12, 61)
WINDOWED = "from tests.topologies import windowed\ntopology = windowed(delay='5 minutes')\n"


def fed(topology):
    driver = TestDriver(topology, partitions=2, batch_records_max=9)
    for number in range(200):
        shift = SHIFTS[number % 12] if number > 100 else 0
        driver.feed([ride(number - shift, keys=7)], key=f"k{(number - shift) % 7}")
    driver.feed(["bad", '{"k":"k1"}'])
    return driver


def hours(driver):
    """The windows and keys of the late records of a run."""
    rows = [json.loads(message.value()) for message in driver.read("behind")]
    return {(row["k"], row["t"][:13]) for row in rows}


def test_a_run_with_a_delay_agrees_with_what_was_predicted():
    known, notes = looked_at(windowed().plan(), fed(windowed()).log)
    assert notes == []
    assert known.records == 200
    seen = set()
    for minutes in (0, 1, 3, 7, 11, 12, 40, 60, 61, 89, 90, 100):
        driver = fed(windowed(late="behind", delay=f"{minutes} minutes"))
        driver.run()
        loss = known.loss(timedelta(minutes=minutes))
        assert loss.late == sum(report.late for report in driver.reports)
        assert loss.late == len(driver.read("behind"))
        assert loss.windows == len(hours(driver))
        seen.add(loss.late)
    assert len(seen) > 5


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 1.0])
def test_the_delay_that_saves_a_share_is_the_shortest_one(share):
    known, _ = looked_at(windowed().plan(), fed(windowed()).log)
    base = timedelta(minutes=5)
    lost = known.loss(base).late
    delay = known.saving(share, base)
    assert known.loss(delay).late <= lost * (1 - share) + 1e-9
    assert known.loss(delay - timedelta(microseconds=1)).late > lost * (1 - share)


def test_keys_and_filters_on_the_way_to_the_aggregate_are_followed():
    topology, frame = rides("derived")
    frame = frame.with_watermark("1 minute", late="behind").filter(pl.col("n") % 2 == 0)
    grouped = frame.with_columns(odd=pl.col("n") % 3).select("k", "t", "odd")
    grouped.group_by(F.window("t", "1 hour"), "k", "odd").agg(n=F.count()).write.kafka(
        "out", key="k", mode="update"
    )
    driver = fed(topology)
    driver.run()
    rows = [json.loads(message.value()) for message in driver.read("behind")]
    known, _ = looked_at(topology.plan(), driver.log)
    loss = known.loss(timedelta(minutes=1))
    assert loss.late == len(rows)
    assert loss.windows == len({(r["k"], r["n"] % 3, r["t"][:13]) for r in rows if r["n"] % 2 == 0})


def test_without_windows_records_are_counted_and_without_late_ones_nothing_is_lost():
    known, _ = looked_at(stateless().plan(), fed(stateless()).log)
    assert known.loss(timedelta(0)).windows is None
    driver = TestDriver(windowed())
    driver.feed([ride(1), ride(2)])
    known, _ = looked_at(windowed().plan(), driver.log)
    assert known.loss(timedelta(0)).late == known.loss(timedelta(0)).windows == 0
    assert known.saving(1.0, timedelta(hours=1)) == timedelta(hours=1)


def test_what_is_gone_is_said():
    driver = fed(windowed())
    where = TopicPartition("rides", partition_of(b"k1", 2))
    driver.log.trim(where, 3)
    _, (note,) = looked_at(windowed().plan(), driver.log)
    assert str(where) in note


def test_without_event_times_there_is_nothing_to_tell():
    topology = Topology("copy")
    topology.read.kafka("in", format=Text()).write.kafka("out", format=Text())
    driver = TestDriver(topology)
    with pytest.raises(SettingsError, match="no event times"):
        looked_at(driver.plan, driver.log)


def test_real_trips_are_as_late_as_was_predicted():
    """Trips of a month by cluster: the latest is a day and more behind."""
    lines = uber("uber-2014-08-clustered.jsonl").read_bytes().splitlines()

    def trips(delay):
        topology = Topology("trips")
        frame = topology.read.kafka(
            "trips", format=popular.TRIP, event_time="dt", partitioned_by="cluster"
        )
        grouped = frame.with_watermark(delay, late="behind").group_by(
            F.window("dt", "1 hour"), "cluster"
        )
        grouped.agg(n=F.count()).write.kafka("out", key="cluster", mode="update")
        driver = TestDriver(topology, partitions=4, batch_records_max=7_000)
        keys = [str(json.loads(line)["cluster"]).encode() for line in lines]
        driver.log.feed("trips", lines, keys)
        return driver

    first, base = trips("10 hours"), timedelta(hours=10)
    known, _ = looked_at(first.plan, first.log)
    assert known.behind[-1] / 3.6e9 > 24
    assert known.loss(base).late > known.loss(known.saving(0.9, base)).late > 0
    for delay in (base, known.saving(0.9, base), known.saving(1.0, base)):
        driver = trips(delay)
        driver.run()
        loss = known.loss(delay)
        late = [json.loads(message.value()) for message in driver.read("behind")]
        assert loss.late == len(late) == sum(report.late for report in driver.reports)
        assert loss.windows == len({(row["cluster"], row["dt"][:13]) for row in late})
    assert loss.late == 0


@pytest.fixture
def command(tmp_path, monkeypatch):
    (tmp_path / "late_in_a_test.py").write_text(WINDOWED)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    driver = fed(windowed())
    monkeypatch.setattr(app, "reading", lambda _: driver.log)
    yield lambda *options: CliRunner().invoke(cli, ["late", "late_in_a_test", *options])
    sys.modules.pop("late_in_a_test", None)


def test_the_table_has_the_topologys_own_delay_and_those_that_save(command):
    done = command("--delays", "1h,2h")
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert "200 records" in lines[0]
    assert [line.split()[0] for line in lines[1:5]] == ["delay", "5m", "1h", "2h"]
    assert "(the topology's)" in lines[2]
    assert [line.split(":")[0].split()[2] for line in lines[5:]] == [
        "90.0%", "99.0%", "99.9%", "100.0%",
    ]  # fmt: skip
    assert "(0 stay late)" in lines[-1]


def test_json_has_the_same(command):
    told = json.loads(command("--json", "--delays", "1h").output)
    assert told["delay_s"] == 300
    assert [row["delay_s"] for row in told["delays"]] == [300, 3600]
    assert told["late"] == told["delays"][0]["late"] > told["delays"][1]["late"]
    assert told["to_save"][-1]["late"] == 0


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_without_a_watermark_nothing_is_lost_and_nothing_to_be_saved(command, tmp_path, form):
    (tmp_path / "late_in_a_test.py").write_text(
        "from processor import functions as F\n"
        "from tests.topologies import rides\n"
        "topology, rows = rides('hours')\n"
        "groups = rows.group_by(F.window('t', '1 hour'), 'k').agg(n=F.count())\n"
        "groups.write.kafka('out', key='k', mode='update')\n"
    )
    done = command("--delays", "1h", *form)
    assert done.exit_code == 0, done.output
    assert "has no watermark, so nothing is late" in done.output
    assert "to save" not in done.output
    assert '"to_save":[]' in done.output or not form


def test_a_stage_without_windows_says_that_it_cannot_tell_which_are_hurt(command, tmp_path):
    (tmp_path / "late_in_a_test.py").write_text(
        "from tests.topologies import rides\n"
        "topology, rows = rides('copy')\n"
        "rows.with_watermark('5 minutes').write.kafka('out')\n"
    )
    done = command("--delays", "1h")
    assert done.exit_code == 0, done.output
    assert "which windows would miss some is not known here" in done.output


def test_a_delay_that_is_none_is_refused(command):
    done = command("--delays", "soon")
    assert done.exit_code == 2
    assert "--delays" in done.output


def priced(delay):
    topology = Topology("priced")
    form = Json({"k": pl.String, "price": pl.String, "at": pl.Datetime("us")})
    rows = topology.read.kafka("in", format=form, event_time="at", partitioned_by="k")
    rows = rows.with_watermark(f"{delay} minutes", ahead="1 day", late="behind")
    rows = rows.with_columns(p=pl.col("price").cast(pl.Float64))
    totals = rows.group_by("k", F.window("at", "10 minutes")).agg(s=F.sum("p"))
    totals.write.kafka("out", key="k")
    return topology


def test_records_that_a_run_sets_aside_say_nothing_of_the_time_here_either():
    minutes = "00 20! 10 06 04 01! 25 24! 60! 03 26 22! 15"

    def filled(delay):
        driver = TestDriver(priced(delay), batch_records_max=4)
        written = datetime.fromtimestamp(driver.clock.now_ms() / 1000, UTC)
        # The last one has a clock that is two days ahead.
        for text in [*minutes.split(), str(2 * 24 * 60)]:
            at = written + timedelta(minutes=int(text.rstrip("!")))
            price = "n/a" if text.endswith("!") else "1.5"
            driver.feed([{"k": "a", "price": price, "at": at.isoformat()}], key="a")
        return driver

    known, _ = looked_at(priced(5).plan(), filled(5).log)
    predicted, counted = [], []
    for delay in (0, 3, 5, 6, 10, 20, 24, 60):
        driver = filled(delay)
        driver.run()
        loss = known.loss(timedelta(minutes=delay))
        predicted.append(loss.late)
        counted.append(sum(report.late for report in driver.reports))
    assert predicted == counted
    assert counted[0] > counted[2] > counted[-1] == 0
