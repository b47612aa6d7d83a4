"""Topics between stages are created by the run, and a stage does not begin in the middle."""

from __future__ import annotations

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
    ("before", "after", "words"),
    [
        (only_digits, one_more, r"dealt\.tens is new, and dealt has been at work"),
        (one_more, only_digits, r"dealt\.tens is no more in the topology"),
        (only_digits, lambda: only_digits("figures"), r"dealt\.digits is no more in the topology"),
        (stateless_rides, only_digits, r"dealt\.digits is new"),
    ],
)
def test_a_stage_that_is_new_left_out_or_called_otherwise_is_refused(before, after, words):
    driver = worked(before())
    with pytest.raises(SettingsError, match=words) as caught:
        prepare_topics(driver.log, plans_of(after()), Settings())
    assert "name=" in caught.value.remedy
    assert "--allow-dropped-state" in caught.value.remedy
    prepare_topics(driver.log, plans_of(after()), Settings(allow_dropped_state=True))


def with_a_sum():
    topology, frame = rides("dealt")
    rows = frame.with_columns(digit=pl.col("n") % 5, ten=pl.col("n") // 10)
    groups = rows.group_by("digit", name="digits").agg(n=F.count(), total=F.sum("ten"))
    groups.write.kafka("of-digit", key="digit", mode="update")
    return topology


def test_other_columns_are_refused_before_any_block_of_them_is_written():
    driver = worked(only_digits())
    before = len(driver.read("dealt.digits"))
    with pytest.raises(SettingsError, match=r"hands on to the stage dealt\.digits have other"):
        prepare_topics(driver.log, plans_of(with_a_sum()), Settings())
    assert len(driver.read("dealt.digits")) == before
    worked_on = TestDriver(only_digits(), partitions=2, log=driver.log, store=driver.store)
    worked_on.feed([ride(n) for n in range(4)])
    worked_on.run()  # the former topology goes on


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
