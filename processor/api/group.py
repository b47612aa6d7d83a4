"""`Group`: what `Frame.group_by` returns, to be aggregated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from processor.api import arguments, ways
from processor.api.functions import Aggregator
from processor.errors import TopologyError
from processor.plan import nodes

if TYPE_CHECKING:
    from processor.api.frame import Frame


class Group:
    """Groups, to be aggregated."""

    def __init__(
        self,
        frame: Frame,
        keys: Sequence[str | nodes.Window],
        at: nodes.Location,
        name: str | None = None,
    ) -> None:
        for key in keys:
            if not isinstance(key, nodes.Window):
                arguments.column(key, "a key of group_by", at)
        windows = [key for key in keys if isinstance(key, nodes.Window)]
        texts = [key for key in keys if isinstance(key, str)]
        if len(windows) > 1 or len(windows) + len(texts) != len(keys):
            raise TopologyError(
                f"{at}: group_by takes columns and at most one window",
                remedy='group_by(F.window("dt", "1 hour"), "cluster")',
            )
        self._frame = frame
        self._window = windows[0] if windows else None
        self._keys = tuple(texts)
        self._at = at
        self._name = name

    @arguments.told('agg(n=F.count(), total=F.sum("amount")): each aggregate has a name')
    def agg(self, **aggregates: Aggregator) -> Frame:
        """Named aggregates: ``agg(trips=F.count(), lat=F.mean("lat"))``.

        The frame has ``window_start`` and ``window_end`` (with a window), the keys, the aggregates.
        """
        if not aggregates:
            raise TopologyError(f"{self._at}: agg needs an aggregate", remedy="agg(n=F.count())")
        for name, aggregate in aggregates.items():
            if not isinstance(aggregate, Aggregator):
                raise TopologyError(
                    f"{self._at}: {name}={aggregate} is no aggregate",
                    remedy="say F.count(), F.sum, F.min, F.max or F.mean of a column's name",
                )
        named = tuple(nodes.Aggregation(n, a.function, a.column) for n, a in aggregates.items())
        parent = self._frame._node  # noqa: SLF001 - Group is a part of Frame
        node = nodes.Aggregate(parent, self._window, self._keys, named, self._at, self._name)
        return self._frame._next(node)  # noqa: SLF001

    if not TYPE_CHECKING:  # to a type checker there is no such name

        def __getattr__(self, name: str) -> NoReturn:
            raise ways.missing("a group", name, ways.GROUP, ways.public(Group))
