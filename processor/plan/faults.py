"""All that is wrong with a topology, once its check has found the first fault.

The check stops at the first. So each sink is looked at by itself. The steps on the way to it are
checked one after the other, each as though nothing came behind it. What comes behind a wrong step
is not looked at, since it may only follow from that; a filter alone changes no columns, and is left
out, and so is a wrong ``partitioned_by``. Of a wrong ``select`` or ``with_columns`` each expression
is looked at by itself. Where the way is right, the sink is checked as it is, and where that is
wrong with its key, its timestamp and each of its headers alone::

    read ── filter ── with_columns ── group_by ── write
              ✗ left out    ✗ told      not looked at    its mode, its topic's name

A step or a sink with a mode that is none is tried in every mode: what is told is wrong in all.

A check looks at all the steps that come to the last one, so that one check says of many steps that
they are right. The longest run of right ones is found by halving: a wrong plan of 30 steps is
checked a few times, and not 30.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Final, TypeAlias, cast

from processor.errors import TopologyError
from processor.formats.rows import Rows
from processor.plan import modes, nodes, pairs, roles, validate

Check: TypeAlias = Callable[[nodes.Plan], object]
_TOPIC: Final = "a-topic-of-another-name"


def every(plan: nodes.Plan, first: TopologyError, check: Check) -> TopologyError:
    """The first fault in the order of lines, with all the others.

    ``check`` raises for what is wrong with a plan, and ``first`` is what it raised for this one.

    >>> from processor import Json, Topology
    >>> import polars as pl
    >>> topology = Topology("spend")
    >>> rows = topology.read.kafka("in", format=Json({"user": pl.String, "n": pl.Int64}))
    >>> rows.filter(pl.col("m") > 0).write.kafka("out", mode="all")
    >>> topology.stages()
    Traceback (most recent call last):
    processor.errors.TopologyError: ...: filter cannot be computed: ...
      remedy: ...
    ...: mode='all'
      remedy: say append, update or complete
    """
    ways = _Ways(plan, check)
    found: dict[str, TopologyError] = {}
    right = []
    for sink in plan.sinks:
        faults = list(ways.faults(sink))
        right += [] if faults else [sink]
        found |= {str(fault): fault for fault in faults}
    together = [_fault(replace(plan, sinks=tuple(right)), check)] if right else []
    for fault in (*together, *roles.twice(plan)):
        found |= {str(each): each for each in _each(fault)}
    if not found or set(found) == {str(each) for each in _each(first)}:
        return first
    leading, *others = _in_order(plan, found.values())
    return TopologyError(leading.message, remedy=leading.remedy, others=tuple(others))


class _Ways:
    """The ways to a plan's sinks; a step that several have is looked at once."""

    def __init__(self, plan: nodes.Plan, check: Check) -> None:
        self._plan, self._check = plan, check
        # By the step's id: what is wrong with it, and what stands for it; nothing behind a fault.
        self._known: dict[int, tuple[list[TopologyError], nodes.Above | None]] = {}

    def faults(self, sink: nodes.Sink) -> Iterator[TopologyError]:
        """What is wrong with a sink, and on the way to it."""
        if self._fault([sink]) is None:
            return
        of_way, end = self._on_the_way(sink)
        own = [f for f in (modes.fault(sink), validate.fault_of_topic(sink)) if f is not None]
        if end is not None:
            own += self._at_the_end(sink, end)
        told = [*of_way, *own]
        yield from told or _each(self._fault([sink]))

    def _on_the_way(self, sink: nodes.Sink) -> tuple[list[TopologyError], nodes.Above | None]:
        """What is wrong with the steps to a sink, and what stands for the last of them."""
        steps, told = _above(sink.parent), []
        for place, step in enumerate(steps):
            if id(step) not in self._known:
                self._pass(steps[place:])
            told += self._looked_at(step)[0]
        return told, self._stands(steps[-1])

    def _at_the_end(self, sink: nodes.Sink, end: nodes.Above) -> Iterator[TopologyError]:
        """What is wrong with a sink's rows, its key, its timestamp and its headers."""
        named = _TOPIC if validate.fault_of_topic(sink) else sink.topic
        tried = modes.MODES if modes.fault(sink) else (sink.mode,)
        whole = replace(sink, parent=cast("nodes.Node", end), topic=named)
        for variant in _variants(whole):
            fault = self._fault([replace(variant, mode=mode) for mode in tried])
            yield from _each(fault)
            if fault is None and variant is whole:
                return

    def _pass(self, steps: list[nodes.Above]) -> None:
        """Looks at the steps that come first, one behind the other, up to one that is wrong."""
        before = [self._stands(parent) for parent in _parents(steps[0])]
        if None in before:
            return
        run = [_behind(steps[0], cast("list[nodes.Above]", before))]
        for last, step in pairwise(steps):
            if id(step) in self._known or [id(one) for one in _parents(step)] != [id(last)]:
                break
            run.append(_behind(step, run[-1:]))
        right, wrong, middle = 0, len(run) + 1, len(run)
        while right + 1 < wrong:
            if self._fault(_ends(run[middle - 1])) is None:
                right = middle
            else:
                wrong = middle
            middle = (right + wrong) // 2
        for step, mine in zip(steps, run[:right], strict=False):
            self._known[id(step)] = [], mine
        if right < len(run):
            self._known[id(steps[right])] = self._look_at(steps[right])

    def _stands(self, step: nodes.Above) -> nodes.Above | None:
        """What stands for a step that was looked at; nothing behind a fault."""
        return self._known[id(step)][1]

    def _looked_at(self, step: nodes.Above) -> tuple[list[TopologyError], nodes.Above | None]:
        if id(step) not in self._known:
            self._known[id(step)] = self._look_at(step)
        return self._known[id(step)]

    def _look_at(self, step: nodes.Above) -> tuple[list[TopologyError], nodes.Above | None]:
        before = [self._stands(parent) for parent in _parents(step)]
        parents = [parent for parent in before if parent is not None]
        if len(parents) < len(before):
            return [], None
        mine = _behind(step, parents)
        fault = self._fault(_ends(mine))
        if fault is None:
            return [], mine
        if isinstance(step, nodes.Filter):
            return [fault], parents[0]
        found = {str(each): each for each in _each(fault)}
        if isinstance(mine, nodes.Source) and mine.partitioned_by:
            bare = replace(mine, partitioned_by=())
            return list(found.values()), None if self._fault(_ends(bare)) else bare
        if isinstance(mine, nodes.Select | nodes.Extend) and len(mine.expressions) > 1:
            alone = (replace(mine, expressions=(each,)) for each in mine.expressions)
            others = (self._fault(_ends(one)) for one in alone)
            found = {str(other): other for other in others if other is not None} or found
        return list(found.values()), None

    def _fault(self, sinks: list[nodes.Sink]) -> TopologyError | None:
        """What is wrong with each of some sinks alike; ``None`` where one of them can be."""
        found: TopologyError | None = None
        for sink in sinks:
            fault = _fault(replace(self._plan, sinks=(sink,)), self._check)
            if fault is None or (found is not None and str(fault) != str(found)):
                return None
            found = fault
        return found


