"""Which rows a watermark takes late ones out of: all that the stage reads, in every branch.

::

    read ── write                  late records are left out here too
      └── with_watermark ── agg
"""

from __future__ import annotations

from collections.abc import Iterator

from processor.plan import nodes


def beside(plan: nodes.Plan) -> Iterator[str]:
    """A sentence for each line that is not behind ``with_watermark``, and loses late records too.

    >>> from processor import Json, Topology
    >>> import polars as pl
    >>> topology = Topology("copy")
    >>> rows = topology.read.kafka("in", format=Json({"at": pl.Datetime("us")}), event_time="at")
    >>> rows.write.kafka("all")
    >>> rows.with_watermark("1 hour").write.kafka("in-time")
    >>> next(beside(topology.plan())).partition(": ")[2].partition(" (")[0]
    'late records are left out here too'
    """
    mark = next((node for node in plan.nodes() if isinstance(node, nodes.Watermark)), None)
    if mark is None:
        return
    behind = {id(node) for node in nodes.way(mark)}
    lines: dict[nodes.Location, None] = {}
    for sink in plan.sinks:
        path = nodes.path(sink)
        if not any(node is mark for node in path):
            first: nodes.Node | nodes.Sink = next((n for n in path if id(n) not in behind), sink)
            lines[first.at] = None
    topic = plan.source().topic
    for at in lines:
        yield (
            f"{at}: late records are left out here too (with_watermark at {mark.at} is of all that "
            f"is read from {topic!r} at {plan.source().at}, wherever it stands). To have all "
            "records here, read the topic a second time for these rows; else say with_watermark "
            "where the topic is read: read.kafka(...).with_watermark(...)"
        )
