"""Groups of the in-memory log: exact assignments, generations and refusals."""

from __future__ import annotations

import pytest

from processor.connectors.memory.group import Group, Member, MemberToken, assign
from processor.model.log import Assigned, Committed, Revoked, TopicPartition

COUNTS = {"t": 5, "u": 2}


def names(topic: str, *numbers: int) -> set[TopicPartition]:
    return {TopicPartition(topic, number) for number in numbers}


def targets(members: dict[str, Member]) -> dict[str, set[TopicPartition]]:
    return {name: member.target for name, member in members.items()}


@pytest.fixture
def group() -> Group:
    return Group("g", lambda topic: COUNTS.get(topic, 0))


def test_partitions_go_to_who_has_fewest_and_as_few_as_can_be_move():
    members = {name: Member(name, frozenset("t"), 0.0) for name in "ba"}
    assign(members, lambda _: 5)
    assert targets(members) == {"a": names("t", 0, 2, 4), "b": names("t", 1, 3)}
    members["c"] = Member("c", frozenset("t"), 0.0)
    assign(members, lambda _: 5)
    assert targets(members) == {"a": names("t", 0, 2), "b": names("t", 1, 3), "c": names("t", 4)}
    del members["a"]
    assign(members, lambda _: 5)
    assert targets(members) == {"b": names("t", 1, 2, 3), "c": names("t", 0, 4)}
    members["d"] = Member("d", frozenset("tu"), 0.0)
    assign(members, COUNTS.__getitem__)
    assert targets(members) == {
        "b": names("t", 1, 2, 3), "c": names("t", 0, 4), "d": names("u", 0, 1)
    }  # fmt: skip


def test_what_only_one_may_have_stays_with_it_however_much_that_is():
    members = {
        "a": Member("a", frozenset("tu"), 0.0),
        "b": Member("b", frozenset("u"), 0.0),
        "c": Member("c", frozenset("u"), 0.0),
    }
    assign(members, COUNTS.__getitem__)
    assert targets(members) == {"a": names("t", *range(5)), "b": names("u", 0), "c": names("u", 1)}


def test_a_member_that_takes_up_another_topic_gives_up_the_former():
    members = {"a": Member("a", frozenset("t"), 0.0), "b": Member("b", frozenset("tu"), 0.0)}
    assign(members, COUNTS.__getitem__)
    members["a"].topics = frozenset("u")
    assign(members, COUNTS.__getitem__)
    assert targets(members) == {"a": names("u", 0, 1), "b": names("t", *range(5))}


def test_each_hand_over_is_told_once_and_makes_a_generation(group):
    a = group.join("a", ["t"], 1.0)
    assert (group.generation, a.seen_s) == (1, 1.0)
    assert group.serve(a, 2.5) == [Assigned(frozenset(names("t", *range(5))))]
    assert (group.serve(a, 3.5), a.seen_s, group.generation) == ([], 3.5, 1)
    b = group.join("b", ["t"], 4.0)
    assert (group.serve(b, 5.0), b.seen_s, b.owned, group.generation) == ([], 5.0, set(), 2)
    assert group.serve(a, 6.0) == [Revoked(frozenset(names("t", 3, 4)))]
    assert (group.generation, a.owned) == (3, names("t", 0, 1, 2))
    assert group.serve(b, 7.0) == [Assigned(frozenset(names("t", 3, 4)))]
    assert (group.generation, b.owned) == (3, names("t", 3, 4))
    group.leave("a")
    group.leave("nobody")
    assert group.generation == 4
    assert group.serve(b, 8.0) == [Assigned(frozenset(names("t", 0, 1, 2)))]


def test_an_identity_that_comes_back_keeps_its_share_without_a_rebalance(group):
    first = group.join("a", ["t"], 0.0)
    group.serve(first, 0.0)
    again = group.join("a", ["t"], 9.0)
    assert (again.id != first.id, again.seen_s, again.target) == (True, 9.0, first.target)
    assert (group.generation, group.members) == (1, {"a": again})
    other = group.join("a", ["u"], 9.0)
    assert (group.generation, other.target) == (2, names("u", 0, 1))


def test_a_new_topic_is_of_those_only_that_wait_for_it(group):
    a = group.join("a", ["late"], 0.0)
    assert group.serve(a, 0.0) == []
    group.topics_changed("other")
    assert group.generation == 1
    COUNTS["late"] = 1
    try:
        group.topics_changed("late")
        assert group.serve(a, 0.0) == [Assigned(frozenset(names("late", 0)))]
    finally:
        del COUNTS["late"]
    assert group.generation == 2


def test_whose_offsets_are_refused_is_told_with_the_reason(group):
    nobody = MemberToken("g", "", 0)
    assert group.refusal(nobody, -1) is None
    assert "no member" in group.refusal(nobody, 0)
    a = group.join("a", ["t"], 0.0)
    token = MemberToken("g", "a", a.id)
    assert group.refusal(nobody, -1) == "the group has members and this is none"
    assert group.refusal(token, 1) is None
    for generation in (-1, 0, 2):
        assert group.refusal(token, generation) == f"the generation is 1, not {generation}"
    assert group.refusal(MemberToken("g", "b", 1), 1) == "'b' is no member"
    group.join("a", ["t"], 0.0)
    assert "has taken the identity 'a'" in group.refusal(token, 1)


def test_offsets_count_when_their_transaction_is_committed_and_not_otherwise(group):
    at = {name: Committed(number, "") for number, name in enumerate(sorted(names("t", 0, 1, 2)))}
    t0, t1, t2 = sorted(at)
    one, two = object(), object()
    group.send(one, {t0: at[t0]})
    group.send(one, {t1: at[t1]})
    group.send(two, {t2: at[t2]})
    assert group.pending([t0, t1, t2]) == {t0, t1, t2}
    assert group.pending([t1]) == {t1}
    group.finish(two, commit=False)
    assert (group.pending(at), group.committed) == ({t0, t1}, {})
    group.finish(one, commit=True)
    assert (group.pending(at), group.committed) == (set(), {t0: at[t0], t1: at[t1]})
    group.finish(one, commit=True)
