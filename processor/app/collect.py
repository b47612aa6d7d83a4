"""What a sink's rows are over bounded input, as a frame: a run to its end, on a log in memory.

::

    files, values ─┐
                   ├─► log in memory ─► the run ─► rows, or a group's last row
    Kafka, copied ─┘                                └─► what stands behind the aggregate

Nothing is published, no group is joined and nothing committed. An aggregate's groups come out once,
as they are at the end, also of windows that are still open, and the steps behind it are computed of
these: so the result is the same whatever the batches were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Unpack

import polars as pl
import structlog

from processor.api.running import Feed, Runnable
from processor.app.active import check_fork
from processor.app.backends import Backends, reading
from processor.app.capture import Kept
from processor.app.host import Host
from processor.app.preparing import looked_at
from processor.app.query import Asked, Query
from processor.app.start import built, check_feed, settings_of
from processor.connectors.memory.log import MemoryLog
from processor.connectors.ports import Log
from processor.errors import SettingsError, TopologyError
from processor.metrics.progress import BatchReport
from processor.model.batch import Slice
from processor.model.headers import headers_of
from processor.model.log import TopicPartition
from processor.operators.pipeline import Pipeline
from processor.plan import nodes, schema
from processor.settings import Given, Settings

_ROWS: Final = "processor-collected"

log_lines = structlog.get_logger("processor")


def collect(
    *topologies: Runnable,
    sink: str | None = None,
    feed: Mapping[str, Feed] | None = None,
    **settings: Unpack[Given],
) -> pl.DataFrame:
    """The rows of a sink over bounded input, with their types.

    Args:
        topologies: what is to run; one may read what another writes.
        sink: the topic of the rows, or ``"files:FOLDER"``, ``"call:NAME"``, ``"table:NAME"``; left
            out, there is one that no topology reads.
        feed: the input, by topic, as `start` takes it. On Kafka it is left out: what the topics
            hold now is copied, from ``from_`` on.
        settings: as `start` takes them.

    Without an aggregate a row is given for each that would be published. Of an aggregate each group
    is given once, as it is at the end of the input, in every mode. The order is that of the input
    where it has one partition.

    Raises `QueryError` for what breaks the run.

    >>> from processor import Json, Topology, collect, functions as F
    >>> topology = Topology("spend")
    >>> payments = Json({"user": pl.String, "amount": pl.Int64})
    >>> rows = topology.read.kafka("payments", format=payments, partitioned_by="user")
    >>> totals = rows.group_by("user").agg(total=F.sum("amount"))
    >>> totals.write.kafka("totals", key="user", mode="update")
    >>> paid = [("ann", 1), ("bob", 5), ("ann", 2)]
    >>> fed = {"payments": [{"user": user, "amount": amount} for user, amount in paid]}
    >>> collect(topology, feed=fed).sort("user").rows()
    [('ann', 3), ('bob', 5)]
    """
    check_fork()
    loaded = settings_of(settings)
    check_feed(feed)
    if loaded.kafka:
        from processor.connectors.kafka import making

        making.check(loaded.kafka)
    plans = built(topologies, loaded)
    looked_at(plans, loaded, queried=True)
    chosen = _chosen(plans, sink)
    _bounded(plans, loaded, feed)
    capture = _Capture(plans, chosen)
    # What the sink's rows do not come of need not be run.
    beside = _inputs(plans) - _inputs(capture.plans)
    fed = {topic: given for topic, given in (feed or {}).items() if topic not in beside}
    told: list[BatchReport] = []
    copy = _Copy(plans, loaded) if loaded.bootstrap_servers is not None else None

    def connected(used: Backends) -> None:
        # In one partition the last record of a group is the last in the topic.
        used.log.create({_ROWS: 1})
        if copy is not None:
            copy(used)

    host = Host(connected=connected, finished=capture.take, feeds=_untouched, finite=True)
    here = loaded.model_copy(update=_HERE)
    query = Query(Asked(capture.plans, here, fed, on_progress=told.append, host=host,
                        alone=True))  # fmt: skip
    query._begin()  # noqa: SLF001 - who makes a query begins it
    with query:
        query.await_termination()
    _tell(told, plans)
    return capture.result()


# On the log in memory, where all of it is run again if anything breaks.
_HERE: Final[Mapping[str, object]] = {
    "bootstrap_servers": None, "redis_url": None, "data_dir": None, "until_caught_up": True,
    "kafka": {}, "on_checkpoint_loss": "stop", "on_partitions_raised": "stop", "metrics_port": None,
}  # fmt: skip


def _chosen(plans: Sequence[nodes.Plan], topic: str | None) -> list[nodes.Sink]:
    """The sink of that topic, or the only one that none of the plans reads.

    Of streams that are united, each has its own.
    """
    sinks = [sink for plan in plans for sink in plan.sinks]
    read = {plan.source().topic for plan in plans}
    found = [s for s in sinks if (s.topic not in read if topic is None else s.topic == topic)]
    if len({sink.topic for sink in found}) == 1:
        return found
    names = ", ".join(sorted({repr(one.topic) for one in found or sinks}))
    what = f"there are {len(found)} sinks" if topic is None else f"no sink writes {topic!r}"
    raise TopologyError(f"{plans[0].at}: {what}", remedy=f"say which: sink=..., of {names}")


def _bounded(
    plans: Sequence[nodes.Plan], settings: Settings, feed: Mapping[str, Feed] | None
) -> None:
    """See that there is input, and that a copy of it is as good as the topic."""
    if settings.bootstrap_servers is None:
        if not (feed or _all_fed(plans)):
            topics = ", ".join(sorted(_inputs(plans)))
            raise SettingsError(
                "there is no input: the embedded log is empty when a call begins",
                remedy=f"feed it: feed={{topic: records}}, of {topics}; or say where Kafka is, "
                "bootstrap_servers=...",
            )
        return
    if feed:
        raise SettingsError(
            "feed= is for the embedded log, and this one is Kafka",
            remedy="leave feed or bootstrap_servers out",
        )
    for plan in plans:
        source = plan.source()
        if source.offset is not None and source.topic in _inputs(plans):
            raise TopologyError(
                f"{source.at}: offset={source.offset!r} would be those of a copy of the topic",
                remedy="leave the column out, or start the topology and read what it publishes",
            )


def _untouched(source: nodes.Source) -> nodes.Source:
    """A source whose feed leaves no trace where it reads: nothing is committed here."""
    feed = source.feed
    return replace(source, feed=feed and replace(feed, source=feed.source.untouched()))


def _all_fed(plans: Sequence[nodes.Plan]) -> bool:
    """Whether all that comes from outside comes by feeds."""
    inputs = _inputs(plans)
    return not inputs - {plan.source().topic for plan in plans if plan.source().feed}


def _inputs(plans: Sequence[nodes.Plan]) -> set[str]:
    """The topics that come from outside."""
    written = {sink.topic for plan in plans for sink in plan.sinks}
    return {plan.source().topic for plan in plans} - written


class _Copy:
    """Puts what Kafka's topics hold now into the log of a run, each partition by itself."""

    def __init__(self, plans: Sequence[nodes.Plan], settings: Settings) -> None:
        fed = {plan.source().topic for plan in plans if plan.source().feed}
        self._topics = sorted(_inputs(plans) - fed)
        self._settings = settings

    def __call__(self, used: Backends) -> None:
        if not isinstance(used.log, MemoryLog):
            raise TypeError("a copy is made into the memory")
        log = reading(self._settings)
        try:
            self._copy(log, used.log)
        finally:
            log.close()

    def _copy(self, log: Log, to: MemoryLog) -> None:
        described = log.describe(self._topics)
        missing = sorted(set(self._topics) - described.keys())
        if missing:
            raise SettingsError(
                f"topics are missing: {', '.join(missing)}",
                remedy="see that Kafka and the topics' names are the right ones",
            )
        to.create({topic: len(one.extents) for topic, one in described.items()})
        for topic, one in described.items():
            starts = self._starts(log, topic)
            for number, extent in one.extents.items():
                partition = TopicPartition(topic, number)
                start = max(extent.low, starts.get(partition, extent.low))
                for messages in (
                    log.scan(partition, start, extent.high) if start < extent.high else ()
                ):
                    to.feed(
                        topic,
                        [message.value() for message in messages],
                        [message.key() for message in messages],
                        partition=number,
                        timestamps_ms=[message.timestamp()[1] for message in messages],
                        headers=[headers_of(message) for message in messages],
                    )

    def _starts(self, log: Log, topic: str) -> Mapping[TopicPartition, int]:
        where = self._settings.from_
        if where == "earliest":
            return {}
        if where == "latest":
            raise SettingsError(
                "from_='latest': there is nothing behind the ends of the topics",
                remedy="leave it out, or give a time",
            )
        return log.offsets_at(topic, round(where.timestamp() * 1000))


