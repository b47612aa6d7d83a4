"""Which stages write an internal topic together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from processor.plan import nodes


def told(plans: Iterable[nodes.Plan]) -> list[nodes.Plan]:
    """The plans of a topology's stages, with each internal sink's ``beside``."""
    found = list(plans)
    beside: dict[str, list[tuple[str, str]]] = {}
    for plan in found:
        for topic in dict.fromkeys(sink.topic for sink in plan.sinks if sink.internal):
            beside.setdefault(topic, []).append((plan.app, plan.source().topic))

    def sink_of(sink: nodes.Sink) -> nodes.Sink:
        return replace(sink, beside=tuple(beside[sink.topic])) if sink.internal else sink

    return [replace(plan, sinks=tuple(map(sink_of, plan.sinks))) for plan in found]
