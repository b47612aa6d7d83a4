"""One run of the simulator: what is simulated, the script so far, and how a failure is told."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from processor.api.topology import Topology
from processor.engine.restore.heal import Policy
from processor.engine.running.options import Guarantee
from processor.errors import ProcessorError
from processor.testing.driver import TestDriver, Who
from processor.testing.faults import FaultyLog

Feed = Callable[[random.Random], tuple[str, bytes]]
"""Draws one input record: its key and its value."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is simulated.

    Args:
        topology: makes the topology anew.
        feed: draws input records.
        compare_state: whether state is compared, besides the outputs.
        updates: whether the last record of a key counts (``update``), or every record once.
        identity: the output's columns that make up a key, for ``updates``.
        on_checkpoint_loss: what the workers do; unless they stop, the store loses checkpoints.
        begin: records that are there before anything else.
        outside: what is wrong with what the run has shown outside of Kafka, beside what the quiet
            run has; empty: nothing is.
    """

    topology: Callable[[], Topology]
    feed: Feed
    updates: bool
    identity: Sequence[str] = ()
    partitions: int = 3
    workers: int = 3
    actions: int = 60
    on_checkpoint_loss: Policy = "stop"
    begin: Sequence[tuple[str, bytes]] = ()
    outside: Callable[[TestDriver, TestDriver], str] | None = None


class SimulationError(ProcessorError):
    """A seed whose run came out wrong; the message has the script."""

    code = "simulation"


@dataclass(slots=True)
class Run:
    """A seed's run; ``stalled`` are workers in the middle of a step."""

    scenario: Scenario
    seed: int
    guarantee: Guarantee
    random: random.Random
    driver: TestDriver
    log: FaultyLog
    alive: set[Who]
    stalled: set[Who] = field(default_factory=set)
    zombie: bool = False
    script: list[str] = field(default_factory=list)

    def tell(self, line: str) -> None:
        """Add a line to the script."""
        self.script.append(line)

    def failure(self, reason: str) -> SimulationError:
        """The error that tells the script, with an arrow at the step."""
        lines = [f"    {line}" for line in self.script[:-1]] + [f"--> {self.script[-1]}"]
        return SimulationError(
            f"seed {self.seed} ({self.driver.plan.app}, {self.guarantee}): {reason}\n"
            + "\n".join(lines),
            remedy=f"run the same again: simulate(scenario, {self.seed}, {self.guarantee!r})",
        )
