"""Which columns each node of a plan has, found by running it on no rows."""

from __future__ import annotations

import contextlib
import re
from collections import deque
from collections.abc import Mapping
from typing import Final, TypeAlias

import polars as pl

from processor.errors import TopologyError
from processor.formats.declared import full
from processor.formats.text import Text
from processor.plan import nodes, pairs, rowwise

Columns: TypeAlias = dict[int, dict[str, pl.DataType]]
"""Column names and types by ``id`` of the node."""

_WORDS = {
    nodes.Source: "read",
    nodes.Select: "select",
    nodes.Extend: "with_columns",
    nodes.Filter: "filter",
    nodes.Watermark: "with_watermark",
    nodes.Aggregate: "agg",
    nodes.Newest: "order_by",
    nodes.Sort: "order_by",
    nodes.Limit: "limit",
    pairs.Joined: "join",
}
_NUMBERS_ONLY = ("sum", "mean")
_TOO_WIDE = (pl.UInt64, pl.Int128, pl.UInt128)  # cells of state have 64 bits and a sign


def columns(plan: nodes.Plan) -> Columns:
    """The columns of every node; raises `TopologyError` with the line of a step that cannot be.

    >>> from processor import Text, Topology
    >>> topology = Topology("copy")
    >>> topology.read.kafka("from", format=Text()).write.kafka("to", format=Text())
    >>> plan = topology.plan()
    >>> columns(plan)[id(plan.source())]
    {'value': String}
    """
    frames: dict[int, pl.DataFrame] = {}
    for node in plan.nodes():
        frames[id(node)] = _known_frame(node, frames)
    return {key: dict(frame.schema) for key, frame in frames.items()}


def columns_at(node: nodes.Node) -> Columns:
    """The columns of a node and of all before it."""
    nothing = nodes.Sink(node, "", Text(), None, "append", node.at)
    return columns(nodes.Plan("", (nothing,), node.at))


def kept(node: nodes.Node, wanted: set[str], columns: Columns) -> set[str]:
    """Those of the source's columns that a node has as they were read."""
    left, step = set(wanted), node
    while not isinstance(step, nodes.Source):
        if isinstance(step, nodes.Select | nodes.Extend):
            have = columns[id(step.parent)]
            for expression in step.expressions:
                if not expression.meta.is_column_selection():
                    left -= set(names(expression, have))
        step = step.parent
    return left & set(columns[id(node)])


_known: Final[deque[tuple[nodes.Node, pl.DataFrame]]] = deque(maxlen=256)
"""Of the nodes looked at last: a function of the user's may take long on no rows too."""


def names(expression: pl.Expr, have: Mapping[str, pl.DataType]) -> list[str]:
    """The columns that an expression makes of those that there are, without computing it.

    >>> names(pl.all().name.suffix("_x"), {"a": pl.Int64(), "b": pl.String()})
    ['a_x', 'b_x']
    """
    return pl.LazyFrame(schema=dict(have)).select(expression).collect_schema().names()


def _known_frame(node: nodes.Node, frames: dict[int, pl.DataFrame]) -> pl.DataFrame:
    for known, frame in tuple(_known):
        if known is node:
            return frame
    try:
        frame = _frame(node, frames)
    except TopologyError:
        raise
    # An expression may run the user's own functions, and those may raise anything.
    except (Exception, pl.exceptions.PanicException) as error:
        have = before(node, {key: frame.schema for key, frame in frames.items()})
        for expression in nodes.expressions(node):
            with contextlib.suppress(pl.exceptions.PolarsError, pl.exceptions.PanicException):
                rowwise.look(node.at, expression, have)
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        raise TopologyError(
            f"{node.at}: {_WORDS[type(node)]} cannot be computed: {said}",
            remedy=_remedy(node, said, have),
        ) from error
    _known.append((node, frame))
    return frame


def _remedy(node: nodes.Node, said: str, have: Mapping[str, pl.DataType]) -> str:
    typed = "compare" in said or "type" in said
    names = [f"{name} {kind}" for name, kind in have.items()] if typed else have
    there = f"the columns here are: {', '.join(names)}"
    sql = _SQL.search(said)
    if sql is not None:
        name, sign, value = sql.groups()
        sign = {"=": "==", "<>": "!="}.get(sign, sign)
        right = f'pl.col("{name}") {sign} {value}' if name else 'pl.col("n") > 0'
        return f"text names a column, SQL is not taken: {right}; {there}"
    if isinstance(node, nodes.Filter) and "must be of type" in said:
        name = node.predicate.meta.output_name(raise_if_undetermined=False) or "n"
        return f'a condition is true or false: pl.col("{name}") > 0, or .is_not_null(); {there}'
    inside = _inside(said, have)
    return f"{inside or there}; a step is tried on no rows first"


