"""`Frame`: columns, as in Structured Streaming. A method returns a new handle on a longer plan."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn, cast

import polars as pl

from processor.api import arguments, ways
from processor.api.expressions import expressions
from processor.api.functions import Aggregator
from processor.api.group import Group
from processor.api.location import caller
from processor.api.writer import Writer
from processor.errors import TopologyError
from processor.plan import nodes, pairs

if TYPE_CHECKING:
    from processor.api.topology import Topology


class Frame:
    """A stream of rows.

    >>> from processor import Json, Topology, functions as F
    >>> topology = Topology("spend")
    >>> rows = topology.read.kafka(
    ...     "payments",
    ...     format=Json({"user": pl.String, "amount": pl.Float64}),
    ...     partitioned_by="user",
    ... )
    >>> totals = rows.filter(pl.col("amount") > 0).group_by("user").agg(total=F.sum("amount"))
    >>> totals.write.kafka("totals", key="user", mode="update")
    """

    def __init__(self, topology: Topology, node: nodes.Node) -> None:
        self._topology = topology
        self._node = node

    def select(self, *columns: str | pl.Expr, **named: pl.Expr) -> Frame:
        """Only these columns: names, Polars expressions, or ``name=expression``."""
        at = caller()
        return self._next(nodes.Select(self._node, expressions(columns, named, at), at))

    def with_columns(self, *columns: pl.Expr, **named: pl.Expr) -> Frame:
        """These columns besides those that are there."""
        at = caller()
        given: tuple[object, ...] = columns
        named_by = next((name for name in given if isinstance(name, str)), None)
        if named_by is not None:
            raise TopologyError(
                f"{at}: with_columns({named_by!r}) computes nothing",
                remedy=f"a new column is with_columns({named_by}=expression), as in "
                f'{named_by}=pl.col("n") + 1',
            )
        return self._next(nodes.Extend(self._node, expressions(columns, named, at), at))

    @arguments.told('filter(pl.col("n") > 0); for several, (first) & (second)')
    def filter(self, predicate: pl.Expr) -> Frame:
        """Rows for which the predicate is true."""
        at = caller()
        (checked,) = expressions([predicate], {}, at)
        return self._next(nodes.Filter(self._node, checked, at))

    where = filter  # noqa: A003 - the word that users of SQL look for

    @arguments.told(
        'with_watermark("10 minutes"); which column has the event times is said at read.kafka'
    )
    def with_watermark(
        self,
        delay: str | timedelta,
        *,
        late: str | None = None,
        ahead: str | timedelta = nodes.AHEAD,
        idle: str | timedelta | None = None,
        max_ahead: str | timedelta | None = None,
    ) -> Frame:
        """Drop and count records that are behind their partition's largest event time by more.

        Args:
            delay: ``"2 days"``, ``"10 minutes"``, or a timedelta.
            late: a topic that such records go to, with their own bytes and key, and headers that
                say where they come from and how late they are.
            ahead: how far ahead of its record's own timestamp an event time may be. A record
                beyond it is bad, as ``on_error`` says: one clock that is years ahead would make
                all that follows late.
            idle: where stages behind wait for the watermark, and all partitions have stood still
                for so long, it goes on with the clock; so windows close when data stops, and what
                comes later is late. Left out: a partition that stands still for a minute does not
                hold back the others, and the watermark goes no further than records do.
            max_ahead: where stages behind wait for the watermark: a partition whose largest event
                time is ahead of the least one, of all partitions in front with records to read, by
                more is not read until they follow, so that stages behind keep little in state.
        """
        at = caller()
        length = arguments.length(delay, "the watermark's delay", at, '"2 days"')
        bound = arguments.length(ahead, "ahead", at, '"1 hour"')
        if late is not None:
            arguments.text(late, "late", at, 'give a topic\'s name: late="trips-late"')
        if length < timedelta(0) or bound < timedelta(0):
            name = "the watermark's delay" if length < timedelta(0) else "ahead"
            raise TopologyError(f"{at}: {name} is negative", remedy='say "2 days"')
        still = None if idle is None else arguments.length(idle, "idle", at, '"30 seconds"')
        if still is not None and still <= timedelta(0):
            raise TopologyError(f"{at}: idle is {still}", remedy='say "30 seconds"')
        most = (
            None if max_ahead is None else arguments.length(max_ahead, "max_ahead", at, '"1 hour"')
        )
        if most is not None and most <= timedelta(0):
            raise TopologyError(f"{at}: max_ahead is {most}", remedy='say "1 hour"')
        return self._next(nodes.Watermark(self._node, length, at, late, bound, still, most))

    @arguments.told('group_by(F.window("dt", "1 hour"), "cluster")')
    def group_by(self, *keys: str | nodes.Window, name: str | None = None) -> Group:
        """Groups by column names and at most one ``F.window(...)``.

        Where the topic does not keep the rows of a group together, they are dealt out by the keys
        to a stage of its own, through an internal topic. ``name`` is what that is called, so that
        it stays the same when keys are renamed; else it derives from them.
        """
        if not keys:
            raise TopologyError(
                f"{caller()}: group_by takes at least one key", remedy="for one group of all rows: "
                "rows.agg(n=F.count())",
            )  # fmt: skip
        return Group(self, keys, caller(), name)

    @arguments.told('agg(n=F.count(), total=F.sum("amount")): each aggregate has a name')
    def agg(self, **aggregates: Aggregator) -> Frame:
        """Aggregates of all rows, in one group: ``agg(trips=F.count())``."""
        return Group(self, (), caller()).agg(**aggregates)

    @arguments.told(
        'repartition("user", partitions=8), or repartition(partitions=8) for evenly',
        numPartitions="it is called partitions", num="it is called partitions",
    )  # fmt: skip
    def repartition(
        self, *keys: str, partitions: int | None = None, name: str | None = None
    ) -> Frame:
        """The same rows, dealt out to a stage behind: by columns, or without any evenly.

        Args:
            keys: rows that are alike in them come to one partition.
            partitions: how many there are; left out, as many as the input has.
            name: what the stage is called, so that it stays the same when keys are renamed.
        """
        at = caller()
        given: tuple[object, ...] = keys
        counts = [key for key in given if isinstance(key, int)]
        if counts:
            raise TopologyError(
                f"{at}: {counts[0]} is no column to deal rows out by",
                remedy=f"say partitions={counts[0]}: repartition(partitions={counts[0]}), or "
                f'repartition("user", partitions={counts[0]})',
            )
        by = tuple(arguments.column(key, "a key of repartition", at) for key in keys)
        if partitions is not None and (type(partitions) is not int or partitions < 1):
            raise TopologyError(
                f"{at}: partitions is {arguments.shown(partitions)}",
                remedy='say a number from 1: repartition("user", partitions=8)',
            )
        node = nodes.Repartition(self._node, by, partitions, at, name)
        # No stage has one, and so no node that a stage is made of says that there may be one.
        return self._next(cast("nodes.Node", node))

    @arguments.told(
        'order_by("n", descending=True); several: order_by("n", "user", descending=[True, False])',
        ascending="it is descending=True, or descending=[True, False] for several columns",
        by='order_by("n", "user")', reverse="it is descending=True",
        nullsFirst="nulls come first; nulls_last=True", maintain_order="equal rows have an order",
    )  # fmt: skip
    def order_by(
        self,
        *columns: str,
        descending: bool | Sequence[bool] = False,
        nulls_last: bool = False,
    ) -> Frame:
        """The groups of an aggregate in order, all in one place; written with ``mode="complete"``.

        Args:
            columns: what they are sorted by, the first column first. Equal ones are in the order
                of their groups' keys.
            descending: whether the largest come first; for several columns one word for each.
            nulls_last: where nulls come, in either direction.

        The whole is published with each batch that changed a group.
        """
        at = caller()
        if not columns:
            raise TopologyError(f"{at}: order_by takes a column", remedy='order_by("n")')
        by = tuple(arguments.column(name, "a column of order_by", at) for name in columns)
        return self._next(
            nodes.Sort(self._node, by, _downs(descending, len(by), at), bool(nulls_last), at)
        )

    @arguments.told("limit(10)")
    def limit(self, count: int) -> Frame:
        """The first groups of an aggregate, in the order of `order_by`, or of their keys."""
        at = caller()
        if type(count) is not int or count < 1:
            raise TopologyError(
                f"{at}: limit is {arguments.shown(count)}", remedy="say a number from 1: limit(10)"
            )
        return self._next(nodes.Limit(self._node, count, at))

    def union(self, *others: Frame) -> Frame:
        """The rows of these frames too, in no order.

        All have columns of the same names and types; rows have them in the order of this frame's.
        """
        at = caller()
        for other in others:
            given: object = other
            if not isinstance(given, Frame) or given._topology is not self._topology:  # noqa: SLF001 - of one kind
                raise TopologyError(
                    f"{at}: union takes frames of one topology", remedy="rows.union(others)"
                )
        parents = (self._node, *(other._node for other in others))  # noqa: SLF001
        # No stage has a union, and so no node that a stage is made of says that there may be one.
        return self._next(cast("nodes.Node", nodes.Union(parents, at)))

    @arguments.told(
        'clicks.join(views, on="user", between=("-10 minutes", "1 hour"))',
        left_on=ways.JOIN_KEYS, right_on=ways.JOIN_KEYS, by=ways.JOIN_KEYS,
        strategy='the other\'s time lies in a stretch: within="10 minutes"',
        tolerance='within="10 minutes"', within_="within", validate="leave it out",
        lsuffix="it is suffix= for the other's columns", rsuffix='suffix="_right"',
    )  # fmt: skip
    def join(
        self,
        other: Frame,
        on: str | Sequence[str],
        how: nodes.How = "inner",
        *,
        between: tuple[str | timedelta, str | timedelta] | None = None,
        within: str | timedelta | None = None,
        left_time: str | None = None,
        right_time: str | None = None,
        suffix: str = "_right",
        name: str | None = None,
    ) -> Frame:
        """Pairs of a row of this frame and one of the other, of the same key and near in time.

        Both sides need an event time and ``with_watermark``; the watermarks decide how long rows
        are kept. Null keys match nothing. A row has this frame's columns, then the other's
        without the keys.

        Args:
            other: the right side, of the same topology; it may be this frame itself.
            on: the columns of the key, called the same on both sides.
            how: ``inner``; or ``left``, which lets a row of this frame without a match go on too,
                with nulls, as soon as none can come any more.
            between: from when to when the other's event time may lie, counted from this frame's:
                ``("-10 minutes", "1 hour")``, both ends included.
            within: how far apart the two may be, whichever comes first.
            left_time: which column has this frame's event times, where there are several. Left out:
                the one that it was read with; ``window_start`` behind windows.
            right_time: the other's.
            suffix: what the other's columns are called behind, where this frame has such a name.
            name: what the stage is called that joins; left out, it derives from the keys.
        """
        at = caller()
        given: object = other
        if not isinstance(given, Frame) or given._topology is not self._topology:  # noqa: SLF001 - of one kind
            raise TopologyError(
                f"{at}: join takes another frame of the same topology",
                remedy=ways.STATIC_JOIN
                if isinstance(given, pl.DataFrame | pl.LazyFrame)
                else 'clicks.join(views, on="user", within="1 hour")',
            )
        keys = arguments.columns(on, "on", at)
        if not keys or len(set(keys)) < len(keys):
            raise TopologyError(
                f"{at}: on={on!r} names no key, or one twice", remedy='say on="user"'
            )
        if how not in ("inner", "left"):
            raise TopologyError(
                f"{at}: how={how!r} is not there", remedy=ways.HOW.get(str(how), ways.HOW["other"])
            )
        for column, option in ((left_time, "left_time"), (right_time, "right_time")):
            if column is not None:
                arguments.column(column, option, at)
        arguments.text(suffix, "suffix", at, 'give text: suffix="_other"')
        if name is not None:
            arguments.text(name, "name", at, 'give text: name="attributed"')
        lower, upper = arguments.stretch(between, within, at)
        times = left_time, right_time
        parents = self._node, other._node
        node = pairs.Join(*parents, keys, lower, upper, how, at, times, suffix, name)
        # As with a union: no stage has one.
        return self._next(cast("nodes.Node", node))

    @property
    def write(self) -> Writer:
        """Where the rows go."""
        return Writer(self)

    if not TYPE_CHECKING:  # to a type checker there is no such name

        def __getattr__(self, name: str) -> NoReturn:
            raise ways.missing("a frame", name, ways.FRAME, ways.public(Frame))

    def __getitem__(self, name: object) -> NoReturn:
        raise TopologyError(
            f"{caller()}: a frame has no rows or columns to take out",
            remedy='a column is written pl.col("a"); ' + ways.FRAME["show"],
        )

    def _next(self, node: nodes.Node) -> Frame:
        return Frame(self._topology, node)


def _downs(given: bool | Sequence[bool], count: int, at: nodes.Location) -> tuple[bool, ...]:
    """For each column whether the largest come first."""
    downs = [given] * count if isinstance(given, bool) else given
    if not isinstance(downs, list | tuple) or [type(down) for down in downs] != [bool] * count:
        raise TopologyError(
            f"{at}: descending is {arguments.shown(given)}, for {count} columns",
            remedy="say True or False, or a list with one of them for each column",
        )
    return tuple(downs)
