"""Which feeds a graph's streams come from."""

from __future__ import annotations

from collections.abc import Iterator

from processor.feeds.base import Feed
from processor.plan import nodes, pairs


def feeds(plan: nodes.Plan) -> Iterator[Feed]:
    """The feeds that the graph's streams come from.

    >>> from processor import Queue, Text, Topology
    >>> topology = Topology("app")
    >>> topology.read.queue(Queue(), format=Text()).write.kafka("out")
    >>> [feed.topic for feed in feeds(topology.plan())]
    ['app.queue']
    """
    left: list[nodes.Above] = [sink.parent for sink in plan.sinks]
    while left:
        node = left.pop()
        if isinstance(node, nodes.Source):
            yield from () if node.feed is None else (node.feed,)
        else:
            left += node.parents if isinstance(node, nodes.Union | pairs.Join) else (node.parent,)
