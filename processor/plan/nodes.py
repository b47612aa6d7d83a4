"""The nodes of a plan. A handle appends one per call; nothing here computes.

::

    Source ─ Select ─ Filter ─ Extend ─ Aggregate ─ … ─ Sink
                └───────────────────────────────────── Sink

A plan is a tree: every node but the source has one parent, and every path ends in a sink.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal, TypeAlias

import polars as pl

from processor.feeds.base import Feed
from processor.formats.base import Format
from processor.formats.declared import full
from processor.model import location
from processor.plan import values
from processor.plan.pairs import Join, Joined

NOTHING: Final = values.NOTHING
AHEAD: Final = timedelta(days=1)
"""More than any zone is from another: local times that are read as UTC are not taken for wrong."""

CLOCK: Final = "processing_time"
"""The column of the time at which a row was read."""

Location: TypeAlias = location.Location
OnError: TypeAlias = Literal["dead_letter", "fail", "skip"]
OnTombstone: TypeAlias = Literal["bad", "pass"]
OutputMode: TypeAlias = Literal["append", "update", "complete"]
Carried: TypeAlias = Literal["carried"]
Headers: TypeAlias = str | tuple[tuple[str, str], ...]
"""One column for all headers, or pairs of a header's name and its column."""
Key: TypeAlias = str | tuple[str, ...]
"""The column whose text is a key, or those that a format makes one of."""
HEADERS: Final = pl.List(pl.Struct({"key": pl.String, "value": pl.Binary}))
"""The type of a column with all headers of a record, in their order."""
Function: TypeAlias = values.Function
Per: TypeAlias = values.Per
Window: TypeAlias = values.Window
Aggregation: TypeAlias = values.Aggregation
Files: TypeAlias = values.Files
Call: TypeAlias = values.Call
Table: TypeAlias = values.Table
Outside: TypeAlias = Files | Call | Table
How: TypeAlias = Literal["inner", "left"]


@dataclass(frozen=True, slots=True)
class Source:
    """Records of a topic, decoded; those that cannot be go where ``on_error`` says.

    The ``watermark`` is that of the records' event times, or is carried by the records. The rest
    are columns that take what the log has of each record: ``timestamp`` when it is of, ``key``,
    ``headers``, ``partition`` and ``offset``. ``key_format`` reads the key's bytes, as columns
    whose names begin with ``key_prefix``. ``tombstones`` says what a record without a value is.
    ``time`` computes the ``event_time``, where that is no column of the format or the log. By the
    ``clock`` it is when a row is read. To ``spread`` partitions rows were dealt out because
    somebody asked for it; 0: to as many as it comes to. A ``feed`` writes the topic, and nobody
    else. ``upstreams`` are the stages that write an internal topic, and ``sides`` those that write
    each side of a join.
    """

    topic: str
    format: Format
    event_time: str | None
    partitioned_by: tuple[str, ...]
    on_error: OnError
    dead_letters: str | None
    at: Location
    timestamp: str | None = None
    watermark: Carried | None = None
    key: str | None = None
    headers: Headers | None = None
    partition: str | None = None
    offset: str | None = None
    time: pl.Expr | None = None
    key_format: Format | None = None
    key_prefix: str = ""
    tombstones: OnTombstone = "bad"
    upstreams: tuple[str, ...] = ()
    clock: bool = False
    spread: int | None = None
    feed: Feed | None = None
    sides: tuple[tuple[str, ...], ...] = ()

    def of_key(self) -> dict[str, pl.DataType]:
        """The columns that are read of the key's bytes, in the order of their format."""
        columns = (self.key_format and self.key_format.columns) or {}
        return {self.key_prefix + name: full(kind) for name, kind in columns.items()}

    @property
    def internal(self) -> bool:
        """Whether stages of the same topology write the topic, and nobody else."""
        return bool(self.upstreams)

    def gathered(self) -> bool:
        """Whether all rows are in one place: a topic of another stage or a feed, one partition."""
        alone = self.internal if self.feed is None else self.feed.partitions == 1
        return alone and not self.partitioned_by and self.spread in (None, 1)

    def keyed_by_format(self) -> bool:
        """Whether the topic is keyed by what is read of its keys: their bytes place a record."""
        return not self.of_key().keys().isdisjoint(self.partitioned_by)

    def own(self) -> dict[str, pl.DataType]:
        """The columns that the log has and not the value, in the order in which rows have them."""
        whole = isinstance(self.headers, str)
        found: list[tuple[str | None, pl.DataType]] = [
            *self.of_key().items(),
            (self.key, pl.String()),
            *((name, HEADERS if whole else pl.String()) for name in header_columns(self.headers)),
            (self.partition, pl.Int32()),
            (self.offset, pl.Int64()),
            (self.timestamp, pl.Datetime("us")),
            (CLOCK if self.clock else None, pl.Datetime("us")),
        ]
        return {name: kind for name, kind in found if name is not None}


