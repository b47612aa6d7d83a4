"""Who a consumer is in its group: a rebalance may end its standing without a word.

A member that was taken for dead while it waited to be told its partitions joins anew by itself, and
says that it still has what it had. With a static identity the client (librdkafka 2.16) calls no
`on_lost` then::

    JoinGroup ──► SyncGroup sent ── stands still ──► taken for dead ──► others read on
    wakes: the answer, JoinGroup: unknown member, JoinGroup as a new member, with what it had

So its partitions are held to the member id that it had when they were told to be its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SILENTLY: Final = "it was taken for dead and joined anew: others may have had its partitions since"


@dataclass(frozen=True, slots=True)
class Standing:
    r"""Which member of its group a consumer is, and of which generation.

    >>> Standing.of(b"CGMDv2:" + bytes([7, 0, 0, 0]) + b"rides\0rides-0-f00d\0")
    Standing(generation=7, member='rides-0-f00d')
    """

    generation: int = -1
    member: str = ""

    @classmethod
    def of(cls, token: bytes) -> Standing:
        """From the client's own format: "CGMDv2:", the generation, then group and member."""
        generation = int.from_bytes(token[7:11], "little", signed=True)
        return cls(generation, token[11:].split(b"\0")[1].decode())
