"""What a stage hands on, and by which keys: named in its manifests, and compared by who goes on."""

from __future__ import annotations

from hashlib import blake2b

from processor.formats.base import describe_columns
from processor.plan import nodes
from processor.plan.fingerprint import steps


def handed(plan: nodes.Plan) -> tuple[str, ...]:
    """The internal topics that a stage writes, each with names of its columns, keys and steps.

    Each is eight digits: of the columns with their types, of those by which rows are dealt out, in
    their order, and of the steps that rows go through before.
    """
    return tuple(
        dict.fromkeys(
            f"{sink.topic}={_digits(sink.format.describe())}{_digits(_dealt_by(sink))}"
            f"{_digits(' '.join(steps(sink)))}"
            for sink in plan.sinks
            if sink.internal
        )
    )


def _dealt_by(sink: nodes.Sink) -> str:
    keys = nodes.key_columns(sink.key)
    types = sink.format.columns or {}
    return describe_columns({name: types[name] for name in keys}) if keys else str(sink.evenly)


def _digits(told: str) -> str:
    return blake2b(told.encode(), digest_size=4).hexdigest()
