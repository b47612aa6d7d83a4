"""An internal topic keeps what may be read again, and no more."""

from __future__ import annotations

import pytest

from processor.engine.commit.checkpoint import CHAIN_LENGTH_MAX
from processor.errors import InputLostError
from processor.model.log import TopicPartition
from processor.testing import TestDriver
from tests.staged import CASES, as_json, input_of

CASE = CASES["by another column"]


def driven(batches: int, **options) -> TestDriver:
    driver = TestDriver(CASE.build(), batch_records_max=1, **options)
    topics = input_of(1, CASE.topics, 1, batches)
    driver.feed(map(as_json, topics["in"][0]))
    driver.run()
    return driver


def low(driver: TestDriver) -> int:
    return driver.log.describe(["app.by-user"])["app.by-user"].extents[0].low


def test_what_is_before_a_snapshot_that_is_named_goes():
    driver = driven(CHAIN_LENGTH_MAX * 2 + 20)
    assert low(driver) > 0
    driver.kill(("by-user", 0))
    driver.restart(("by-user", 0))
    driver.run()
    rows = {row["user"]: row["c"] for row in driver.json("out")}
    topics = input_of(1, CASE.topics, 1, CHAIN_LENGTH_MAX * 2 + 20)
    assert rows == {row[0]: row[1] for row in CASE.expected(topics)["out"]}


@pytest.mark.parametrize(("policy", "kept"), [("replay", True), ("stop", False)])
def test_all_is_kept_where_it_may_be_read_again(policy, kept):
    driver = driven(CHAIN_LENGTH_MAX * 2 + 20, on_checkpoint_loss=policy)
    assert (low(driver) == 0) is kept


def test_what_no_snapshot_covers_is_kept():
    driver = driven(CHAIN_LENGTH_MAX - 10)
    assert low(driver) == 0


def test_the_users_own_topic_is_never_touched():
    driver = driven(CHAIN_LENGTH_MAX * 2 + 20)
    extent = driver.log.describe(["in"])["in"].extents[0]
    assert extent.low == 0
    assert driver.committed()[TopicPartition("in", 0)].offset == extent.high


def test_a_topic_that_others_have_trimmed_before_anything_was_read_stops_the_stage_by_name():
    driver = TestDriver(CASE.build(), partitions=1)
    driver.stop(("by-user", 0))
    topics = input_of(1, CASE.topics, 1, 20)
    driver.feed(map(as_json, topics["in"][0]))
    for _ in range(4):
        driver.turn()
    driver.log.reset("app.by-user", {})
    driver.log._broker.group("app.by-user").committed.clear()  # it has never been at work
    driver.log.trim(TopicPartition("app.by-user", 0), 1)
    with pytest.raises(InputLostError, match=r"app\.by-user has read none of them"):
        for _ in range(4):
            driver.restart(("by-user", 0))
            driver.turn(("by-user", 0))
