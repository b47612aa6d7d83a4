"""Which formats of a plan have schemas that a registry keeps."""

from __future__ import annotations

from collections.abc import Iterator

from processor.formats.registered import Registered
from processor.plan.nodes import Location, Plan, Sink, Source


def formats(plan: Plan) -> Iterator[tuple[Location, Registered]]:
    """The formats of a plan that have a registry, each with the line that says so."""
    yield from of_node(plan.source())
    for sink in plan.sinks:
        yield from of_node(sink)


def of_node(node: Source | Sink) -> Iterator[tuple[Location, Registered]]:
    """Those of a source or a sink: of values, then of keys."""
    places = (node.format, node.key_format)
    yield from ((node.at, form) for form in places if isinstance(form, Registered))
