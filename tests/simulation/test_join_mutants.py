"""Faults of joins, planted one at a time: plain Python, or the simulator, must find each."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from processor.engine.commit import checkpoint
from processor.engine.running import idle
from processor.operators.join import Join
from processor.operators.shuffle import Shuffle
from processor.plan import pairs
from processor.state.timed import FIRST, Timed
from processor.testing import TestDriver
from tests.property.test_timed import Script
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.test_mutants import found
from tests.staged import END, Record, as_json
from tests.staged_joins import JOINS

SEEDS = 60


def dense(seed: int) -> dict[str, list[list[Record]]]:
    """Many records of two users, a minute apart: often one lies exactly on a bound."""
    made = random.Random(seed)
    last = {"t": 2 * END, "user": "end", "shop": -1, "n": 0, "flag": False}

    def record(number: int) -> Record:
        t = max(0, number - made.randrange(34))
        return {"t": t, "user": made.choice("ab"), "shop": 1, "n": number, "flag": True}

    return {topic: [[*map(record, range(60)), last]] for topic in ("in", "other")}


def wrong(name: str, seed: int) -> bool:
    """Whether a case comes to something else than plain Python does.

    By every second seed the right comes when the left has been read.
    """
    case, topics = JOINS[name], dense(seed)
    driver = TestDriver(case.build(), partitions=1, batch_records_max=3)
    for topic, (records,) in topics.items():
        driver.feed(map(as_json, records), topic=topic, partition=0)
        if seed % 2:
            driver.run()
    driver.run()
    got = sorted((tuple(row.values()) for row in driver.json("out")), key=repr)
    return got != sorted(case.expected(topics)["out"], key=repr)


def rows_are_freed_a_microsecond_too_early(m):
    right = Timed.free
    m.setattr(Timed, "free", lambda self, before: right(self, before + (before != FIRST)))


def rows_of_the_left_go_on_twice(m):
    m.setattr(Timed, "mark", lambda self, found: None)
    m.setattr(Timed, "mark_new", lambda self, rows: None)


def the_watermark_of_one_side_counts_for_both(m):
    right = Join._freed
    m.setattr(Join, "_freed", lambda self, state, marks: right(self, state, (marks[0], marks[0])))


def the_side_is_lost(m):
    right = Shuffle.process

    def all_left(self, frame, context):
        return right(self, frame.with_columns(pl.lit(value=False).alias(pairs.SIDE)), context)

    m.setattr(Shuffle, "process", all_left)


def a_batchs_own_pairs_are_left_out(m):
    right = Timed.find

    def of_others(self, *args):
        runs, self._changes.runs = self._changes.runs, []
        found = right(self, *args)
        self._changes.runs = runs
        return found

    m.setattr(Timed, "find", of_others)


def the_bounds_change_places(m):
    right = Join.__init__

    def turned(self, node, layout):
        right(self, replace(node, lower=-node.upper, upper=-node.lower), layout)

    m.setattr(Join, "__init__", turned)


def the_length_is_forgotten_in_what_is_told(m):
    m.setattr(pairs.Joined, "lag", lambda self: timedelta(0))


@pytest.mark.parametrize(
    ("mutant", "name"),
    [
        (rows_are_freed_a_microsecond_too_early, "left joined"),
        (rows_of_the_left_go_on_twice, "left joined"),
        (the_watermark_of_one_side_counts_for_both, "left joined"),
        (the_side_is_lost, "joined"),
        (a_batchs_own_pairs_are_left_out, "joined"),
        (the_bounds_change_places, "joined"),
        (the_length_is_forgotten_in_what_is_told, "joined, then counted"),
    ],
)
def test_a_planted_fault_of_a_join_is_found(mutant: Any, name: str, monkeypatch) -> None:
    assert not wrong(name, 0)
    mutant(monkeypatch)
    # The twelfth is the first that has a row to the microsecond where the first of these needs it.
    if not any(wrong(name, seed) for seed in range(12, 12 + SEEDS)):
        pytest.fail(f"{SEEDS} seeds did not find it")


def marks_are_not_rolled_back(m):
    right = Timed.rollback

    def kept(self):
        self._changes.marked.clear()
        right(self)

    m.setattr(Timed, "rollback", kept)


def rows_are_not_rolled_back(m):
    m.setattr(Timed, "rollback", lambda self: self.commit())


def what_is_freed_is_not_rolled_back(m):
    right = Timed.rollback

    def kept(self):
        self._changes.freed.clear()
        self._base_before = self._before
        right(self)

    m.setattr(Timed, "rollback", kept)


def marks_are_in_no_delta(m):
    right = Timed.changed
    m.setattr(Timed, "changed", lambda self: replace(right(self), marked=np.zeros(0, np.int64)))


def what_is_gone_is_in_no_checkpoint(m):
    changed, frozen = Timed.changed, Timed.frozen
    m.setattr(Timed, "changed", lambda self: replace(changed(self), before=FIRST))

    def unbounded(self):
        rows = frozen(self)
        return lambda: replace(rows(), before=FIRST)

    m.setattr(Timed, "frozen", unbounded)


@pytest.mark.parametrize(
    "mutant",
    [marks_are_not_rolled_back, rows_are_not_rolled_back, what_is_freed_is_not_rolled_back,
     marks_are_in_no_delta, what_is_gone_is_in_no_checkpoint],
)  # fmt: skip
def test_a_planted_fault_of_its_state_is_found(mutant: Any, monkeypatch) -> None:
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        for seed in range(SEEDS):
            Script(seed).play()


def test_the_simulator_finds_that_a_match_is_forgotten_with_the_worker(monkeypatch) -> None:
    monkeypatch.setattr(checkpoint, "CHAIN_LENGTH_MAX", 3)
    monkeypatch.setattr(idle, "TIMEOUT", timedelta(days=1000))
    marks_are_in_no_delta(monkeypatch)
    if not any(found(SCENARIOS["paired"], seed, "exactly-once") for seed in range(SEEDS)):
        pytest.fail(f"{SEEDS} seeds did not find it")
