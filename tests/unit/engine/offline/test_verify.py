"""What was published is compared with what the input makes."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import polars as pl
import pytest

from processor import Csv, Json, Topology
from processor import functions as F
from processor.cli.verify import verified
from processor.connectors.partitioner import partition as partition_of
from processor.engine.offline import span, verify
from processor.engine.offline.reset import reset as carry_out
from processor.engine.offline.reset import resets
from processor.errors import SettingsError
from processor.model.log import TopicPartition
from processor.model.manifest import Manifest
from processor.operators.pipeline import Pipeline
from processor.testing import TestDriver
from tests.topologies import ride, rides, stateless, totals, windowed


def ran(topology, *, count=60, partitions=3, more=(), size=7):
    driver = TestDriver(topology, partitions=partitions, batch_records_max=size)
    for number in range(count):
        driver.feed([ride(number)], key=f"k{number % 5}")
    for record in more:
        driver.feed([record], key="k1")
    driver.run()
    return driver


def judged(driver, from_=None, to=None):
    return verified(driver.plan, driver.log, from_, to)


def float_sums():
    topology = Topology("sums")
    form = Json({"k": pl.String, "x": pl.Float64})
    frame = topology.read.kafka("rides", format=form, partitioned_by="k", dead_letters="dead")
    grouped = frame.group_by("k").agg(s=F.sum("x"), m=F.mean("x"))
    line = Csv({"k": pl.String, "s": pl.Float64, "m": pl.Float64})
    grouped.write.kafka("out", key="k", mode="update", format=line)
    return topology


ALL = {
    "stateless": stateless,
    "totals": totals,
    "update": windowed,
    "append": lambda: windowed(mode="append", delay="0 s"),
    "complete": lambda: windowed(mode="complete"),
    "late": lambda: windowed(late="behind", delay="1 minute"),
}


@pytest.mark.parametrize("name", ALL)
def test_what_a_run_left_is_right(name):
    driver = ran(ALL[name](), count=150, more=["bad", ride(3), "{}"])
    report = judged(driver)
    assert report.findings == []
    # The ride among those that are fed last lies elsewhere than its key, and that is told.
    told = ["by murmur2 of that text" in note for note in report.notes]
    assert told == [True] * (name != "stateless")
    assert report.recomputed == 153
    assert report.compared >= len(driver.read("out"))


def test_a_run_of_many_batches_workers_and_crashes_is_right():
    driver = TestDriver(totals(), partitions=3, workers=2, batch_records_max=5)
    for number in range(60):
        driver.feed([ride(number)], key=f"k{number % 5}")
    driver.crash_at("before:commit")
    with pytest.raises(BaseException, match="before:commit"):
        driver.run()
    driver.restart()
    driver.run()
    assert judged(driver).findings == []


@pytest.mark.parametrize("name", ALL)
def test_a_planted_duplicate_is_found_at_its_place(name):
    driver = ran(ALL[name](), count=150)
    last = max(driver.read("out"), key=lambda m: (m.partition() == 1, m.offset()))
    driver.log.feed("out", [last.value()], [last.key()], partition=last.partition())
    report = judged(driver)
    if name == "complete":  # says all groups again and again
        assert report.findings == []
        return
    (finding,) = report.findings
    assert finding.kind == "duplicate"
    assert (finding.topic, finding.partition) == ("out", last.partition())
    assert finding.offset == max(
        m.offset() for m in driver.read("out") if m.partition() == last.partition()
    )


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "value", [b"junk", b'{"k":"k1","n":1234,"total":5}', b"[]", b'{"k":[1],"t":{}}', b"\xff", None]
)
def test_a_planted_wrong_output_is_found_at_its_place(name, value):
    driver = ran(ALL[name](), count=150)
    where = partition_of(b"k1", 3)
    driver.log.feed("out", [value], [b"k1"], partition=where)
    offset = max(m.offset() for m in driver.read("out") if m.partition() == where)
    (finding,) = judged(driver).findings
    assert (finding.kind, finding.topic, finding.partition) == ("wrong", "out", where)
    assert finding.offset == offset


@pytest.mark.parametrize("name", ["stateless", "totals", "append"])
def test_a_missing_output_is_told_with_its_place_and_input(name):
    driver = ran(ALL[name](), count=150)
    full = driver.read("out")
    group = full[7].key()
    gone = [m for m in full if m.key() == group] if name == "totals" else [full[7]]
    driver.log._broker.topics.pop("out")
    driver.log.create({"out": 3})
    for message in full:
        if message not in gone:
            driver.log.feed("out", [message.value()], [message.key()])
    (finding,) = judged(driver).findings
    assert (finding.kind, finding.topic, finding.offset) == ("missing", "out", None)
    assert finding.partition == gone[0].partition()
    if name == "stateless":
        row = json.loads(gone[0].value())
        (source,) = [m for m in driver.read("rides") if json.loads(m.value())["n"] == row["n"]]
        assert finding.origin == f"rides[{source.partition()}] offset {source.offset()}"


def test_an_older_count_that_comes_last_is_wrong():
    driver = ran(totals())
    first = next(m for m in driver.read("out") if m.key() == b"k2")
    driver.log.feed("out", [first.value()], [first.key()])
    (finding,) = judged(driver).findings
    assert finding.kind == "wrong"
    assert "should be k2" in finding.what


@pytest.mark.parametrize("topic", ["dead", "behind"])
def test_records_set_aside_are_there_exactly_once(topic):
    def run():
        return ran(windowed(late="behind", delay="1 minute"), more=["bad", ride(3), "x"])

    driver = run()
    found = driver.read(topic)
    one = found[0]
    driver.log.feed(
        topic, [one.value()], [one.key()], headers=[one.headers()], partition=one.partition()
    )
    driver.log.feed(topic, [b"of somebody else"])
    (finding,) = judged(driver).findings
    assert finding.kind == "duplicate"
    assert finding.topic == topic
    assert finding.origin.startswith("rides[")
    driver = run()
    driver.log._broker.topics.pop(topic)
    driver.log.create({topic: 3})
    kinds = [(f.kind, f.topic) for f in judged(driver).findings]
    assert kinds == [("missing", topic)] * len(found)


def test_an_altered_dead_letter_is_wrong():
    driver = ran(stateless(), more=["bad"])
    one = driver.read("dead")[0]
    driver.log._broker.topics.pop("dead")
    driver.log.create({"dead": 3})
    driver.log.feed("dead", [b"other"], [one.key()], headers=[one.headers()])
    (finding,) = judged(driver).findings
    assert finding.kind == "wrong"


def test_a_range_looks_for_what_is_missing_only():
    driver = ran(stateless(), partitions=1, more=["bad"])
    driver.log.feed("out", [b"surplus"])
    report = judged(driver, "20", "30")
    assert report.findings == []
    assert report.recomputed == 10
    assert any("a part of the input" in note for note in report.notes)
    driver.log._broker.topics.pop("out")
    driver.log.create({"out": 1})
    missing = judged(driver, "20", "30").findings
    assert [f.origin for f in missing] == [f"rides[0] offset {n}" for n in range(20, 30)]


def test_lateness_in_a_range_is_decided_by_all_that_came_before():
    topology, frame = rides("copy")
    frame.with_watermark("5 minutes", late="behind").write.kafka("out", key="k")
    driver = ran(topology, partitions=1, more=[ride(3), ride(58)])
    assert len(driver.read("behind")) == 1
    report = judged(driver, "60")
    assert (report.findings, report.recomputed) == ([], 2)


def test_a_range_of_times_is_that_of_the_records():
    driver = TestDriver(stateless())
    driver.feed([ride(1), ride(2)])
    driver.advance(3600)
    driver.feed([ride(3)])
    driver.run()
    # The driver's clock begins at 2096-10-02T07:06:40Z.
    assert judged(driver, "2096-10-02T08:00:00Z").recomputed == 1
    assert judged(driver, None, "2096-10-02T08:00:00").recomputed == 2
    with pytest.raises(SettingsError, match="no committed record from 2097-01-01 to now"):
        judged(driver, "2097-01-01")
    with pytest.raises(SettingsError, match="neither an offset nor a time"):
        judged(driver, "soon")


def test_state_is_recomputed_from_the_beginning_or_not_at_all():
    driver = ran(totals())
    with pytest.raises(SettingsError, match="part of the state"):
        judged(driver, "3")
    with pytest.raises(SettingsError, match="goes on behind --to"):
        judged(driver, None, "3")
    driver.log.trim(TopicPartition("rides", partition_of(b"k1", 3)), 2)
    with pytest.raises(SettingsError, match="part of the state"):
        judged(driver)


def test_state_that_did_not_begin_with_the_first_record_is_not_judged():
    driver = ran(totals(), partitions=1)
    driver.stop()
    wanted = resets(driver.plans, driver.log, driver.store, "20")
    carry_out(wanted, driver.log, driver.store)
    driver.restart()
    driver.run()
    with pytest.raises(SettingsError, match="began with nothing at offset 20"):
        judged(driver)


def test_state_is_judged_that_began_with_the_first_record_or_of_which_nothing_is_known():
    driver = ran(totals(), partitions=1)
    ((partition, head),) = driver.committed().items()
    manifest = Manifest.parse(head.metadata)

    def told(text):
        try:
            span._check_origin(driver.plan, partition, text)
        except SettingsError as error:
            return error.message.partition("that of rides[0] ")[2].partition(":")[0]
        return None

    assert told(str(manifest)) is None
    assert told(str(replace(manifest, origin=1))) == "began with nothing at offset 1"
    assert told(str(replace(manifest, origin=None))) == (
        "was dealt out anew, or taken over by a changed topology"
    )
    # One batch is enough; before the first there is no state.
    assert told(str(replace(manifest, epoch=1, origin=1))) == "began with nothing at offset 1"
    assert told(str(replace(manifest, epoch=0, origin=1))) is None
    assert told(str(replace(manifest, plan="", origin=1))) is None
    assert told("") is None


def test_windows_that_are_published_once_can_be_verified_up_to_an_offset():
    driver = ran(windowed(mode="append", delay="0 s"), count=300, partitions=1)
    assert judged(driver, None, "200").findings == []


def test_a_topic_whose_first_records_are_gone_misses_nothing():
    driver = ran(stateless(), partitions=1)
    driver.log.trim(TopicPartition("out", 0), 5)
    report = judged(driver)
    assert report.findings == []
    assert any("first records are gone" in note for note in report.notes)


def test_what_cannot_be_compared_is_said():
    topology, frame = rides("some")
    grouped = frame.group_by("k").agg(n=F.count())
    grouped.filter(pl.col("n") < 3).write.kafka("few", key="k", mode="update")
    grouped.select("n").write.kafka("bare", mode="update")
    report = judged(ran(topology))
    assert report.findings == []
    assert [note.partition(" is not compared")[0] for note in report.notes] == ["few", "bare"]


def test_sums_of_floats_may_differ_in_the_last_bits():
    driver = TestDriver(float_sums(), batch_records_max=3)
    driver.feed([{"k": "a", "x": 0.1 * n} for n in range(50)])
    driver.run()
    assert judged(driver).findings == []
    driver.log.feed("out", [b"a,122.6,2.45"], [b"a"])
    (finding,) = judged(driver).findings
    assert finding.kind == "wrong"


FLOATS = Json({"k": pl.String, "t": pl.Datetime("us"), "x": pl.Float64, "y": pl.Float64,
               "i": pl.Int64})  # fmt: skip


def floats(then=None, *, window=False, mode="update", **aggregates):
    topology = Topology("floats")
    frame = topology.read.kafka(
        "in", format=FLOATS, event_time="t", partitioned_by="k", dead_letters="dead"
    )
    if window:
        frame = frame.with_watermark("0 s")
    frame = frame.with_columns(q=pl.col("x") / pl.col("y"), x32=pl.col("x").cast(pl.Float32))
    grouped = frame.group_by(*([F.window("t", "1 hour")] if window else []), "k")
    rows = grouped.agg(**(aggregates or {"s": F.sum("x"), "m": F.mean("x"), "n": F.count()}))
    (then(rows) if then else rows).write.kafka("out", key="k", mode=mode)
    return topology


def summed(topology, numbers, size=2):
    """Ran over the numbers, or pairs of them of which the first is divided by the second."""
    driver = TestDriver(topology, batch_records_max=size)
    for at, number in enumerate(numbers):
        x, y = number if isinstance(number, tuple) else (number, 1.0)
        time = f"2024-01-01T{at // 4:02d}:00:00"
        driver.feed([{"k": "a", "t": time, "x": x, "y": y, "i": int(min(abs(x), 1e18))}], key="a")
    driver.run()
    return driver


def said(driver, **cells):
    """The kinds of findings, where these cells were in the last record that was published."""
    last = driver.read("out")[-1]
    value = json.loads(last.value()) | cells
    driver.log.feed("out", [json.dumps(value).encode()], [last.key()], partition=last.partition())
    return [finding.kind for finding in judged(driver).findings]


TENTHS = [0.1, 0.2, 0.3, -0.6]


def test_a_sum_near_nothing_is_right_in_every_order():
    for order in itertools.permutations(TENTHS):
        for size in (1, 2, 3, 4):
            assert judged(summed(floats(), order, size)).findings == []
    sums = {a + b + c + d for a, b, c, d in itertools.permutations(TENTHS)}
    assert len(sums) > 2
    for total in sums:
        driver = summed(floats(s=F.sum("x"), m=F.mean("x")), TENTHS)
        assert said(driver, s=total, m=total / 4) == []


@pytest.mark.parametrize(
    ("numbers", "cells"),
    [
        (TENTHS, {"s": 1e-14}),
        (TENTHS, {"m": 1e-14}),
        (TENTHS, {"s": None}),
        (TENTHS, {"s": "0"}),
        ([1e6, 2e6, 1e-6], {"s": 3e6}),  # the least addend is left out
        ([1e6, 2e6, 3e-6], {"m": 1e6}),
        ([3.0], {"s": 3.000000000000003}),
        ([0.0, -0.0], {"s": 5e-324}),
        ([1.0], {"s": True}),
    ],
)
def test_a_sum_that_no_order_makes_is_wrong(numbers, cells):
    assert said(summed(floats(s=F.sum("x"), m=F.mean("x")), numbers), **cells) == ["wrong"]


def test_whole_numbers_counts_and_extremes_are_exact():
    aggregates = {"n": F.count(), "i": F.sum("i"), "low": F.min("x"), "high": F.max("x")}
    numbers = [1e15, 2e15, 3.5]
    assert said(summed(floats(**aggregates), numbers)) == []
    for cells in ({"n": 3.0000000001}, {"i": 3_000_000_000_000_004}, {"low": 3.5000000001},
                  {"high": 2e15 + 0.5}):  # fmt: skip
        assert said(summed(floats(**aggregates), numbers), **cells) == ["wrong"]


def test_a_mean_of_whole_numbers_may_differ_too():
    driver = summed(floats(m=F.mean("i")), [9e15 + 1, 9e15 + 3, 9e15 + 5])
    right = json.loads(driver.read("out")[-1].value())["m"]
    assert said(driver, m=right * (1 + 2e-16)) == []
    assert said(driver, m=right * (1 + 1e-14)) == ["wrong"]


def test_narrow_fractions_are_added_as_wide_ones():
    driver = summed(floats(s=F.sum("x32")), TENTHS)
    right = json.loads(driver.read("out")[-1].value())["s"]
    assert said(driver, s=right + 1e-16) == []
    assert said(driver, s=right + 1e-12) == ["wrong"]


def test_a_column_with_another_name_is_judged_as_the_sum_that_it_is():
    def renamed(rows):
        return rows.select("k", total=pl.col("s")).select("k", sum=pl.col("total"))

    driver = summed(floats(renamed, s=F.sum("x")), TENTHS)
    assert said(driver, sum=5.6e-17) == []
    assert said(driver, sum=1e-14) == ["wrong"]


def test_a_column_made_of_sums_may_differ_by_a_part_of_itself():
    def doubled(rows):
        return rows.select("k", "n", s=pl.col("s") * 2)

    def several(rows):
        return rows.select("k", "n", pl.col("s", "m") * 2)

    for then in (doubled, several):
        driver = summed(floats(then, s=F.sum("x"), m=F.mean("x"), n=F.count()), [1.0, 2.0])
        assert said(driver, s=6.000000001) == []
        assert said(driver, s=6.00001) == ["wrong"]


@pytest.mark.parametrize(
    ("numbers", "right", "wrong"),
    [
        ([(1.0, 0.0), 2.0, 3.0], None, [5.0, 1e308]),
        ([(-1.0, 0.0), (1.0, 0.0), 2.0], None, [0.0]),
        ([(0.0, 0.0), 2.0], None, [2.0]),
        # In another order this goes through infinity: nothing can be said.
        ([1.7e308, -1.7e308, 1.7e308, 1.0], 1.7e308, []),
    ],
)
def test_what_is_no_number_or_infinite_is_right_where_it_has_to_be(numbers, right, wrong):
    topology = floats(s=F.sum("q"), m=F.mean("q"), n=F.count())
    assert judged(summed(topology, numbers)).findings == []
    aggregates = {"s": F.sum("q")}
    assert said(summed(floats(**aggregates), numbers), s=right) == []
    assert said(summed(floats(**aggregates), numbers), s=None) == []
    for number in wrong:
        assert said(summed(floats(**aggregates), numbers), s=number) == ["wrong"]


@pytest.mark.parametrize("mode", ["update", "append", "complete"])
def test_sums_in_windows_have_bounds_of_their_own(mode):
    numbers = [*TENTHS, 1e12, 1.0, 2.0, -1e12, 5.0]
    driver = summed(floats(window=True, mode=mode), numbers)
    assert judged(driver).findings == []
    shown = {json.loads(m.value())["window_start"][11:13]: m for m in driver.read("out")}
    first, second = shown["00"], shown["01"]
    # Each window stands at its last word once more, the sum a little off: for one that is much.
    kinds = []
    for message in (second, first):
        value = json.loads(message.value())
        value["s"] += 1e-5
        driver.log.feed("out", [json.dumps(value).encode()], [b"a"], partition=message.partition())
        kinds.append([f.kind for f in judged(driver).findings])
    assert (
        kinds
        == {
            "update": [[], ["wrong"]],
            "complete": [[], ["wrong"]],
            "append": [["duplicate"], ["duplicate"] * 2],
        }[mode]
    )


@pytest.mark.parametrize("value", [b"a\rb,1,2", b"a", b"\xff,1,2", b"", b'"' + b"x" * 200_000])
def test_a_planted_line_that_is_no_row_is_found(value):
    driver = TestDriver(float_sums())
    driver.feed([{"k": "a", "x": 0.5}])
    driver.run()
    driver.log.feed("out", [value], [b"a"])
    (finding,) = judged(driver).findings
    assert (finding.kind, finding.offset) == ("wrong", 2)


def test_a_finding_is_one_line_of_what_a_terminal_can_show():
    driver = ran(stateless(), count=1, partitions=1)
    driver.log.feed("out", [b"\x1b[2Jgone\nv\xff \xc3\xa9"], [b"\x00k\xfe"])
    (finding,) = judged(driver).findings
    assert finding.what == r"\x00k\xfe \x1b[2Jgone\nv\xff é"


def test_a_group_that_never_committed_is_refused():
    driver = TestDriver(stateless())
    with pytest.raises(SettingsError, match="committed nothing"):
        judged(driver)


def test_what_was_not_processed_yet_is_not_missed():
    driver = ran(stateless())
    driver.feed([ride(n) for n in range(10)], key="k1")
    report = judged(driver)
    assert (report.findings, report.recomputed) == ([], 60)


def emptied(driver, topic, partitions=1):
    """Nothing of what was published is there any more."""
    driver.log._broker.topics.pop(topic)
    driver.log.create({topic: partitions})


def test_the_input_of_missing_records_is_looked_for_a_few_times(monkeypatch):
    """From the first record on; then the piece is told in which it lies."""
    monkeypatch.setattr(verify, "LOCATED_MAX", 4)
    topology, frame = rides("copy")
    frame.write.kafka("out")
    driver = ran(topology, count=9, partitions=1)
    emptied(driver, "out")
    found = [finding.origin for finding in judged(driver).findings]
    places = [f"rides[0] offset {number}" for number in range(4)]
    assert found == [*places, *["rides[0] offsets 0 to 8"] * 5]


@pytest.mark.parametrize("count", [1, 9])
def test_beside_state_the_piece_is_told_in_which_the_input_lies(count):
    topology, frame = rides("both")
    frame.write.kafka("copy", key="k")
    frame.group_by("k").agg(n=F.count()).write.kafka("out", key="k", mode="update")
    driver = ran(topology, count=count, partitions=1)
    emptied(driver, "copy")
    told = f"rides[0] offsets 0 to {count - 1}"
    assert [f.origin for f in judged(driver).findings] == [told] * count


def test_windows_that_are_closed_are_let_go_of_before_what_comes_next_is_recomputed():
    driver = ran(windowed(mode="append", delay="0 s"), count=180, partitions=1)
    pipeline = Pipeline(driver.plan)
    state, (where,) = pipeline.new_state(), driver.committed()
    kept, times = [], (None, None)
    for start in (0, 60, 120):
        (messages,) = driver.log.scan(where, start, start + 60)
        piece = verify.Piece(where, start, start + 60, *times)
        _, times = verify._run(pipeline, state, piece, messages)
        (slab,) = state.values()
        changed = slab.changed()
        assert (len(changed.words), len(changed.gone)) == (0, 0)
        kept.append(slab.rows())
    assert kept == [5, 5, 5]  # one window of five keys


def test_it_is_said_that_headers_and_timestamps_are_not_compared():
    topology, frame = rides("copy")
    frame.write.kafka("plain", key="k")
    frame.write.kafka("stamped", key="k", timestamp="t")
    frame.write.kafka("named", key="k", headers={"number": "k"})
    told = "headers and timestamps are not compared"
    assert judged(ran(topology)).notes == [f"stamped: {told}", f"named: {told}"]


def test_a_range_from_the_second_record_on_leaves_out_the_first():
    topology, frame = rides("copy")
    frame.with_watermark("5 minutes").write.kafka("out", key="k")
    driver = ran(topology, count=9, partitions=1)
    for begin, count in (("0", 9), ("1", 8), ("8", 1)):
        assert judged(driver, begin).recomputed == count
    emptied(driver, "out")
    found = [finding.origin for finding in judged(driver, "1").findings]
    assert found == [f"rides[0] offset {number}" for number in range(1, 9)]


def test_state_without_its_first_record_is_not_recomputed():
    driver = ran(totals(), partitions=1)
    with pytest.raises(SettingsError, match="recomputed from offset 1: what came before"):
        judged(driver, "1")
    driver.log.trim(TopicPartition("rides", 0), 1)
    with pytest.raises(SettingsError, match="recomputed from offset 1: what came before"):
        judged(driver)


def test_a_topic_whose_very_first_record_is_gone_misses_nothing():
    driver = ran(stateless(), partitions=1)
    driver.log.trim(TopicPartition("out", 0), 1)
    report = judged(driver)
    assert report.findings == []
    assert report.notes == ["out: its first records are gone, so missing ones are not looked for"]


@pytest.mark.parametrize("on_error", ["skip", "fail"])
def test_where_no_dead_letters_are_written_none_are_looked_for(on_error):
    topology = Topology("copy")
    form = Json({"k": pl.String, "n": pl.Int64})
    topology.read.kafka("rides", format=form, on_error=on_error).write.kafka("out", key="k")
    driver = TestDriver(topology)
    driver.feed([{"k": "a", "n": 1}])
    driver.run()
    report = judged(driver)
    assert (report.findings, report.notes, report.compared) == ([], [], 1)


def noted(*writes, partitions=2):
    """What is said of topics that cannot be compared."""
    topology, frame = rides("some")
    for write in writes:
        write(frame)
    return judged(ran(topology, partitions=partitions)).notes


def counted(frame):
    return frame.group_by(F.window("t", "1 hour"), "k").agg(n=F.count())


def test_a_key_of_another_column_leaves_records_of_a_group_in_no_order():
    def update(frame):
        counted(frame).write.kafka("out", key="n", mode="update")

    def append(frame):
        counted(frame.with_watermark("0 s")).write.kafka("out", key="n", mode="append")

    told = "out is not compared: its key is no column of the group, so that records of a group have"
    assert noted(update) == [f"{told} no order"]
    assert noted(update, partitions=1) == []
    assert noted(append) == []


def test_a_filter_lets_groups_depend_on_batches_behind_the_aggregate_only():
    def before(frame):
        counted(frame.filter(pl.col("n") > 3)).write.kafka("out", key="k", mode="update")

    def behind(frame):
        counted(frame).filter(pl.col("n") > 3).write.kafka("out", key="k", mode="update")

    assert noted(before) == []
    (told,) = noted(behind)
    assert told.startswith("out is not compared: a filter behind an aggregate lets mode update")


def test_columns_that_tell_groups_apart_are_known_by_either_end_of_the_window():
    def selected(*columns):
        def write(frame):
            counted(frame).select(*columns).write.kafka("out", key="k", mode="update")

        return write

    told = ["out is not compared: its records do not tell their groups apart"]
    assert noted(selected("window_start", "k", "n")) == []
    assert noted(selected("k", "n", "window_end")) == []
    assert noted(selected("window_start", "window_end", "k")) == []
    assert noted(selected("k", "n")) == told
    shifted = pl.col("window_start") + pl.duration(hours=1)
    assert noted(selected("k", "n", shifted)) == told
    assert noted(selected("k", "n", pl.col("window_end").alias("window_start"))) == told
    days = pl.col("window_start", "window_end").dt.truncate("1d")
    assert noted(selected("k", "n", days)) == told
    assert noted(selected("window_start", "k", pl.col("n", "window_end").name.suffix("_2"))) == []


def test_of_counts_that_rise_no_two_records_are_equal():
    """A count of a column may stay as it is; a count of records may not."""
    for aggregate, kinds in (
        (F.count(), ["duplicate"]), (F.count("v"), []), (F.max("n"), []),
    ):  # fmt: skip
        topology = Topology("app")
        form = Json({"k": pl.String, "n": pl.Int64, "v": pl.Int64}, optional=("v",))
        rows = topology.read.kafka("rides", format=form, partitioned_by="k", on_error="skip")
        rows.group_by("k").agg(c=aggregate).write.kafka("out", key="k", mode="update")
        driver = TestDriver(topology)
        driver.feed([{"k": "a", "n": 1}, {"k": "a", "n": 1, "v": 2}])
        driver.run()
        last = driver.read("out")[-1]
        driver.log.feed("out", [last.value()], [last.key()])
        assert [finding.kind for finding in judged(driver).findings] == kinds
