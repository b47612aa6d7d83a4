"""The output modes that there are."""

from __future__ import annotations

from typing import Final

from processor.errors import TopologyError
from processor.plan import nodes

MODES: Final[tuple[nodes.OutputMode, ...]] = ("append", "update", "complete")


def fault(sink: nodes.Sink) -> TopologyError | None:
    """What is wrong with a sink's mode by itself."""
    if sink.mode in MODES:
        return None
    remedy = f"say {', '.join(MODES[:-1])} or {MODES[-1]}"
    return TopologyError(f"{sink.at}: mode={sink.mode!r}", remedy=remedy)
