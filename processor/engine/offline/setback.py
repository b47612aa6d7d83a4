"""Sets a group's watermarks back, and keeps its offsets and its state.

::

    no members, no open transaction ──► the committed manifests, with an earlier event time
                                          killed before or after: the former ones hold, or the new

A clock that was far ahead has moved a partition's watermark, and all that follows is late. What the
partition has counted is right, so only its manifest is changed: the largest event time becomes that
which makes the watermark, and the log time is forgotten, which the same clock may have moved. Blobs
are left alone. The states before were made with the former watermark, and the input run again from
one of them would come to another state than this one: the manifest says from which epoch on there
is a way back (`rewound`), and that there is none to the beginning (`origin`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from processor.connectors.ports import Log
from processor.engine.offline.reset import extents_of, heads_of
from processor.engine.restore.promised import check_kept
from processor.engine.restore.recovery import manifest_of
from processor.errors import FencedError, SettingsError, StateMismatchError
from processor.model import moment
from processor.model.log import Committed, TopicPartition
from processor.plan.fingerprint import fingerprint, layout
from processor.plan.nodes import NOTHING, Plan

_MICROSECOND: Final = NOTHING.resolution


@dataclass(frozen=True, slots=True)
class Setback:
    """What becomes of one partition's watermark, in microseconds since 1970; ``None`` for none.

    ``head`` is what is committed, ``new`` what is to be instead; ``None`` where nothing changes.
    """

    partition: TopicPartition
    head: Committed | None
    now: int | None
    to: int | None
    new: Committed | None


def setbacks(
    plan: Plan, log: Log, wanted: datetime, only: Collection[int] | None = None
) -> list[Setback]:
    """What it would do to all partitions, or to ``only`` some of them.

    A watermark that is not behind ``wanted`` becomes it; one that is stays. Raises `SettingsError`
    for a plan without a watermark of its own or a partition that the input does not hold,
    `StateMismatchError` where another topology has committed, `LogError` while the group has
    members or an open transaction.
    """
    source, delay = plan.source(), plan.delay()
    if source.watermark is not None:
        raise SettingsError(
            f"{plan.app} takes the watermark that its records carry: what it has heard is state",
            remedy="set it back in the topology that writes them; to have this one forget it, "
            "begin anew with `processor reset`",
        )
    if delay is None:
        raise SettingsError(
            f"{plan.app} has no watermark: nothing is late",
            remedy=f'see that it is the right topology; with_watermark("5 minutes") behind '
            f"{source.at} gives it one",
        )
    extents, _ = extents_of(plan, log, only)
    heads = heads_of(plan, log)
    at, delay_us = moment.micros(wanted), delay // _MICROSECOND
    return [_setback(plan, p, heads.get(p), at, delay_us) for p in extents]


def set_back(
    plan: Plan,
    log: Log,
    wanted: Sequence[Setback],
    probe: Callable[[str], None] = lambda _: None,
) -> None:
    """Carry it out, at one point; safe to be killed anywhere, and to be done again.

    Raises `FencedError`, having changed nothing, when a worker has been there in the meantime.
    """
    changed = [step for step in wanted if step.new is not None]
    probe("before:offsets")
    heads = heads_of(plan, log)
    moved = [step for step in changed if heads.get(step.partition) != step.head]
    if moved:
        raise FencedError(
            f"{moved[0].partition}: a worker has committed meanwhile",
            remedy="stop the group's members, and try again",
        )
    log.reset(plan.app, {step.partition: step.new for step in changed if step.new is not None})
    probe("after:offsets")


def _setback(
    plan: Plan, partition: TopicPartition, head: Committed | None, at: int, delay_us: int
) -> Setback:
    if head is None:
        return Setback(partition, None, None, None, None)
    manifest = manifest_of(partition, head)
    if manifest.event_time_max is None:
        return Setback(partition, head, None, None, None)
    if manifest.fingerprint not in (fingerprint(plan), layout(plan)):
        raise StateMismatchError(
            f"{partition}: another topology has committed here, whose delay may be another one",
            remedy="use the topology that ran last; or run this one once, and set it back then",
        )
    check_kept(partition, manifest)
    now = manifest.event_time_max - delay_us
    if now <= at:
        return Setback(partition, head, now, now, None)
    new = replace(
        manifest, event_time_max=at + delay_us, log_time=None, origin=None, trail=(),
        rewound=manifest.epoch,
    )  # fmt: skip
    return Setback(partition, head, now, at, Committed(head.offset, str(new)))
