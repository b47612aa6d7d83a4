"""A few of the points of stages; ``python -m tests.staged_sweep`` has all."""

from __future__ import annotations

import pytest

from tests.staged_sweep.run import CASES, SHAPES, Case, run_case

CHOSEN = (
    Case("joined", ".join-user", "after:send-offsets"),
    Case("called", "", "after:call"),
    Case("filed", "", "before:rename"),
)


def test_every_stage_of_every_shape_has_its_points():
    assert {(case.shape, case.stage) for case in CASES} == {
        (shape, stage) for shape, stages in SHAPES.items() for stage in stages
    }
    assert {*CHOSEN} <= {*CASES}


@pytest.mark.kafka
@pytest.mark.redis
@pytest.mark.parametrize("case", CHOSEN, ids=str)
def test_a_run_killed_at_a_point_costs_and_doubles_nothing(case, kafka, redis_server):
    run_case(case, kafka.bootstrap_servers, redis_server.url)
