"""From the graph that a user wrote to stages, each a plan with one source.

A stage is one consumer group on one topic. The graph is cut before an aggregate whose groups the
topic does not keep together: the stage in front deals its rows out by the group's keys to an
internal topic, and the one behind reads that::

    read ── steps ──┬── write                          stage APP
                    └── by user ──► APP.by-user        internal topic
                                         └── agg ── write        stage APP.by-user

Streams that are united go each its own way up to the next cut, or to the sink.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final, TypeAlias

import polars as pl

from processor.errors import TopologyError
from processor.formats.base import describe_columns
from processor.formats.blocks import Blocks
from processor.plan import carried, clocks, fed, gather, nodes, outside, roles, schema

Above: TypeAlias = nodes.Node | nodes.Union

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Stage:
    """A plan with one source, and ``why`` it is a stage of its own (empty: it reads the user's)."""

    plan: nodes.Plan
    why: str = ""


def cut(plan: nodes.Plan) -> tuple[Stage, ...]:
    """The stages of a graph, each behind those that it reads from.

    Raises `TopologyError` for a step that cannot be, with its line.

    >>> from processor import Json, Topology, functions as F
    >>> topology = Topology("spend")
    >>> rows = topology.read.kafka("in", format=Json({"user": pl.String, "n": pl.Int64}))
    >>> rows.group_by("user").agg(n=F.sum("n")).write.kafka("out", key="user", mode="update")
    >>> [(stage.plan.app, stage.plan.source().topic) for stage in topology.stages()]
    [('spend', 'in'), ('spend.by-user', 'spend.by-user')]
    """
    roles.once(plan)
    cutter = _Cutter(plan)
    for sink in plan.sinks:
        cutter.end(sink)
    if cutter.as_it_was:
        return (Stage(plan),)
    return tuple(cutter.made())


def handed(plan: nodes.Plan) -> tuple[str, ...]:
    """The internal topics that a stage writes, each with eight digits that name its layout."""
    forms = {sink.topic: sink.format.describe() for sink in plan.sinks if sink.internal}
    return tuple(
        f"{topic}={blake2b(told.encode(), digest_size=4).hexdigest()}"
        for topic, told in forms.items()
    )


class _Cutter:
    def __init__(self, plan: nodes.Plan) -> None:
        self._plan = plan
        self._places: dict[int, tuple[Above, list[nodes.Node]]] = {}
        # By the source's id: stages in the order in which they are found, parents first.
        self.stages: dict[int, nodes.Source] = {}
        self._apps: dict[int, str] = {}
        self._sinks: dict[int, list[nodes.Sink]] = {}
        self.cuts: dict[int, str] = {}
        self._moved = False
        self._clocks = clocks.Clocks()
        self._gathers: dict[int, nodes.Newest] = {}
        # Their groups come all at once to one call.
        self._whole = {
            id(outside.aggregate_of(sink))
            for sink in plan.sinks
            if outside.in_one_place(sink) and sink.mode == "complete" and not outside.ordered(sink)
        }
        self._fed = {name for feed in fed.feeds(plan) for name in (feed.topic, feed.group)}

    def made(self) -> Iterable[Stage]:
        for key in self.stages:
            sinks = tuple(self._sinks.get(key, ()))
            made = nodes.Plan(self._apps[key], sinks, self._plan.at, self._plan.app)
            yield Stage(made, self.cuts.get(key, ""))

    @property
    def as_it_was(self) -> bool:
        """Whether there is one stage, of what the user wrote."""
        return len(self.stages) < 2 and not self._moved

    def place(self, sink: nodes.Sink, place: nodes.Node) -> None:
        """A sink of the user's, behind what stands for its rows."""
        self._moved = self._moved or place is not sink.parent or sink.newest is not None
        self.add(sink if place is sink.parent else replace(sink, parent=place))

    def end(self, sink: nodes.Sink) -> None:
        """A sink of the user's, wherever its rows are; those of one call are gathered before."""
        outside.check(sink)
        places = self.places(sink.parent)
        for place in places:
            gather.check_sink(sink, place)
        newest = outside.newest(sink, places[0])
        if isinstance(sink.outside, nodes.Call) and sink.outside.per == "batch":
            if not _in_one_place(places):
                source = self._gathered(sink, sink.outside.name, places)
                self.place(replace(sink, mode="append", newest=newest), source)
                return
            newest = None  # a batch has each group once
        for place in places:
            self.place(sink if newest is None else replace(sink, newest=newest), place)

    def _gathered(self, sink: nodes.Sink, name: str, before: Sequence[nodes.Node]) -> nodes.Source:
        """The source of a stage that has all rows of a sink in one place."""
        have = _same(sink.at, [schema.columns_at(place)[id(place)] for place in before])
        source = self._read_on(name, Blocks(have), before, sink.at)
        self.cuts[id(source)] = f"{name} is called once for all rows of a batch"
        for place in before:
            self.add(
                nodes.Sink(
                    place, source.topic, source.format, (), sink.mode, sink.at, internal=True
                )
            )
        return source

    def _read_on(
        self,
        name: str,
        layout: Blocks,
        before: Sequence[nodes.Node],
        at: nodes.Location,
        *,
        keys: tuple[str, ...] = (),
        event_time: str | None = None,
        watermark: nodes.Carried | None = None,
    ) -> nodes.Source:
        """The source of a stage that begins: its topic is called as the group that reads it."""
        roots = [nodes.source_of(place) for place in before]
        apps = dict.fromkeys(self._apps[id(root)] for root in roots)
        app = self._free(f"{self._plan.app}.{name}")
        source = nodes.Source(
            app, layout, event_time, keys, roots[0].on_error,
            roots[0].dead_letters or f"{self._plan.app}-dead-letters", at,
            watermark=watermark, upstreams=tuple(apps),
        )  # fmt: skip
        self._begin(source, app)
        return source

    def add(self, sink: nodes.Sink) -> None:
        """A sink of the stage whose rows it gets."""
        self._sinks.setdefault(id(nodes.path(sink)[0]), []).append(sink)

    def places(self, node: Above) -> list[nodes.Node]:
        """What stands for a node in the stages: one for each stream that comes to it."""
        if id(node) not in self._places:
            # The node is kept with them: its id stays its own.
            self._places[id(node)] = node, self._placed(node)
        return self._places[id(node)][1]

    def _placed(self, node: Above) -> list[nodes.Node]:
        if isinstance(node, nodes.Source):
            app = self._plan.app
            wanted = node.topic if node.feed is not None else f"{app}.{node.topic}"
            self._begin(node, self._free(wanted, own=node.topic) if self.stages else app)
            return [node]
        if isinstance(node, nodes.Sort | nodes.Limit):
            aggregate = gather.aggregate_of(node)
            if aggregate is not None:
                newest = self._newest(aggregate, node.at)
                return [replace(node, parent=gather.behind(node.parent, aggregate, newest))]
        before = self._before(node)
        if isinstance(node, nodes.Union):
            return before
        if isinstance(node, nodes.Aggregate) and node.window is None and not node.keys:
            return [self._total(node, before)]
        if isinstance(node, nodes.Aggregate):
            whole = id(node) in self._whole and not _in_one_place(before)
            if why := "all its groups come to one call" if whole else _why(node, before):
                keys = () if whole else node.keys
                return [replace(node, parent=self._behind(node, keys, before, why))]
        return [node if place is node.parent else replace(node, parent=place) for place in before]

    def _before(self, node: Above) -> list[nodes.Node]:
        """What stands for all that comes to a node; rows in order only to what may have them."""
        if isinstance(node, nodes.Union):
            parents: Sequence[Above] = node.parents
        elif isinstance(node, nodes.Aggregate) and node.window is not None and node.window.clock:
            parents = [self._clocks.stamped(node.parent, node.at)]
        else:
            parents = [] if isinstance(node, nodes.Source) else [node.parent]
        before = [place for parent in parents for place in self.places(parent)]
        if isinstance(node, nodes.Aggregate | nodes.Watermark | nodes.Union):
            for place in before:
                gather.refuse(node, place)
        return before

    def _begin(self, source: nodes.Source, app: str) -> None:
        """A stage of this source."""
        self.stages[id(source)] = source
        self._apps[id(source)] = app

    def _free(self, wanted: str, *, own: str = "") -> str:
        """This name, or one with a number behind it, which no stage and no topic has.

        A stage that reads what a feed writes may be called as its ``own`` topic.
        """
        read = (source.topic for source in self.stages.values())
        topics = {*read, *(sink.topic for sink in self._plan.sinks), *self._fed} - {own}
        taken = {*self._apps.values(), *topics}
        numbered = (f"{wanted}-{number}" for number in itertools.count(2))
        return next(name for name in itertools.chain([wanted], numbered) if name not in taken)

    def _total(self, node: nodes.Aggregate, before: Sequence[nodes.Node]) -> nodes.Node:
        """One group of all rows: they are given a key, the same for all, and lose it again."""
        names = [a.name for a in node.aggregations]
        taken = {*names, *(a.column for a in node.aggregations)}
        key = next(name for number in itertools.count(1) if (name := f"all_{number}") not in taken)
        same = (pl.lit(0, pl.Int8).alias(key),)
        rows: list[nodes.Node] = [nodes.Extend(place, same, node.at) for place in before]
        why = _why(node, before)
        grouped = replace(node, keys=(key,), name=node.name or "all")
        parent = self._behind(grouped, (), rows, why) if why else rows[0]
        columns = tuple(pl.col(name) for name in names)
        return nodes.Select(replace(grouped, parent=parent), columns, node.at)

    def _behind(
        self, node: nodes.Aggregate, keys: tuple[str, ...], before: Sequence[nodes.Node], why: str
    ) -> nodes.Source:
        """The source of the stage behind a cut; the stages in front deal their rows out by keys."""
        have = _have(node, before)
        names = _needed(node, have)
        layout = Blocks({name: have[name] for name in names})
        timed = _timed(node, before)
        source = self._read_on(
            node.name or _name(node), layout, before, node.at, keys=keys,
            event_time=node.window.column if node.window else None,
            watermark="carried" if timed and node.window else None,
        )  # fmt: skip
        app = source.topic
        self.cuts[id(source)] = why
        for place in before:
            rows = nodes.Select(place, tuple(pl.col(name) for name in names), node.at)
            sink = nodes.Sink(
                rows, app, layout, keys, "append", node.at, source.watermark,
                internal=True, window=node.window,
            )  # fmt: skip
            self._check(node, place, sink)
            self.add(sink)
        return source

    def _newest(self, aggregate: nodes.Aggregate, at: nodes.Location) -> nodes.Newest:
        """The newest rows of an aggregate's groups, all in one place."""
        if id(aggregate) not in self._gathers:
            (place,) = self.places(aggregate)
            layout = Blocks(schema.columns_at(place)[id(place)])
            name = f"ordered-{aggregate.name or _name(aggregate)}"
            source = self._read_on(name, layout, [place], at)
            self.cuts[id(source)] = gather.WHY
            mode = gather.mode_of(self._plan, aggregate)
            self.add(nodes.Sink(place, source.topic, layout, None, mode, at, internal=True))
            self._gathers[id(aggregate)] = nodes.Newest(source, gather.keys_of(aggregate), at)
        return self._gathers[id(aggregate)]

    def _check(self, node: nodes.Aggregate, place: nodes.Node, sink: nodes.Sink) -> None:
        """Raise `TopologyError` for a window over what is no event time, or groups that change."""
        plan = nodes.Plan(self._plan.app, (sink,), self._plan.at)
        way = nodes.way(place)
        before = [step for step in way if isinstance(step, nodes.Aggregate)]
        if before and (plan.delay() is None or before[-1].window is None):
            raise TopologyError(
                f"{node.at}: an aggregate of groups that may still change ({before[-1].at})",
                remedy="let the first one publish what is over: with_watermark(...) and "
                "group_by(F.window(...), ...)",
            )
        if node.window is None:
            return
        columns = schema.columns(plan)
        have, column = columns[id(place)], node.window.column
        times = carried.times(plan, sink, columns)
        if column not in times:
            what = f"{column!r} is {have[column]}" if column in have else f"there is no {column!r}"
            source = plan.source()
            raise TopologyError(
                f"{node.at}: the window is over {column!r}, not over the event time ({what})",
                remedy=f"take one of {', '.join(times)}"
                if times
                else f"say event_time={column!r} at {source.at}, and keep it as it was read",
            )


def _why(node: nodes.Aggregate, before: Sequence[nodes.Node]) -> str:
    """Why rows of one group may lie in different places; empty: they do not."""
    if len(before) > 1:
        return f"{len(before)} streams come to it"
    (place,) = before
    way, source = nodes.way(place), nodes.source_of(place)
    if source.clock:
        return "its windows are of the clock, and state is a function of the log alone"
    if any(isinstance(step, nodes.Watermark) and step.idle for step in way):
        return "its watermark goes on with the clock, and state is a function of the log alone"
    if any(isinstance(step, nodes.Aggregate) for step in way):
        return "its rows are groups of another aggregate"
    if source.gathered():
        return ""
    return _elsewhere(node, place, source)


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


def _have(node: nodes.Aggregate, before: Sequence[nodes.Node]) -> dict[str, pl.DataType]:
    """The columns that come to an aggregate, the same from each stream."""
    for place in before:  # what the aggregate cannot be computed of is told with its line
        schema.columns_at(replace(node, parent=place))
    return _same(node.at, [schema.columns_at(place)[id(place)] for place in before])


def _same(at: nodes.Location, columns: Sequence[dict[str, pl.DataType]]) -> dict[str, pl.DataType]:
    """The columns of all streams that come to a place; raises `TopologyError` for others."""
    first, *others = columns
    for other in others:
        if other != first:
            raise TopologyError(
                f"{at}: the streams that come here have other columns: "
                f"{describe_columns(first)}; and {describe_columns(other)}",
                remedy="select the same columns of the same types in each of them",
            )
    return first


def _in_one_place(before: Sequence[nodes.Node]) -> bool:
    """Whether all rows that come to a place are in one partition, and of one stream."""
    return len(before) == 1 and nodes.source_of(before[0]).gathered()


def _timed(node: nodes.Aggregate, before: Sequence[nodes.Node]) -> bool:
    """Whether all streams have a watermark; raises `TopologyError` where some have and some not."""
    timed = [
        any(
            isinstance(step, nodes.Watermark)
            or (isinstance(step, nodes.Source) and (step.watermark is not None or step.clock))
            for step in nodes.way(place)
        )
        for place in before
    ]
    if node.window is not None and any(timed) != all(timed):
        without = nodes.source_of(before[timed.index(False)])
        raise TopologyError(
            f"{node.at}: some of the streams that come here have a watermark, and {without.at} has "
            "none: no window would be over",
            remedy="say with_watermark(...) for each of them, or for none",
        )
    return all(timed)


def _needed(node: nodes.Aggregate, have: Iterable[str]) -> tuple[str, ...]:
    """The columns that an aggregate is computed of; one of them at least, to count rows by."""
    window = () if node.window is None else (node.window.column,)
    columns = (a.column for a in node.aggregations if a.column is not None)
    names = dict.fromkeys([*window, *node.keys, *columns])
    return tuple(names) or tuple(have)[:1]


def _name(node: nodes.Aggregate) -> str:
    """What a stage is called whose aggregate has no name.

    >>> _name(nodes.Aggregate(None, None, ("user", "shop"), (), None))
    'by-user-shop'
    """
    if not node.keys:
        return "all"
    return "by-" + _NOT_IN_NAMES.sub("-", "-".join(node.keys))[:_NAME_MAX]
