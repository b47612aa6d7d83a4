"""One topic, one role: what a topology reads, writes and sets aside are different topics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from processor.errors import TopologyError
from processor.plan import nodes

_OWN = "give each a topic of its own"


def check(plan: nodes.Plan) -> None:
    """Raise `TopologyError` for a topic that one topology uses twice.

    >>> from processor import Text, Topology
    >>> topology = Topology("copy")
    >>> topology.read.kafka("a", format=Text(), dead_letters="b").write.kafka("b", format=Text())
    >>> topology.plan()
    Traceback (most recent call last):
    processor.errors.TopologyError: ...: 'b' takes the dead letters of ... and the rows of ...
    """
    source = plan.source()
    outputs = {sink.topic for sink in plan.sinks}
    if source.topic in outputs | {plan.dead_letters()}:
        raise TopologyError(
            f"{source.at}: {source.topic!r} is read and written by one topology, without end",
            remedy="write to another topic",
        )
    seen = {sink.topic: sink for sink in plan.sinks}
    if source.on_error == "dead_letter" and plan.dead_letters() in outputs:
        raise TopologyError(
            f"{source.at}: {plan.dead_letters()!r} takes the dead letters of {plan.app!r} and the "
            f"rows of {seen[plan.dead_letters()].at}",
            remedy='name another topic for one of them: dead_letters="..."',
        )
    kept = f"{plan.app}-changelog"
    if kept in {source.topic, plan.dead_letters(), plan.late(), *outputs}:
        raise TopologyError(
            f"{source.at}: {kept!r} is where the topology's state is kept "
            "(--on-checkpoint-loss changelog)",
            remedy="use a topic of another name",
        )


def once(plan: nodes.Plan) -> None:
    """Raise `TopologyError` for a topic that a topology writes in two places."""
    for fault in twice(plan):
        raise fault


def twice(plan: nodes.Plan) -> Iterator[TopologyError]:
    """What is wrong with each sink that writes where another writes already."""
    seen: dict[str, nodes.Sink] = {}
    for sink in plan.sinks:
        place = _place(sink)
        if place in seen:
            yield TopologyError(
                f"{sink.at}: {sink.topic!r} is written a second time, first at "
                f"{seen[place].at}: its readers could not tell whose a record is, nor which "
                "of a key is the last",
                remedy=_OWN if sink.outside is None else "give each a place and a name of its own",
            )
        seen.setdefault(place, sink)


def _place(sink: nodes.Sink) -> str:
    """Where a sink writes; "out" and "out/" are one directory."""
    if not isinstance(sink.outside, nodes.Files):
        return sink.topic
    try:
        return str(Path(sink.outside.folder).resolve())
    except (OSError, RuntimeError, ValueError):  # it cannot be a directory, which is told apart
        return sink.topic


def together(plans: Sequence[nodes.Plan]) -> Iterator[str]:
    """What may be a mistake where several topologies run: a sentence for each.

    Raises `TopologyError` for topologies that feed each other without end, and for a topic that is
    written by two of them.
    """
    for one in plans:
        for other in plans:
            if one.whole() != other.whole():
                yield from _between(one, other)
    _acyclic(plans)


def _between(one: nodes.Plan, other: nodes.Plan) -> Iterator[str]:
    """What the first writes and the second uses."""
    for sink in one.sinks:
        twice = next((s for s in other.sinks if s.topic == sink.topic), None)
        if twice is not None:
            raise TopologyError(
                f"{twice.at}: {sink.topic!r} is written by {one.app!r} too ({sink.at}): its "
                "readers could not tell whose a record is",
                remedy=_OWN,
            )
    for topic, what in _aside(one):
        sink_of = next((s for s in other.sinks if s.topic == topic), None)
        if sink_of is not None:
            raise TopologyError(
                f"{sink_of.at}: {topic!r} takes {what} of {one.app!r} too ({one.source().at})",
                remedy=_OWN,
            )
        if other.source().topic == topic:
            yield (
                f"{other.app} reads {topic!r}, which takes {what} of {one.app}: "
                "see whether that is meant"
            )
        elif topic in dict(_aside(other)) and one.app < other.app:
            yield (
                f"{topic!r} takes {what} of {one.app} and {dict(_aside(other))[topic]} of "
                f"{other.app}: their headers tell them apart"
            )


def _aside(plan: nodes.Plan) -> list[tuple[str, str]]:
    """The topics that take what a topology sets aside, with what that is."""
    aside = []
    if plan.source().on_error == "dead_letter":
        aside.append((plan.dead_letters(), "the dead letters"))
    if (late := plan.late()) is not None:
        aside.append((late, "the late records"))
    return aside


def _acyclic(plans: Sequence[nodes.Plan]) -> None:
    named = {plan.app: plan for plan in plans}
    feeds = {
        plan.app: {p.app for p in plans if p.source().topic in {s.topic for s in plan.sinks}}
        for plan in plans
    }
    try:
        TopologicalSorter(feeds).prepare()
    except CycleError as error:
        cycle = [named[app].source() for app in reversed(error.args[1])]
        raise TopologyError(
            f"{cycle[0].at}: topologies of this run feed each other, without end: "
            f"{' -> '.join(source.topic for source in cycle)}",
            remedy="let one of them write to another topic",
        ) from None