def _inside(said: str, have: Mapping[str, pl.DataType]) -> str:
    """How to come to a member of an object, where one was meant by a name with dots."""
    for path in _PATH.findall(said):
        column, *members = path.split(".")
        if isinstance(have.get(column), pl.Struct):
            way = "".join(f'.struct.field("{member}")' for member in members)
            return (
                f'a member of an object is pl.col("{column}"){way}: make a column of it before, '
                f'with_columns({members[-1]}=pl.col("{column}"){way})'
            )
    fields = {name: kind.fields for name, kind in have.items() if isinstance(kind, pl.Struct)}
    if re.fullmatch(r"\w+", said) and said not in have and fields:
        told = (f"{n!r} has {', '.join(f.name for f in of)}" for n, of in fields.items())
        return f"of the objects here {'; '.join(told)}"
    return ""


_PATH: Final = re.compile(r'"(\w+(?:\.\w+)+)"')
_SQL: Final = re.compile(
    r'unable to find column "(?=[^"]*[ <>=+*/()])'
    r'(?:(\w+) *(<=|>=|<>|!=|==|[<>=]) *([^" ]+)[^"]*|[^"]*)"'
)


def read(source: nodes.Source) -> pl.Schema:
    """What a source has before its event time is computed."""
    columns = {**(source.format.columns or {}), **source.own()}
    return pl.Schema({name: full(kind) for name, kind in columns.items()})


def before(
    node: nodes.Node, columns: Mapping[int, Mapping[str, pl.DataType]]
) -> Mapping[str, pl.DataType]:
    """What the expressions of a node are computed of."""
    return read(node) if isinstance(node, nodes.Source) else columns[id(node.parent)]


def _frame(node: nodes.Node, frames: dict[int, pl.DataFrame]) -> pl.DataFrame:
    if isinstance(node, nodes.Source):
        return pl.DataFrame(schema=read(node)).with_columns(nodes.expressions(node))
    parent = frames[id(node.parent)]
    _check_names(node, parent)
    if isinstance(node, nodes.Select):
        return parent.select(*node.expressions)
    if isinstance(node, nodes.Extend):
        return parent.with_columns(*node.expressions)
    if isinstance(node, nodes.Filter):
        return parent.filter(node.predicate)
    if isinstance(node, nodes.Aggregate):
        return _aggregated(node, parent)
    return _as_they_were(node, parent)


def _as_they_were(
    node: nodes.Watermark | nodes.Newest | nodes.Sort | nodes.Limit | pairs.Joined,
    parent: pl.DataFrame,
) -> pl.DataFrame:
    """The columns of a step that computes none."""
    if isinstance(node, pairs.Joined):
        return parent.select(pl.col(of).alias(name) for name, of in node.columns)
    return parent.sort(list(node.by)) if isinstance(node, nodes.Sort) else parent


def _check_names(node: nodes.Node, parent: pl.DataFrame) -> None:
    """Raise `pl.exceptions.ColumnNotFoundError` that names every column that is missed."""
    named: list[str] = []
    if isinstance(node, nodes.Sort):
        named = [*node.by]
    elif isinstance(node, nodes.Aggregate):
        named = [*node.keys, *(a.column for a in node.aggregations if a.column is not None)]
    missing = [f'"{name}"' for name in dict.fromkeys(named) if name not in parent.columns]
    if missing:
        said = f"unable to find column {' and column '.join(missing)}"
        raise pl.exceptions.ColumnNotFoundError(said)


def _aggregated(node: nodes.Aggregate, parent: pl.DataFrame) -> pl.DataFrame:
    schema: dict[str, pl.DataType] = {}
    if node.window and node.window.column not in parent.columns:
        time = nodes.source_of(node).event_time
        told = f"the event time is {time!r}; " if time in parent.columns else ""
        told = "keep the event time up to here; " if time == node.window.column else told
        raise TopologyError(
            f"{node.at}: the window is over {node.window.column!r}, and there is no such column",
            remedy=f"{told}the columns here are: {', '.join(parent.columns)}",
        )
    if node.window:
        schema |= {"window_start": pl.Datetime("us"), "window_end": pl.Datetime("us")}
    for key in node.keys:
        schema[key] = parent[key].dtype
    for aggregation in node.aggregations:
        kind = pl.Int64() if aggregation.column is None else parent[aggregation.column].dtype
        schema[aggregation.name] = _kind(node, aggregation, kind)
    return pl.DataFrame(schema=schema)


def _kind(node: nodes.Aggregate, aggregation: nodes.Aggregation, kind: pl.DataType) -> pl.DataType:
    function = aggregation.function
    if function == "count":
        return pl.Int64()
    fits = kind.is_numeric() or (kind.is_temporal() and function not in _NUMBERS_ONLY)
    if not fits or kind.is_decimal() or kind in _TOO_WIDE:
        raise TopologyError(
            f"{node.at}: {function} of {aggregation.column!r} is not possible: it is {kind}",
            remedy=f"give {function} a column of numbers, of integers up to Int64",
        )
    if function == "mean":
        return pl.Float64()
    if function == "sum":
        return pl.Float64() if kind.is_float() else pl.Int64()
    return kind
