"""Topologies started from Python, with the settings that the command line has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Unpack

from processor.api.running import Feed, Runnable
from processor.api.topology import Definition, Topology
from processor.app.active import check_fork
from processor.app.journal import to_logging
from processor.app.preparing import looked_at
from processor.app.query import Asked, Query
from processor.app.topologies import plans_of
from processor.errors import SettingsError, TopologyError
from processor.metrics.progress import BatchReport
from processor.plan.nodes import Plan
from processor.settings import Given, Settings, load

_LOGS: Final = ("log_format", "log_level")


def start(
    *topologies: Runnable,
    feed: Mapping[str, Feed] | None = None,
    print: bool = False,  # noqa: A002 - the word that the command line has
    on_progress: Callable[[BatchReport], object] | None = None,
    **settings: Unpack[Given],
) -> Query:
    """Start topologies in threads of this process, on one log and one store.

    Args:
        topologies: what is to run; a definition is built with the parameters that ``set`` gives.
        feed: for the embedded log, by topic: a file's name, or records (text, bytes, rows as
            ``{column: cell}``, a frame), keyed as ``processor run --feed`` keys them.
        print: show what is published, on the embedded log.
        on_progress: called with each batch that was committed, in its worker's thread. What it
            raises ends the query.
        settings: as `processor run` has them, with underscores: ``workers=2``,
            ``bootstrap_servers="localhost:9092"``, ``until_caught_up=True``. They go before
            ``PROCESSOR_*`` in the environment, and that before ``processor.toml``.

    Returns when the workers start. Raises `TopologyError` and `SettingsError` for what cannot
    run; where a server is away the query waits for it, and `Query.status` says so.

    >>> from processor import Text, Topology, start
    >>> topology = Topology("copy")
    >>> topology.read.kafka("from", format=Text()).write.kafka("to", format=Text())
    >>> query = start(topology, feed={"from": ["a"]})
    >>> query.name, query.is_active
    ('copy', True)
    >>> query.stop()
    """
    check_fork()
    loaded = settings_of(settings)
    check_feed(feed)
    told: object = on_progress
    if told is not None and not callable(told):
        raise SettingsError(
            f"on_progress={told!r} is no function", remedy="give one that takes a report"
        )
    for what, given in (("feed", feed), ("print", print)):
        if given and loaded.bootstrap_servers is not None:
            raise SettingsError(
                f"{what}= is for the embedded log, and this one is Kafka",
                remedy="produce to Kafka, and read it, with its own tools, or leave "
                "bootstrap_servers out",
            )
    plans = built(topologies, loaded)
    looked_at(plans, loaded, queried=True)
    query = Query(Asked(plans, loaded, feed or {}, print, on_progress))
    query._begin()  # noqa: SLF001 - who makes a query begins it
    return query


def check_feed(feed: object) -> None:
    """Raise `SettingsError` for what is no mapping of topics to files or records."""
    way = 'give it by topic: feed={"payments": [...]}, a file\'s name or a list of records'
    if feed is not None and not isinstance(feed, Mapping):
        raise SettingsError(f"feed={_short(feed)} names no topic", remedy=way)
    for topic, given in (feed or {}).items():
        if isinstance(given, Mapping):
            raise SettingsError(f"feed={{{topic!r}: ...}} is one record, and no list", remedy=way)


def _short(given: object) -> str:
    text = repr(given)
    return text if len(text) <= 60 else f"{text[:60]}…"


def settings_of(given: Given) -> Settings:
    """The settings of a call, of the environment and of the file; the log is the program's own."""
    to_logging()
    options: dict[str, Any] = dict(given)
    for name in _LOGS:
        if name in options:
            raise SettingsError(
                f"{name}: the log is set up by the program that the query runs in",
                remedy='say logging.basicConfig(level="INFO"); the logger is called "processor"',
            )
    return load(options.pop("config", None), python=True, **options)


def built(topologies: Sequence[Runnable], settings: Settings) -> list[Plan]:
    """Their plans; raises `TopologyError` for what is no topology."""
    found = [one for one in topologies if isinstance(one, Topology | Definition)]
    for one in topologies:
        if one not in found:
            raise TopologyError(
                f"{one!r} is no topology",
                remedy="import the module, and give the topology that is in it",
            )
    if not topologies:
        raise TopologyError("there is no topology to run", remedy="name it: start(topology)")
    return plans_of([(None, one) for one in found], settings.set)
