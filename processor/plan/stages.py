"""From the graph that a user wrote to stages, each a plan with one source.

A stage is one consumer group on one topic. The graph is cut before an aggregate whose groups the
topic does not keep together: the stage in front deals its rows out by the group's keys to an
internal topic, and the one behind reads that::

    read ── steps ──┬── write                          stage APP
                    └── by user ──► APP.by-user        internal topic
                                         └── agg ── write        stage APP.by-user

Streams that are united go each its own way up to the next cut, or to the sink. Both sides of a join
go into one topic (`processor.plan.joining`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import polars as pl

from processor.errors import TopologyError
from processor.formats.blocks import Blocks
from processor.plan import (
    carried,
    clocks,
    cutting,
    fed,
    gather,
    joining,
    nodes,
    outside,
    pairs,
    repartition,
    roles,
    schema,
    writers,
)

Above: TypeAlias = nodes.Above
Step: TypeAlias = nodes.Node | nodes.Union | nodes.Repartition


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
        plans = writers.told(
            nodes.Plan(app, tuple(self._sinks.get(key, ())), self._plan.at, self._plan.app)
            for key, app in self._apps.items()
        )
        for key, plan in zip(self._apps, plans, strict=True):
            yield Stage(plan, self.cuts.get(key, ""))

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
            if not cutting.in_one_place(places):
                source = self._gathered(sink, sink.outside.name, places)
                self.place(replace(sink, mode="append", newest=newest), source)
                return
            newest = None  # a batch has each group once
        for place in places:
            self.place(sink if newest is None else replace(sink, newest=newest), place)

    def _gathered(self, sink: nodes.Sink, name: str, before: Sequence[nodes.Node]) -> nodes.Source:
        """The source of a stage that has all rows of a sink in one place."""
        have = cutting.columns(before)
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
        spread: int | None = None,
    ) -> nodes.Source:
        """The source of a stage that begins: its topic is called as the group that reads it."""
        roots = [nodes.source_of(place) for place in before]
        apps = dict.fromkeys(self._apps[id(root)] for root in roots)
        app = self._free(f"{self._plan.app}.{name}")
        source = nodes.Source(
            app, layout, event_time, keys, roots[0].on_error,
            roots[0].dead_letters or f"{self._plan.app}-dead-letters", at,
            watermark=watermark, upstreams=tuple(apps), spread=spread,
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
            made = [self._joined(node)] if isinstance(node, pairs.Join) else self._placed(node)
            self._places[id(node)] = node, made
        return self._places[id(node)][1]

    def _placed(self, node: Step) -> list[nodes.Node]:
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
            return cutting.united(node, before)
        if isinstance(node, nodes.Watermark):
            joining.check_mark(node, before)
        if isinstance(node, nodes.Repartition):
            return [self._repartitioned(node, before)]
        if isinstance(node, nodes.Aggregate) and (found := self._grouped(node, before)) is not None:
            return [found]
        return [node if place is node.parent else replace(node, parent=place) for place in before]

    def _grouped(self, node: nodes.Aggregate, before: Sequence[nodes.Node]) -> nodes.Node | None:
        """An aggregate of all rows, or behind a cut; ``None``: it stands where it stood."""
        if node.window is None and not node.keys:
            return self._total(node, before)
        whole = id(node) in self._whole and not cutting.in_one_place(before)
        why = "all its groups come to one call" if whole else cutting.why(node, before)
        keys = () if whole else node.keys
        return replace(node, parent=self._behind(node, keys, before, why)) if why else None

    def _before(self, node: Step) -> list[nodes.Node]:
        """What stands for all that comes to a node; rows in order only to what may have them."""
        if isinstance(node, nodes.Union):
            parents: Sequence[Above] = node.parents
        elif isinstance(node, nodes.Aggregate) and node.window is not None and node.window.clock:
            parents = [self._clocks.stamped(node.parent, node.at)]
        else:
            parents = [] if isinstance(node, nodes.Source) else [node.parent]
        before = [place for parent in parents for place in self.places(parent)]
        for place in before:
            if isinstance(
                node, nodes.Aggregate | nodes.Watermark | nodes.Union | nodes.Repartition
            ):
                gather.refuse(node, place)
            if isinstance(node, nodes.Watermark):
                repartition.refuse(node, place)
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
        why = cutting.why(node, before)
        grouped = replace(node, keys=(key,), name=node.name or "all")
        parent = self._behind(grouped, (), rows, why) if why else rows[0]
        columns = tuple(pl.col(name) for name in names)
        return nodes.Select(replace(grouped, parent=parent), columns, node.at)

    def _behind(
        self, node: nodes.Aggregate, keys: tuple[str, ...], before: Sequence[nodes.Node], why: str
    ) -> nodes.Source:
        """The source of the stage behind a cut; the stages in front deal their rows out by keys."""
        have = cutting.have(node, before)
        names = cutting.needed(node, have)
        layout = Blocks({name: have[name] for name in names})
        timed = cutting.timed(node.at, before, windows=node.window is not None)
        source = self._read_on(
            node.name or cutting.name(node), layout, before, node.at, keys=keys,
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

    def _repartitioned(self, node: nodes.Repartition, before: Sequence[nodes.Node]) -> nodes.Source:
        """The source of the stage behind rows that are dealt out as a user says."""
        have = cutting.columns(before)
        time = repartition.event_time(self._plan.app, node, before)
        timed = cutting.timed(node.at, before, windows=False) and time is not None
        source = self._read_on(
            cutting.called(repartition.name(node)), Blocks(have), before, node.at,
            keys=node.keys, event_time=time, watermark="carried" if timed else None,
            spread=node.partitions or 0,
        )  # fmt: skip
        self.cuts[id(source)] = repartition.why(node)
        for place in before:
            repartition.check(node, place, have)
            rows = nodes.Select(place, tuple(pl.col(name) for name in have), node.at)
            self.add(
                nodes.Sink(
                    rows, source.topic, source.format, node.keys, "append", node.at,
                    source.watermark, internal=True, evenly=not node.keys,
                )
            )  # fmt: skip
        return source

    def _newest(self, aggregate: nodes.Aggregate, at: nodes.Location) -> nodes.Newest:
        """The newest rows of an aggregate's groups, all in one place."""
        if id(aggregate) not in self._gathers:
            (place,) = self.places(aggregate)
            layout = Blocks(schema.columns_at(place)[id(place)])
            name = f"ordered-{aggregate.name or cutting.name(aggregate)}"
            source = self._read_on(name, layout, [place], at)
            self.cuts[id(source)] = gather.WHY
            mode = gather.mode_of(self._plan, aggregate)
            self.add(nodes.Sink(place, source.topic, layout, None, mode, at, internal=True))
            self._gathers[id(aggregate)] = nodes.Newest(source, gather.keys_of(aggregate), at)
        return self._gathers[id(aggregate)]

    def _joined(self, node: pairs.Join) -> nodes.Node:
        """What reads both sides of a join from one topic; the stages in front hand them on."""
        left, right = self.places(node.left), self.places(node.right)
        for place in (*left, *right):
            gather.refuse(node, place)
        made = joining.cut(node, left, right)
        first = nodes.source_of(left[0])
        sides = tuple(
            tuple(dict.fromkeys(self._apps[id(nodes.source_of(place))] for place in places))
            for places in (left, right)
        )
        app = self._free(f"{self._plan.app}.{node.name or cutting.called(joining.name_of(node))}")
        source = nodes.Source(
            app, made.layout, pairs.AT, made.keys, first.on_error,
            first.dead_letters or f"{self._plan.app}-dead-letters", node.at, watermark="carried",
            upstreams=tuple(dict.fromkeys(itertools.chain(*sides))), sides=sides,
        )  # fmt: skip
        self._begin(source, app)
        self.cuts[id(source)] = "both sides of a join come to it"
        for rows in made.rows:
            self.add(
                nodes.Sink(
                    rows, app, made.layout, made.keys, "append", node.at, "carried", internal=True
                )
            )
        return pairs.Joined(
            source, made.columns, made.keys, node.lower, node.upper, node.how, made.times, node.at
        )

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
            source = plan.source()
            raise TopologyError(
                f"{node.at}: the window is over {column!r}, not over the event time "
                f"({column!r} is {have[column]})",
                remedy=f"take one of {', '.join(times)}"
                if times
                else _as_time(column, have[column], source),
            )


def _as_time(column: str, kind: pl.DataType, source: nodes.Source) -> str:
    """What to do about a window over what is no event time."""
    if source.event_time is not None and source.event_time != column:
        own = source.event_time
        return f"F.window({own!r}, ...) is over the event time: keep {own!r} as it was read"
    named = repr(column) if kind.is_temporal() else "..."
    return f"say event_time={named} at {source.at}, and keep it as it was read"
