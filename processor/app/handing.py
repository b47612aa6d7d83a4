"""Whether the stages of a topology may go on where those of a former one have left off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from processor.connectors.ports import Log
from processor.errors import LogError, SettingsError, StateMismatchError
from processor.model.log import TopicPartition
from processor.model.manifest import Manifest
from processor.plan.fingerprint import identity
from processor.plan.handed import handed
from processor.plan.nodes import STATEFUL, Plan

_READS: Final = 4
"""So many reads of one topic have groups that are known by their number: each is asked for."""
_ANEW: Final = (
    "begin anew with `processor reset` by the topology as it was, or under another application id "
    "(--set app=...)"
)
_FORMER: Final = "give the stage its former name, if its keys are as before: name={!r}"
_READ_ON: Final = (
    "let the former topology read it: run that once more, with --until-caught-up; or " + _ANEW
)


@dataclass(frozen=True, slots=True)
class _Handed:
    """An internal topic and what names its columns, the keys, and the steps before them.

    Earlier versions told of the columns only.
    """

    topic: str
    columns: str
    keys: str = ""
    steps: str = ""

    @classmethod
    def parse(cls, told: str) -> _Handed:
        topic, _, digits = told.partition("=")
        return cls(topic, digits[:8], digits[8:16], digits[16:])


def check(log: Log, plan: Plan, plans: Sequence[Plan], *, allow_dropped: bool) -> None:
    """Raise `SettingsError` for a stage that would be left out, begin in the middle, or misread.

    The manifests of the stage in front tell which ones it has handed its rows on to, and how.
    """
    heads = _heads(log, plan.app, plan.source().topic)
    if not plan.source().internal and not allow_dropped:
        _check_group(log, plan, plans, heads)
    told = [*map(_Handed.parse, sorted({stage for head in heads for stage in head.stages}))]
    now = {sink.topic: sink.at for sink in plan.sinks if sink.internal}
    had = {one.topic for one in told}
    gone = sorted(had - now.keys())
    for stage in gone:
        _check_gone(log, plan, stage, allow_dropped=allow_dropped)
    for stage, at in now.items() if heads and not allow_dropped else ():
        if stage not in had and _counts(stage, plans):
            former = f"{_FORMER.format(_short(gone[0], plan))}; or " if gone else ""
            raise SettingsError(
                f"{at}: the stage {stage} is new, and {plan.app} has been at work: what that has "
                "read already would not come to it",
                remedy=f"{former}begin anew with `processor reset`; or start with "
                "--allow-dropped-state, to count from here on",
            )
    given = [*map(_Handed.parse, handed(plan))]
    for one in given:
        before = [former for former in told if former.topic == one.topic]
        what = f"{now[one.topic]}: the rows that {plan.app} hands on to the stage {one.topic}"
        _check_place(one, told, given, plan, what)
        _check_keys(one, before, what)
        if {former.columns for former in before} != {one.columns}:
            _check_columns(log, plan, plans, one, before, f"{what} have other columns than before")


def _heads(log: Log, group: str, topic: str) -> list[Manifest]:
    # A killed worker's open transaction is its successor's to end: it is not waited for here.
    found = log.committed(group, topic, stable=False).values()
    return [head for head in (Manifest.parse(c.metadata) for c in found) if head.epoch]


def _short(stage: str, plan: Plan) -> str:
    """A stage's name as the topology gives it, without the application's before it."""
    return stage.removeprefix(f"{plan.whole()}.")


def _counts(stage: str, plans: Sequence[Plan]) -> bool:
    """Whether a stage, or one behind it, keeps state: it would count from the middle."""
    reader = next((one for one in plans if one.source().topic == stage), None)
    if reader is None:
        return False
    return any(isinstance(node, STATEFUL) for node in reader.nodes()) or any(
        _counts(sink.topic, plans) for sink in reader.sinks if sink.internal
    )


# Stages that are left out.


def _check_gone(log: Log, plan: Plan, stage: str, *, allow_dropped: bool) -> None:
    """Raise where what was handed to a stage that is no more would be lost, or its state left."""
    gone = f"{plan.at}: the stage {stage} is no more in the topology"
    for left in _left(log, stage):
        kept = any(head.digest for head in _heads(log, left, left))
        if kept and allow_dropped:
            continue
        for where, _ in _waiting(log, left):
            raise SettingsError(
                f"{gone}, and what was handed on to it is not read yet: {where}", remedy=_READ_ON
            )
        if kept:
            raise SettingsError(
                f"{gone}, and its state would be left behind",
                remedy=f"{_FORMER.format(_short(stage, plan))}; or put it back; or start with "
                "--allow-dropped-state",
            )


def _left(log: Log, stage: str) -> Iterator[str]:
    """A stage that is no more, and those behind it."""
    yield stage
    for behind in sorted({told for head in _heads(log, stage, stage) for told in head.stages}):
        yield from _left(log, _Handed.parse(behind).topic)


def _waiting(log: Log, stage: str) -> Iterator[tuple[TopicPartition, Sequence[bytes | None]]]:
    """The blocks of each partition that a stage has not read, some at a time."""
    heads = log.committed(stage, stage, stable=False)
    described = log.describe([stage])
    for number, extent in described[stage].extents.items() if stage in described else ():
        where = TopicPartition(stage, number)
        start = max(extent.low, heads[where].offset if where in heads else 0)
        for run in log.scan(where, start, extent.high) if start < extent.high else ():
            yield where, [message.value() for message in run]


# What is handed on.


def _check_place(
    one: _Handed, told: Sequence[_Handed], given: Sequence[_Handed], plan: Plan, what: str
) -> None:
    """Raise where a stage is given what another one was given: both have state, and blocks."""
    former = {other.steps for other in told if other.topic == one.topic and other.steps}
    if not former or one.steps in former:
        return
    had, have = ({(o.topic, o.steps) for o in some} for some in (told, given))
    others = [
        *((f"went to {o} so far", o) for o, steps in sorted(had - have) if steps == one.steps),
        *(
            (f"are others than before, which go to {o} now", one.topic)
            for o, steps in sorted(have - had) if steps in former
        ),
    ]  # fmt: skip
    if others:
        found, name = others[0]
        raise SettingsError(
            f"{what} {found}: the stages have changed places, and each would go on with the "
            "other's state",
            remedy="put them in the former order, or give the rows' stage the name that it had: "
            f"name={_short(name, plan)!r}; or {_ANEW}",
        )


def _check_keys(one: _Handed, before: Sequence[_Handed], what: str) -> None:
    """Raise where a group's later rows would lie in another partition."""
    former = {other.keys for other in before if other.keys}
    if former and one.keys not in former:
        raise SettingsError(
            f"{what} are dealt out by other keys than before, or by the same in another order: a "
            "group would lie in two partitions",
            remedy="write the keys as they were, in their order (a select(...) behind gives the "
            f"columns another); or {_ANEW}",
        )


