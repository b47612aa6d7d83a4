"""Takes an application back, or on: offsets and state together.

::

    no members, no open transaction ──► take the tasks ──► commit pinned manifests ──► clear them
                                                                                ▲
                                                             killed here: nothing is lost

The offsets go first. A pinned manifest names no checkpoint, so from that commit on the old state is
no task's state any more: who is killed before it is cleared leaves blobs that nothing reaches, and
the same reset once more clears them. The other way round, the committed offsets would name
checkpoints that are gone. A worker that starts meanwhile takes its tasks over, and what it has
written since is left alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from processor.connectors.ports import Log, Owner, Store
from processor.engine.checkpoint import Checkpointer
from processor.engine.task import task_name
from processor.errors import LogError, RetriableError, SettingsError
from processor.model.log import TopicPartition
from processor.plan.fingerprint import fingerprint, identity
from processor.plan.nodes import Plan


@dataclass(frozen=True, slots=True)
class Step:
    """What a reset does to one partition.

    ``offset`` and ``manifest`` are what is committed now (``None`` and empty: nothing), ``to`` is
    where it will begin, ``blobs`` is how many pieces of state go.
    """

    partition: TopicPartition
    task: str
    offset: int | None
    manifest: str
    to: int
    blobs: int


def steps(plan: Plan, log: Log, store: Store, to: str) -> list[Step]:
    """What a reset would do; raises `SettingsError` for a place that the input does not hold.

    Raises `LogError` while the group has members or an open transaction.
    """
    topic = plan.source().topic
    described = log.describe([topic]).get(topic)
    if described is None:
        raise SettingsError(
            f"there is no topic {topic!r}",
            remedy="see that Kafka and the topology's names are the right ones (--set)",
        )
    check_idle(plan.app, log)
    try:
        committed = log.committed(plan.app, topic)
    except RetriableError as error:
        raise LogError(
            f"a transaction of {plan.app} is still open, and may move its offsets",
            remedy="wait for its time-out (--transaction-timeout), then try again",
        ) from error
    found = []
    for number, extent in sorted(described.extents.items()):
        partition = TopicPartition(topic, number)
        at = {"earliest": extent.low, "latest": extent.high}.get(to)
        if at is None:
            at = int(to) if to.isdecimal() else -1
        if not extent.low <= at <= extent.high:
            raise SettingsError(
                f"--to {to}: {partition} holds the offsets {extent.low} to {extent.high}",
                remedy="say earliest, latest or an offset that every partition holds",
            )
        head = committed.get(partition)
        name = task_name(plan.app, partition)
        found.append(
            Step(
                partition,
                name,
                head.offset if head else None,
                head.metadata if head else "",
                at,
                len(store.reindex(name)),
            )
        )
    return found


def reset(
    plan: Plan,
    log: Log,
    store: Store,
    wanted: Sequence[Step],
    probe: Callable[[str], None] = lambda _: None,
) -> None:
    """Carry the steps out; safe to be killed anywhere, and to be done again.

    Raises `FencedError`, having changed nothing, when a member has come in the meantime.
    """
    me = f"{plan.app}.reset"
    owner = Owner(f"{me};{secrets.token_hex(4)}", me, 0)
    with ThreadPoolExecutor(1) as executor:
        pin = Checkpointer(
            store, executor, fingerprint(plan), len(wanted), me, plan=identity(plan)
        ).pin
        probe("before:offsets")
        store.acquire({step.task: owner for step in wanted})
        log.reset(plan.app, {step.partition: pin(step.to) for step in wanted})
    probe("after:offsets")
    for step in wanted:
        store.clear(step.task, owner)
        store.begin([step.task])
        probe("after:clear")


def check_idle(app: str, log: Log) -> None:
    """Raise `LogError` while the group has members."""
    members = log.members(app)
    if members:
        raise LogError(
            f"{app} is at work: its group has {len(members)} members",
            remedy="stop its workers; one that was killed is a member until its session ends "
            "(--session-timeout)",
        )
