"""The newest positions that this process has seen committed: the brokers may tell older ones.

A group coordinator that has just loaded its log may answer with what was committed long before, or
that nothing was (Kafka 4.1 was seen to do both, after a broker was killed: it had read a part of
its log). Who goes on from there publishes all of it again. While a process lives nobody can reset
its group, so a position that is older than one it has seen is never right; and that there is none
where there was one is asked again, for half a minute, before it is believed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from processor.errors import RetriableError, StateError, StateMismatchError
from processor.model.log import Committed, TopicPartition
from processor.model.manifest import Manifest

DOUBTS: Final = 12
_WAIT: Final = (
    "wait, or restart the broker that coordinates the group in order; where somebody has set the "
    "group back, `processor reset` sets its offsets and its state together"
)


class Newest:
    """Remembers positions, and compares what is told with them.

    Args:
        doubts: how often it is asked again before it is believed that positions are gone; with none
            of them what this process has seen is no reason to doubt either.

    >>> newest, rides = Newest(), TopicPartition("rides", 0)
    >>> newest.saw(rides, 7)
    >>> newest.check({rides: Committed(7, "")})
    >>> old = Manifest(3, "a", "", "", None, "stateless", 1, "rides:0", end=5)
    >>> newest.check({rides: Committed(5, str(old))})
    Traceback (most recent call last):
    processor.errors.RetriableError: rides[0]: the brokers tell the committed offset 5, and 7 ...
    """

    def __init__(self, doubts: int = 0) -> None:
        self._offsets: dict[TopicPartition, int] = {}
        self._doubts, self._doubted = doubts, 0

    def saw(self, partition: TopicPartition, offset: int) -> None:
        """A position that is committed."""
        self._offsets[partition] = offset

    def check(
        self,
        heads: Mapping[TopicPartition, Committed | None],
        noted: Mapping[TopicPartition, int] = {},
    ) -> None:
        """Raise `RetriableError` for a position that is older than one that was committed.

        ``noted`` are those that the store has: of other processes, some seconds old.
        """
        for partition, head in heads.items():
            known = max(self._offsets.get(partition, 0), noted.get(partition, 0))
            if head is None or head.offset >= known:
                continue  # one that is gone others look into, and may doubt
            # A reset notes in the store where it went to; a pin of long ago is told of the past.
            if _is_batch(head) or (_is_pin(head) and head.offset < noted.get(partition, 0)):
                raise RetriableError(
                    f"{partition}: the brokers tell the committed offset {head.offset}, and "
                    f"{known} was committed already: what they tell is of the past",
                    remedy=_WAIT,
                )
            self._offsets.pop(partition, None)  # reset or moved: others look into that
        self._doubted = 0

    def gone(self, partitions: Collection[TopicPartition]) -> StateMismatchError | None:
        """What is wrong where none is told, and this process has seen one; ``None``: nothing."""
        for partition in partitions if self._doubts else ():
            if (known := self._offsets.get(partition, 0)) > 0:
                return StateMismatchError(
                    f"{partition}: the brokers tell no committed offset, and {known} was committed "
                    "already: what they tell is of the past",
                    remedy=_WAIT,
                )
        return None

    def doubt(self, error: StateError, *, seen: bool) -> None:
        """Raise `RetriableError` the first times that a position is told to be gone.

        Always, where this process has ``seen`` it.
        """
        self._doubted += 1
        if seen or self._doubted <= self._doubts:
            raise RetriableError(
                f"{error.message}: asked again, as a broker that was just started may not know yet",
                remedy=error.remedy,
            ) from error


def _is_batch(head: Committed) -> bool:
    """Whether it is what a batch has committed, and not where somebody has set the group to."""
    manifest = _manifest(head)
    return manifest is not None and manifest.epoch > 0 and manifest.end == head.offset


def _is_pin(head: Committed) -> bool:
    """Whether it is where a task began, or was reset to."""
    manifest = _manifest(head)
    return manifest is not None and not manifest.epoch and manifest.end in (None, head.offset)


def _manifest(head: Committed) -> Manifest | None:
    try:
        return Manifest.parse(head.metadata)
    except StateMismatchError:
        return None
