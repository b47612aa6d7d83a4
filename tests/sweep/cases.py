"""All cases, each with its number: a point, a guarantee, a topology, one worker or two.

The points are the simulator's, which has them from the protocol's steps; how a step that lies off
the straight way is come to is read off the protocol's table. So a new step joins by itself, and a
point that nobody comes to is a case that fails.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, get_args

from processor.engine.commit.protocol import (
    AT_LEAST_ONCE,
    EXACTLY_ONCE,
    Outcome,
    Step,
    Table,
    Verdict,
)
from processor.engine.running.options import Guarantee
from processor.testing.simulator import STEPS, STORED

TABLES: Final[dict[Guarantee, Table]] = {
    "exactly-once": EXACTLY_ONCE,
    "at-least-once": AT_LEAST_ONCE,
}
HEAL: Final = "heal"
PERFORMED: Final = [s.value for s in Step if any(s in table for table in TABLES.values())]
"""The steps of these tables; those of files are swept in `tests.staged_sweep`."""

Shape = Literal["stateless", "windowed", "chained"]
# The topologies of each shape, one behind the other.
STAGES: Final[dict[Shape, tuple[str, ...]]] = {
    "stateless": ("stateless",),
    "windowed": ("windowed",),
    "chained": ("stateless", "windowed"),
}


Disown = Literal["deleted", "another worker", "a later generation", "no text", "a list"]


@dataclass(frozen=True)
class Fault:
    """The second time that a worker does ``step``, it goes like this.

    With ``done`` the broker did what it was asked, and only its answer is lost.
    """

    step: Step
    outcome: Outcome
    done: bool

    def __str__(self) -> str:
        return f"{self.step.value} {self.outcome.value}{' though done' * self.done}"


@dataclass(frozen=True)
class Case:
    """One worker of stage ``victim`` is killed at ``point``, the ``times``-th time it comes there.

    Where the point is off the straight way, ``fault`` leads there; with ``loss`` the store has
    lost the victim's checkpoints before. With ``disown`` nobody is killed: there the owner's
    records of all tasks are changed in that way.
    """

    number: int
    point: str
    guarantee: Guarantee
    shape: Shape
    workers: int
    victim: int
    times: int = 2
    fault: Fault | None = None
    loss: bool = False
    disown: Disown | None = None

    def __str__(self) -> str:
        stage = f" stage {self.victim + 1}" if self.shape == "chained" else ""
        after = f" (after {self.fault})" if self.fault else ""
        after += f" (owners: {self.disown})" if self.disown else ""
        return (
            f"{self.number:3} {self.shape}{stage}, {self.guarantee}, "
            f"{self.workers} worker{'s' * (self.workers > 1)}: {self.point}{after}"
        )


def straight(table: Table) -> list[Step]:
    """The steps of a batch that nothing happens to."""
    steps, following = [], Step.STAGE
    while isinstance(following, Step):
        steps.append(following)
        following = table[following][Outcome.DONE]
    return steps


def faults(table: Table, wanted: Step) -> list[Fault]:
    """How the straight way is left for a step: as late as can be, so that most is left behind.

    Where an answer fails to come, the broker may have done what it was asked or not: both.
    """
    found: list[Fault] = []
    for step in straight(table):
        for outcome, following in table[step].items():
            then: Step | Verdict | None = following
            while isinstance(then, Step) and then is not wanted:
                then = table[then].get(Outcome.DONE)
            if then is wanted and outcome is not Outcome.DONE:
                performed = {Outcome.UNKNOWN: (False, True), Outcome.SLOW: (True,)}
                found = [Fault(step, outcome, d) for d in performed.get(outcome, (False,))]
    return found


def left_out(point: str, guarantee: Guarantee, topology: str) -> str | None:
    """Why a point is none of this topology's under this guarantee; ``None`` where it is one."""
    step = _step(point)
    if step is not None and step not in TABLES[guarantee]:
        return f"{guarantee} has no such step"
    if topology == "stateless" and (point == HEAL or kept(point)):
        return "there is no state"
    return None


def kept(point: str) -> bool:
    """Whether a point lies in the keeping of snapshots."""
    return point.partition(":")[2] in {"snapshot", "collect"}


def joins(point: str) -> bool:
    """Whether a worker comes to a point by being given partitions, not by a batch."""
    return point.partition(":")[2] == "acquire"


def _step(point: str) -> Step | None:
    return next((step for step in Step if step.value == point.partition(":")[2]), None)


def _ways(point: str, guarantee: Guarantee) -> Iterator[tuple[int, Fault | None]]:
    """How often the point is passed before, and what leads there."""
    step, table = _step(point), TABLES[guarantee]
    if point == HEAL or point.partition(":")[2] in STORED:
        yield 1, None
    elif step is None or step in straight(table):
        yield 2, None
    else:
        # One that nothing leads to is a case all the same: it fails until there is a way.
        for fault in faults(table, step) or [None]:
            yield 1, fault


def _all() -> Iterator[Case]:
    number = 0
    for point in STEPS:
        for shape, topologies in STAGES.items():
            for victim, topology in enumerate(topologies):
                for guarantee in TABLES:
                    if left_out(point, guarantee, topology):
                        continue
                    for workers in (1, 2):
                        for times, fault in _ways(point, guarantee):
                            number += 1
                            yield Case(
                                number, point, guarantee, shape, workers, victim, times, fault,
                                loss=point == HEAL,
                            )  # fmt: skip


def _disowned(number: int) -> Iterator[Case]:
    """At every point on the straight way, whatever is written into owners' records."""
    hows = itertools.cycle(get_args(Disown))
    for guarantee, table in TABLES.items():
        ways = {step.value for step in straight(table)} | {*STORED, "process", "adopt"}
        for point in STEPS:
            if point.partition(":")[2] in ways:
                for workers in (1, 2):
                    number += 1
                    yield Case(
                        number, point, guarantee, "windowed", workers, 0,
                        times=1 if point.partition(":")[2] in STORED else 2, disown=next(hows),
                    )  # fmt: skip


_KILLED: Final = tuple(_all())
CASES: Final = (*_KILLED, *_disowned(len(_KILLED)))


def spread() -> list[Case]:
    """A few that have every step, both guarantees, every shape, one worker and two."""
    wanted = [(shape, g, w) for w in (1, 2) for shape in STAGES for g in TABLES]
    chosen: list[Case] = []
    for number, step in enumerate([*PERFORMED, *STORED, "process", "adopt", HEAL]):
        points = [p for p in STEPS if p.partition(":")[2] == step or p == step]
        point = points[number % len(points)]
        here = [case for case in _KILLED if case.point == point]
        # The kind of which there are fewest so far, of those that this point has.
        had = [(case.shape, case.guarantee, case.workers) for case in chosen]
        kinds = {(c.shape, c.guarantee, c.workers) for c in here}
        kind = min((k for k in wanted if k in kinds), key=had.count)
        of_kind = [c for c in here if (c.shape, c.guarantee, c.workers) == kind]
        chosen.append(of_kind[number % len(of_kind)])
    disowned = [case for case in CASES if case.disown]
    return chosen + disowned[:: len(disowned) // 6]
