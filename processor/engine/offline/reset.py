"""Takes an application back, or on: offsets and state together.

::

    no members, no open transaction ──► take the tasks ──► note where they go back to
                                    ──► commit pinned manifests ──► clear them
                                                                ▲
                                             killed here: nothing is lost

The offsets go first. A pinned manifest names no checkpoint, so from that commit on the old state is
no task's state any more: who is killed before it is cleared leaves blobs that nothing reaches, and
the same reset once more clears them. The other way round, the committed offsets would name
checkpoints that are gone. Where a task goes back to is noted before: who finds positions older than
what was noted last takes them for the past. A worker that starts meanwhile takes its tasks over,
and what it has written since is left alone.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from processor.clock import SystemClock
from processor.connectors.ports import Log, Owner, Store
from processor.engine.commit.checkpoint import Checkpointer
from processor.engine.commit.task import task_name
from processor.engine.running.fed import extents, pinned
from processor.errors import LogError, RetriableError, SettingsError, StateMismatchError
from processor.feeds.base import Feed
from processor.model import moment
from processor.model.log import Committed, Extent, TopicPartition
from processor.model.manifest import Manifest
from processor.plan.fingerprint import fingerprint, identity
from processor.plan.nodes import Plan


@dataclass(frozen=True, slots=True)
class Step:
    """What a reset does to one partition.

    ``offset`` and ``manifest`` are what is committed now (``None`` and empty: nothing), ``to`` is
    where it will begin, ``blobs`` is how many pieces of state go, ``of`` how many partitions the
    topic has.
    """

    partition: TopicPartition
    task: str
    offset: int | None
    manifest: str
    to: int
    blobs: int
    of: int


@dataclass(frozen=True, slots=True)
class Reset:
    """What a reset does to a stage; ``fed`` are positions of its feed that begins anew."""

    plan: Plan
    steps: Sequence[Step]
    fed: Mapping[TopicPartition, Committed] = field(default_factory=dict)


def resets(
    plans: Sequence[Plan], log: Log, store: Store, to: str, only: Collection[int] | None = None
) -> dict[str, Reset]:
    """What a reset would do to the stages of a topology, by application; as `steps` for each.

    A stage that reads another one begins behind what that has handed on: it gets all of it again.
    """
    if only is not None and len(plans) > 1:
        raise SettingsError(
            f"{plans[0].app} has {len(plans)} stages, whose rows are not those of one partition",
            remedy="leave --partitions out: all of it begins anew",
        )
    again = to == "earliest" and only is None
    # What is handed to a stage that is new has no topic yet.
    begun = [plan for plan in plans if not plan.source().internal or _is_there(plan, log)]
    return {plan.app: _reset_of(plan, log, store, to, only, again=again) for plan in begun}


def _is_there(plan: Plan, log: Log) -> bool:
    return bool(log.describe([plan.source().topic]))


def _reset_of(
    plan: Plan, log: Log, store: Store, to: str, only: Collection[int] | None, *, again: bool
) -> Reset:
    """Of one stage; what its feed can give ``again`` is read again, not what that had written."""
    source = plan.source()
    feed = source.feed if again and source.feed and source.feed.source.again else None
    found = steps(plan, log, store, "latest" if source.internal or feed else to, only)
    return Reset(plan, found, {} if feed is None else _begun(feed, log))


def _begun(feed: Feed, log: Log) -> dict[TopicPartition, Committed]:
    """The positions of a feed that begins anew, behind what it has written."""
    check_idle(feed.group, log)
    named = log.identity(feed.topic)()
    found = {}
    for number in range(feed.partitions):
        ends = extents(log, feed, number)
        ledger = ends[feed.ledger].high if feed.ledger else 0
        partition = TopicPartition(feed.topic, number)
        found[partition] = pinned(feed, ends[feed.topic].high, ledger, "", named)
    return found


def steps(
    plan: Plan, log: Log, store: Store, to: str, only: Collection[int] | None = None
) -> list[Step]:
    """What a reset would do to all partitions, or to ``only`` some of them.

    ``to`` is ``earliest``, ``latest``, an offset, or a time: of each partition the first record
    with that timestamp or a later one, its end where there is none. Raises `SettingsError` for a
    place or a partition that the input does not hold, `LogError` while the group has members or an
    open transaction.
    """
    extents, count = extents_of(plan, log, only)
    committed = heads_of(plan, log)
    found = []
    for partition, at in _places(log, extents, to).items():
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
                count,
            )
        )
    return found


def extents_of(
    plan: Plan, log: Log, only: Collection[int] | None
) -> tuple[dict[TopicPartition, Extent], int]:
    """What the input's partitions hold, in order, or ``only`` some of them; and how many it has.

    Raises `SettingsError` where it has no such topic or partition.
    """
    topic = plan.source().topic
    described = log.describe([topic]).get(topic)
    if described is None:
        raise SettingsError(
            f"there is no topic {topic!r}",
            remedy="see that Kafka and the topology's names are the right ones (--set)",
        )
    extents = described.extents
    absent = sorted(set(only or ()) - extents.keys())
    if absent:
        raise SettingsError(
            f"--partitions: {TopicPartition(topic, absent[0])} is not there",
            remedy=f"the topic has the partitions 0 to {len(extents) - 1}",
        )
    wanted = sorted(extents if only is None else set(only))
    return {TopicPartition(topic, number): extents[number] for number in wanted}, len(extents)


def heads_of(plan: Plan, log: Log) -> dict[TopicPartition, Committed]:
    """What a group that is stopped has committed.

    Raises `LogError` while it has members or an open transaction.
    """
    check_idle(plan.app, log)
    try:
        return log.committed(plan.app, plan.source().topic)
    except RetriableError as error:
        raise LogError(
            f"a transaction of {plan.app} is still open, and may move its offsets",
            remedy="wait for its time-out (--transaction-timeout), then try again",
        ) from error


def _places(
    log: Log, extents: Mapping[TopicPartition, Extent], to: str
) -> dict[TopicPartition, int]:
    """Where each partition is to begin."""
    if to in ("earliest", "latest"):
        return {p: e.low if to == "earliest" else e.high for p, e in extents.items()}
    if not to.isdecimal():
        try:
            ms = moment.millis(moment.parse(to))
        except ValueError:
            raise SettingsError(
                f"--to {to!r} is neither an offset, nor a time, nor a place",
                remedy=f"say earliest, latest, 1200 or {moment.EXAMPLE}",
            ) from None
        found = log.offsets_at(next(iter(extents)).topic, ms)
        return {partition: found[partition] for partition in extents}
    for partition, extent in extents.items():
        if not extent.low <= int(to) <= extent.high:
            raise SettingsError(
                f"--to {to}: {partition} holds the offsets {extent.low} to {extent.high}",
                remedy="say earliest, latest, a time, or an offset that every partition holds",
            )
    return dict.fromkeys(extents, int(to))


def reset(
    resets: Mapping[str, Reset],
    log: Log,
    store: Store,
    probe: Callable[[str], None] = lambda _: None,
    now_s: Callable[[], int] = lambda: SystemClock().now_ms() // 1_000,
) -> None:
    """Carry out the resets of all stages, by application; safe to be killed, and to be done again.

    Epochs begin anew, in the next life; where nobody knows which was the last one, seconds since
    1970 are a number that was not used.

    The offsets of all become true at once. Raises `FencedError`, having changed nothing, when a
    member has come in the meantime.
    """
    owners = {app: _owner(app) for app in resets}
    probe("before:offsets")
    for app, one in resets.items():
        store.acquire({step.task: owners[app] for step in one.steps})
        store.begin({s.task: min(s.offset, s.to) for s in one.steps if s.offset is not None})
    probe("after:note")
    life = _next_life([step for one in resets.values() for step in one.steps], now_s)
    heads: dict[str, Mapping[TopicPartition, Committed]] = {
        app: _heads(one, owners[app], store, life) for app, one in resets.items()
    }
    heads |= {f.group: one.fed for one in resets.values() if (f := one.plan.source().feed)
              and one.fed}  # fmt: skip
    if len(heads) == 1:
        ((app, offsets),) = heads.items()
        log.reset(app, offsets)
    else:
        log.reset_all(heads)
    probe("after:offsets")
    for app, one in resets.items():
        for step in one.steps:
            store.clear(step.task, owners[app])
            store.begin({step.task: step.to})
            probe("after:clear")


def _owner(app: str) -> Owner:
    me = f"{app}.reset"
    return Owner(f"{me};{secrets.token_hex(4)}", me, 0)


def _next_life(steps: Sequence[Step], now_s: Callable[[], int]) -> int:
    lives = []
    for step in steps:
        with contextlib.suppress(StateMismatchError):  # another program's, which has none
            lives.append(Manifest.parse(step.manifest).life)
    return max(lives) + 1 if lives else now_s()


def _heads(one: Reset, owner: Owner, store: Store, life: int) -> dict[TopicPartition, Committed]:
    """Positions whose manifests name no state."""
    plan, wanted = one.plan, one.steps
    with ThreadPoolExecutor(1) as executor:
        pin = Checkpointer(
            store,
            executor,
            fingerprint(plan),
            wanted[0].of,
            owner.transactional_id,
            plan=identity(plan),
        ).pin
        return {step.partition: pin(step.to, life, _owing(step.manifest)) for step in wanted}


def _owing(manifest: str) -> tuple[str, ...]:
    """Files that are committed, and may not have their names yet: what was published stays."""
    with contextlib.suppress(StateMismatchError):
        return Manifest.parse(manifest).owing()
    return ()


def check_idle(app: str, log: Log) -> None:
    """Raise `LogError` while the group has members."""
    members = log.members(app)
    if members:
        raise LogError(
            f"{app} is at work: its group has {len(members)} members",
            remedy="stop its workers; one that was killed is a member until its session ends "
            "(--session-timeout)",
        )
