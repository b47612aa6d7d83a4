"""Whether a plan has to be cut in front of an aggregate, and what goes over the cut."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import polars as pl

from processor.errors import TopologyError
from processor.plan import nodes, pairs, schema

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_MAX: Final = 100


def called(name: str) -> str:
    """A name that a topic may have.

    >>> called("by-größe")
    'by-gr-e'
    """
    return _NOT_IN_NAMES.sub("-", name)


def why(node: nodes.Aggregate, before: Sequence[nodes.Node]) -> str:
    """Why rows of one group may lie in different places; empty: they do not."""
    if len(before) > 1:
        return f"{len(before)} streams come to it"
    (place,) = before
    way, source = nodes.way(place), nodes.source_of(place)
    if source.clock:
        return "its windows are of the clock, and state is a function of the log alone"
    if any(isinstance(step, nodes.Watermark) and step.idle for step in way):
        return "its watermark goes on with the clock, and state is a function of the log alone"
    state = [step for step in way if isinstance(step, nodes.Aggregate | pairs.Joined)]
    if state:
        joined = isinstance(state[-1], pairs.Joined)
        return f"its rows are {'those of a join' if joined else 'groups of another aggregate'}"
    return "" if source.gathered() else _elsewhere(node, place, source)


def _elsewhere(node: nodes.Aggregate, place: nodes.Node, source: nodes.Source) -> str:
    """Why what a topic is keyed by does not keep a group's rows together; empty: it does."""
    names = set(source.partitioned_by)
    keyed = ", ".join(map(repr, source.partitioned_by))
    if not node.keys:
        return "its groups need all rows in one place"
    if not names:
        return f"{source.topic!r} does not say what it is keyed by"
    if schema.kept(place, names, schema.columns_at(place)) != names:
        return f"{keyed}, by which {source.topic!r} is keyed, was dropped or computed anew"
    if not names <= set(node.keys):
        return f"{source.topic!r} is keyed by {keyed}, its groups by {', '.join(node.keys)}"
    return ""


def have(node: nodes.Aggregate, before: Sequence[nodes.Node]) -> dict[str, pl.DataType]:
    """The columns that come to an aggregate."""
    for place in before:  # what the aggregate cannot be computed of is told with its line
        schema.columns_at(replace(node, parent=place))
    return columns(before)


def columns(before: Sequence[nodes.Node]) -> dict[str, pl.DataType]:
    """The columns of what comes to a place: a union has seen that each stream has the same."""
    return schema.columns_at(before[0])[id(before[0])]


def united(node: nodes.Union, before: Sequence[nodes.Node]) -> list[nodes.Node]:
    """The streams of a union, each with the columns of the first one, in its order.

    Raises `TopologyError` for streams of other columns or other types.
    """
    first, *others = (schema.columns_at(place)[id(place)] for place in before)
    found = [before[0]]
    for place, have in zip(before[1:], others, strict=True):
        if have != first:
            raise TopologyError(
                f"{node.at}: union of streams with other columns: "
                f"{_apart(first, have, nodes.source_of(before[0]), nodes.source_of(place))}",
                remedy="select the same columns of the same types before, in any order: "
                'rows.select("user", "n").union(others.select("user", '
                'n=pl.col("n").cast(pl.Int64))); one that is missing may be null: '
                "with_columns(n=pl.lit(None, pl.Int64))",
            )
        same_order = list(have) == list(first)
        columns = tuple(pl.col(name) for name in first)
        found.append(place if same_order else nodes.Select(place, columns, node.at))
    return found


def _apart(
    first: Mapping[str, pl.DataType],
    second: Mapping[str, pl.DataType],
    *sources: nodes.Source,
) -> str:
    """Which columns of two streams are not the same."""
    one, other = (f"{source.topic!r} ({source.at})" for source in sources)
    kinds = (
        f"{name!r} is {first[name]} in {one} and {second[name]} in {other}"
        for name in first
        if name in second and first[name] != second[name]
    )
    missing = (
        f"{names} only in {of}"
        for of, have, others in ((one, first, second), (other, second, first))
        if (names := ", ".join(repr(name) for name in have if name not in others))
    )
    return "; ".join([*kinds, *missing])


def in_one_place(before: Sequence[nodes.Node]) -> bool:
    """Whether all rows that come to a place are in one partition, and of one stream."""
    return len(before) == 1 and nodes.source_of(before[0]).gathered()


def timed(at: nodes.Location, before: Sequence[nodes.Node], *, windows: bool) -> bool:
    """Whether all streams have a watermark; raises `TopologyError` where some have and some not."""
    timed = [
        any(
            isinstance(step, nodes.Watermark)
            or (isinstance(step, nodes.Source) and (step.watermark is not None or step.clock))
            for step in nodes.way(place)
        )
        for place in before
    ]
    if windows and any(timed) != all(timed):
        without = nodes.source_of(before[timed.index(False)])
        raise TopologyError(
            f"{at}: some of the streams that come here have a watermark, and {without.at} has "
            "none: no window would be over",
            remedy="say with_watermark(...) for each of them, or for none",
        )
    return all(timed)


def needed(node: nodes.Aggregate, have: Iterable[str]) -> tuple[str, ...]:
    """The columns that an aggregate is computed of; one of them at least, to count rows by."""
    window = () if node.window is None else (node.window.column,)
    columns = (a.column for a in node.aggregations if a.column is not None)
    names = dict.fromkeys([*window, *node.keys, *columns])
    return tuple(names) or tuple(have)[:1]


def name(node: nodes.Aggregate) -> str:
    """What a stage is called whose aggregate has no name.

    >>> name(nodes.Aggregate(None, None, ("user", "shop"), (), None))
    'by-user-shop'
    """
    if not node.keys:
        return "all"
    return "by-" + called("-".join(node.keys))[:_NAME_MAX]
