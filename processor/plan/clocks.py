"""Windows of the clock: the steps in front of one are read anew by a stage that stamps its rows.

::

    read ─ steps ─ group_by(F.window(F.processing_time(), "1 minute"), "user") ─ agg
    ──►
    read, each row stamped ─ steps ─── by user, to an internal topic         a stage without state
                                          └── read ─ agg                     one with state

What time it is, is no function of the log. So it is written down before any state: the internal
topic is the journal, and whoever reads it again comes to the same answer. The stamp is the stage's
event time, which never goes back: not with the clock, and not after a restart.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import polars as pl

from processor.errors import TopologyError
from processor.plan import nodes

Above: TypeAlias = nodes.Above


class Clocks:
    """Makes the steps in front of windows of the clock, once for each.

    >>> Clocks().stamped  # doctest: +ELLIPSIS
    <bound method Clocks.stamped of ...>
    """

    def __init__(self) -> None:
        self._made: dict[int, tuple[Above, Above]] = {}

    def stamped(self, node: Above, at: nodes.Location) -> Above:
        """The same rows with their time; raises `TopologyError` where none can be given."""
        if id(node) not in self._made:
            # The node is kept with it: its id stays its own.
            self._made[id(node)] = node, self._stamped(node, at)
        return self._made[id(node)][1]

    def _stamped(self, node: Above, at: nodes.Location) -> Above:
        if isinstance(node, nodes.Source):
            return _source(node, at)
        if isinstance(node, nodes.Union):
            parents = [self.stamped(parent, at) for parent in node.parents]
            return replace(node, parents=tuple(parents))  # type: ignore[arg-type]
        if isinstance(node, nodes.Watermark):
            raise TopologyError(
                f"{at}: windows of the clock behind a watermark of event times ({node.at})",
                remedy="leave with_watermark out: no row is late by the clock",
            )
        if isinstance(node, nodes.Select | nodes.Extend | nodes.Filter | nodes.Repartition):
            parent = self.stamped(node.parent, at)
            if isinstance(node, nodes.Select):
                kept = (*node.expressions, pl.col(nodes.CLOCK))
                return replace(node, parent=parent, expressions=kept)  # type: ignore[arg-type]
            return replace(node, parent=parent)  # type: ignore[arg-type]
        raise TopologyError(
            f"{at}: windows of the clock behind what is no row of a topic any more ({node.at})",
            remedy="write it to a topic, and read that in a topology of its own",
        )


def _source(source: nodes.Source, at: nodes.Location) -> nodes.Source:
    if source.watermark is not None:
        raise TopologyError(
            f"{at}: windows of the clock, and the topic's records carry a watermark of event times",
            remedy=f'leave watermark="carried" out at {source.at}',
        )
    if nodes.CLOCK in {*(source.format.columns or {}), *source.own()}:
        raise TopologyError(
            f"{at}: {source.topic!r} has a column {nodes.CLOCK!r}, as the clock's is called",
            remedy=f"read it under another name at {source.at}",
        )
    # A computed event time is a column for the steps behind: it is computed among them.
    if source.time is not None:
        raise TopologyError(
            f"{at}: windows of the clock, and the event time is computed ({source.at})",
            remedy="compute it behind, with_columns(...), and leave event_time out",
        )
    return replace(source, event_time=nodes.CLOCK, clock=True)