@dataclass(frozen=True, slots=True)
class Select:
    """These columns and no others."""

    parent: Node
    expressions: tuple[pl.Expr, ...]
    at: Location


@dataclass(frozen=True, slots=True)
class Extend:
    """These columns beside those that are there."""

    parent: Node
    expressions: tuple[pl.Expr, ...]
    at: Location


@dataclass(frozen=True, slots=True)
class Filter:
    """The rows for which the predicate is true."""

    parent: Node
    predicate: pl.Expr
    at: Location


@dataclass(frozen=True, slots=True)
class Watermark:
    """Records behind their partition's largest event time by more than ``delay`` are late.

    They go to the topic ``late``, or nowhere. What is further ``ahead`` of its record's own
    timestamp is bad. Partitions that are ahead of others by more than ``max_ahead`` wait.
    """

    parent: Node
    delay: timedelta
    at: Location
    late: str | None = None
    ahead: timedelta = AHEAD
    idle: timedelta | None = None
    max_ahead: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Groups by a window and keys, kept in state."""

    parent: Node
    window: Window | None
    keys: tuple[str, ...]
    aggregations: tuple[Aggregation, ...]
    at: Location
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest row of each group, by ``keys``; whenever one has come, all of them go on."""

    parent: Node
    keys: tuple[str, ...]
    at: Location


@dataclass(frozen=True, slots=True)
class Sort:
    """All groups in order, by columns; equal ones by their groups' keys."""

    parent: Node
    by: tuple[str, ...]
    descending: tuple[bool, ...]
    nulls_last: bool
    at: Location


@dataclass(frozen=True, slots=True)
class Limit:
    """The first so many of the groups in order."""

    parent: Node
    count: int
    at: Location


@dataclass(frozen=True, slots=True)
class Repartition:
    """The rows dealt out by ``keys``, or evenly, to so many ``partitions``.

    No stage has one: `processor.plan.stages` cuts there.
    """

    parent: Node
    keys: tuple[str, ...]
    partitions: int | None
    at: Location
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Union:
    """The rows of several streams, in no order.

    No stage has one: `processor.plan.stages` lets each stream go its own way up to the next cut.
    """

    parents: tuple[Node, ...]
    at: Location


@dataclass(frozen=True, slots=True)
class Sink:
    """Publishes the rows to a topic; its records may carry the ``watermark``.

    ``key``, ``timestamp`` and ``headers`` are columns that records have beside their values;
    ``key_format`` makes the key's bytes of its columns. An ``internal`` one hands blocks to another
    stage: its ``key`` says which rows belong together, and without one all do, or none: ``evenly``.
    ``window`` is that of the aggregate which they go to, ``beside`` has group and topic of each
    stage that writes there.

    What goes ``outside`` of Kafka has no topic: ``topic`` is then a name for people, which no topic
    can have. Of rows with the same cells in the columns ``newest`` only a batch's last one counts.
    """

    parent: Node
    topic: str
    format: Format
    key: Key | None
    mode: OutputMode
    at: Location
    watermark: Carried | None = None
    timestamp: str | None = None
    headers: Headers | None = None
    key_format: Format | None = None
    internal: bool = False
    window: Window | None = None
    beside: tuple[tuple[str, str], ...] = ()
    outside: Outside | None = None
    newest: tuple[str, ...] | None = None
    evenly: bool = False


