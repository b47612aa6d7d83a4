"""How a worker runs, and who wants to know of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

import polars as pl

from processor.engine.commit.checkpoint import Piece
from processor.engine.commit.newest import DOUBTS
from processor.engine.commit.protocol import Verdict
from processor.engine.restore.heal import STEP_S, Healed, Policy
from processor.engine.restore.identity import Start
from processor.engine.restore.recovery import STABLE_S
from processor.engine.restore.upgrade import Upgraded
from processor.engine.running.batcher import Limits
from processor.errors import ProcessorError
from processor.metrics.progress import BatchReport
from processor.model.log import Rebalance, TopicPartition

END_US: Final = 253_402_300_799_000_000
"""The end of the year 9999, in microseconds since 1970: no event time comes any more."""

Guarantee = Literal["exactly-once", "at-least-once"]


@dataclass(frozen=True, slots=True)
class Listener:
    """Who wants to know: of batches, changes of partitions, tasks healed and taken over, doubts.

    ``unsaved`` hears of checkpoints that the store did not take, ``shown`` takes the rows of
    tables: which sink's, of which task.
    """

    batch: Callable[[BatchReport], None] = lambda _: None
    change: Callable[[Rebalance], None] = lambda _: None
    undone: Callable[[Verdict, ProcessorError | None], None] = lambda _, __: None
    healed: Callable[[Healed], None] = lambda _: None
    upgraded: Callable[[Upgraded], None] = lambda _: None
    noted: Callable[[str], None] = lambda _: None
    unsaved: Callable[[Piece, ProcessorError], None] = lambda _, __: None
    shown: Callable[[str, TopicPartition, pl.DataFrame], None] = lambda *_: None


@dataclass(frozen=True, slots=True)
class Options:
    """How a worker runs; ``bounded``: it ends where its input ends.

    ``ends``: nothing ever comes behind that, so all that waits for time comes out.
    """

    guarantee: Guarantee = "exactly-once"
    start_from: Start = "earliest"
    limits: Limits = field(default_factory=Limits)
    timeout_s: float = 10.0
    stable_s: float = STABLE_S
    doubts: int = DOUBTS
    on_checkpoint_loss: Policy = "stop"
    allow_dropped_state: bool = False
    heal_step_s: float = STEP_S
    bounded: bool = False
    ends: bool = False
