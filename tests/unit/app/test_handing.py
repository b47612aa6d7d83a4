"""A changed topology goes on only where each stage takes over what is its own."""

from __future__ import annotations

import re

import polars as pl
import pytest

from processor import Json, Queue, Topology, app
from processor import functions as F
from processor.app.backends import Backends
from processor.engine.offline.reset import resets
from processor.errors import SettingsError, StateMismatchError
from processor.model.log import TopicPartition
from processor.settings import Settings
from processor.testing import TestDriver
from tests.topologies import ride, rides


def worked(*topologies):
    """A driver of the last one, on what those before have left."""
    driver = None
    for topology in topologies:
        former = {} if driver is None else {"log": driver.log, "store": driver.store}
        driver = TestDriver(topology, partitions=2, **former)
        driver.feed([ride(n) for n in range(9)])
        driver.run()
        for who in driver.running():
            driver.stop(who)
    return driver


def one_more(name="digits"):
    topology, frame = rides("dealt")
    rows = frame.with_columns(digit=pl.col("n") % 5, ten=pl.col("n") // 10)
    for column, called in (("digit", name), ("ten", "tens")):
        groups = rows.group_by(column, name=called).agg(n=F.count())
        groups.write.kafka(f"of-{column}", key=column, mode="update")
    return topology


def only_digits(name="digits"):
    topology, frame = rides("dealt")
    rows = frame.with_columns(digit=pl.col("n") % 5, ten=pl.col("n") // 10)
    groups = rows.group_by("digit", name=name).agg(n=F.count())
    groups.write.kafka("of-digit", key="digit", mode="update")
    return topology


def prepare(driver, topology, **settings):
    """As a run does before anything starts; the partitions of each stage's input."""
    plans = [stage.plan for stage in topology.stages()]
    used = Backends(driver.log, driver.store, "")
    return app.prepared(plans, Settings(**settings), used, {}, lambda _: None)


def stateless_rides():
    topology, frame = rides("dealt")
    frame.write.kafka("copy", key="k")
    return topology


@pytest.mark.parametrize(
    ("before", "after", "words", "name"),
    [
        (only_digits, one_more, r"dealt\.tens is new, and dealt has been at work", None),
        (one_more, only_digits, r"dealt\.tens is no more in the topology", "name='tens'"),
        (
            only_digits, lambda: only_digits("figures"), r"dealt\.digits is no more in the",
            "name='digits'",
        ),
        (stateless_rides, only_digits, r"dealt\.digits is new", None),
    ],
)  # fmt: skip
def test_a_stage_that_is_new_left_out_or_called_otherwise_is_refused(before, after, words, name):
    driver = worked(before())
    with pytest.raises(SettingsError, match=words) as caught:
        prepare(driver, after())
    assert re.findall("name='[^']*'", caught.value.remedy) == ([name] if name else [])
    assert "--allow-dropped-state" in caught.value.remedy
    prepare(driver, after(), allow_dropped_state=True)


def with_a_sum():
    topology, frame = rides("dealt")
    rows = frame.with_columns(digit=pl.col("n") % 5, ten=pl.col("n") // 10)
    groups = rows.group_by("digit", name="digits").agg(n=F.count(), total=F.sum("ten"))
    groups.write.kafka("of-digit", key="digit", mode="update")
    return topology


def with_a_mean(column, name):
    topology, frame = rides("dealt")
    rows = frame.with_columns(digit=pl.col("n") % 5, ten=pl.col("n") // 10)
    groups = rows.group_by("digit", name="digits").agg(**{name: F.sum(column)})
    groups.write.kafka("of-digit", key="digit", mode="update")
    return topology


def on(driver, topology, *, allow_dropped_state=False, **options):
    """The changed topology on what the driver's has left, prepared as a run prepares it."""
    prepare(driver, topology, allow_dropped_state=allow_dropped_state)
    options["allow_dropped_state"] = allow_dropped_state
    return TestDriver(topology, partitions=2, log=driver.log, store=driver.store, **options)


def stopped_before_the_stage_behind(topology, start=0):
    """Rows are handed on, and nobody has read them."""
    driver = TestDriver(topology, partitions=2)
    driver.feed([ride(start + n) for n in range(9)])
    for _ in range(4):
        driver.turn(0)
    for who in driver.running():
        driver.stop(who)
    assert driver.read("dealt.digits")
    return driver


def counts_of(driver):
    newest = {}
    for row in driver.json("of-digit"):
        newest[row["digit"]] = row
    return {digit: row["n"] for digit, row in newest.items()}


def test_blocks_in_other_columns_that_nobody_has_read_are_refused_until_they_are():
    driver = stopped_before_the_stage_behind(only_digits())
    before = len(driver.read("dealt.digits"))
    with pytest.raises(
        SettingsError, match=r"what is there already is not read yet: dealt\.digits"
    ) as e:
        prepare(driver, with_a_sum())
    assert "--until-caught-up" in e.value.remedy
    with pytest.raises(SettingsError, match="not read yet"):
        prepare(driver, with_a_sum(), allow_dropped_state=True)
    assert len(driver.read("dealt.digits")) == before
    former = on(driver, only_digits())  # goes on
    former.run()
    for who in former.running():
        former.stop(who)
    with pytest.raises(StateMismatchError, match="has no history"):
        prepare(driver, with_a_sum())


def test_other_columns_are_refused_while_workers_are_in_the_group():
    driver = TestDriver(only_digits(), partitions=2)
    driver.feed([ride(n) for n in range(9)])
    driver.run()
    with pytest.raises(SettingsError, match="workers of dealt are at work"):
        prepare(driver, with_a_sum())


@pytest.mark.parametrize("read", [True, False])
def test_a_stage_that_needs_fewer_columns_goes_on_with_its_state(read):
    driver = worked(with_a_sum()) if read else stopped_before_the_stage_behind(with_a_sum())
    after = on(driver, only_digits())
    after.feed([ride(n) for n in range(20, 29)])
    after.run()
    numbers = [*range(9), *range(20, 29)]
    assert counts_of(after) == {d: sum(n % 5 == d for n in numbers) for d in range(5)}
    assert "total" not in after.json("of-digit")[-1]


def test_a_stage_that_needs_other_columns_counts_on_from_where_it_was():
    driver = worked(with_a_mean("ten", "total"))
    after = on(driver, with_a_mean("ten", "sum"))
    after.feed([ride(n) for n in range(20, 29)])
    after.run()
    assert after.json("of-digit")[-1].keys() == {"digit", "sum"}


def test_a_stage_that_was_left_out_and_is_put_back_is_new():
    driver = worked(one_more(), only_digits())
    with pytest.raises(SettingsError, match=r"dealt\.tens is new"):
        prepare(driver, one_more())


def test_the_same_stages_go_on_and_where_nothing_was_read_any_may_begin():
    driver = worked(one_more())
    assert prepare(driver, one_more())["dealt.tens"] == 2
    quiet = TestDriver(only_digits(), partitions=2)
    quiet.run()  # positions are pinned, and nothing is read
    assert prepare(quiet, one_more())["dealt.tens"] == 2


PAID = Json({"u": pl.String, "s": pl.String, "n": pl.Int64, "m": pl.Int64})


def paid(**made):
    """Groups behind a stage, by these aggregates."""
    topology = Topology("app")
    rows = topology.read.kafka("in", format=PAID)
    rows.group_by("u", name="g").agg(**made).write.kafka("out", mode="update")
    return topology


def by(*keys):
    topology = Topology("app")
    rows = topology.read.kafka("in", format=PAID)
    rows.group_by(*keys, name="g").agg(c=F.count()).write.kafka("out", mode="update")
    return topology


def row(number):
    return {"u": "ab"[number % 2], "s": "xyz"[number % 3], "n": number, "m": -number}


def stopped(driver):
    for who in driver.running():
        driver.stop(who)
    return driver


def at_work(topology, partitions=2):
    driver = TestDriver(topology, partitions=partitions)
    for number in range(12):
        driver.feed([row(number)], topic="in", partition=number % partitions)
    driver.run()
    return stopped(driver)


def test_what_a_stage_behind_would_refuse_is_refused_before_the_one_in_front_goes_on():
    driver = at_work(paid(c=F.count(), x=F.sum("n")))
    with pytest.raises(StateMismatchError, match="groups in state would have it from here on only"):
        prepare(driver, paid(c=F.count(), x=F.sum("m")))
    prepare(driver, paid(c=F.count(), x=F.sum("n")))


@pytest.mark.parametrize("keys", [("s", "u"), ("u",), ("u", "m")])
def test_other_keys_and_the_same_in_another_order_are_refused(keys):
    driver = at_work(by("u", "s"))
    with pytest.raises(SettingsError, match="dealt out by other keys") as told:
        prepare(driver, by(*keys))
    assert "in their order" in told.value.remedy
    prepare(driver, by("u", "s"))


def queries(order):
    """A copy of x, and counts of y and z, each behind a stage."""
    topology = Topology("ab")
    form = Json({"u": pl.String})
    for query in order:
        rows = topology.read.kafka(query, format=form)
        if query == "x":
            rows.write.kafka("xo", key="u")
        else:
            groups = rows.group_by("u", name=f"by-{query}").agg(c=F.count())
            groups.write.kafka(f"{query}o", key="u", mode="update")
    return topology


@pytest.mark.parametrize(
    ("before", "after"), [("xy", "yx"), ("xyz", "zxy"), ("xz", "z"), ("z", "xz"), ("yz", "zy")]
)
def test_a_topic_that_another_group_has_read_so_far_is_not_read_from_its_beginning(before, after):
    driver = TestDriver(queries(before))
    for topic in before:
        driver.feed([{"u": "a"}] * 3, topic=topic)
    driver.run()
    stopped(driver)
    with pytest.raises(SettingsError, match="so far, which this topology does not have") as told:
        prepare(driver, queries(after))
    assert "in the order that they had" in told.value.remedy
    prepare(driver, queries(before))


def reads(order):
    """A copy, and a count, each of a read of its own of one topic; the copy may be filtered."""
    topology = Topology("q")
    form = Json({"u": pl.String})
    for query in order:
        if query == "count":
            rows = topology.read.kafka("in", format=form, partitioned_by="u")
            rows.group_by("u").agg(c=F.count()).write.kafka("out", key="u", mode="update")
        else:
            topology.read.kafka("in", format=form).write.kafka(query, key="u")
    return topology


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        (("copy", "count"), ("count",), r"was read by the group q\.in so far"),
        (("copy", "other"), ("other",), r"was read by the group q\.in so far"),
        (("copy", "count"), ("count", "copy"), "have changed places"),
        (("copy", "other"), ("other", "copy"), "have changed places"),
        (("count", "copy"), ("count",), None),
        (("count", "copy"), ("count", "copy", "other"), None),
    ],
)
def test_of_two_reads_of_a_topic_one_may_go_that_leaves_nothing_behind(before, after, refused):
    driver = TestDriver(reads(before))
    driver.feed([{"u": "a"}] * 3, topic="in", key="a")
    driver.run()
    stopped(driver)
    if refused:
        with pytest.raises(SettingsError, match=refused):
            prepare(driver, reads(after))
    else:
        prepare(driver, reads(after))
    prepare(driver, reads(after), allow_dropped_state=True)


def filtered(*order):
    topology = Topology("app")
    rows = topology.read.kafka("in", format=PAID)
    for out in order:
        some = rows if out == "all" else rows.filter(pl.col("n") > 5)
        some.group_by("u").agg(c=F.count()).write.kafka(out, mode="update")
    return topology


@pytest.mark.parametrize("read", [True, False])
@pytest.mark.parametrize("after", [("big", "all"), ("big",)])
def test_stages_that_have_changed_places_are_refused_by_what_is_handed_to_them(read, after):
    driver = TestDriver(filtered("all", "big"))
    driver.feed([row(number) for number in range(12)])
    for _ in range(0 if read else 4):
        driver.turn(0)
    if read:
        driver.run()
    stopped(driver)
    for allow in (False, True) if read else (True,):
        with pytest.raises(SettingsError) as told:
            prepare(driver, filtered(*after), allow_dropped_state=allow)
        assert "name=" in told.value.remedy or "--until-caught-up" in told.value.remedy
    prepare(driver, filtered("all", "big"))


def test_a_stage_that_is_put_before_another_does_not_take_its_name_and_state():
    driver = at_work(filtered("big"))
    with pytest.raises(SettingsError, match=r"which go to app\.by-u-2 now") as told:
        prepare(driver, filtered("all", "big"), allow_dropped_state=True)
    assert "name='by-u'" in told.value.remedy
    after = on(driver, filtered("big", "all"), allow_dropped_state=True)
    after.feed([row(number) for number in range(20, 24)])
    after.run()
    assert sum(after.json("big")[-1 - n]["c"] for n in range(2)) == 6 + 4
    assert sum(after.json("all")[-1 - n]["c"] for n in range(2)) == 4


def test_a_filter_that_one_stage_is_given_may_be_that_of_another_which_stays():
    def both(*filters):
        topology = Topology("app")
        rows = topology.read.kafka("in", format=PAID)
        for key, least in zip("us", filters, strict=True):
            some = rows.filter(pl.col("n") > least).select("u", "s")
            some.group_by(key).agg(c=F.count()).write.kafka(f"of-{key}", mode="update")
        return topology

    for before, after in (((1, 5), (5, 5)), ((5, 5), (1, 5))):
        prepare(at_work(both(*before)), both(*after))


def test_a_second_of_two_stages_goes_on_alone_under_the_name_that_it_had():
    driver = at_work(filtered("all", "big"))
    topology = Topology("app")
    rows = topology.read.kafka("in", format=PAID).filter(pl.col("n") > 5)
    rows.group_by("u", name="by-u-2").agg(c=F.count()).write.kafka("big", mode="update")
    after = on(driver, topology, allow_dropped_state=True)
    after.feed([row(10)])
    after.run()
    assert after.json("big")[-1] == {"u": "a", "c": 4}


def showing(shown):
    """A copy, and with ``shown`` a function that is called with the rows too."""
    topology = Topology("app")
    rows = topology.read.kafka("in", format=PAID)
    rows.write.kafka("copy")
    if shown is not None:
        rows.write.foreach_batch(lambda frame, epoch: shown.extend(frame["n"]), name="show")
    return topology


def test_a_stage_without_state_may_be_added_and_left_out_when_all_is_read():
    seen = []
    driver = at_work(showing(None))
    with_it = on(driver, showing(seen))
    with_it.feed([row(number) for number in range(20, 24)], partition=1)
    with_it.run()
    stopped(with_it)
    assert sorted(seen) == [20, 21, 22, 23]
    on(with_it, showing(None))
    waiting = TestDriver(showing(seen), partitions=2, log=driver.log, store=driver.store)
    waiting.feed([row(30)], partition=0)
    for _ in range(4):
        waiting.turn(0)
    stopped(waiting)
    with pytest.raises(SettingsError, match="was handed on to it is not read yet"):
        prepare(driver, showing(None), allow_dropped_state=True)


def queued(*names):
    topology = Topology("app")
    for name in names:
        rows = topology.read.queue(Queue(), format=Json({"n": pl.Int64}), name=name)
        rows.write.kafka(f"of-{name}")
    return topology


def test_a_feed_that_became_the_first_is_not_published_again():
    driver = TestDriver(queued("one", "two"))
    driver.feed([{"n": 1}], topic="app.one")
    driver.feed([{"n": 2}], topic="app.two")
    driver.run()
    stopped(driver)
    with pytest.raises(SettingsError, match=r"app\.two was read by the group app\.two so far"):
        prepare(driver, queued("two"))


def test_a_reset_by_a_topology_with_a_new_stage_begins_what_there_is():
    driver = at_work(showing(None))
    plans = [stage.plan for stage in by("u").stages()]
    found = resets(plans, driver.log, driver.store, "earliest")
    assert [*found] == ["app"]


def dealt(*columns):
    topology = Topology("app")
    rows = topology.read.kafka("in", format=PAID)
    rows.select(*columns).repartition("u", partitions=2).write.kafka("out")
    return topology


def test_a_change_that_a_part_of_the_tasks_has_committed_is_not_gone_back_on_before_it_is_read():
    driver = at_work(dealt("u", "n"))
    place = TopicPartition("in", 1)
    former = driver.committed()[place]
    changed = on(driver, dealt("u", "m"))
    changed.feed([row(number) for number in range(4)], topic="in", partition=0)
    for _ in range(4):
        changed.turn(0)
    stopped(changed)
    # As where one of two workers was killed before its first commit.
    driver.log.reset("app", {place: former})
    with pytest.raises(SettingsError, match="is not read yet"):
        prepare(driver, dealt("u", "n"))
    again = on(driver, dealt("u", "m"))
    again.run()
    stopped(again)
    on(driver, dealt("u", "n")).run()


def test_a_stage_that_was_left_out_and_is_put_back_reads_no_blocks_in_other_columns():
    driver = worked(only_digits())
    waiting = TestDriver(only_digits(), partitions=2, log=driver.log, store=driver.store)
    waiting.feed([ride(n) for n in range(20, 29)])
    for _ in range(4):
        waiting.turn(0)
    stopped(waiting)
    without = on(driver, stateless_rides(), allow_dropped_state=True)
    without.feed([ride(30)])
    without.run()
    stopped(without)
    with pytest.raises(SettingsError, match="is not read yet"):
        prepare(driver, with_a_sum(), allow_dropped_state=True)