Node: TypeAlias = (
    Source | Select | Extend | Filter | Watermark | Aggregate | Newest | Sort | Limit | Joined
)
STATEFUL: Final = (Aggregate, Newest, Joined)
"""Steps with state, behind which rows are no longer records."""


Above: TypeAlias = Node | Union | Join | Repartition


@dataclass(frozen=True, slots=True)
class Plan:
    """A topology or a stage of it: application id and sinks; all else is reached from them.

    ``topology`` is the application of the whole, where this is a stage of several.
    """

    app: str
    sinks: tuple[Sink, ...]
    at: Location = field(compare=False)
    topology: str = ""

    def whole(self) -> str:
        """The application of the topology that this is, or is a stage of."""
        return self.topology or self.app

    def published(self) -> tuple[Sink, ...]:
        """The sinks that are topics."""
        return tuple(sink for sink in self.sinks if sink.outside is None)

    def promises(self) -> bool:
        """Whether functions are called, with batches that have to be promised before."""
        return any(isinstance(sink.outside, Call) for sink in self.sinks)

    def counts_lives(self) -> bool:
        """Whether something outside of Kafka remembers tasks and epochs."""
        return any(isinstance(sink.outside, Call | Files) for sink in self.sinks)

    def source(self) -> Source:
        """The source that every path begins with (`validate` has seen that there is one)."""
        return next(node for node in self.nodes() if isinstance(node, Source))

    def nodes(self) -> Iterator[Node]:
        """Every node but the sinks, parents first, each once."""
        seen: set[int] = set()
        for sink in self.sinks:
            for node in path(sink):
                if id(node) not in seen:
                    seen.add(id(node))
                    yield node

    def delay(self) -> timedelta | None:
        """The watermark's delay; ``None`` where nothing is ever late.

        To one that is carried none is added, unless the topology says so.
        """
        source = self.source()
        none = NOTHING if source.watermark is not None or source.clock else None
        return next((node.delay for node in self.nodes() if isinstance(node, Watermark)), none)

    def ahead(self) -> timedelta | None:
        """How far ahead of its record an event time may be; ``None`` without a watermark."""
        source = self.source()
        none = AHEAD if source.watermark is not None and not source.internal else None
        return next((node.ahead for node in self.nodes() if isinstance(node, Watermark)), none)

    def late(self) -> str | None:
        """The topic for late records; ``None`` where they go nowhere."""
        return next((node.late for node in self.nodes() if isinstance(node, Watermark)), None)

    def dead_letters(self) -> str:
        """The topic for records that cannot be read, whether or not any are sent."""
        return self.source().dead_letters or f"{self.whole()}-dead-letters"


def header_columns(headers: Headers | None) -> tuple[str, ...]:
    """The columns that headers are read into, or written from.

    >>> header_columns("all"), header_columns((("trace", "trace_id"),)), header_columns(None)
    (('all',), ('trace_id',), ())
    """
    if isinstance(headers, str):
        return (headers,)
    return tuple(column for _, column in headers or ())


def key_columns(key: Key | None) -> tuple[str, ...]:
    """The columns that a key is made of.

    >>> key_columns("user"), key_columns(("shop", "user")), key_columns(None)
    (('user',), ('shop', 'user'), ())
    """
    return (key,) if isinstance(key, str) else key or ()


def console_topic(app: str) -> str:
    """The topic behind ``write.console()``: one of the embedded log, shown on the screen."""
    return f"{app}-console"


def path(sink: Sink) -> list[Node]:
    """The nodes from the source to the sink's parent."""
    return way(sink.parent)


def way(node: Node) -> list[Node]:
    """The nodes from the source to this one, with both."""
    found = [node]
    while not isinstance(found[-1], Source):
        found.append(found[-1].parent)
    return found[::-1]


def source_of(node: Node) -> Source:
    """The source that a node's rows come from."""
    while not isinstance(node, Source):
        node = node.parent
    return node


def expressions(node: Node) -> tuple[pl.Expr, ...]:
    """What a step computes of its rows; nothing for one that has no expression."""
    if isinstance(node, Source):
        return () if node.time is None else (node.time,)
    if isinstance(node, Select | Extend):
        return node.expressions
    return (node.predicate,) if isinstance(node, Filter) else ()
