"""Topics that were given more partitions, and what that means for state and for watermarks.

With state, keys lie elsewhere now. Without any, added partitions are read from their beginning; but
where the watermark is handed on, whoever reads it counts on as many tasks as were told::

    worker of 2     tells: tasks 0 and 1, of 2  ─── sees that there are 3 ──► stops by name
    worker of 3     pins partition 2, commits 0 and 1 as of 3 ──► begins 2 at their least time

A reader goes on by the tasks it was told of, and for it nothing is late that its stage in front has
let through. So an added partition waits until the tasks of all the others were committed by workers
that know of it. Then what was told without it is known: it begins at the least of their times, and
its records behind that are late where lateness is decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from processor.engine.restore.identity import Identity
from processor.errors import StateMismatchError
from processor.model.log import Committed, TopicPartition
from processor.model.manifest import Manifest

BEHIND: Final = (
    "begin anew with `processor reset`: rows are dealt out to as many partitions as there are; "
    "nobody may give the topic more of them"
)
RAISED: Final = (
    "start with --on-partitions-raised rebuild, which deals the state out anew by key where that "
    "is exact; or copy the input by key to a new topic, and read that under another application id"
)
OTHERWISE: Final = (
    "copy the input to a new topic of that many partitions, written by key, and read that under "
    "another application id; or `processor reset --to latest`, which counts anew from here on"
)
TOLD: Final = f"where watermarks are handed on, state is not dealt out anew: {OTHERWISE}"
AGAIN: Final = (
    "start all workers again: they count on the partitions that the topic has when they start, and "
    "the watermark that is handed on is of these"
)


def check(
    partition: TopicPartition, manifest: Manifest, identity: Identity, *, stateful: bool
) -> None:
    """Raise `StateMismatchError` for what was committed with another number of partitions."""
    # Without state, which partition a key lies in does not matter.
    if stateful and manifest.partitions != identity.partitions:
        raise StateMismatchError(
            f"{partition}: the topic has {identity.partitions} partitions, the state was "
            f"written with {manifest.partitions}: keys now lie elsewhere",
            remedy=_remedy(identity),
        )
    if identity.tells and manifest.partitions > identity.partitions:
        raise more(partition, identity, manifest.partitions)


def check_known(partition: TopicPartition, identity: Identity, *, stateful: bool) -> None:
    """Raise `StateMismatchError` for a partition that was added while the worker runs."""
    if partition.partition < identity.partitions:
        return
    if stateful:
        raise StateMismatchError(
            f"{partition}: the topic had {identity.partitions} partitions when the "
            "worker started, and was given more: keys now lie elsewhere",
            remedy=_remedy(identity),
        )
    if identity.tells:
        raise more(partition, identity, partition.partition + 1)


def _remedy(identity: Identity) -> str:
    if identity.behind:
        return BEHIND
    return TOLD if identity.tells or identity.hears else RAISED


def more(partition: TopicPartition, identity: Identity, now: int) -> StateMismatchError:
    """The error of a worker that was started with fewer partitions, and hands a watermark on."""
    return StateMismatchError(
        f"{partition}: the topic had {identity.partitions} partitions when the worker started, and "
        f"has {now} or more now: the watermark that {identity.app} hands on knows nothing of them",
        remedy=AGAIN,
    )


def check_others(identity: Identity, heads: Mapping[TopicPartition, Committed]) -> None:
    """Raise `StateMismatchError` where others know of more partitions than this worker."""
    for partition, head in sorted(heads.items()):
        if (now := known(head)) > identity.partitions:
            raise more(partition, identity, now)


def known(head: Committed) -> int:
    """How many partitions who committed a head knew of; 0 where it does not tell."""
    try:
        return Manifest.parse(head.metadata).partitions
    except StateMismatchError:
        return 0


def is_added(manifest: Manifest) -> bool:
    """Whether it is the pin of a partition that was added while others were at work."""
    return manifest.epoch == 0 and manifest.former > 0


def begun(
    head: Committed,
    partition: TopicPartition,
    heads: Mapping[TopicPartition, Committed],
    partitions: int,
) -> Committed | None:
    """The pin of an added partition with the time that it begins at; ``None`` while it waits.

    ``heads`` is what is committed of the topic, ``partitions`` how many it has.

    >>> old = Manifest(7, "a", "", "", 60, "f00d", 1, "app.0")
    >>> where = [TopicPartition("in", number) for number in (0, 1)]
    >>> pin = Committed(0, str(Manifest(0, "", "", "", None, "f00d", 2, "app.1", former=1)))
    >>> begun(pin, where[1], {where[0]: Committed(9, str(old))}, 2)
    >>> new = Committed(9, str(replace(old, partitions=2)))
    >>> Manifest.parse(begun(pin, where[1], {where[0]: new}, 2).metadata).event_time_max
    60
    """
    read = [Manifest.parse(other.metadata) for p, other in heads.items() if p != partition]
    others = [other for other in read if not is_added(other)]
    if any(other.partitions < partitions for other in others):
        return None
    # Of an idle one without a time nothing was told, and nobody waits for it.
    times = [o.event_time_max for o in others if o.event_time_max is not None or not o.idle]
    least = [time for time in times if time is not None]
    time = min(least) if least and least == times else None
    # Like one that never had a record it holds nothing back, until it has one.
    manifest = replace(
        Manifest.parse(head.metadata), event_time_max=time, former=0, idle=time is not None
    )
    return Committed(head.offset, str(manifest))
