"""All that is wrong with a topology, once its check has found the first fault.

The check stops at the first. So each sink is looked at by itself, with the way to it; and whatever
step is wrong is mended in thought, as far as that can be, to see what else there is: a filter is
left out, a column that cannot be computed is taken as known, and so is what an
aggregate makes of it. What names such a column afterwards may only follow from the first fault and
is not told. Nothing is looked at twice in a topology that is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, TypeAlias, cast

import polars as pl

from processor.errors import TopologyError
from processor.formats.rows import Rows
from processor.plan import nodes, pairs

Check: TypeAlias = Callable[[nodes.Plan], object]
_MOST: Final = 20
"""Faults on the way to one sink: who has more reads the list again anyway."""


def every(plan: nodes.Plan, first: TopologyError, check: Check) -> TopologyError:
    """The first fault in the order of lines, with all the others.

    ``check`` raises for what is wrong with a plan, and ``first`` is what it raised for this one.

    >>> from processor import Json, Topology
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
    found: dict[str, TopologyError] = {}
    right = []
    for sink in plan.sinks:
        faults = list(_of(replace(plan, sinks=(sink,)), check))
        right += [] if faults else [sink]
        found |= {str(fault): fault for fault in faults}
    together = replace(plan, sinks=tuple(right))
    for fault in (_fault(together, check) if right else None, first):
        if fault is not None:
            found.setdefault(str(fault), fault)
    lines = [node.at for sink in plan.sinks for node in (*_above(sink.parent), sink)]
    places = {str(at): (at.file, at.line) for at in lines}
    nowhere = ("", 0)

    def place(fault: TopologyError) -> tuple[str, int]:
        return next((at for name, at in places.items() if _at(fault, name)), nowhere)

    leading, *others = sorted(found.values(), key=place)
    if not others:
        return first
    return TopologyError(leading.message, remedy=leading.remedy, others=tuple(others))


def _of(plan: nodes.Plan, check: Check) -> Iterator[TopologyError]:
    """The faults on the way to the one sink of a plan."""
    lost: set[str] = set()
    fault = _fault(plan, check)
    for _ in range(_MOST):
        if fault is None:
            return
        if not any(f"{mark}{name}{mark}" in fault.message for name in lost for mark in "'\""):
            yield fault
        mended = _mended(plan, fault, check)
        if mended is None:
            return
        plan, fault, names = mended
        lost |= names


def _mended(
    plan: nodes.Plan, fault: TopologyError, check: Check
) -> tuple[nodes.Plan, TopologyError | None, set[str]] | None:
    """The plan without what the fault is about, what is wrong with that, and the columns lost."""
    found = None
    for candidate, names in _candidates(plan, fault):
        left = _fault(candidate, check)
        if left is None:
            return candidate, None, names
        if found is None and str(left) != str(fault):
            found = candidate, left, names
    return found


def _candidates(plan: nodes.Plan, fault: TopologyError) -> Iterator[tuple[nodes.Plan, set[str]]]:
    (sink,) = plan.sinks
    for step in _above(sink.parent):
        if _at(fault, str(step.at)):
            for other, names in _instead(step):
                parent = cast("nodes.Node", _rebuilt(sink.parent, {id(step): other}))
                yield replace(plan, sinks=(replace(sink, parent=parent),)), names
    if _at(fault, str(sink.at)):
        mode = sink.mode if sink.mode in ("append", "update", "complete") else "update"
        for wanted in dict.fromkeys((mode, "append", "update", "complete")):
            plain = nodes.Sink(sink.parent, sink.topic, Rows(), None, wanted, sink.at)
            if plain != sink:
                yield replace(plan, sinks=(plain,)), set()


def _instead(step: nodes.Above) -> Iterator[tuple[nodes.Above, set[str]]]:
    """What a step may have been meant to be, each with the columns that are not known then."""
    if isinstance(step, nodes.Filter):
        yield step.parent, set()
    elif isinstance(step, nodes.Select | nodes.Extend):
        for number, expression in enumerate(step.expressions):
            name = expression.meta.output_name(raise_if_undetermined=False)
            if name is not None:
                known = (pl.lit(None).alias(name),)
                before, after = step.expressions[:number], step.expressions[number + 1 :]
                yield replace(step, expressions=(*before, *known, *after)), {name}
    elif isinstance(step, nodes.Aggregate):
        for number, made in enumerate(step.aggregations):
            count = (nodes.Aggregation(made.name, "count", None),)
            before_, after_ = step.aggregations[:number], step.aggregations[number + 1 :]
            yield replace(step, aggregations=(*before_, *count, *after_)), {made.name}
        for key in step.keys:
            left = tuple(name for name in step.keys if name != key)
            yield replace(step, keys=left), {key}


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


def _rebuilt(step: nodes.Above, made: dict[int, nodes.Above]) -> nodes.Above:
    """A step behind others, which ``made`` has by the ids of those whose place they take."""
    if id(step) not in made:
        others = [_rebuilt(parent, made) for parent in _parents(step)]
        before = cast("list[nodes.Node]", others)
        if isinstance(step, nodes.Union):
            made[id(step)] = replace(step, parents=tuple(before))
        elif isinstance(step, pairs.Join):
            made[id(step)] = replace(step, left=before[0], right=before[1])
        else:
            made[id(step)] = (
                step if isinstance(step, nodes.Source) else replace(step, parent=before[0])
            )
    return made[id(step)]


def _fault(plan: nodes.Plan, check: Check) -> TopologyError | None:
    try:
        check(plan)
    except TopologyError as error:
        return error
    return None


def _at(fault: TopologyError, place: str) -> bool:
    return fault.message.startswith(f"{place}: ")
