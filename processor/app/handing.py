"""Whether the stages of a topology may go on where those of a former one have left off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from processor.connectors.ports import Log
from processor.errors import SettingsError
from processor.model.log import TopicPartition
from processor.model.manifest import Manifest
from processor.plan.nodes import Plan
from processor.plan.stages import handed


def check(log: Log, plan: Plan, plans: Sequence[Plan], *, allow_dropped: bool) -> None:
    """Raise `SettingsError` for a stage that would be left out, begin in the middle, or misread.

    The manifests of the stage in front tell which ones it has handed its rows on to, and in which
    columns.
    """
    # A killed worker's open transaction is its successor's to end: it is not waited for here.
    found = log.committed(plan.app, plan.source().topic, stable=False).values()
    heads = [head for head in (Manifest.parse(c.metadata) for c in found) if head.epoch]
    told = {stage for head in heads for stage in head.stages}
    had = {stage.partition("=")[0] for stage in told}
    now = {sink.topic: sink.at for sink in plan.sinks if sink.internal}
    name = "give the stage its former name, if its keys are the same: group_by(..., name={!r})"
    for stage in sorted(had - now.keys()) if not allow_dropped else ():
        raise SettingsError(
            f"{plan.at}: the stage {stage} is no more in the topology, and its state would be left "
            "behind",
            remedy=f"{name.format(_short(stage, plan))}; or put it back; or start with "
            "--allow-dropped-state",
        )
    for stage in sorted(set(handed(plan)) - told):
        if (topic := stage.partition("=")[0]) in had:
            reader = next(one for one in plans if one.source().topic == topic)
            what = (
                f"{now[topic]}: the rows that {plan.app} hands on to the stage {topic} have other "
            )
            _check_layout(log, plan, reader, f"{what}columns than before")
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


def _short(stage: str, plan: Plan) -> str:
    """A stage's name as the topology gives it, without the application's before it."""
    return stage.removeprefix(f"{plan.app.partition('.')[0]}.")


def _check_layout(log: Log, plan: Plan, reader: Plan, what: str) -> None:
    """Raise `SettingsError` where blocks wait that the changed stage cannot read, or may come."""
    for app in (plan.app, reader.app):
        if log.members(app):
            raise SettingsError(
                f"{what}, and workers of {app} are at work: those of a former topology would go on "
                "in the former way",
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
