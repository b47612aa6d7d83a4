"""The topics of a run: which there have to be, and where the input ends."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from processor.app import handing
from processor.app.feed import keyed
from processor.connectors.ports import Log
from processor.errors import SettingsError
from processor.metrics.standing import Role
from processor.model.log import TopicPartition
from processor.plan import compacted as without_key
from processor.plan.nodes import Plan
from processor.settings import Settings

PARTITIONS = 4


def topics_of(plan: Plan) -> tuple[str, set[str]]:
    """The input topic of a plan, and the topics it writes."""
    source = plan.source()
    written = {sink.topic for sink in plan.published()}
    if source.on_error == "dead_letter":
        written.add(plan.dead_letters())
    if (late := plan.late()) is not None:
        written.add(late)
    return source.topic, written


def roles_of(plan: Plan, *, changelog: str | None = None) -> dict[str, Role]:
    """The topics that a plan needs, and what for.

    >>> from processor import Text, Topology
    >>> topology = Topology("copy")
    >>> topology.read.kafka("a", format=Text()).write.kafka("b", format=Text())
    >>> roles_of(topology.plan())
    {'a': 'input', 'b': 'output', 'a-dead-letters': 'dead_letters'}
    """
    source, late = plan.source(), plan.late()
    roles: dict[str, Role] = {source.topic: "input"}
    roles |= dict.fromkeys((sink.topic for sink in plan.published()), "output")
    if source.on_error == "dead_letter":
        roles[plan.dead_letters()] = "dead_letters"
    if late is not None:
        roles[late] = "late"
    if changelog is not None:
        roles[changelog] = "changelog"
    return roles


def prepare_topics(
    log: Log, plans: Sequence[Plan], settings: Settings, fed: Collection[str] = ()
) -> dict[str, int]:
    """See that all topics exist, create them where that was asked for; input partition counts.

    Those ``fed`` without keys get one partition, unless a number was asked for: others would stay
    empty, and what their watermarks hold back would never come.
    """
    for plan in plans:
        handing.check(log, plan, plans, allow_dropped=settings.allow_dropped_state)
    internal = {plan.source().topic for plan in plans if plan.source().internal}
    _create_fed(log, plans)
    needed = {topic for plan in plans for topic in {topics_of(plan)[0], *topics_of(plan)[1]}}
    have = log.describe(needed)
    missing = sorted(needed - have.keys() - internal)
    create = settings.create_topics or settings.bootstrap_servers is None
    if missing and not create:
        raise SettingsError(
            f"topics are missing: {', '.join(missing)}",
            remedy="create them, or start with --create-topics N for N partitions each",
        )
    if missing:
        asked = settings.create_topics if type(settings.create_topics) is int else None
        sources = [plan.source() for plan in plans]
        alone = {s.topic for s in sources if s.topic in fed and not keyed(s) and asked is None}
        log.create({topic: 1 if topic in alone else asked or PARTITIONS for topic in missing})
    _create_internal(log, plans, internal)
    have = log.describe(needed)
    compacted = log.compacted({topic for plan in plans for topic in topics_of(plan)[1]})
    for plan in plans:
        without_key.check(plan, compacted)
    return {plan.app: len(have[topics_of(plan)[0]].extents) for plan in plans}


def _create_fed(log: Log, plans: Sequence[Plan]) -> None:
    """Create the topics that feeds write, and keep notes in: nothing of them is ever deleted.

    Raises `SettingsError` where one has another number of partitions than the feed.
    """
    for plan in plans:
        source = plan.source()
        if (feed := source.feed) is None:
            continue
        topics = [feed.topic, *([feed.ledger] if feed.ledger else [])]
        log.create(dict.fromkeys(topics, feed.partitions), forever=True)
        for topic, found in log.describe(topics).items():
            if len(found.extents) != feed.partitions:
                raise SettingsError(
                    f"{source.at}: the topic {topic} has {len(found.extents)} partitions, and the "
                    f"feed {feed.partitions}",
                    remedy=f"say partitions={len(found.extents)}, and where an aggregate is behind "
                    "it begin anew: `processor reset`; or name the feed otherwise: name=...",
                )


def _create_internal(log: Log, plans: Sequence[Plan], internal: Collection[str]) -> None:
    """Create the topics between stages, each with as many partitions as the largest input there.

    One whose rows all have to be in one place has one. A topic that exists stays as it is.
    """
    have = {plan.source().topic: 0 for plan in plans}
    have |= {t: len(found.extents) for t, found in log.describe(have).items()}
    topics = {plan.app: plan.source().topic for plan in plans}
    for plan in plans:  # those that are read from come first
        source = plan.source()
        if source.topic in internal and not have[source.topic]:
            most = max(have[topics[upstream]] for upstream in source.upstreams)
            have[source.topic] = 1 if source.gathered() else source.spread or most
            log.create({source.topic: have[source.topic]}, forever=True)
        elif source.spread and have[source.topic] != source.spread:
            raise SettingsError(
                f"{source.at}: repartition asks for {source.spread} partitions, and the topic "
                f"{source.topic} has {have[source.topic]}: what is in it lies by that count",
                remedy=f"say partitions={have[source.topic]}; or give the changed topology another "
                "application id (--set app=...)",
            )


def ends_of(log: Log, plan: Plan) -> dict[TopicPartition, int]:
    """The ends of a plan's input now."""
    topic, _ = topics_of(plan)
    described = log.describe([topic])[topic]
    return {TopicPartition(topic, p): extent.high for p, extent in described.extents.items()}
