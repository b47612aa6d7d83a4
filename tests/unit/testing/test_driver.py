import re
from pathlib import Path

import polars as pl
import pytest

import processor
from processor import Json, Text, Topology
from processor import functions as F
from processor.errors import ProcessorError
from processor.testing import Crash, TestDriver
from processor.testing.steps import STEPS
from tests.topologies import ride, rides, stateless, totals, windowed


def test_a_fed_record_comes_out():
    driver = TestDriver(stateless())
    driver.feed([ride(1)])
    driver.run()
    assert driver.json("out") == [{"k": "k1", "t": "2024-01-01T00:01:00", "n": 1, "twice": 2}]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_ends_when_all_is_through_however_many_polls_a_batch_takes(workers):
    driver = TestDriver(stateless(), workers=workers, partitions=2)
    driver.feed([ride(n % 50) for n in range(30_000)])
    driver.run()
    assert len(driver.values("out")) == 30_000


@pytest.mark.parametrize("one", ["text", b"bytes", {"n": 1}])
def test_a_record_by_itself_is_no_list_of_records(one):
    with pytest.raises(ProcessorError, match="feed takes a list of records") as caught:
        TestDriver(stateless()).feed(one)
    assert caught.value.remedy == "put it into a list: feed([record])"


def test_running_on_nothing_ends():
    driver = TestDriver(totals(), workers=3, partitions=2)
    driver.run()
    assert driver.values("out") == []


def test_what_cannot_be_read_is_a_dead_letter_with_its_origin_and_its_neighbours_pass():
    driver = TestDriver(stateless())
    driver.feed([ride(1), "nonsense", ride(2)], key="key")
    driver.run()
    (letter,) = driver.dead_letters()
    headers = dict(letter.headers())
    assert letter.value() == b"nonsense"
    assert letter.key() == b"key"
    assert headers["processor.topic"] == b"rides"
    assert headers["processor.offset"] == b"1"
    assert headers["processor.stage"] == b"copy/decode"
    assert b"no JSON" in headers["processor.error"]
    assert [r["n"] for r in driver.json("out")] == [1, 2]


def test_dead_letters_go_to_the_input_again_each_once_and_tell_how_often():
    driver = TestDriver(stateless())
    driver.feed([ride(1), "nonsense", "no sense"], key="key", headers={"trace": "t"})
    for times in range(4):
        driver.run()
        assert len(driver.dead_letters()) == 2 * (times + 1)
        told = [dict(letter.headers()) for letter in driver.dead_letters()[-2:]]
        wanted = b"%d" % times if times else None
        assert [one.get("processor.redriven") for one in told] == [wanted, wanted]
        assert [one["trace"] for one in told] == [b"t", b"t"]
        assert driver.redrive(error="no JSON").sent == (2 if times < 3 else 0)
        assert driver.redrive().sent == 0
    assert driver.redrive().stays == {"attempts": 2}
    assert len(driver.values("out")) == 1


def test_a_crash_leaves_what_a_killed_process_leaves():
    driver = TestDriver(totals())
    driver.feed([ride(1)])
    driver.crash_at("before:commit")
    with pytest.raises(Crash, match="worker 0 at before:commit"):
        driver.run()
    assert driver.values("out") == []
    driver.restart()
    driver.run()
    assert len(driver.values("out")) == 1


def test_a_joining_worker_takes_its_share_with_the_state_and_gives_it_back():
    driver = TestDriver(totals(), partitions=4)
    for number in range(40):
        driver.feed([ride(number)], key=f"k{number % 5}")
    driver.run()
    before = driver.state()
    driver.restart(1)
    driver.run()
    assert len(driver.owned(0)) == len(driver.owned(1)) == 2
    assert driver.state() == before
    driver.stop(1)
    driver.run()
    assert len(driver.owned(0)) == 4
    assert driver.state() == before


def test_a_window_closes_when_its_own_partition_has_moved_on():
    driver = TestDriver(windowed(mode="append", delay="0 s"))
    driver.feed([ride(n) for n in range(61)])
    driver.run()
    assert {r["k"]: r["n"] for r in driver.json("out")} == {f"k{i}": 12 for i in range(5)}
    (operators,) = driver.state().values()
    assert len(operators["aggregate-0"]) == 1


def test_reports_tell_what_a_batch_did():
    driver = TestDriver(totals(), batch_records_max=2)
    driver.feed([ride(1), ride(2), "bad"])
    driver.run()
    assert [(r.records_in, r.records_out, r.dead_lettered) for r in driver.reports] == [
        (2, 2, 0),
        (1, 0, 1),
    ]
    assert driver.reports[-1].state_rows == 2