def _check_columns(  # noqa: PLR0917 - what is handed on, by whom, to whom
    log: Log, plan: Plan, plans: Sequence[Plan], one: _Handed, before: Sequence[_Handed], what: str
) -> None:
    """Raise where blocks wait that the changed stage cannot read, or may come.

    Also where a part of the tasks has committed the change, and it may be gone back on.
    """
    reader = next((other for other in plans if other.source().topic == one.topic), None)
    if reader is None:  # a bounded run of some sinks: nobody reads it
        return
    changed = bool(before) and one.columns not in {other.columns for other in before}
    for worker in (plan, reader) if changed else ():
        if log.members(worker.app):
            raise SettingsError(
                f"{what}, and workers of {worker.app} are at work: those of a former topology "
                "would go on in the former way",
                remedy="stop all workers, and start one with the changed topology; others may come "
                "when that has committed a batch",
            )
    for where, values in _waiting(log, one.topic):
        if reader.source().format.decode(values).bad:
            raise SettingsError(
                f"{what}, and what is there already is not read yet: {where}", remedy=_READ_ON
            )


# Which group reads a topic.


def _check_group(log: Log, plan: Plan, plans: Sequence[Plan], heads: Sequence[Manifest]) -> None:
    """Raise where another group of the application has read this topic so far.

    Which group a topic is read by comes of the order of the queries, and state stays with a group.
    """
    topic, app = plan.source().topic, plan.whole()
    remedy = (
        "write the queries in the order that they had, which says what the groups are called; or "
        f"{_ANEW}; or start with --allow-dropped-state, if it is meant so"
    )
    ours = [one for one in plans if one.whole() == app]
    reads = {one.app: identity(one) for one in ours if one.source().topic == topic}
    if heads and all(head.plan == reads[plan.app] for head in heads):
        return  # the topology as it was
    if any(head.plan != reads[plan.app] and head.plan in reads.values() for head in heads):
        raise SettingsError(
            f"{plan.source().at}: queries that read {topic} have changed places: {plan.app} would "
            "go on where another one has been",
            remedy=remedy,
        )
    for group in _groups(plan):
        if group in reads:
            continue
        try:
            former = _heads(log, group, topic)
        except (LogError, StateMismatchError):  # one that may not be looked at, or a stranger's
            continue
        # A query without state that was taken out leaves nothing behind.
        left = any(head.digest or head.plan in reads.values() for head in former)
        if left or (former and not heads):
            raise SettingsError(
                f"{plan.source().at}: {topic} was read by the group {group} so far, which this "
                f"topology does not have, and would be read by {plan.app}: rows would count twice, "
                "or not at all",
                remedy=remedy,
            )


def _groups(plan: Plan) -> Mapping[str, None]:
    """What the groups that read a topic may be called, in any order of the queries."""
    topic, app = plan.source().topic, plan.whole()
    own = topic if plan.source().feed else f"{app}.{topic}"
    return dict.fromkeys([app, own, *(f"{own}-{number}" for number in range(2, _READS + 1))])