class _Capture:
    """The plans with one sink whose rows are kept, and what becomes of these rows."""

    def __init__(self, plans: Sequence[nodes.Plan], sinks: Sequence[nodes.Sink]) -> None:
        having = {
            id(one): sink for one in plans for sink in sinks if any(s is sink for s in one.sinks)
        }
        sink = sinks[0]
        plan = next(one for one in plans if having.get(id(one)) is sink)
        columns = schema.columns(plan)
        path = nodes.path(sink)
        kinds = nodes.Aggregate | nodes.Newest
        places = [n for n, node in enumerate(path) if isinstance(node, kinds)]
        self._behind = path[places[0] + 1 :] if places else []
        node = path[places[0]] if places else sink.parent
        self._group = _group(node)
        self._columns = columns[id(node)]
        self._kept = Kept(self._columns)
        self._app, self._at = plan.app, sink.at
        mode: nodes.OutputMode = "update" if self._group else "append"

        def kept(one: nodes.Plan) -> nodes.Sink:
            rows = node if one is plan else having[id(one)].parent
            return nodes.Sink(_marked(one, rows), _ROWS, self._kept, None, mode, sink.at)

        needed = [x for one in plans if id(one) in having for x in _needed(one, plans)]
        self.plans = [
            replace(one, sinks=(kept(one),) if id(one) in having else _read(one, plans))
            for one in plans
            if any(one is x for x in needed)
        ]
        self._values: list[bytes | None] = []

    def take(self, used: Backends) -> None:
        """Take what was committed, before the log is gone."""
        described = used.log.describe([_ROWS])
        for number, extent in described[_ROWS].extents.items() if _ROWS in described else ():
            for messages in used.log.scan(TopicPartition(_ROWS, number), extent.low, extent.high):
                self._values += [message.value() for message in messages]

    def result(self) -> pl.DataFrame:
        """The rows; of groups the last, with the steps behind the aggregate."""
        rows = self._kept.rows(self._values)
        if not self._group:
            return rows
        last = rows.unique(self._group, keep="last", maintain_order=True)
        return self._stepped(last) if self._behind else last

    def _stepped(self, groups: pl.DataFrame) -> pl.DataFrame:
        """The steps behind the aggregate, as the engine computes them."""
        form = Kept(self._columns)
        source = nodes.Source("processor-groups", form, None, (), "dead_letter", None, self._at)
        node: nodes.Node = source
        for step in self._behind:
            if not isinstance(step, nodes.Watermark | nodes.Source):
                node = replace(step, parent=node)
        plan = nodes.Plan(self._app, (nodes.Sink(node, _ROWS, Kept({}), None, "append", self._at),),
                          self._at)  # fmt: skip
        made = Kept(schema.columns(plan)[id(node)])
        plan = replace(plan, sinks=(replace(plan.sinks[0], format=made),))
        log = MemoryLog()
        log.create({source.topic: 1})
        log.feed(source.topic, form.encode(groups))
        messages = log.read(source.topic)
        values = [message.value() for message in messages]
        part = Slice(TopicPartition(source.topic, 0), messages, values, 0, len(values), None)
        outputs = Pipeline(plan).run([part], [{}]).outputs
        found = [value for one in outputs if one.topic == _ROWS for value in one.values]
        aside = sum(len(one) for one in outputs if one.topic != _ROWS)
        if aside:
            log_lines.warning("groups that cannot be computed", topology=self._app, groups=aside)
        return made.rows(found)


