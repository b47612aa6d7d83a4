"""`Frame`: columns, as in Structured Streaming. A method returns a new handle on a longer plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NoReturn, cast

import polars as pl

from processor.api import arguments, ways
from processor.api.functions import Aggregator
from processor.api.location import caller
from processor.errors import TopologyError
from processor.formats.base import Format
from processor.formats.json import Json
from processor.plan import nodes

if TYPE_CHECKING:
    from processor.api.topology import Topology

_WHERE: Final = "`processor run --bootstrap-servers` says where Kafka is"


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
        return self._next(nodes.Select(self._node, _expressions(columns, named, at), at))

    def with_columns(self, *columns: pl.Expr, **named: pl.Expr) -> Frame:
        """These columns besides those that are there."""
        at = caller()
        return self._next(nodes.Extend(self._node, _expressions(columns, named, at), at))

    @arguments.told('filter(pl.col("n") > 0); for several, (first) & (second)')
    def filter(self, predicate: pl.Expr) -> Frame:
        """Rows for which the predicate is true."""
        at = caller()
        (checked,) = _expressions([predicate], {}, at)
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
        return self._next(nodes.Watermark(self._node, length, at, late, bound, still))

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

    def union(self, *others: Frame) -> Frame:
        """The rows of these frames too, which have the same columns; in no order."""
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


class Writer:
    """The places that rows can go."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    @arguments.told(
        'write.kafka("topic", key="user", mode="update", format=Json())',
        bootstrap_servers=_WHERE, servers=_WHERE, bootstrapServers=_WHERE,
        outputMode='mode="append", "update" or "complete"',
        output_mode='mode="append", "update" or "complete"', value="format=Text() or Json()",
        partitioned_by='key="user"', partition_by='key="user"', partition='key="user"',
        keys='key=["a", "b"], key_format=Json()',
        partitions="`processor run --create-topics N` makes topics of N partitions",
        checkpointLocation="`processor run --redis-url` says where checkpoints are kept",
        trigger="`processor run --interval 500ms`",
    )  # fmt: skip
    def kafka(
        self,
        topic: str,
        *,
        key: str | Sequence[str] | None = None,
        mode: nodes.OutputMode = "append",
        format: Format | None = None,  # noqa: A002 - the word that users of Spark look for
        watermark: nodes.Carried | None = None,
        timestamp: str | None = None,
        headers: str | Mapping[str, str] | None = None,
        key_format: Format | None = None,
    ) -> None:
        """Publish the rows to a topic.

        Args:
            topic: its name.
            key: the column whose text is the record's key, which picks the partition; or those
                that ``key_format`` makes it of.
            mode: ``append``: each row once; ``update``: groups that changed, the last record of a
                key is the right one; ``complete``: all groups with every batch.
            format: how rows become bytes; JSON if left out.
            timestamp: the column of the records' timestamps; left out, or null: the time of
                writing. Retention goes by it.
            headers: columns by the header's name, as in ``{"trace": "trace_id"}``: each record
                has their text, and none where it is null. Or the column with all headers that
                ``read.kafka(headers="...")`` has made, to keep them.
            watermark: ``"carried"``: the last record of a batch in each partition tells, in a
                header, how far the tasks have come, for ``read.kafka(..., watermark="carried")``.
            key_format: how the key's columns become its bytes; left out, it is the text of one.
        """
        at = caller()
        arguments.text(topic, "the topic", at, 'give its name: write.kafka("totals")')
        keyed = arguments.keys(key, key_format, at)
        if format is not None:
            arguments.format_(format, at)
        if timestamp is not None:
            arguments.column(timestamp, "timestamp", at)
        named = arguments.header_columns(headers, at)
        arguments.carried(watermark, at, 'leave it out, or say watermark="carried"')
        node = self._frame._node  # noqa: SLF001 - Writer is a part of Frame
        form = arguments.of_topic(format or Json(), topic)
        of_key = key_format and arguments.of_topic(key_format, topic, "key")
        sink = nodes.Sink(node, topic, form, keyed, mode, at, watermark, timestamp, named, of_key)
        self._frame._topology._append(sink)  # noqa: SLF001

    @arguments.told('write.console(mode="update")', format="format=Json(), Csv(...) or Text()")
    def console(
        self,
        *,
        key: str | None = None,
        mode: nodes.OutputMode = "append",
        format: Format | None = None,  # noqa: A002 - the word that users of Spark look for
    ) -> None:
        """Show the rows on the screen, where `processor run` uses the embedded log.

        They go to the topic ``<app>-console``, and each committed row is a line. The arguments mean
        what they mean to `kafka`; a run on Kafka refuses it.
        """
        app = self._frame._topology._app  # noqa: SLF001
        self.kafka(nodes.console_topic(app), key=key, mode=mode, format=format)

    if not TYPE_CHECKING:  # to a type checker there is no such name

        def __getattr__(self, name: str) -> NoReturn:
            raise ways.missing("write", name, ways.WRITER, ways.public(Writer))


def _expressions(
    columns: Sequence[str | pl.Expr], named: Mapping[str, pl.Expr | str], at: nodes.Location
) -> tuple[pl.Expr, ...]:
    for name, value in named.items():
        if isinstance(value, str):
            raise TopologyError(
                f"{at}: {name}={value!r} is no Polars expression",
                remedy=f'say {name}=pl.col("{value}") for the column, or pl.lit("{value}")',
            )
    for several in [*columns, *named.values()]:
        _check_one(several, at)
    plain = [pl.col(c) if isinstance(c, str) else c for c in columns]
    expressions = [*plain, *named.values()]
    for expression in expressions:
        if not isinstance(expression, pl.Expr):
            raise TopologyError(
                f"{at}: {expression!r} is no Polars expression",
                remedy='say pl.col("n") for a column, pl.col("n") > 0 for a condition, pl.lit(5) '
                "for a value",
            )
    made = [e for e in expressions if isinstance(e, pl.Expr)]
    names = [None] * len(plain) + [*named]
    return tuple(e if n is None else e.alias(n) for e, n in zip(made, names, strict=True))


def _check_one(given: object, at: nodes.Location) -> None:
    """Raise `TopologyError` for a list where columns are given one by one."""
    if isinstance(given, list | tuple):
        names = ", ".join(f'"{one}"' if isinstance(one, str) else str(one) for one in given)
        raise TopologyError(
            f"{at}: {given!r} is no Polars expression",
            remedy=f"give them without the list: select({names}), columns by name or as pl.col",
        )
