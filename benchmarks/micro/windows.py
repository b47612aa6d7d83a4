"""Rows folded into windows that slide, beside those that tumble: a row costs the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from processor import Topology
from processor import functions as F  # noqa: N812 - as Spark's users write it
from processor.model.batch import Slice
from processor.model.log import TopicPartition
from processor.operators.pipeline import Pipeline
from topologies.spend.totals import PAYMENT

Step = Callable[[int], object]


def window_steps(batches: list[list[bytes]]) -> Mapping[str, Step]:
    """The steps for payments, of which no window closes."""
    return {
        "sums by user in windows of an hour": _folded(batches, "1 hour"),
        "the same in windows of ten minutes": _folded(batches, "10 minutes"),
        "the same in an hour by ten minutes": _folded(batches, "1 hour", "10 minutes"),
    }


def _folded(batches: list[list[bytes]], *window: str) -> Step:
    topology = Topology("windows")
    rows = topology.read.kafka("in", format=PAYMENT, event_time="ts", partitioned_by="user")
    groups = rows.with_watermark("1 day").group_by(F.window("ts", *window), "user")
    groups.agg(n=F.count(), total=F.sum("amount")).write.kafka("out", key="user")
    pipeline = Pipeline(topology.plan())
    partition = TopicPartition("in", 0)

    def run(i: int) -> object:
        values = batches[i]
        messages: Any = [None] * len(values)
        part = Slice(partition, messages, list(values), 0, len(values), None)
        return pipeline.run([part], [pipeline.new_state()], publishes=False)

    return run
