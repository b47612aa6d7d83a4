"""Stages and topics as a graph: for people as Mermaid, for programs as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from processor.feeds.base import Feed
from processor.plan import nodes, pairs
from processor.plan.stages import Stage


def as_json(stages: Sequence[Stage]) -> list[dict[str, Any]]:
    """Each stage with the topic that it reads and those that it writes.

    >>> from processor import Text, Topology
    >>> topology = Topology("copy")
    >>> topology.read.kafka("from", format=Text()).write.kafka("to", format=Text())
    >>> ((told,),) = [as_json(topology.stages())]
    >>> told["stage"], told["reads"]["topic"], [sink["topic"] for sink in told["writes"]]
    ('copy', 'from', ['to'])
    """
    return [_stage(stage) for stage in stages]


def _stage(stage: Stage) -> dict[str, Any]:
    plan, source = stage.plan, stage.plan.source()
    delay = plan.delay()
    return {
        "topology": plan.whole(),
        "stage": plan.app,
        "why": stage.why or None,
        "reads": {
            "topic": source.topic,
            "internal": source.internal,
            "format": source.format.describe(),
            "event_time": source.event_time,
            "partitioned_by": list(source.partitioned_by),
            "from_stages": list(source.upstreams),
            "partitions": source.spread or None,
            **({} if source.feed is None else {"feed": _feed(source.feed)}),
        },
        "watermark_delay_s": None if delay is None else delay.total_seconds(),
        "groups": [
            {
                "window_s": node.window.size.total_seconds() if node.window else None,
                "slide_s": node.window.every.total_seconds() if node.window else None,
                "start_s": node.window.start.total_seconds() if node.window else None,
                "keys": list(node.keys),
                "aggregates": {
                    a.name: f"{a.function}({a.column or ''})" for a in node.aggregations
                },
            }
            for node in plan.nodes()
            if isinstance(node, nodes.Aggregate)
        ],
        "order": [
            {"by": list(node.by), "descending": list(node.descending)}
            if isinstance(node, nodes.Sort)
            else {"limit": node.count}
            for node in plan.nodes()
            if isinstance(node, nodes.Sort | nodes.Limit)
        ],
        "joins": [
            {
                "how": node.how,
                "keys": [key.removeprefix(pairs.KEY) for key in node.keys],
                "lower_s": node.lower.total_seconds(),
                "upper_s": node.upper.total_seconds(),
                "left_from": list(source.sides[0]),
                "right_from": list(source.sides[1]),
            }
            for node in plan.nodes()
            if isinstance(node, pairs.Joined)
        ],
        "writes": [
            {
                "topic": sink.topic,
                "internal": sink.internal,
                "key": list(nodes.key_columns(sink.key)),
                "mode": sink.mode,
                "format": sink.format.describe(),
            }
            for sink in plan.published()
        ],
        "shows": [_outside(sink, sink.outside) for sink in plan.sinks if sink.outside is not None],
        "dead_letters": plan.dead_letters(),
        "late": plan.late(),
    }  # fmt: skip


def _outside(sink: nodes.Sink, outside: nodes.Outside) -> dict[str, Any]:
    """A sink that is no topic."""
    if isinstance(outside, nodes.Files):
        kind: dict[str, Any] = {"files": outside.folder, "format": sink.format.describe()}
    elif isinstance(outside, nodes.Table):
        kind = {"table": outside.name}
    else:
        kind = {"call": outside.name, "per": "row" if outside.each else outside.per}
    return {**kind, "mode": sink.mode}


def _feed(feed: Feed) -> dict[str, Any]:
    return {
        "name": feed.name,
        "kind": feed.source.kind,
        "source": feed.source.describe(),
        "group": feed.group,
        "ledger": feed.ledger,
        "partitions": feed.partitions,
    }


def as_mermaid(stages: Sequence[Stage]) -> str:
    """A flow chart: topics are round, internal ones six-sided, stages and what is outside square.

    >>> from processor import Text, Topology
    >>> topology = Topology("copy")
    >>> topology.read.kafka("from", format=Text()).write.kafka("to", format=Text())
    >>> print(as_mermaid(topology.stages()))
    flowchart LR
        topic0([from]) --> stage0[copy]
        stage0 --> topic1([to])
    """
    return "\n".join(["flowchart LR", *_arrows(stages)])


def _arrows(stages: Sequence[Stage]) -> Iterator[str]:
    names: dict[str, str] = {}

    def topic(name: str, *, internal: bool) -> str:
        if name in names:
            return names[name]
        names[name] = f"topic{len(names)}"
        return f"{names[name]}{{{{{name}}}}}" if internal else f"{names[name]}([{name}])"

    for number, stage in enumerate(stages):
        plan, source = stage.plan, stage.plan.source()
        if source.feed is not None:
            told = source.feed.source.describe().replace('"', "'")
            fed = topic(source.topic, internal=source.internal)
            yield f'    feed{number}>"{told}"] --> {fed}'
        yield f"    {topic(source.topic, internal=source.internal)} --> stage{number}[{plan.app}]"
        for sink in plan.sinks:
            key = ", ".join(nodes.key_columns(sink.key))
            by = f"|by {key}|" if key else ""
            if sink.outside is not None:
                names[sink.topic] = f"outside{len(names)}"
                told = ", ".join(f"{k} {v}" for k, v in _outside(sink, sink.outside).items())
                quoted = told.replace('"', "'")
                yield f'    stage{number} --> {names[sink.topic]}[/"{quoted}"/]'
                continue
            yield f"    stage{number} -->{by} {topic(sink.topic, internal=sink.internal)}"
