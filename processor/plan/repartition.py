"""The cut that a user asks for: rows are dealt out by a key, or evenly, to so many partitions.

::

    read ─ steps ─── by user, or evenly, to an internal topic of 8 partitions
                        └── steps ─ write

All columns go along, and so do the event time and its watermark, where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from processor.errors import TopologyError
from processor.formats.blocks import Blocks
from processor.plan import carried, nodes, schema

_KEYS = (pl.String, pl.Boolean)


def why(node: nodes.Repartition) -> str:
    """Why there is a cut."""
    return f"rows are dealt out {'by ' + ', '.join(node.keys) if node.keys else 'evenly'}"


def name(node: nodes.Repartition) -> str:
    """What the stage behind is called, if nobody has named it."""
    return node.name or "-".join(["repartitioned", *(["by"] if node.keys else []), *node.keys])


def check(node: nodes.Repartition, place: nodes.Node, have: Mapping[str, pl.DataType]) -> None:
    """Raise `TopologyError` for keys that no partition is known by, and groups that change."""
    if missing := [key for key in node.keys if key not in have]:
        raise TopologyError(
            f"{node.at}: there is no column {' and no '.join(map(repr, missing))}",
            remedy=f"the columns here are: {', '.join(have)}",
        )
    for key in node.keys:
        kind = have[key]
        narrow = kind.is_integer() and kind not in (pl.Int128, pl.UInt128)
        if not (narrow or kind.is_temporal() or kind in _KEYS):
            raise TopologyError(
                f"{node.at}: {key!r} is {kind}, which cannot be a key",
                remedy="deal out by text, integers up to 64 bits, times or booleans",
            )
    way = nodes.way(place)
    groups = [step for step in way if isinstance(step, nodes.Aggregate)]
    marked = any(isinstance(step, nodes.Watermark) for step in way)
    closes = marked or nodes.source_of(place).watermark is not None
    if groups and (groups[-1].window is None or not closes):
        raise TopologyError(
            f"{node.at}: groups that may still change are not dealt out ({groups[-1].at})",
            remedy="let the aggregate publish what is over: with_watermark(...) and "
            "group_by(F.window(...), ...); or repartition before it",
        )


def event_time(app: str, node: nodes.Repartition, places: Sequence[nodes.Node]) -> str | None:
    """The column that is the event time behind, the same from each stream; ``None``: there is none.

    The one that is called as it was read, else the first by name.
    """
    found: list[str | None] = []
    for place in places:
        source = nodes.source_of(place)
        if source.event_time is None:
            found.append(None)
            continue
        have = schema.columns_at(place)
        sink = nodes.Sink(place, app, Blocks({}), None, "append", node.at, internal=True)
        times = carried.times(nodes.Plan(app, (sink,), node.at), sink, have)
        wanted = [source.event_time, "window_start", *times]
        found.append(next((name for name in wanted if name in times), None))
    return found[0] if len(set(found)) == 1 else None


def refuse(node: nodes.Watermark, place: nodes.Node) -> None:
    """Raise `TopologyError` for a watermark behind the cut: lateness is decided at the source."""
    source = nodes.source_of(place)
    if source.spread is not None:
        raise TopologyError(
            f"{node.at}: with_watermark behind repartition ({source.at}), where rows of several "
            "partitions lie in any order",
            remedy="put it before: rows.with_watermark(...).repartition(...)",
        )
