"""What becomes of a join where the graph is cut: one topic for both sides, and what reads it.

::

    left  ── side, at, k.user, l.page, (r.shop) ──┐
                                                   ├──► APP.join-user ──► pairs
    right ── side, at, k.user, (l.page), r.shop ──┘

A row has all columns, and nulls in those of the other side. Rows whose key is null match nothing,
and are left out in front, but for those that a left join lets go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from processor.errors import TopologyError
from processor.formats.blocks import Blocks
from processor.plan import carried, nodes, pairs, schema

_WORDS: Final = ("left", "right")
_TIME: Final = pl.Datetime("us")
_KEY_TYPES: Final = (pl.String, pl.Boolean)


@dataclass(frozen=True, slots=True)
class Cut:
    """A join that was cut: the topic's layout and keys, the rows that go in, what comes out.

    ``rows`` stand for the streams of both sides, in their order.
    """

    layout: Blocks
    keys: tuple[str, ...]
    rows: tuple[nodes.Node, ...]
    columns: tuple[tuple[str, str], ...]
    times: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Side:
    """A side's columns, and which one has its event times."""

    columns: Mapping[str, pl.DataType]
    time: str


def cut(node: pairs.Join, left: Sequence[nodes.Node], right: Sequence[nodes.Node]) -> Cut:
    """The join of what stands for both sides; raises `TopologyError` where it cannot be.

    >>> from processor import Json, Topology
    >>> topology = Topology("app")
    >>> form = Json({"user": pl.String, "at": pl.Datetime})
    >>> rows = topology.read.kafka("in", format=form, event_time="at").with_watermark("1 hour")
    >>> both = rows.join(rows, on="user", between=("0 s", "1 hour"))
    >>> both.write.kafka("pairs")
    >>> [stage.plan.app for stage in topology.stages()]
    ['app', 'app.join-user']
    """
    one, other = _sides(node, left, right)
    types = {name: _key(node, name, one.columns[name], other.columns[name]) for name in node.on}
    keys = {pairs.KEY + name: kind for name, kind in types.items()}
    of_left = {pairs.LEFT + n: k for n, k in one.columns.items() if n not in types}
    of_right = {pairs.RIGHT + n: k for n, k in other.columns.items() if n not in types}
    layout = {pairs.SIDE: pl.Boolean(), pairs.AT: _TIME, **keys, **of_left, **of_right}
    columns = [(n, (pairs.KEY if n in types else pairs.LEFT) + n) for n in one.columns]
    columns += _named(node, one.columns, other.columns)
    # The right's may be null in a left join, and is no event time then.
    times = [one.time]
    if node.how == "inner":
        wanted = pairs.KEY if other.time in types else pairs.RIGHT
        times += [name for name, of in columns if of == wanted + other.time]
    return Cut(
        Blocks(layout), tuple(keys),
        (
            *(_rows(node, place, one, layout, right=False) for place in left),
            *(_rows(node, place, other, layout, right=True) for place in right),
        ),
        tuple(columns), tuple(dict.fromkeys(times)),
    )  # fmt: skip


def name_of(node: pairs.Join) -> str:
    """What the stage is called, if the topology does not say."""
    return f"join-{'-'.join(node.on)}"


def check_mark(node: nodes.Watermark, before: Sequence[nodes.Node]) -> None:
    """Raise `TopologyError` for a watermark behind a join: lateness is decided in front of it."""
    for place in before:
        joined = [step for step in nodes.way(place) if isinstance(step, pairs.Joined)]
        if joined:
            raise TopologyError(
                f"{node.at}: with_watermark behind the join at {joined[-1].at}",
                remedy="say it for each side, before the join: what comes out has a watermark",
            )


def _sides(
    node: pairs.Join, left: Sequence[nodes.Node], right: Sequence[nodes.Node]
) -> list[_Side]:
    """Both sides; raises `TopologyError` with what is wrong with either."""
    found, faults = [], []
    for number, places in enumerate((left, right)):
        try:
            found.append(_side(node, places, number))
        except TopologyError as fault:
            faults.append(fault)
    if faults:
        first, *others = faults
        raise TopologyError(first.message, remedy=first.remedy, others=tuple(others))
    return found


def _side(node: pairs.Join, places: Sequence[nodes.Node], number: int) -> _Side:
    """A side, seen to have the keys, an event time and a watermark."""
    word = _WORDS[number]
    first = schema.columns_at(places[0])[id(places[0])]  # a union has seen to the others
    missing = [name for name in node.on if name not in first]
    if missing:
        told = " and no ".join(map(repr, missing))
        raise TopologyError(
            f"{node.at}: the join's {word} side has no column {told}",
            remedy=f"its columns are: {', '.join(first)}; one of another name is renamed "
            f'before: with_columns({missing[0]}=pl.col("..."))',
        )
    for place in places:
        _check_rows(node, place, word)
    times = [_times(place) for place in places]
    shared = [name for name in times[0] if all(name in of for of in times)]
    given = node.times[number]
    if given is not None and given not in shared:
        what = f"it is {first[given]}" if given in first else "there is no such column"
        raise TopologyError(
            f"{node.at}: {word}_time={given!r} is no event time of the join's {word} side ({what})",
            remedy=f"take one of {', '.join(shared)}" if shared else _keep(places[0]),
        )
    if given is None and not shared:
        raise TopologyError(
            f"{node.at}: the join's {word} side has no event time any more",
            remedy=_keep(places[0]),
        )
    return _Side(first, given or shared[0])


