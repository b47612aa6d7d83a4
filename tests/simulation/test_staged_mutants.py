"""Faults between stages, planted one at a time: the simulator must find each."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from processor.connectors.memory.producer import MemoryProducer
from processor.engine.commit import checkpoint
from processor.engine.commit.committer import Committer
from processor.engine.running import carry, idle, making
from processor.engine.running.carry import Carry
from processor.formats import placing
from processor.model.watermark import HEADER
from processor.operators import carried
from processor.operators.carried import Carried
from processor.operators.shuffle import Shuffle
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.test_mutants import found

SEEDS = 120


def the_marker_stands_before_the_rows(m):
    right = carry._marked

    def wrong(output, told):
        marker = replace(
            output, values=[None], keys=None, headers=[[(HEADER, told)]], timestamps=None
        )
        *body, tail = right(output, told)
        return [marker, *body, tail]

    m.setattr(carry, "_marked", wrong)


def a_task_that_was_not_heard_of_is_left_out(m):
    m.setattr(carried, "_least", lambda known, _: min(at for at, _ in known.values()))


def no_markers_where_a_batch_has_no_rows(m):
    right = Carry.carried

    def wrong(self, result, slices, tasks):
        return [o for o in right(self, result, slices, tasks) if list(o.values) != [None]]

    m.setattr(Carry, "carried", wrong)


def what_is_owed_is_never_told(m):
    m.setattr(Carry, "due", False)
    m.setattr(Carry, "pay", lambda self: False)


def who_takes_over_owes_nothing(m):
    m.setattr(Carry, "loaded", lambda self, tasks: None)
    m.setattr(Carry, "begin", lambda self: self._counts.clear())


def tasks_are_told_by_the_one_that_is_farthest(m):
    right = Carry._told

    def wrong(self, topic, known):
        most = max(time for _, time in known)
        return right(self, topic, [(task, most) for task, _ in known])

    m.setattr(Carry, "_told", wrong)


def the_delay_is_forgotten(m):
    m.setattr(carry, "_lag_us", lambda plan, sink: 0)


def what_was_heard_is_forgotten_with_the_worker(m):
    m.setattr(Carried, "fold", lambda self, heard, states: None)


def rows_are_dealt_out_in_turns(m):
    m.setattr(placing, "partitions", lambda keys, count: np.arange(keys.height) % count)


def blocks_are_written_at_least_once(m):
    m.setattr(making.Parts, "_exactly_once", lambda self: self.options.guarantee == "exactly-once")


def blocks_are_written_outside_the_transaction(m):
    right = Committer._begin

    def wrong(self, work):
        blocks = [o for o in work.outputs if o.topic.endswith(".digits")]
        outside = MemoryProducer(self.producer._broker, None)
        outside.start(0)
        for output in blocks:
            outside.produce(output)
        kept = [output for output in work.outputs if output not in blocks]
        outcome = right(self, work)
        object.__setattr__(work, "outputs", kept)
        return outcome

    m.setattr(Committer, "_begin", wrong)


def half_of_the_rows_of_a_partition_are_left_out(m):
    right = Shuffle._dealt

    def wrong(self, *args):
        return [(n, part[: max(1, part.height // 2)]) for n, part in right(self, *args)]

    m.setattr(Shuffle, "_dealt", wrong)


MUTANTS = [
    the_marker_stands_before_the_rows,
    a_task_that_was_not_heard_of_is_left_out,
    no_markers_where_a_batch_has_no_rows,
    what_is_owed_is_never_told,
    who_takes_over_owes_nothing,
    tasks_are_told_by_the_one_that_is_farthest,
    the_delay_is_forgotten,
    what_was_heard_is_forgotten_with_the_worker,
    rows_are_dealt_out_in_turns,
    blocks_are_written_at_least_once,
    blocks_are_written_outside_the_transaction,
    half_of_the_rows_of_a_partition_are_left_out,
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_planted_fault_between_stages_is_found(mutant, monkeypatch):
    monkeypatch.setattr(checkpoint, "CHAIN_LENGTH_MAX", 3)
    monkeypatch.setattr(idle, "TIMEOUT", timedelta(days=1000))
    mutant(monkeypatch)
    guarantee = "at-least-once" if mutant is blocks_are_written_at_least_once else "exactly-once"
    for seed in range(SEEDS):
        for name in ("dealt-windows", "dealt"):
            if name == "dealt-windows" and guarantee == "at-least-once":
                continue
            if found(SCENARIOS[name], seed, guarantee):
                return
    pytest.fail(f"{SEEDS} seeds did not find it")
