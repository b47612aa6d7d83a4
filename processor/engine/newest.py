"""The newest positions that this process has seen committed: the brokers may tell older ones.

A group coordinator that has just loaded its log may answer with what was committed long before
(Kafka 4.1 was seen to, after a broker was killed: twenty minutes and 16,384 records of its log
before the last). Who goes on from there publishes all of it again. While a process lives nobody can
reset its group, so a position that is older than one it has seen is never right.
"""

from __future__ import annotations

from collections.abc import Mapping

from processor.errors import RetriableError, StateMismatchError
from processor.model.log import Committed, TopicPartition
from processor.model.manifest import Manifest


class Newest:
    """Remembers positions, and compares what is told with them.

    >>> newest, rides = Newest(), TopicPartition("rides", 0)
    >>> newest.saw(rides, 7)
    >>> newest.check({rides: Committed(7, "")})
    >>> old = Manifest(3, "a", "", "", None, "stateless", 1, "rides:0", end=5)
    >>> newest.check({rides: Committed(5, str(old))})
    Traceback (most recent call last):
    processor.errors.RetriableError: rides[0]: the brokers tell the committed offset 5, and 7 ...
    """

    def __init__(self) -> None:
        self._offsets: dict[TopicPartition, int] = {}

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
            if head is None or (head.offset < known and not _is_batch(head)):
                self._offsets.pop(partition, None)  # gone, reset or moved: others look into that
            elif head.offset < known:
                raise RetriableError(
                    f"{partition}: the brokers tell the committed offset {head.offset}, and "
                    f"{known} was committed already: what they tell is of the past",
                    remedy="wait, or restart the broker that coordinates the group; where the "
                    "group was reset by others' tools, start this process again",
                )


def _is_batch(head: Committed) -> bool:
    """Whether it is what a batch has committed, and not where somebody has set the group to."""
    try:
        manifest = Manifest.parse(head.metadata)
    except StateMismatchError:
        return False
    return manifest.epoch > 0 and manifest.end == head.offset
