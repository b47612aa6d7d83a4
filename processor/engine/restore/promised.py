"""Batches that were promised: the next one is that, by the same topology, before anything else."""

from __future__ import annotations

from processor.errors import StateMismatchError
from processor.model.log import TopicPartition
from processor.model.manifest import Manifest


def check_same(partition: TopicPartition, manifest: Manifest, plan: str) -> None:
    """Raise `StateMismatchError` for a promised batch that another topology would compute.

    >>> check_same(
    ...     TopicPartition("in", 0), Manifest(1, "a", "", "", None, "stateless", 1, "app:0"), "ab12"
    ... )
    """
    if manifest.intent is not None and manifest.intent.plan != plan:
        raise StateMismatchError(
            f"{_what(partition, manifest)}, and another topology would make other rows of it",
            remedy="run the topology as it was until that batch is committed, and change it then; "
            "or begin anew with `processor reset`",
        )


def check_kept(partition: TopicPartition, manifest: Manifest) -> None:
    """Raise `StateMismatchError` where a promised batch is not committed yet."""
    if manifest.intent is not None:
        raise StateMismatchError(
            f"{_what(partition, manifest)}, and would come to other rows then",
            remedy="run the topology once more, until that batch is committed; then try again",
        )


def _what(partition: TopicPartition, manifest: Manifest) -> str:
    end = manifest.intent.end if manifest.intent else manifest.end
    return (
        f"{partition}: the batch from offset {manifest.end} to {end} may have been shown to a "
        "function already"
    )
