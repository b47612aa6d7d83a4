"""Whether the records of a group that is published again have an order.

A group's records are in order where they are in one partition: where what they are keyed by is the
same for all of them. Otherwise no reader can tell which is the last.
"""

from __future__ import annotations

from collections.abc import Iterator

from processor.plan import nodes, schema


def unordered(plan: nodes.Plan) -> Iterator[str]:
    """A sentence for each sink whose readers cannot tell the last record of a group.

    >>> from processor import Json, Topology, functions as F
    >>> import polars as pl
    >>> topology = Topology("spend")
    >>> rows = topology.read.kafka("in", format=Json({"c": pl.String}), partitioned_by="c")
    >>> rows.group_by("c").agg(n=F.count()).write.kafka("out", mode="update")
    >>> next(unordered(topology.plan())).partition(": ")[2].partition(" (")[0]
    "'out' gets groups again whenever they change"
    """
    for sink in plan.published():
        # What is shown on the screen comes in the order of the run; a gather is one partition.
        if (
            sink.mode == "append"
            or sink.internal
            or sink.topic == nodes.console_topic(plan.whole())
        ):
            continue
        if sink.key is None and plan.source().gathered():
            continue
        aggregate = next((n for n in nodes.path(sink) if isinstance(n, nodes.Aggregate)), None)
        if aggregate is None or is_fixed(plan, sink, aggregate):
            continue
        names = ", ".join(map(repr, nodes.key_columns(sink.key)))
        told = f"keyed by {names}" if names else "without a key"
        yield (
            f"{sink.at}: {sink.topic!r} gets groups again whenever they change "
            f'(mode="{sink.mode}"), and {told} records of one group lie in any of its partitions: '
            "where it has more than one, no reader can tell which is the last. "
            + _remedy(fixed(plan, sink, aggregate), aggregate)
        )


def is_fixed(plan: nodes.Plan, sink: nodes.Sink, aggregate: nodes.Aggregate) -> bool:
    """Whether all records of a group have one key."""
    names = nodes.key_columns(sink.key)
    return bool(names) and fixed(plan, sink, aggregate).issuperset(names)


def fixed(plan: nodes.Plan, sink: nodes.Sink, aggregate: nodes.Aggregate) -> set[str]:
    """The sink's columns that are the same in all records of a group: its own, and of those."""
    columns = schema.columns(plan)
    path = nodes.path(sink)
    same = {*aggregate.keys, *(("window_start", "window_end") if aggregate.window else ())}
    for node in path[[n is aggregate for n in path].index(True) + 1 :]:
        if isinstance(node, nodes.Select | nodes.Extend):
            have = columns[id(node.parent)]
            after = same.copy() if isinstance(node, nodes.Extend) else set()
            for expression in node.expressions:
                for name in schema.names(expression, have):
                    several = expression.meta.has_multiple_outputs()
                    of = {name} if several else set(expression.meta.root_names())
                    (after.add if of <= same else after.discard)(name)
            same = after
    return same


def _remedy(same: set[str], aggregate: nodes.Aggregate) -> str:
    named = next((name for name in (*aggregate.keys, *sorted(same)) if name in same), None)
    if named is None:
        return f"Keep a column of the group, and write by it: key={aggregate.keys[0]!r}"
    return f'Write by a column of the group: key="{named}"'
