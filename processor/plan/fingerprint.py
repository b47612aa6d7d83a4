"""A short name for a plan's state layout, carried by every manifest.

Two plans with one fingerprint can read each other's checkpoints.
"""

from __future__ import annotations

from hashlib import blake2b

import polars as pl

from processor.plan import nodes, schema


def fingerprint(plan: nodes.Plan) -> str:
    """16 hexadecimal digits over the state of every aggregate; ``stateless`` without any.

    >>> from processor import Text, Topology
    >>> topology = Topology("copy")
    >>> topology.read.kafka("from", format=Text()).write.kafka("to", format=Text())
    >>> fingerprint(topology.plan())
    'stateless'
    """
    columns = schema.columns(plan)
    layouts = [
        _layout(node, columns[id(node.parent)])
        for node in plan.nodes()
        if isinstance(node, nodes.Aggregate)
    ]
    if not layouts:
        return "stateless"
    return blake2b("\n".join(layouts).encode(), digest_size=8).hexdigest()


def _layout(node: nodes.Aggregate, have: dict[str, pl.DataType]) -> str:
    window = f"{node.window.column}/{node.window.size}" if node.window else "-"
    keys = ",".join(f"{key}:{have[key]}" for key in node.keys)
    cells = ",".join(
        f"{a.name}={a.function}({a.column}:{have[a.column] if a.column else ''})"
        for a in node.aggregations
    )
    return f"window {window} keys {keys} cells {cells}"
