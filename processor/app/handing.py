"""Whether the stages of a topology may go on where those of a former one have left off."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from processor.connectors.ports import Log
from processor.errors import LogError, SettingsError, StateMismatchError
from processor.model.log import TopicPartition
from processor.model.manifest import Manifest
from processor.plan.fingerprint import identity
from processor.plan.handed import handed
from processor.plan.nodes import Plan

_OF: Final = 8
"""So many digits name a layout, and as many behind them the keys."""


def check(log: Log, plan: Plan, plans: Sequence[Plan], *, allow_dropped: bool) -> None:
    """Raise `SettingsError` for a stage that would be left out, begin in the middle, or misread.

    The manifests of the stage in front tell which ones it has handed its rows on to, and in which
    columns.
    """
    # A killed worker's open transaction is its successor's to end: it is not waited for here.
    found = log.committed(plan.app, plan.source().topic, stable=False).values()
    heads = [head for head in (Manifest.parse(c.metadata) for c in found) if head.epoch]
    if not plan.source().internal and not allow_dropped:
        _check_group(log, plan, plans, heads)
    told = {stage for head in heads for stage in head.stages}
    had = {_digits(stage)[0] for stage in told}
    now = {sink.topic: sink.at for sink in plan.sinks if sink.internal}
    name = "give the stage its former name, if its keys are as before: group_by(..., name={!r})"
    for stage in sorted(had - now.keys()) if not allow_dropped else ():
        raise SettingsError(
            f"{plan.at}: the stage {stage} is no more in the topology, and its state would be left "
            "behind",
            remedy=f"{name.format(_short(stage, plan))}; or put it back; or start with "
            "--allow-dropped-state",
        )
    gone = sorted(_short(stage, plan) for stage in had - now.keys())
    for stage, at in now.items() if heads and not allow_dropped else ():
        if stage not in had:
            former = f"{name.format(gone[0])}; or " if gone else ""
            raise SettingsError(
                f"{at}: the stage {stage} is new, and {plan.app} has been at work: what that has "
                "read already would not come to it",
                remedy=f"{former}begin anew with `processor reset`; or start with "
                "--allow-dropped-state, to count from here on",
            )
    for stage in handed(plan):
        topic, digits = _digits(stage)
        before = {_digits(one)[1] for one in told if _digits(one)[0] == topic}
        what = f"{now[topic]}: the rows that {plan.app} hands on to the stage {topic}"
        _check_keys(digits, before, what)
        layouts = {one[:_OF] for one in before}
        if layouts != {digits[:_OF]}:
            reader = next((one for one in plans if one.source().topic == topic), None)
            if reader is None:  # a bounded run of some sinks: nobody reads it
                continue
            at_work = (plan, reader) if before and digits[:_OF] not in layouts else ()
            _check_layout(log, at_work, reader, f"{what} have other columns than before")


def _check_group(log: Log, plan: Plan, plans: Sequence[Plan], heads: Sequence[Manifest]) -> None:
    """Raise `SettingsError` where another group of the application has read this topic so far.

    Which group a topic is read by comes of the order of the queries, and state stays with a group.
    """
    topic, app = plan.source().topic, plan.whole()
    remedy = (
        "write the queries in the order that they had, which says what the groups are called; or "
        "begin anew with `processor reset`, or under another application id (--set app=...); or "
        "start with --allow-dropped-state, if it is meant so"
    )
    ours = [one for one in plans if one.whole() == app]
    reads = {one.app: identity(one) for one in ours if one.source().topic == topic}
    if any(head.plan != reads[plan.app] and head.plan in reads.values() for head in heads):
        raise SettingsError(
            f"{plan.source().at}: queries that read {topic} have changed places: {plan.app} would "
            "go on where another one has been",
            remedy=remedy,
        )
    for group in (app, f"{app}.{topic}", *(f"{app}.{topic}-{n}" for n in (2, 3, 4))):
        if group in reads:
            continue
        try:
            found = log.committed(group, topic, stable=False).values()
            former = [head for head in (Manifest.parse(c.metadata) for c in found) if head.epoch]
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


def _check_keys(digits: str, told: Collection[str], what: str) -> None:
    """Raise `SettingsError` where a group's later rows would lie in another partition."""
    # Earlier versions did not tell of the keys.
    former = {one[_OF:] for one in told if one[_OF:]}
    if former and digits[_OF:] not in former:
        raise SettingsError(
            f"{what} are dealt out by other keys than before, or by the same in another order: a "
            "group would lie in two partitions",
            remedy="write the keys as they were, in their order (a select(...) behind gives the "
            "columns another); or begin anew with `processor reset`, or under another application "
            "id (--set app=...)",
        )


def _digits(stage: str) -> tuple[str, str]:
    """The topic of a stage, and what names its layout and its keys."""
    topic, _, digits = stage.partition("=")
    return topic, digits


def _short(stage: str, plan: Plan) -> str:
    """A stage's name as the topology gives it, without the application's before it."""
    return stage.removeprefix(f"{plan.whole()}.")


def _check_layout(log: Log, at_work: Sequence[Plan], reader: Plan, what: str) -> None:
    """Raise `SettingsError` where blocks wait that the changed stage cannot read, or may come.

    Also where the change has been committed by a part of the tasks, and may be gone back on.
    """
    for plan in at_work:
        if log.members(plan.app):
            raise SettingsError(
                f"{what}, and workers of {plan.app} are at work: those of a former topology would "
                "go on in the former way",
                remedy="stop all workers, and start one with the changed topology; others may come "
                "when that has committed a batch",
            )
    if waiting := _unread(log, reader):
        partition, offset = next(iter(waiting.items()))
        raise SettingsError(
            f"{what}, and what is there already is not read yet: {partition} from offset {offset}",
            remedy="let the former topology read it: run that once more, with --until-caught-up; "
            "or begin anew with `processor reset`, or under another application id (--set app=...)",
        )


def _unread(log: Log, reader: Plan) -> Mapping[TopicPartition, int]:
    """The first block in each partition that the stage would read and cannot."""
    source, found = reader.source(), {}
    heads = log.committed(reader.app, source.topic, stable=False)
    described = log.describe([source.topic])
    for number, extent in described[source.topic].extents.items() if described else ():
        where = TopicPartition(source.topic, number)
        start = max(extent.low, heads[where].offset if where in heads else 0)
        for run in log.scan(where, start, extent.high) if start < extent.high else ():
            decoded = source.format.decode([message.value() for message in run])
            if decoded.bad:
                row = min(decoded.bad)
                record = row if decoded.records is None else int(decoded.records[row])
                found[where] = run[record].offset() or 0
                break
    return found
