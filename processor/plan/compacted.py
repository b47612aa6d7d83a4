"""Records without a key, which no compacted topic takes: refused before the first is made."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import polars as pl

from processor.errors import TopologyError
from processor.formats.base import Format, SchemaFormat
from processor.formats.bytes import Bytes
from processor.formats.csv import Csv
from processor.formats.json import Json
from processor.formats.text import Text
from processor.plan import nodes, schema

_NEVER: Final = ("window_start", "window_end")
_FILLED: Final = ("count", "sum")


def check(plan: nodes.Plan, compacted: Collection[str]) -> None:
    """Raise `TopologyError` for a sink that may write a record without a key to one of these.

    Args:
        plan: what is about to run.
        compacted: topics whose ``cleanup.policy`` has ``compact``.

    A column is taken for one that is never null where that can be seen: it was read as one that is
    not optional, a filter lets no null pass, ``fill_null`` made it, or it is a count.

    >>> from processor import Json, Topology
    >>> topology = Topology("copy")
    >>> rows = topology.read.kafka("in", format=Json({"k": pl.String}, optional=frozenset({"k"})))
    >>> rows.write.kafka("out", key="k")
    >>> check(topology.plan(), {"out"})
    Traceback (most recent call last):
    processor.errors.TopologyError: ...: 'out' is compacted, and its key 'k' may be null...
    """
    columns = schema.columns(plan)
    for sink in plan.sinks:
        if sink.topic not in compacted:
            continue
        if sink.key is None:
            raise TopologyError(
                f"{sink.at}: {sink.topic!r} is compacted, and takes no record without a key",
                remedy=f'say key="..." here, or set cleanup.policy=delete for {sink.topic!r}',
            )
        names = nodes.key_columns(sink.key)
        # Where a key is made of several, it is left out if all of them are null.
        if all(_may_be_null(sink, name, columns) for name in names):
            raise TopologyError(
                f"{sink.at}: {sink.topic!r} is compacted, and its key "
                f"{', '.join(map(repr, names))} may be null: a record without a key would be "
                "refused",
                remedy=f'put .filter(pl.col("{names[0]}").is_not_null()) before it, or '
                f'.with_columns(pl.col("{names[0]}").fill_null("none"))',
            )
    aside = [plan.dead_letters()] if plan.source().on_error == "dead_letter" else []
    for topic in (*aside, plan.late()):
        if topic in compacted:
            raise TopologyError(
                f"{plan.source().at}: {topic!r} is compacted: what is set aside keeps its key, and "
                "of one key only the last would stay",
                remedy=f"set cleanup.policy=delete for {topic!r}, or name another topic",
            )


def _may_be_null(sink: nodes.Sink, key: str, columns: schema.Columns) -> bool:
    name: str | None = key
    for node in reversed(nodes.path(sink)):
        if name is None:
            return False
        if isinstance(node, nodes.Source):
            if name in node.of_key() and node.key_format is not None:
                return _optional(node.key_format, name.removeprefix(node.key_prefix))
            if name in node.own():
                return name in {node.key, *nodes.header_columns(node.headers)}
            return _optional(node.format, name)
        name = _before(node, name, columns)
        if name == "":
            return True
    return True


def _optional(form: Format, name: str) -> bool:
    """Whether a column that is read may be null, as far as is known."""
    known = isinstance(form, Bytes | Csv | Json | Text | SchemaFormat)
    return not known or name in getattr(form, "optional", ())


def _before(node: nodes.Node, name: str, columns: schema.Columns) -> str | None:
    """Which column before a step is null where ``name`` is behind it.

    ``None``: ``name`` is never null behind it; empty: it cannot be seen.
    """
    if isinstance(node, nodes.Filter):
        have = columns[id(node.parent)]
        dropped = any(_drops_null(part, name, have) for part in _conjuncts(node.predicate))
        return None if dropped else name
    if isinstance(node, nodes.Aggregate) and name not in node.keys:
        filled = {a.name for a in node.aggregations if a.function in _FILLED}
        return None if name in filled or (node.window and name in _NEVER) else ""
    if isinstance(node, nodes.Select | nodes.Extend):
        made = _made(node, name, columns)
        if made is not None:
            if _filled(made):
                return None
            return made.meta.output_name() if made.meta.is_column() else ""
    return name


def _made(node: nodes.Select | nodes.Extend, name: str, columns: schema.Columns) -> pl.Expr | None:
    """The expression that a step makes a column by, without its name; ``None`` if it does not."""
    before = columns[id(node.parent)]
    for expression in node.expressions:
        if name in schema.names(expression, before):
            whole = expression.meta.undo_aliases()
            # A selector takes columns as they are.
            return whole if not expression.meta.has_multiple_outputs() else pl.col(name)
    return None


def _filled(expression: pl.Expr) -> bool:
    """Whether it is a value, or nulls are filled with one as the last thing."""
    if expression.meta.is_literal():
        return str(expression) != "null"
    parts = expression.meta.pop()
    if len(parts) != 2:
        return False
    value, subject = parts
    return str(expression) == f"{subject}.fill_null([{value}])" and _filled(value)


def _conjuncts(predicate: pl.Expr) -> list[pl.Expr]:
    """The conditions that are joined by ``&``."""
    parts = predicate.meta.pop()
    if len(parts) == 2:
        one, two = parts
        if str(predicate) in (f"[({one}) & ({two})]", f"[({two}) & ({one})]"):
            return [*_conjuncts(one), *_conjuncts(two)]
    return [predicate]


def _drops_null(condition: pl.Expr, name: str, have: dict[str, pl.DataType]) -> bool:
    """Whether a condition over this column alone holds for no null in it."""
    if set(condition.meta.root_names()) != {name}:
        return False
    try:
        return pl.DataFrame({name: [None]}, {name: have[name]}).filter(condition).is_empty()
    except Exception:  # noqa: BLE001 - a function of the user's own may raise anything on null
        return False
