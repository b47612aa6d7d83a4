"""Topics between stages are created by the run, and a stage does not begin in the middle."""

from __future__ import annotations

import re

import polars as pl
import pytest

from processor import functions as F
from processor.app.topics import prepare_topics
from processor.connectors.memory.log import MemoryLog
from processor.errors import SettingsError
from processor.settings import Settings
from processor.testing import TestDriver
from tests.staged import CASES
from tests.topologies import ride, rides


def plans(name):
    return [stage.plan for stage in CASES[name].build().stages()]


def test_an_internal_topic_has_as_many_partitions_as_the_largest_input_or_one_for_all_rows():
    log = MemoryLog()
    log.create({"in": 3, "other": 5, "out": 1, "copy": 1, "app-dead-letters": 1})
    assert prepare_topics(log, plans("two topics united"), Settings()) == {
        "app": 3, "app.other": 5, "app.by-user": 5,
    }  # fmt: skip
    log.create({"all": 1})
    counts = prepare_topics(log, plans("three in a row"), Settings())
    assert (counts["app.by-user"], counts["app.all"]) == (5, 1)


def test_it_is_created_where_others_have_to_be_there_and_stays_as_it_is():
    log = MemoryLog()
    wanted = Settings(bootstrap_servers="h:1")
    with pytest.raises(SettingsError, match="topics are missing: app-dead-letters, in, out"):
        prepare_topics(log, plans("by another column"), wanted)
    log.create({"in": 2, "out": 1, "app-dead-letters": 1})
    assert prepare_topics(log, plans("by another column"), wanted)["app.by-user"] == 2
    log.create({"bigger": 9})
    assert prepare_topics(log, plans("by another column"), wanted)["app.by-user"] == 2


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


def plans_of(topology):
    return [stage.plan for stage in topology.stages()]


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
        prepare_topics(driver.log, plans_of(after()), Settings())
    assert re.findall("name=[^)]+", caught.value.remedy) == ([name] if name else [])
    assert "--allow-dropped-state" in caught.value.remedy
    prepare_topics(driver.log, plans_of(after()), Settings(allow_dropped_state=True))


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


def on(driver, topology, **options):
    """The changed topology on what the driver's has left, prepared as a run prepares it."""
    prepare_topics(driver.log, plans_of(topology), Settings())
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
        prepare_topics(driver.log, plans_of(with_a_sum()), Settings())
    assert "--until-caught-up" in e.value.remedy
    with pytest.raises(SettingsError, match="not read yet"):
        prepare_topics(driver.log, plans_of(with_a_sum()), Settings(allow_dropped_state=True))
    assert len(driver.read("dealt.digits")) == before
    former = on(driver, only_digits())  # goes on
    former.run()
    for who in former.running():
        former.stop(who)
    prepare_topics(driver.log, plans_of(with_a_sum()), Settings())


def test_other_columns_are_refused_while_workers_are_in_the_group():
    driver = TestDriver(only_digits(), partitions=2)
    driver.feed([ride(n) for n in range(9)])
    driver.run()
    with pytest.raises(SettingsError, match="workers of dealt are at work"):
        prepare_topics(driver.log, plans_of(with_a_sum()), Settings())


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
        prepare_topics(driver.log, plans_of(one_more()), Settings())


def test_the_same_stages_go_on_and_where_nothing_was_read_any_may_begin():
    driver = worked(one_more())
    assert prepare_topics(driver.log, plans_of(one_more()), Settings())["dealt.tens"] == 2
    quiet = TestDriver(only_digits(), partitions=2)
    quiet.run()  # positions are pinned, and nothing is read
    assert prepare_topics(quiet.log, plans_of(one_more()), Settings())["dealt.tens"] == 2
