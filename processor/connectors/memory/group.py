"""A consumer group: who is in it, who has which partition, and what it has committed.

The assignment is sticky and handed over cooperatively: what a member has to give up stays with it
until its own poll has told it so, and only then goes to the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final

from processor.model.log import Assigned, Committed, Rebalance, Revoked, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

_IDS: Final = count(1)


@dataclass(slots=True, eq=False)
class Member:
    """One incarnation of a member. ``target`` is what it shall have, ``owned`` what it has."""

    instance: str
    topics: frozenset[str]
    seen_s: float
    target: set[TopicPartition] = field(default_factory=set)
    owned: set[TopicPartition] = field(default_factory=set)
    id: int = field(default_factory=_IDS.__next__)


@dataclass(frozen=True, slots=True)
class MemberToken:
    """What a membership carries for the log: the group, the identity and its incarnation.

    ``member`` is 0 for one that is in no group.
    """

    group: str
    instance: str
    member: int


class Group:
    """One group. ``partitions`` tells how many a topic has, 0 when there is no such topic."""

    def __init__(self, name: str, partitions: Callable[[str], int]) -> None:
        self.name = name
        self.generation = 0
        self.members: dict[str, Member] = {}
        self.untold: set[str] = set()
        self.committed: dict[TopicPartition, Committed] = {}
        self._pending: dict[object, dict[TopicPartition, Committed]] = {}
        self._partitions = partitions

    def join(self, instance: str, topics: Collection[str], now_s: float) -> Member:
        """Let a member in. One that is known keeps its assignment, and nothing is rebalanced."""
        member = Member(instance, frozenset(topics), now_s)
        self.untold.discard(instance)
        known = self.members.get(instance)
        self.members[instance] = member
        if known is not None and known.topics == member.topics:
            member.target = known.target
        else:
            self.rebalance()
        return member

    def leave(self, instance: str) -> None:
        """Let a member go, and hand its partitions on."""
        if self.members.pop(instance, None) is not None:
            self.rebalance()

    def topics_changed(self, topic: str) -> None:
        """A topic was created: assign its partitions if anybody waits for them."""
        if any(topic in member.topics for member in self.members.values()):
            self.rebalance()

    def rebalance(self) -> None:
        """Begin a new generation with a new assignment."""
        self.generation += 1
        assign(self.members, self._partitions)

    def serve(self, member: Member, now_s: float) -> list[Rebalance]:
        """What a member's poll tells it: first what it gives up, then what it gets."""
        member.seen_s = now_s
        if member.owned == member.target:
            return []
        changes: list[Rebalance] = []
        revoked = member.owned - member.target
        if revoked:
            member.owned -= revoked
            self.generation += 1  # the second rebalance of a cooperative hand-over
            changes.append(Revoked(frozenset(revoked)))
        held = {name for other in self.members.values() for name in other.owned}
        fresh = member.target - held
        if fresh:
            member.owned |= fresh
            changes.append(Assigned(frozenset(fresh)))
        return changes

    def refusal(self, token: MemberToken, generation: int) -> str | None:
        """Why offsets sent with this standing are refused, or ``None`` when they are not.

        As on a real broker the partitions are not looked at, and no standing at all (no member, a
        generation below 0) will do while the group is empty. Who commits has to guard itself.
        """
        if generation < 0 and not token.member:
            return "the group has members and this is none" if self.members else None
        member = self.members.get(token.instance)
        if member is None:
            return f"{token.instance!r} is no member"
        if member.id != token.member:
            return f"another member has taken the identity {token.instance!r}"
        if generation != self.generation:
            return f"the generation is {self.generation}, not {generation}"
        return None

    def send(self, transaction: object, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Hold offsets until their transaction ends."""
        self._pending.setdefault(transaction, {}).update(offsets)

    def finish(self, transaction: object, *, commit: bool) -> None:
        """Let a transaction's offsets count, or forget them."""
        offsets = self._pending.pop(transaction, {})
        if commit:
            self.committed.update(offsets)

    def pending(self, partitions: Collection[TopicPartition]) -> set[TopicPartition]:
        """Those of the partitions whose position an open transaction is about to change."""
        held = {name for offsets in self._pending.values() for name in offsets}
        return held.intersection(partitions)


def assign(members: Mapping[str, Member], partitions: Callable[[str], int]) -> None:
    """Set every member's target: all partitions, evenly, moving as few as that takes."""
    topics = sorted({topic for member in members.values() for topic in member.topics})
    names = [TopicPartition(topic, p) for topic in topics for p in range(partitions(topic))]
    free = set(names)
    for member in members.values():
        member.target = {name for name in member.target & free if name.topic in member.topics}
        free -= member.target
    order = [members[instance] for instance in sorted(members)]
    for name in sorted(free):
        takers = [member for member in order if name.topic in member.topics]
        min(takers, key=_load).target.add(name)
    while _even_out(order):
        pass


def _even_out(members: list[Member]) -> bool:
    """Move one partition from a member to one that has two fewer; ``False`` when none has."""
    for giver in sorted(members, key=_load, reverse=True):
        for taker in sorted(members, key=_load):
            if _load(giver) - _load(taker) < 2:
                break
            movable = [name for name in giver.target if name.topic in taker.topics]
            if movable:
                name = max(movable)
                giver.target.remove(name)
                taker.target.add(name)
                return True
    return False


def _load(member: Member) -> int:
    return len(member.target)
