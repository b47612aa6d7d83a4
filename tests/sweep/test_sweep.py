"""A part of the sweep: every step of the protocol once; ``python -m tests.sweep`` has all."""

from __future__ import annotations

import pytest

from processor.engine.commit.protocol import Outcome, Step
from processor.testing.simulator import STEPS
from tests.sweep.cases import CASES, PERFORMED, STAGES, TABLES, Case, Fault, left_out, spread
from tests.sweep.pool import sweep

# A step that only says it was done: what the sweep has to see, or its silence would mean nothing.
CONTROLS = {
    Case(
        0, "after:adopt", "exactly-once", shape, 1, 0,
        fault=Fault(step, Outcome.DONE, done=False),
    ): found
    for shape, step, found in (
        ("stateless", Step.SEND_OFFSETS, "outputs: surplus"),
        ("windowed", Step.STAGE, "state_lost"),
    )
}  # fmt: skip


def test_every_point_is_a_case_for_every_topology_or_it_is_said_why_not():
    has = {(c.point, c.guarantee, STAGES[c.shape][c.victim], c.shape, c.workers) for c in CASES}
    for point in STEPS:
        for guarantee in TABLES:
            for shape, topologies in STAGES.items():
                for topology in topologies:
                    reason = left_out(point, guarantee, topology)
                    for workers in (1, 2):
                        case = (point, guarantee, topology, shape, workers)
                        assert (case in has) == (reason is None), case
    assert [case.number for case in CASES] == [*range(1, len(CASES) + 1)]


def test_the_part_that_is_run_here_has_some_of_everything():
    part = spread()
    assert {*PERFORMED} <= {case.point.partition(":")[2] for case in part}
    every = {(case.shape, case.guarantee, case.workers) for case in part}
    assert every == {(s, g, w) for s in STAGES for g in TABLES for w in (1, 2)}


@pytest.fixture(scope="module")
def outcomes(request, kafka, redis_server):
    """What came of the cases that are asked for in this session, run two at a time."""
    wanted = [
        item.callspec.params["case"]
        for item in request.session.items
        if getattr(item, "module", None) is request.module and hasattr(item, "callspec")
    ]
    servers = kafka.bootstrap_servers, redis_server.url
    return {case: wrong for case, _, wrong in sweep(wanted, *servers, 2)}


@pytest.mark.kafka
@pytest.mark.redis
@pytest.mark.parametrize("case", spread(), ids=str)
def test_a_worker_killed_at_a_point_costs_and_doubles_nothing(case, outcomes):
    assert outcomes[case] is None, outcomes[case]


@pytest.mark.kafka
@pytest.mark.redis
@pytest.mark.parametrize("case", CONTROLS, ids=str)
def test_a_protocol_that_leaves_out_a_step_is_found_out(case, outcomes):
    assert CONTROLS[case] in (outcomes[case] or "nothing was found")