def _group(node: nodes.Node) -> list[str]:
    """The columns that tell an aggregate's groups apart."""
    if isinstance(node, nodes.Newest):
        return list(node.keys)
    if not isinstance(node, nodes.Aggregate):
        return []
    return [*(("window_start",) if node.window else ()), *node.keys]


def _marked(plan: nodes.Plan, node: nodes.Node) -> nodes.Node:
    """The node behind the plan's watermark: what is late for one sink is late for all."""
    mark = next((one for one in plan.nodes() if isinstance(one, nodes.Watermark)), None)
    step = node
    while not isinstance(step, nodes.Source):
        if step is mark:
            return node
        step = step.parent
    return node if mark is None else replace(mark, parent=node)


def _needed(plan: nodes.Plan, plans: Sequence[nodes.Plan]) -> list[nodes.Plan]:
    """A plan and those that write what it reads, in the order in which they were given."""
    found = [plan]
    for one in found:
        topic = one.source().topic
        apps = {other.app for other in found}
        writes = (p for p in plans if topic in {sink.topic for sink in p.sinks})
        found += [other for other in writes if other.app not in apps]
    return [one for one in plans if any(one is other for other in found)]


def _read(plan: nodes.Plan, plans: Sequence[nodes.Plan]) -> tuple[nodes.Sink, ...]:
    """The sinks of a plan that another one reads."""
    topics = {other.source().topic for other in plans if other is not plan}
    return tuple(sink for sink in plan.sinks if sink.topic in topics)


def _tell(reports: Sequence[BatchReport], plans: Sequence[nodes.Plan]) -> None:
    """Say what is not in the result, and why not."""
    for plan in plans:
        own = [report for report in reports if report.topology == plan.app]
        lost = {
            name: count
            for name in ("dead_lettered", "late", "skipped")
            if (count := sum(getattr(report, name) for report in own))
        }
        if lost:
            log_lines.warning(
                "records that are not in the result", topology=plan.app,
                of=sum(report.records_in for report in own), **lost,
            )  # fmt: skip
