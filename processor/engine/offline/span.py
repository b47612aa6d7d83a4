"""The range of a partition that `processor verify` judges, and whether its records can tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from processor.errors import SettingsError, StateMismatchError
from processor.model.log import TopicPartition
from processor.model.manifest import Manifest
from processor.plan import nodes
from processor.plan.fingerprint import identity

ELSEWHERE = (
    "it cannot be verified from this input: to have it verified, run the topology from the "
    "beginning under an application id and outputs of its own (--set app=...)"
)


@dataclass(frozen=True, slots=True)
class Span:
    """What is judged of an input partition: [start, end).

    ``low`` is the first offset it holds, and at most ``start``. ``committed`` is the group's
    position, ``manifest`` what was committed with it.
    """

    low: int
    start: int
    end: int
    committed: int
    manifest: str = ""


def check(plan: nodes.Plan, spans: Mapping[TopicPartition, Span], *, stateful: bool) -> None:
    """Raise `SettingsError` where a range's records alone do not make its outputs."""
    if plan.delay() is not None:
        for partition, span in spans.items():
            _check_watermark(plan, partition, span.manifest)
    if not stateful:
        return
    for partition, span in spans.items():
        _check_origin(plan, partition, span.manifest)
        if span.start > 0:
            raise SettingsError(
                f"{plan.app} keeps state, and {partition} would be recomputed from offset "
                f"{span.start}: what came before it is part of the state",
                remedy="verify from the beginning (leave --from out); where the topic's first "
                "records are gone, an aggregate cannot be verified any more",
            )
        if span.end < span.committed and any(sink.mode != "append" for sink in plan.sinks):
            raise SettingsError(
                f"{plan.app} publishes changed groups, and {partition} goes on behind --to: the "
                "last record of a group is of a later time",
                remedy="leave --to out",
            )


def edited(plan: nodes.Plan, spans: Mapping[TopicPartition, Span]) -> list[str]:
    """A note where the outputs were written by another form of the topology than is compared."""
    own = identity(plan)
    found = [(p, _manifest(span.manifest)) for p, span in sorted(spans.items())]
    other = [p for p, manifest in found if manifest and manifest.plan not in ("", own)]
    if not other:
        return []
    form = f"another form of {plan.app}, with other lines, parameters or settings"
    way = "what differs may come of that, and the form that ran can be verified"
    return [f"{other[0]} was last committed by {form}: {way}"]


def _check_watermark(plan: nodes.Plan, partition: TopicPartition, text: str) -> None:
    """Raise where what was late is not decided by the partition's records alone."""
    manifest = _manifest(text)
    if manifest is not None and manifest.rewound:
        raise SettingsError(
            f"{plan.app}: the watermark of {partition} was set back (`processor reset "
            "--watermark`): which records were late, its records alone do not tell",
            remedy=ELSEWHERE,
        )


def _manifest(text: str) -> Manifest | None:
    try:
        return Manifest.parse(text)
    except StateMismatchError:
        return None


def _check_origin(plan: nodes.Plan, partition: TopicPartition, text: str) -> None:
    """Raise where the state is not what the partition's records make from the first on."""
    manifest = _manifest(text)
    if manifest is None or not manifest.epoch or not manifest.plan or manifest.origin == 0:
        return
    began = (
        "was dealt out anew, or taken over by a changed topology"
        if manifest.origin is None
        else f"began with nothing at offset {manifest.origin}"
    )
    raise SettingsError(
        f"{plan.app} keeps state, and that of {partition} {began}: the partition's records from "
        "the first on do not make it",
        remedy=ELSEWHERE,
    )
