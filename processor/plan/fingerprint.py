"""What a plan keeps in state, operator by operator, and short names for it.

The description goes with every delta; the manifest carries its digest, the fingerprint. Two plans
of one fingerprint read each other's checkpoints as they are; for others `processor.plan.compare`
says what becomes of each operator's state.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import Any, Final, TypeAlias

import orjson
import polars as pl

from processor.plan import nodes, pairs, schema, told

FORMAT: Final = 1
STATELESS: Final = "stateless"
WATERMARKS: Final = "watermarks"
"""The name of what a task has heard of its writers, where its watermark is carried by records."""
KNOWN: Final = " is known"
"""What the function of a cell ends with that only tells whether another one holds a value."""
ROW: Final = "row"
"""The function of what a join keeps of its rows: they are of use as they are, or not at all."""
_MICROSECOND: Final = timedelta(microseconds=1)


Windowed: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
"""A window's column and size; where it slides or begins elsewhere, also its slide and start.

All but the column in microseconds.
"""
Content: TypeAlias = tuple[str, str | None, str, str]
"""What a stored column holds: its function, of which column, of which type, stored as which."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One stored column, and what it holds: two cells of equal ``content`` hold the same numbers.

    >>> Cell("total", "sum", "fare", "Float64", "<f8").content
    ('sum', 'fare', 'Float64', '<f8')
    """

    name: str
    function: str
    column: str | None
    kind: str
    dtype: str

    @property
    def content(self) -> Content:
        """What it holds, whatever it is called."""
        return self.function, self.column, self.kind, self.dtype

    def __str__(self) -> str:
        return f"{self.name}={self.function}({self.column or ''}{self.kind and ': ' + self.kind})"


@dataclass(frozen=True, slots=True)
class Operator:
    """A stateful operator.

    ``name`` is what its checkpoints call it, ``sinks`` are the topics behind it, ``steps`` is a
    digest of what its rows go through before it. ``frees`` says that closed windows leave state.
    """

    name: str
    sinks: tuple[str, ...]
    window: Windowed | None
    keys: tuple[tuple[str, str], ...]
    cells: tuple[Cell, ...]
    frees: bool
    steps: str


_HEARD: Final = Operator(
    WATERMARKS, (), None, (("by", "String"), ("task", "Int64")),
    (Cell("at", "watermark", None, "", "<i8"), Cell("of", "tasks", None, "", "<i8")),
    frees=False, steps="",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Description:
    """All that state depends on: the operators, and of the source its times and its keys."""

    event_time: tuple[str, str] | None
    delay_us: int | None
    partitioned_by: tuple[str, ...]
    operators: tuple[Operator, ...]
    format: int = FORMAT

    def __str__(self) -> str:
        return orjson.dumps(self, option=orjson.OPT_SORT_KEYS).decode()

    @classmethod
    def parse(cls, text: str) -> Description:
        """The inverse of ``str``; of another format only the number is read."""
        found: dict[str, Any] = orjson.loads(text)
        if found["format"] != FORMAT:
            return cls(None, None, (), (), found["format"])
        operators = tuple(
            Operator(
                o["name"], tuple(o["sinks"]), _pair(o["window"]),
                tuple((name, kind) for name, kind in o["keys"]),
                tuple(Cell(**cell) for cell in o["cells"]), o["frees"], o["steps"],
            )
            for o in found["operators"]
        )  # fmt: skip
        times = _pair(found["event_time"])
        return cls(times, found["delay_us"], tuple(found["partitioned_by"]), operators)


def _pair(found: Any) -> Any:
    return None if found is None else tuple(found)


def describe(plan: nodes.Plan) -> Description:
    """The description of a plan's state.

    >>> from processor import Text, Topology
    >>> topology = Topology("copy")
    >>> topology.read.kafka("from", format=Text()).write.kafka("to", format=Text())
    >>> describe(topology.plan()).operators
    ()
    """
    columns = schema.columns(plan)
    source, delay = plan.source(), plan.delay()
    time = source.event_time
    kind = "" if time is None else str(columns[id(source)][time])
    if time is not None and time == source.timestamp:
        kind = "timestamp of the record"
    if source.time is not None:
        kind += f" of {told.expression(source.time)}"
    aggregates = [node for node in plan.nodes() if isinstance(node, nodes.Aggregate)]
    joins = [node for node in plan.nodes() if isinstance(node, pairs.Joined)]
    return Description(
        None if time is None else (time, kind),
        None if delay is None else delay // _MICROSECOND,
        tuple(sorted(source.partitioned_by)),
        (
            *(
                _operator(plan, node, number, columns[id(node.parent)])
                for number, node in enumerate(aggregates)
            ),
            *_gathers(plan, columns),
            *(
                _side(plan, node, side, columns[id(node.parent)])
                for node in joins
                for side in ("left", "right")
            ),
            *(() if source.watermark is None else (_HEARD,)),
        ),
    )


def fingerprint(plan: nodes.Plan) -> str:
    """16 hexadecimal digits over the description; ``stateless`` where nothing is kept.

    >>> from processor import Text, Topology
    >>> topology = Topology("copy")
    >>> topology.read.kafka("from", format=Text()).write.kafka("to", format=Text())
    >>> fingerprint(topology.plan())
    'stateless'
    """
    description = describe(plan)
    return _digest(str(description)) if description.operators else STATELESS


def identity(plan: nodes.Plan) -> str:
    """16 hexadecimal digits over all that a topology does, state or not.

    What a function of the user's own computes is not seen, nor on which line a step stands.
    """
    source = plan.source()
    found = [f"{source.topic} {source.event_time} {source.on_error} {plan.delay()} {plan.late()}"]
    found += [plan.dead_letters(), str(plan.ahead()), str(describe(plan))]
    found += [] if source.timestamp is None else [source.timestamp]
    found += [] if source.feed is None else [f"feed {source.feed.describe()}"]
    found += _own(source)
    for sink in plan.sinks:
        way = [*steps(sink), sink.topic, told.format_(sink.format), str(sink.key), sink.mode]
        way += [] if sink.watermark is None else [sink.watermark]
        way += [] if sink.timestamp is None else [f"timestamp {sink.timestamp}"]
        way += [] if sink.headers is None else [f"headers {sink.headers}"]
        way += [] if sink.key_format is None else [f"key {told.format_(sink.key_format)}"]
        found += [*way, *(type(node).__name__ for node in nodes.path(sink))]
    return _digest("\n".join(found))


def layout(plan: nodes.Plan) -> str:
    """What manifests carried before there were descriptions: the layout of state alone."""
    columns = schema.columns(plan)
    layouts = [
        _layout(node, columns[id(node.parent)])
        for node in plan.nodes()
        if isinstance(node, nodes.Aggregate)
    ]
    return _digest("\n".join(layouts)) if layouts else STATELESS


def _operator(
    plan: nodes.Plan, node: nodes.Aggregate, number: int, have: dict[str, pl.DataType]
) -> Operator:
    sinks = [sink for sink in plan.sinks if any(step is node for step in nodes.path(sink))]
    window = None if node.window is None else _windowed(node.window)
    closing = window is not None and plan.delay() is not None
    return Operator(
        f"aggregate-{number}",
        tuple(sorted({sink.topic for sink in sinks})),
        window,
        tuple((key, str(have[key])) for key in node.keys),
        tuple(cell for a in node.aggregations for cell in _cells(a, have)),
        closing and sinks[0].mode != "complete",
        _digest("\n".join(steps(node))),
    )


def _gathers(plan: nodes.Plan, columns: schema.Columns) -> list[Operator]:
    """The newest rows of groups, each of which is a stored column and whether it holds a value."""
    found: list[Operator] = []
    for node in plan.nodes():
        if isinstance(node, nodes.Newest):
            have = columns[id(node)]
            sinks = [s for s in plan.sinks if any(step is node for step in nodes.path(s))]
            cells = [
                cell
                for name, kind in have.items()
                if name not in node.keys
                for cell in (
                    Cell(name, "newest", name, str(kind), "<f8" if kind.is_float() else "<i8"),
                    Cell(f"__known.{name}", f"newest{KNOWN}", name, str(kind), "|u1"),
                )
            ]
            found.append(
                Operator(
                    f"newest-{len(found)}", tuple(sorted({sink.topic for sink in sinks})), None,
                    tuple((key, str(have[key])) for key in node.keys), tuple(cells),
                    frees=False, steps=_digest("\n".join(steps(node))),
                )
            )  # fmt: skip
    return found


def _windowed(window: nodes.Window) -> Windowed:
    size = window.size // _MICROSECOND
    if window.plain:
        return window.column, size
    return window.column, size, window.every // _MICROSECOND, window.start // _MICROSECOND


def _side(
    plan: nodes.Plan, node: pairs.Joined, side: str, have: dict[str, pl.DataType]
) -> Operator:
    """What a join keeps of one side."""
    sinks = [sink for sink in plan.sinks if any(step is node for step in nodes.path(sink))]
    prefix = pairs.LEFT if side == "left" else pairs.RIGHT
    bounds = f"{node.how} {node.lower // _MICROSECOND} {node.upper // _MICROSECOND}"
    kept = [name for name in have if name.startswith(prefix)]
    return Operator(
        f"join-{side}",
        tuple(sorted({sink.topic for sink in sinks})),
        (f"the {side} side of a join", 0),
        tuple((key.removeprefix(pairs.KEY), str(have[key])) for key in node.keys),
        (
            Cell("join", ROW, None, bounds, ""),
            *(Cell(name[2:], ROW, name[2:], str(have[name]), "") for name in kept),
        ),
        frees=True,
        steps=_digest("\n".join(steps(node))),
    )


def _cells(aggregation: nodes.Aggregation, have: dict[str, pl.DataType]) -> list[Cell]:
    """The stored columns of an aggregate, as `processor.operators.aggregate` makes them."""
    name, function, column = aggregation.name, aggregation.function, aggregation.column
    kind = have[column] if column is not None else None
    text = "" if kind is None else str(kind)
    if function == "count":
        return [Cell(name, "count", column, text, "<i8")]
    if function == "mean":
        return [
            Cell(f"{name}.sum", "sum", column, text, "<f8"),
            Cell(f"{name}.count", "count", column, text, "<i8"),
        ]
    dtype = "<f8" if kind is not None and kind.is_float() else "<i8"
    cells = [Cell(name, function, column, text, dtype)]
    if function in ("min", "max"):
        cells.append(Cell(f"{name}.known", f"{function}{KNOWN}", column, text, "|u1"))
    return cells


def steps(node: nodes.Aggregate | nodes.Newest | pairs.Joined | nodes.Sink) -> list[str]:
    """The rows' way to the operator, from the source on, as text."""
    found: list[str] = []
    step = node.parent
    while not isinstance(step, nodes.Source):
        if isinstance(step, nodes.Select | nodes.Extend):
            found += [type(step).__name__, *map(told.expression, step.expressions)]
        elif isinstance(step, nodes.Filter):
            found += ["Filter", told.expression(step.predicate)]
        elif isinstance(step, nodes.Sort):
            found += ["Sort", f"{step.by} {step.descending} {step.nulls_last}"]
        elif isinstance(step, nodes.Limit):
            found += ["Limit", str(step.count)]
        elif isinstance(step, pairs.Joined):
            bounds = f"{step.how} {step.lower} {step.upper}"
            found += [f"Joined {bounds} {step.keys} {step.columns}"]
        step = step.parent
    found += [*_own(step)[::-1], told.format_(step.format)]
    return found[::-1]


def _own(source: nodes.Source) -> list[str]:
    """The columns that the log has of a record: none where none is asked for."""
    asked = (source.key, source.headers, source.partition, source.offset)
    form = source.key_format
    keyed = [] if form is None else [f"key {source.key_prefix}{told.format_(form)}"]
    passed = ["tombstones pass"] if source.tombstones == "pass" else []
    stamped = ["clock"] if source.clock else []
    return [*([f"own {asked}"] if any(asked) else []), *keyed, *passed, *stamped]


def _layout(node: nodes.Aggregate, have: dict[str, pl.DataType]) -> str:
    window = f"{node.window.column}/{node.window.size}" if node.window else "-"
    if node.window and not node.window.plain:
        window += f"/{node.window.every}/{node.window.start}"
    keys = ",".join(f"{key}:{have[key]}" for key in node.keys)
    cells = ",".join(
        f"{a.name}={a.function}({a.column}:{have[a.column] if a.column else ''})"
        for a in node.aggregations
    )
    return f"window {window} keys {keys} cells {cells}"


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()
