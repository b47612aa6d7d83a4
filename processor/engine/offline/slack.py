"""How far sums and means of floating-point numbers may be from those recomputed.

With other batches the order of addition is another one, and each addition rounds. Two sums of n
numbers differ by no more than n·ε times the sum of their absolute values, whatever the orders;
twice that is allowed here. The result alone does not tell: 0.1 + 0.2 + 0.3 - 0.6 is 0 or 5.6e-17.
So the absolute values are added up too, group by group, while the input is recomputed::

    rows ──► the aggregate that is judged ──► what is published
      └────► count, sum of |x| by the same groups ──► `Slack`
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import polars as pl

from processor.engine.offline.rows import RowReader, for_columns, row_reader
from processor.model.log import Output
from processor.plan import nodes, schema

_EPSILON: Final = sys.float_info.epsilon
# Sums of sizes up to it do not overflow before there are sixteen million.
_SIZE_MAX: Final = 2.0**1000
_COUNT, _SIZE, _ODD = "processor.count", "processor.size", "processor.odd"


class Slack:
    """The bounds of each group, from the outputs of a sink of its own.

    Args:
        sink: where the sizes come out; its topic is the name under which to hear of them.
        read: takes its rows apart.
        group: the columns that tell groups apart.
        columns: the aggregate of each published column.
    """

    def __init__(
        self,
        sink: nodes.Sink,
        read: RowReader,
        group: Sequence[str],
        columns: Mapping[str, nodes.Aggregation],
    ) -> None:
        self.sink = sink
        self.columns = columns
        self._read, self._group = read, tuple(group)
        self._bounds: dict[tuple[Any, ...], dict[str, float]] = {}

    def expect(self, output: Output) -> None:
        """Hear of the sizes of groups; a later word counts."""
        for value in output.values:
            row = self._read(value or b"")
            bounds = {name: _bound(row, aggregation) for name, aggregation in self.columns.items()}
            self._bounds[tuple(row[name] for name in self._group)] = bounds

    def of(self, group: tuple[Any, ...]) -> Mapping[str, float]:
        """How far a group's published columns may be from those recomputed; infinity: any way."""
        return self._bounds.get(group, {})


def slack_of(
    plan: nodes.Plan,
    sink: nodes.Sink,
    aggregate: nodes.Aggregate,
    group: Sequence[str],
    published: Mapping[str, nodes.Aggregation],
) -> Slack | None:
    """The slack of a sink's columns; ``None`` where none is a sum or a mean of fractions.

    Args:
        plan: the topology.
        sink: the sink that is judged.
        aggregate: the aggregate before it.
        group: the columns that tell its groups apart.
        published: the aggregate of each column that comes out as it is, by the column's name.

    >>> from processor import Json, Topology, functions as F
    >>> topology = Topology("sums")
    >>> rows = topology.read.kafka("in", format=Json({"k": pl.Int64, "x": pl.Float64}),
    ...                            partitioned_by="k")
    >>> rows.group_by("k").agg(s=F.sum("x")).write.kafka("out", key="k", mode="update")
    >>> plan = topology.plan()
    >>> (sink,), aggregate = plan.sinks, plan.sinks[0].parent
    >>> slack = slack_of(plan, sink, aggregate, ["k"], {"s": aggregate.aggregations[0]})
    >>> row = b'{"k":1,"processor.count.x":2,"processor.size.x":0.5,"processor.odd.x":0}'
    >>> slack.expect(Output(slack.sink.topic, [row]))
    >>> slack.of((1,))
    {'s': 4.440892098500626e-16}
    """
    kinds = schema.columns(plan)[id(aggregate.parent)]
    columns = {
        name: found
        for name, found in published.items()
        if found.function == "mean"
        or (found.function == "sum" and kinds[str(found.column)].is_float())
    }
    if not columns:
        return None
    beside = _sizes(aggregate, sorted({str(found.column) for found in columns.values()}))
    # No topic of Kafka has such a name.
    own = nodes.Sink(beside, f"{sink.topic} sizes", sink.format, None, "update", sink.at)
    rows = schema.columns(nodes.Plan(plan.app, (own,), plan.at))[id(beside)]
    own = replace(own, format=for_columns(sink.format, rows))
    read = row_reader(own.format, list(rows))
    return None if read is None else Slack(own, read, group, columns)


def _sizes(aggregate: nodes.Aggregate, measured: Sequence[str]) -> nodes.Aggregate:
    """The same groups, with the count and the size of what is added up in them."""
    before: list[pl.Expr] = []
    sizes: list[nodes.Aggregation] = []
    for name in measured:
        count, size, odd = (f"{kind}.{name}" for kind in (_COUNT, _SIZE, _ODD))
        numbers = pl.col(name).cast(pl.Float64)
        before += [
            numbers.abs().clip(0, _SIZE_MAX).alias(size),
            (~numbers.is_finite()).cast(pl.Int64).alias(odd),
        ]
        sizes += [
            nodes.Aggregation(count, "count", name),
            nodes.Aggregation(size, "sum", size),
            nodes.Aggregation(odd, "sum", odd),
        ]
    extended = nodes.Extend(aggregate.parent, tuple(before), aggregate.at)
    return nodes.Aggregate(extended, aggregate.window, aggregate.keys, tuple(sizes), aggregate.at)


def _bound(row: Mapping[str, Any], aggregation: nodes.Aggregation) -> float:
    count, size, odd = (row[f"{kind}.{aggregation.column}"] for kind in (_COUNT, _SIZE, _ODD))
    if int(odd):
        return 0.0  # infinite or no number, in any order
    if size is None or float(size) >= _SIZE_MAX:
        return math.inf  # the order decides whether it overflows on the way
    # A mean is the sum divided by the count.
    return 2 * _EPSILON * float(size) * (int(count) if aggregation.function == "sum" else 1)