@pytest.mark.parametrize("step", ["before:produce", "before:commit", "after:commit"])
def test_late_records_go_to_their_topic_once_in_the_batch_that_found_them(step):
    driver = TestDriver(windowed(delay="5 minutes", late="behind"), batch_records_max=10)
    driver.feed([ride(100), ride(94), "bad", ride(95), ride(96), ride(7)], key="same")
    driver.crash_at(step)
    with pytest.raises(Crash):
        driver.run()
    driver.restart()
    driver.run()
    found = driver.read("behind")
    assert [message.value() for message in found] == [driver.values("rides")[i] for i in (1, 5)]
    assert {message.key() for message in found} == {b"same"}
    headers = [dict(message.headers()) for message in found]
    assert [h["processor.offset"] for h in headers] == [b"1", b"5"]
    assert [h["processor.behind"] for h in headers] == [b"360.0", b"5580.0"]
    assert {h["processor.topic"] for h in headers} == {b"rides"}


def test_the_numbers_of_a_report_add_up():
    topology, frame = rides("adding")
    kept = frame.with_watermark("5 minutes", late="behind").filter(pl.col("n") > 10)
    kept.write.kafka("out")
    driver = TestDriver(topology, batch_records_max=3)
    driver.feed([ride(100), ride(94), "bad", ride(98), ride(7), ride(99), {**ride(101), "n": 1}])
    driver.run()
    for r in driver.reports:
        gone = r.filtered + r.late + r.dead_lettered + r.skipped
        assert r.records_in == r.contributed + gone
        assert r.records_out == r.contributed
        assert r.log_fields()["contributed"] == r.contributed
    assert [sum(getattr(r, n) for r in driver.reports) for n in ("contributed", "filtered", "late",
            "dead_lettered")] == [3, 1, 2, 1]  # fmt: skip


def test_a_topic_that_no_stage_reads_cannot_be_fed():
    driver = TestDriver(stateless())
    with pytest.raises(ProcessorError, match="no stage reads 'nope'"):
        driver.feed(["x"], topic="nope")


def test_which_of_several_topics_to_feed_has_to_be_said():
    topology = Topology("both")
    first, second = (topology.read.kafka(name, format=Text()) for name in ("left", "right"))
    first.union(second).write.kafka("out", format=Text())
    driver = TestDriver(topology)
    with pytest.raises(ProcessorError, match="which to feed is not said") as told:
        driver.feed(["x"])
    assert told.value.remedy == "feed(..., topic=...): one of left, right"
    driver.feed(["x"], topic="right")
    driver.run()
    assert driver.values("out") == [b"x"]


def test_a_topic_that_the_topology_writes_itself_is_not_meant_when_no_topic_is_said():
    topology = Topology("chain")
    topology.read.kafka("a", format=Text()).write.kafka("b", format=Text())
    topology.read.kafka("b", format=Text()).write.kafka("c", format=Text())
    driver = TestDriver(topology)
    driver.feed(["x"])
    driver.run()
    assert driver.values("c") == [b"x"]


def test_a_step_that_no_worker_comes_to_is_refused_where_it_is_asked_for():
    driver = TestDriver(stateless())
    with pytest.raises(ProcessorError, match="no worker comes to the step 'before:comit'") as told:
        driver.crash_at("before:comit")
    assert "before:commit" in told.value.remedy
    with pytest.raises(ProcessorError, match="no worker comes to the step"):
        driver.pause_at("commit", 0, driver.run)


def test_every_step_that_the_engine_comes_to_can_be_asked_for():
    root = Path(processor.__file__).parent
    code = "".join(
        path.read_text()
        for room in ("engine/commit", "engine/restore", "engine/running", "feeds")
        for path in (root / room).glob("*.py")
    )
    found = set(re.findall(r'probe\("([^"]+)"\)', code))
    assert len(found) > 15
    assert found <= STEPS


def test_a_worker_or_a_stage_that_there_is_not_is_told_with_those_that_there_are():
    topology = Topology("spend")
    rows = topology.read.kafka("in", format=Json({"user": pl.String}))
    rows.group_by("user").agg(n=F.count()).write.kafka("out", mode="update")
    driver = TestDriver(topology)
    with pytest.raises(ProcessorError, match=r"no worker \('by-usr', 0\) is at work") as told:
        driver.turn(("by-usr", 0))
    assert told.value.remedy.endswith("at work are 0, ('by-user', 0)")
    with pytest.raises(ProcessorError, match="no stage is called 'by-usr'") as told:
        driver.restart(("by-usr", 0))
    assert told.value.remedy == "there are: spend, by-user"