def _ends(step: nodes.Above) -> list[nodes.Sink]:
    """Sinks that ask for nothing but a step's rows, in every mode."""
    parent = cast("nodes.Node", step)
    return [nodes.Sink(parent, _TOPIC, Rows(), None, mode, step.at) for mode in modes.MODES]


def _variants(sink: nodes.Sink) -> Iterator[nodes.Sink]:
    """A sink as it is; of a topic, with each of what a record has beside its value, alone."""
    yield sink
    if sink.outside is not None:
        return
    bare = nodes.Sink(
        sink.parent, sink.topic, Rows(), None, sink.mode, sink.at, watermark=sink.watermark
    )
    yield bare
    yield replace(bare, key=sink.key, key_format=sink.key_format)
    yield replace(bare, timestamp=sink.timestamp)
    whole = isinstance(sink.headers, str)
    for headers in [sink.headers] if whole else [(pair,) for pair in sink.headers or ()]:
        yield replace(bare, headers=cast("nodes.Headers", headers))


def _above(node: nodes.Above) -> list[nodes.Above]:
    """A step and all that comes to it, each once, parents first."""
    found: dict[int, nodes.Above] = {}

    def visit(step: nodes.Above) -> None:
        if id(step) not in found:
            for parent in _parents(step):
                visit(parent)
            found[id(step)] = step

    visit(node)
    return list(found.values())


def _parents(step: nodes.Above) -> tuple[nodes.Above, ...]:
    if isinstance(step, nodes.Union | pairs.Join):
        return step.parents
    return () if isinstance(step, nodes.Source) else (step.parent,)


def _behind(step: nodes.Above, parents: list[nodes.Above]) -> nodes.Above:
    """The step behind what stands for its parents; itself where that is they."""
    if all(one is other for one, other in zip(_parents(step), parents, strict=True)):
        return step
    before = cast("list[nodes.Node]", parents)
    if isinstance(step, nodes.Union):
        return replace(step, parents=tuple(before))
    if isinstance(step, pairs.Join):
        return replace(step, left=before[0], right=before[1])
    return step if isinstance(step, nodes.Source) else replace(step, parent=before[0])


def _each(fault: TopologyError | None) -> Iterator[TopologyError]:
    """A fault and those that were found with it, each by itself."""
    if fault is not None:
        yield TopologyError(fault.message, remedy=fault.remedy)
        yield from fault.others


def _fault(plan: nodes.Plan, check: Check) -> TopologyError | None:
    try:
        check(plan)
    except TopologyError as error:
        return error
    return None


def _in_order(plan: nodes.Plan, faults: Iterable[TopologyError]) -> list[TopologyError]:
    """Faults in the order of their lines."""
    lines = {n.at for sink in plan.sinks for n in (*_above(sink.parent), sink)}
    places = {f"{at}: ": (at.file, at.line) for at in lines}

    def place(fault: TopologyError) -> tuple[str, int]:
        found = (at for name, at in places.items() if fault.message.startswith(name))
        return next(found, ("", 0))

    return sorted(faults, key=place)
