"""What a run has to do, as it goes from process to process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from processor.model.log import TopicPartition


@dataclass(frozen=True, slots=True)
class Job:
    """One stage to run: the partitions of its input, its place among the others.

    ``name`` is the topology's, ``stage`` the stage's number in it.

    ``plan`` is the identity of the plan that it was made for. ``ends`` is where its input ends, for
    a run that ends there.
    """

    name: str
    plan: str
    partitions: int
    index: int
    stage: int = 0
    ends: Mapping[TopicPartition, int] | None = None
