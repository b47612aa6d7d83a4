"""The cut in front of what needs all groups in one place: `order_by` and `limit`.

::

    … ─ agg ─ steps ─ order_by ─ limit ─ write, complete
    ──►
    … ─ agg ─── each group that changed, to one partition
                   └── the newest row of each group ─ steps ─ order_by ─ limit ─ write, complete

Rows of an aggregate that may be published again reach no other state than this: the newest of each
group takes the place of the one before. So the steps between, which may leave a group out, stand
behind it.
"""

from __future__ import annotations

from dataclasses import replace

from processor.errors import TopologyError
from processor.plan import nodes, pairs

WHY = "order needs all groups in one place"
_FIRST = (
    'group first: group_by("user").agg(n=F.count()).order_by("n", descending=True).limit(10)'
    '.write.kafka("top", mode="complete")'
)


def aggregate_of(node: nodes.Sort | nodes.Limit) -> nodes.Aggregate | None:
    """The aggregate whose groups come to a step; ``None`` where they have been put in order before.

    Raises `TopologyError` for rows that never end.
    """
    step: nodes.Node = node.parent
    while isinstance(step, nodes.Select | nodes.Extend | nodes.Filter):
        step = step.parent
    if isinstance(step, nodes.Sort | nodes.Limit):
        return None
    if not isinstance(step, nodes.Aggregate):
        raise TopologyError(f"{node.at}: rows without end have no order", remedy=_FIRST)
    if step.window is None and not step.keys:
        raise TopologyError(
            f"{node.at}: a total of all rows ({step.at}) is one row", remedy="leave the step out"
        )
    return step


def behind(node: nodes.Node, aggregate: nodes.Aggregate, newest: nodes.Newest) -> nodes.Node:
    """The steps from an aggregate to a node, behind the newest rows of its groups."""
    if node is aggregate:
        return newest
    if isinstance(node, nodes.Source | nodes.Newest):
        raise TypeError(f"{node} is in front of the aggregate")
    return replace(node, parent=behind(node.parent, aggregate, newest))


def keys_of(aggregate: nodes.Aggregate) -> tuple[str, ...]:
    """The columns that tell an aggregate's groups apart."""
    return (*(("window_start",) if aggregate.window else ()), *aggregate.keys)


def mode_of(plan: nodes.Plan, aggregate: nodes.Aggregate) -> nodes.OutputMode:
    """How an aggregate publishes, with its other sinks: changed groups, unless one wants all."""
    modes = {
        sink.mode
        for sink in plan.sinks
        for way in [way_above(sink.parent)]
        if any(step is aggregate for step in way)
        and not any(isinstance(step, nodes.Sort | nodes.Limit) for step in way)
    }
    return "complete" if "complete" in modes else "update"


def way_above(node: nodes.Above) -> list[nodes.Above]:
    """A node of a graph and all that come to it; of what is united, from each stream."""
    if isinstance(node, nodes.Source):
        return [node]
    parents = node.parents if isinstance(node, nodes.Union | pairs.Join) else (node.parent,)
    return [node, *(step for parent in parents for step in way_above(parent))]


def ordered(node: nodes.Node) -> nodes.Newest | None:
    """The gather that a node is behind; ``None``: it is behind none."""
    return next((step for step in nodes.way(node) if isinstance(step, nodes.Newest)), None)


def check_sink(sink: nodes.Sink, place: nodes.Node) -> None:
    """Raise `TopologyError` for a sink that cannot have rows in order."""
    found = ordered(place)
    if found is None:
        return
    if sink.mode != "complete":
        raise TopologyError(
            f"{sink.at}: rows in order ({found.at}) are published as a whole, not with "
            f"mode={sink.mode!r}",
            remedy='say mode="complete", or leave order_by and limit out',
        )
    if sink.key is not None:
        raise TopologyError(
            f"{sink.at}: rows in order ({found.at}) stay together in one partition, and a key "
            "would deal them out",
            remedy="leave key out",
        )


def refuse(node: nodes.Above, place: nodes.Node) -> None:
    """Raise `TopologyError` for a step that takes rows in order for rows that are new."""
    found = ordered(place)
    if found is not None:
        raise TopologyError(
            f"{node.at}: rows in order ({found.at}) come again with every batch, and nothing can "
            "be made of them but what is published",
            remedy="let order_by and limit be the last steps",
        )
