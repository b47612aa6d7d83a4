"""Which columns of a sink the watermark that its records carry holds for.

They are the event time as it was read, whatever it is called by then; behind an aggregate the
window's ends, and the least and the largest event time of a group; behind a join those of its
sides. A column that was computed of it may be of an earlier time than the watermark says.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from processor.errors import TopologyError
from processor.plan import nodes, pairs, schema


def check(plan: nodes.Plan, sink: nodes.Sink, columns: schema.Columns) -> None:
    """Raise `TopologyError` unless there is a watermark that the sink's records can carry."""
    if plan.delay() is None:
        raise TopologyError(
            f'{sink.at}: watermark="carried" without a watermark',
            remedy='say how late records may be: frame.with_watermark("10 minutes")',
        )
    if any(s.topic == sink.topic and s.watermark is None for s in plan.sinks):
        raise TopologyError(
            f"{sink.at}: another step writes to {sink.topic!r} and carries no watermark",
            remedy='say watermark="carried" at both, or give each a topic of its own',
        )
    if sink.key is None:
        raise TopologyError(
            f'{sink.at}: watermark="carried" without a key: a record would lie in any partition, '
            "and what it tells would hold for none",
            remedy='write it by key: key="user"',
        )
    aggregates = [node for node in nodes.path(sink) if isinstance(node, nodes.Aggregate)]
    if aggregates and (sink.mode != "append" or aggregates[0].window is None):
        raise TopologyError(
            f'{sink.at}: watermark="carried" with groups that may be published again',
            remedy='publish windows that are over: F.window(...) and mode="append"',
        )
    if not times(plan, sink, columns):
        name = plan.source().event_time
        raise TopologyError(
            f'{sink.at}: watermark="carried" without the event time: no column here is {name!r} as '
            "it was read, and one that is computed of it may be earlier than the watermark says",
            remedy="keep the column as it is, and give what is computed of it another name",
        )


def times(plan: nodes.Plan, sink: nodes.Sink, columns: schema.Columns) -> tuple[str, ...]:
    """The columns at a sink that are never earlier than the watermark that its records carry."""
    names = {name for name in [plan.source().event_time] if name is not None}
    for node in nodes.path(sink):
        if isinstance(node, nodes.Select | nodes.Extend):
            names = _through(node, names, columns[id(node.parent)])
        elif isinstance(node, nodes.Aggregate):
            ends = {a.name for a in node.aggregations
                    if a.function in ("min", "max") and a.column in names}  # fmt: skip
            names = ends | {"window_start", "window_end"}
        elif isinstance(node, pairs.Joined):
            names = set(node.times)
    return tuple(sorted(names & columns[id(sink.parent)].keys()))


def _as_microseconds(expression: pl.Expr) -> set[str]:
    """The column that an expression takes over as microseconds, which change no order."""
    roots = expression.meta.root_names()
    whole = expression.meta.undo_aliases().meta
    same = len(roots) == 1 and whole.eq(pl.col(roots[0]).cast(pl.Datetime("us")))
    return set(roots) if same else set()


def _through(
    node: nodes.Select | nodes.Extend, names: set[str], before: Mapping[str, pl.DataType]
) -> set[str]:
    kept = set(names) if isinstance(node, nodes.Extend) else set()
    for expression in node.expressions:
        made = set(schema.names(expression, before))
        kept -= made
        if expression.meta.is_column_selection():
            kept |= made & names
        elif expression.meta.is_column_selection(allow_aliasing=True):
            roots = expression.meta.root_names()
            kept |= made if len(roots) == len(made) == 1 and roots[0] in names else set()
        else:
            kept |= made if _as_microseconds(expression) & names else set()
    return kept
