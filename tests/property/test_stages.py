"""Topologies of several stages come to what plain Python comes to, however they are run."""

from __future__ import annotations

import random
from typing import Any

import pytest

from processor.testing import Crash, TestDriver
from tests import staged
from tests.staged import LISTED, Case, as_json, input_of
from tests.staged_joins import JOINS

CASES = {**staged.CASES, **JOINS}
STEPS = (
    "before:process", "before:stage", "after:stage", "before:begin", "after:begin",
    "before:produce", "after:produce", "before:send-offsets", "after:send-offsets",
    "before:flush", "after:flush", "before:commit", "after:commit", "after:adopt",
)  # fmt: skip


def shown(rows: list[dict[str, Any]], keys: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """The rows that count: of each key the last, or each."""
    if not keys:
        return [tuple(row.values()) for row in rows]
    last = {tuple(row.get(key) for key in keys): row for row in rows}
    return [tuple(row.values()) for row in last.values()]


def in_order(rows: Any) -> list[tuple[Any, ...]]:
    return sorted((tuple(row) for row in rows), key=repr)


def started(case: Case, topics: Any, **options: Any) -> TestDriver:
    driver = TestDriver(case.build(), **options)
    for topic, parts in topics.items():
        for number, records in enumerate(parts):
            driver.feed(map(as_json, records), topic=topic, partition=number)
    return driver


def check(case: Case, driver: TestDriver, topics: Any) -> None:
    expected = case.expected(topics)
    for topic, keys in case.keys.items():
        # Of the record that closes all windows some modes publish the window too.
        if keys == LISTED:  # a list is published as a whole, in its order
            found = driver.json(topic)[-len(expected[topic]) :]
            assert shown(found, ()) == list(expected[topic])
            continue
        both = shown(driver.json(topic), keys), expected[topic]
        rows, wanted = ([row for row in found if "end" not in row] for found in both)
        assert in_order(rows) == in_order(wanted), topic
    behind = [r.late for r in driver.reports if r.topology not in (driver.plan.app, "app.other")]
    assert not sum(behind)
    assert not driver.dead_letters()


SHAPES = [(4, 3, 50), (1, 1, 7), (7, 2, 1000)]


@pytest.mark.parametrize(
    ("name", "partitions", "workers", "batch"),
    [(name, *of) for name, case in CASES.items() for of in (SHAPES[:1] if case.brief else SHAPES)],
)
def test_the_answer_is_the_same_whatever_the_batches_workers_and_partitions(
    name, partitions, workers, batch
):
    case = CASES[name]
    topics = input_of(batch, case.topics, partitions, 300)
    options = {"partitions": partitions, "workers": workers, "batch_records_max": batch}
    driver = started(case, topics, **options)
    driver.run()
    check(case, driver, topics)


@pytest.mark.parametrize(
    ("name", "seed"),
    [(name, seed) for name, case in CASES.items() for seed in range(1 if case.brief else 3)],
)
def test_the_answer_is_the_same_with_crashes_at_any_step_of_any_stage(name, seed):
    case, made = CASES[name], random.Random(f"{name} {seed}")
    topics = input_of(seed, case.topics, 3, 120)
    driver = started(case, topics, partitions=3, workers=2, batch_records_max=made.choice([9, 40]))
    crashed = 0
    for _ in range(400):
        who = made.choice(driver.running())
        if made.random() < 0.5:
            driver.crash_at(made.choice(STEPS), who)
        try:
            driver.turn(who)
        except Crash:
            crashed += 1
            driver.spare()
            if made.random() < 0.3:
                driver.expire(who)
            driver.restart(who)
    driver.spare()
    driver.run()
    assert crashed > 4
    check(case, driver, topics)
