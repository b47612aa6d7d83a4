"""What happens before workers start: plans are looked at together, topics are seen to and fed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import structlog

from processor.api.running import Feed
from processor.app.backends import Backends
from processor.app.feed import feed
from processor.app.probe import crash_probe
from processor.app.registries import connect_registries, prepare_schemas
from processor.app.topics import prepare_topics
from processor.engine.commit import changelog
from processor.engine.offline import rescale
from processor.engine.restore import upgrade
from processor.errors import SettingsError, TopologyError
from processor.operators.pipeline import Pipeline
from processor.plan import lateness, order, roles
from processor.plan.nodes import Plan, Table, console_topic
from processor.settings import Settings

log_lines = structlog.get_logger("processor")


def looked_at(plans: Sequence[Plan], settings: Settings, *, queried: bool = False) -> None:
    """Give plans their registries; see that they can run together, where the settings say.

    Tables are for a run that can be ``queried``.
    Raises `TopologyError` where they cannot; what may be a mistake is told in the log.
    """
    connect_registries(plans, settings)
    picked(plans, settings)
    for sink in [] if queried else [sink for plan in plans for sink in plan.sinks]:
        if isinstance(sink.outside, Table):
            raise TopologyError(
                f"{sink.at}: nobody can look into the table {sink.outside.name!r} of a run by the "
                "command line",
                remedy="start it in Python, query = topology.start(...), and ask query.table("
                f'"{sink.outside.name}"); or end it in write.console() or write.kafka("topic")',
            )
    for plan in plans if settings.bootstrap_servers is not None else ():
        for sink in plan.sinks:
            if sink.topic == console_topic(plan.whole()):
                raise TopologyError(
                    f"{sink.at}: write.console() shows rows of a run on the embedded log",
                    remedy='write.kafka("topic") for a run on Kafka, or leave '
                    "--bootstrap-servers out",
                )
    alone = (note for plan in plans for note in (*order.unordered(plan), *lateness.beside(plan)))
    for note in (*roles.together(plans), *alone):
        log_lines.warning("see whether this is right", what=note)


def picked(plans: Sequence[Plan], settings: Settings) -> list[int]:
    """The places of the stages that are to run here: those named, or all.

    One is named as `describe` shows it, or without its topology's name in front. Raises
    `SettingsError` for a name that none has.

    >>> from processor import Text, Topology
    >>> topology = Topology("copy")
    >>> topology.read.kafka("from", format=Text()).write.kafka("to", format=Text())
    >>> picked([topology.plan()], Settings(stages="copy"))
    [0]
    """
    short = [plan.app.removeprefix(f"{plan.whole()}.") for plan in plans]
    asked = {*(settings.stages or ())}
    unknown = sorted(asked - {*short, *(plan.app for plan in plans)})
    if unknown:
        raise SettingsError(
            f"there is no stage {unknown[0]!r} to run",
            remedy=f"the stages are: {', '.join(plan.app for plan in plans)}",
        )
    named = [not asked or {plan.app, name} & asked
             for plan, name in zip(plans, short, strict=True)]  # fmt: skip
    return [place for place, wanted in enumerate(named) if wanted]


def prepared(
    plans: Sequence[Plan],
    settings: Settings,
    used: Backends,
    fed: Mapping[str, Feed],
    line: Callable[[str], None],
) -> dict[str, int]:
    """See to schemas, topics and state, and feed; the input's partitions of each application."""
    prepare_schemas(plans)
    line(used.line)
    counts = prepare_topics(used.log, plans, settings, fed)
    for plan in plans if len(plans) > 1 else ():
        upgrade.check(plan, used.log, used.store, allow_dropped=settings.allow_dropped_state)
    if settings.on_checkpoint_loss == "changelog":
        create = bool(settings.create_topics) or settings.bootstrap_servers is None
        kept = {plan.app: counts[plan.app] for plan in plans if Pipeline(plan).stateful}
        changelog.prepare(used.log, kept, create=create)
    if settings.on_partitions_raised == "rebuild":
        _rebuild(used, plans, counts, settings)
    for topic, given in fed.items():
        if not feed(used.log, plans, topic, given, once=settings.data_dir is not None):
            log_lines.warning(
                "a file is in the log already: it is not fed again", topic=topic,
                file=str(given) if isinstance(given, str | Path) else None,
                remedy="leave --feed out; to feed it once more, begin in another --data-dir",
            )  # fmt: skip
    return counts


def _rebuild(
    used: Backends, plans: Sequence[Plan], counts: Mapping[str, int], settings: Settings
) -> None:
    """Deal out anew the state of each topology whose input was given more partitions."""
    for plan in plans:
        topic = None
        if settings.on_checkpoint_loss == "changelog":
            timeout_s = settings.transaction_timeout.total_seconds()
            topic = changelog.Changelog(used.log, plan.app, timeout_s)
        done = rescale.rescale(
            plan, used.log, used.store, counts[plan.app], changelog=topic,
            probe=crash_probe(), note=partial(_tell, plan.app),
        )  # fmt: skip
        if done is not None:
            log_lines.warning(
                "state dealt out anew", topology=plan.app, former=done.former,
                partitions=done.partitions, groups=done.groups,
            )  # fmt: skip


def _tell(application: str, what: str) -> None:
    log_lines.warning("state dealt out by another", topology=application, what=what)