def _keep(place: nodes.Node) -> str:
    source = nodes.source_of(place)
    name = source.event_time
    return f"keep {name!r} as it was read ({source.at}) in every select before the join"


def _check_rows(node: pairs.Join, place: nodes.Node, word: str) -> None:
    """Raise `TopologyError` for rows without a watermark, or which may be revised."""
    way, source = nodes.way(place), nodes.source_of(place)
    changing = [s for s in way if isinstance(s, nodes.Aggregate) and s.window is None]
    if changing:
        raise TopologyError(
            f"{node.at}: a join of groups that may still change ({changing[-1].at})",
            remedy="join what is over: group_by(F.window(...), ...) behind with_watermark(...)",
        )
    marked = any(isinstance(step, nodes.Watermark) for step in way)
    if source.event_time is None:
        raise TopologyError(
            f"{node.at}: the join's {word} side has no event time",
            remedy=f"say which column has it at {source.at}: event_time=...; and with_watermark",
        )
    if not marked and source.watermark is None:
        raise TopologyError(
            f"{node.at}: the join's {word} side has no watermark ({source.at}): its rows would be "
            "kept for ever",
            remedy=f'say how late its records may be: {word}.with_watermark("10 minutes")',
        )


def _times(place: nodes.Node) -> list[str]:
    """The columns of event times, the one that is meant without a word first."""
    sink = nodes.Sink(place, "", Blocks({}), None, "append", place.at)
    plan = nodes.Plan("", (sink,), place.at)
    found = carried.times(plan, sink, schema.columns(plan))
    return [*(name for name in _usual(place) if name in found), *found]


def _usual(place: nodes.Node) -> Iterator[str]:
    for step in reversed(nodes.way(place)):
        if isinstance(step, nodes.Aggregate):
            yield "window_start"
            return
        if isinstance(step, pairs.Joined):
            yield from step.times
            return
        if isinstance(step, nodes.Source) and step.event_time is not None:
            yield step.event_time


def _key(node: pairs.Join, name: str, left: pl.DataType, right: pl.DataType) -> pl.DataType:
    """The type that a key has on both sides."""
    for kind in (left, right):
        narrow = kind.is_integer() and kind not in (pl.Int128, pl.UInt128)
        if not (narrow or kind.is_temporal() or kind in _KEY_TYPES):
            raise TopologyError(
                f"{node.at}: {name!r} is {kind}, which cannot be a key",
                remedy="join by text, integers up to 64 bits, times or booleans",
            )
    if left == right:
        return left
    if left.is_integer() and right.is_integer():
        unsigned = pl.UInt64 in (left, right)
        signed = left.is_signed_integer() or right.is_signed_integer()
        if not unsigned or not signed:
            return pl.UInt64() if unsigned else pl.Int64()
    raise TopologyError(
        f"{node.at}: the key {name!r} is {left} on the left side and {right} on the right",
        remedy=f"make one type of them before the join, as in with_columns(pl.col({name!r})"
        ".cast(pl.String))",
    )


def _named(
    node: pairs.Join, left: Mapping[str, pl.DataType], right: Mapping[str, pl.DataType]
) -> Iterator[tuple[str, str]]:
    """The right's columns by their names behind the join: what is there already has the suffix."""
    ours = [name for name in right if name not in node.on]
    plain = {name for name in ours if name not in left}
    for name in ours:
        called = name if name in plain else name + node.suffix
        if name not in plain and (called in left or called in plain):
            raise TopologyError(
                f"{node.at}: both sides have a column {name!r}, and {called!r} is there too",
                remedy='give another suffix: join(..., suffix="_other"), or rename the column',
            )
        yield called, pairs.RIGHT + name


def _rows(
    node: pairs.Join, place: nodes.Node, side: _Side, layout: Mapping[str, pl.DataType], *,
    right: bool,
) -> nodes.Node:  # fmt: skip
    """The rows of a stream as the topic has them."""
    if right or node.how == "inner":
        there = pl.all_horizontal(*(pl.col(name).is_not_null() for name in node.on))
        place = nodes.Filter(place, there, node.at)
    time = pl.col(side.time)
    if side.columns[side.time] != _TIME:
        time = time.cast(_TIME)
    own = pairs.RIGHT if right else pairs.LEFT
    found = [pl.lit(right).alias(pairs.SIDE), time.alias(pairs.AT)]
    for name, kind in list(layout.items())[2:]:
        prefix, of = name[:2], name[2:]
        if prefix == pairs.KEY:
            key = pl.col(of)
            key = key if side.columns[of] == kind else key.cast(kind)
            found.append(key.alias(name))
        elif prefix == own:
            found.append(pl.col(of).alias(name))
        else:
            found.append(pl.lit(None, kind).alias(name))
    return nodes.Select(place, tuple(found), node.at)
