"""Topics between stages are created by the run, and a stage does not begin in the middle."""

from __future__ import annotations

import pytest

from processor.app.topics import prepare_topics
from processor.connectors.memory.log import MemoryLog
from processor.errors import SettingsError
from processor.settings import Settings
from processor.testing import TestDriver
from tests.staged import CASES
from tests.topologies import dealt, ride


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


def test_a_stage_that_is_new_behind_one_that_has_been_at_work_is_refused_unless_that_is_meant():
    driver = TestDriver(dealt(), partitions=2)
    driver.feed([ride(n) for n in range(9)])
    driver.run()
    log = driver.log
    log._broker.topics.pop("dealt.digits")
    with pytest.raises(SettingsError, match=r"the stage dealt\.digits is new") as caught:
        prepare_topics(log, driver.plans, Settings())
    assert "name=" in caught.value.remedy
    assert "--allow-dropped-state" in caught.value.remedy
    counts = prepare_topics(log, driver.plans, Settings(allow_dropped_state=True))
    assert counts["dealt.digits"] == 2


def test_a_stage_is_new_where_nothing_has_begun():
    driver = TestDriver(dealt(), partitions=2)
    driver.run()  # positions are pinned, and nothing is read
    driver.log._broker.topics.pop("dealt.digits")
    assert prepare_topics(driver.log, driver.plans, Settings())["dealt.digits"] == 2
