"""Whether a partition of the input is nobody's.

Static members that come back within their session are given what they had before, without a look at
the topic. Where all workers of a group were down, and partitions were added meanwhile, nobody is
ever told of these. A partition that a worker has begun has a committed position, so one that has
none for `LOOKS` looks was never taken; a member who leaves and comes back has all shared anew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from processor.errors import StandbyError
from processor.model.log import Committed, TopicPartition

LOOKS: Final = 8


class Untaken:
    """Counts looks at which partitions have no position.

    >>> untaken, (one, two) = Untaken(), (TopicPartition("rides", n) for n in (0, 1))
    >>> for _ in range(LOOKS - 1):
    ...     untaken.check({two: None}, [one])
    >>> untaken.check({two: None}, [one])
    Traceback (most recent call last):
    processor.errors.StandbyError: rides[1]: no worker of the group has it: leaving the group, ...
      remedy: none is needed
    """

    def __init__(self) -> None:
        self._looks = 0

    def check(
        self, others: Mapping[TopicPartition, Committed | None], own: Collection[TopicPartition]
    ) -> None:
        """Raise `StandbyError` where partitions are nobody's, and it is for this worker to go.

        That is the one who has the first partition of those that are taken.
        """
        none = [partition for partition, head in others.items() if head is None]
        taken = [*own, *(partition for partition, head in others.items() if head is not None)]
        self._looks = self._looks + 1 if none and taken and min(taken) in own else 0
        if self._looks >= LOOKS:
            self._looks = 0
            raise StandbyError(
                f"{min(none)}: no worker of the group has it: leaving the group, and coming back, "
                "so that all are shared anew",
                remedy="none is needed",
            )
