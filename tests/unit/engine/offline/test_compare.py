"""What each judge finds, to the word: kinds, places, contents and origins."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from processor.connectors.partitioner import partition as partition_of
from processor.engine.offline.compare import Bag, Bounds, Finding, Groups, Origins, Piece
from processor.model.log import Output, TopicPartition
from tests.unit.messages import Fake

A, B = TopicPartition("in", 0), TopicPartition("in", 1)
PIECE = Piece(A, 0, 9, None)
BOTH, NONE = Bounds(4), Bounds(4, surplus=False, missing=False)


class Of(Fake):
    """A message of the topic that is judged."""

    def topic(self) -> str:
        return "out"


def at(offset: int, value: bytes | None, key: bytes | None = b"k", *headers: Any) -> Of:
    return Of(value, offset, 2, key, list(headers))


def found(judge: Any) -> list[str]:
    return [str(finding) for finding in judge.findings()]


def home(key: bytes) -> int:
    return partition_of(key, 4)


@pytest.mark.parametrize(
    ("partition", "offset", "origin", "told"),
    [
        (None, None, "", "missing out: x"),
        (0, None, "", "missing out[0]: x"),
        (None, 0, "", "missing out offset 0: x"),
        (3, 7, "in[0] offset 1", "missing out[3] offset 7: x, of input in[0] offset 1"),
    ],
)
def test_a_finding_tells_what_is_known_of_its_place(
    partition: int | None, offset: int | None, origin: str, told: str
) -> None:
    assert str(Finding("missing", "out", partition, offset, "x", origin)) == told


def bag(bounds: Bounds) -> Bag:
    judge = Bag("out", bounds, lambda piece, topic, pair: f"{topic} {piece.start} {pair[1]!r}")
    judge.expect(Output("out", [b"1", b"2", b"2"], [b"a", b"b", b"b"]), PIECE)
    judge.expect(Output("out", [b"3", b"2"], None), Piece(A, 9, 12, None))
    judge.found([at(0, b"1", b"a"), at(1, b"1", b"a"), at(2, b"9", b"a"), at(3, b"2", None)])
    return judge


def test_rows_that_are_published_once_are_each_there_once() -> None:
    missing = f"missing out[{home(b'b')}]: b 2, of input out 0 b'2'"
    assert found(bag(BOTH)) == [
        "duplicate out[2] offset 1: a 1", "wrong out[2] offset 2: a 9", missing, missing,
        "missing out: 3, of input out 9 b'3'",
    ]  # fmt: skip
    assert found(bag(NONE)) == []
    assert len(found(bag(Bounds(4, missing=False)))) == 2
    assert len(found(bag(Bounds(4, surplus=False)))) == 3


def row(key: object, count: object) -> bytes:
    return orjson.dumps({"k": key, "n": count})


def groups(bounds: Bounds = BOTH, *, once: bool = False, rising: bool = False) -> Groups:
    judge = Groups("out", bounds, orjson.loads, ["k"], once=once, rising=rising, exact={"n"},
                   slack=None)  # fmt: skip
    judge.expect(Output("out", [row("a", 1), row("b", 1), row("c", 1)], [b"a", b"b", b"c"]), PIECE)
    judge.expect(Output("out", [row("a", 2), row("d", 1)], [b"a", b"d"]), PIECE)
    return judge


def test_the_last_record_of_a_group_is_what_counts() -> None:
    judge = groups()
    judge.found([
        at(0, row("x", 1), b"x"), at(1, b"{", b"b"), at(2, row([], 1), b"b"),
        at(3, row("b", 1), b"b"), at(4, row("a", 2), b"a"),
        at(5, row("a", 1), b"a"), at(6, row("a", 1), b"a"),
        at(7, row("d", 1), b"D"), at(8, row("b", 1), b"b"),
    ])  # fmt: skip
    assert found(judge) == [
        "wrong out[2] offset 1: b {",
        'wrong out[2] offset 2: b {"k":[],"n":1}',
        'wrong out[2] offset 0: x {"k":"x","n":1}, no input makes this group',
        'wrong out[2] offset 6: a {"k":"a","n":1}, should be a {"k":"a","n":2}',
        'wrong out[2] offset 7: D {"k":"d","n":1}, should be d {"k":"d","n":1}',
        f'missing out[{home(b"c")}]: c {{"k":"c","n":1}}',
    ]


@pytest.mark.parametrize(("once", "rising"), [(True, False), (False, True)])
def test_a_group_that_is_there_again_as_it_was_is_a_duplicate(once: bool, rising: bool) -> None:
    judge = groups(NONE, once=once, rising=rising)
    judge.found([at(0, row("a", 2), b"a"), at(1, row("a", 2), b"a"), at(2, row("b", 1), b"b"),
                 at(3, row("a", 2), b"a")])  # fmt: skip
    assert [(f.kind, f.offset) for f in judge.findings()] == [("duplicate", 1), ("duplicate", 3)]


def test_only_what_is_published_once_is_there_again_when_it_differs() -> None:
    for once, kinds in ((True, [("duplicate", 1)]), (False, [])):
        judge = groups(NONE, once=once, rising=not once)
        judge.found([at(0, row("a", 2 if once else 1), b"a"), at(1, row("a", 2), b"a")])
        assert [(f.kind, f.offset) for f in judge.findings()] == kinds


def test_groups_outside_what_is_judged_are_neither_surplus_nor_missing() -> None:
    judge = groups(NONE)
    judge.found([at(0, row("x", 1), b"x"), at(1, row("a", 7), b"a")])
    assert [(f.kind, f.offset) for f in judge.findings()] == [("wrong", 1)]
    judge = groups(Bounds(4, surplus=False))
    assert [f.kind for f in judge.findings()] == ["missing"] * 4


def test_the_place_of_a_wrong_record_is_told_from_the_first_partition_and_offset_on() -> None:
    judge = groups(NONE)
    judge.found([Of(row("a", 7), 0, 0, b"a"), Of(row("d", 7), 5, 3, b"d")])
    assert [(f.partition, f.offset) for f in judge.findings()] == [(0, 0), (3, 5)]


def set_aside(where: TopicPartition, offset: int, stage: str = "app/late") -> list:
    return [
        ("processor.stage", stage.encode()), ("processor.topic", where.topic.encode()),
        ("processor.partition", b"%d" % where.partition), ("processor.offset", b"%d" % offset),
    ]  # fmt: skip


def origins(bounds: Bounds = BOTH) -> Origins:
    judge = Origins("out", bounds, {A: (2, 6), B: (0, 1)}, "app/late")
    judge.expect(Output("out", [b"sink"], [b"s"]), PIECE)
    wanted = [(A, 2), (A, 3), (A, 5), (B, 0)]
    judge.expect(
        Output("out", [b"2", b"3", b"5", b"0"], [b"k", b"k", None, b"k"],
               [set_aside(*one) for one in wanted]), PIECE,
    )  # fmt: skip
    return judge


def test_one_record_is_set_aside_for_each_that_belongs_there() -> None:
    judge = origins()
    broken = [(name, b"x") if name.endswith("offset") else (name, value)
              for name, value in set_aside(A, 3)]  # fmt: skip
    judge.found([
        at(0, b"rows of a sink"), at(1, b"3", b"k", *set_aside(A, 3, "app/other")),
        at(2, b"?", b"k", *broken), at(3, b"?", b"k", *set_aside(A, 3)[:2]),
        at(4, b"1", b"k", *set_aside(A, 1)), at(5, b"6", b"k", *set_aside(A, 6)),
        at(6, b"0", b"k", *set_aside(TopicPartition("other", 0), 0)),
        at(7, b"2", b"k", *set_aside(A, 2)), at(8, b"2", b"k", *set_aside(A, 2)),
        at(9, b"4", b"k", *set_aside(A, 4)), at(10, b"7", b"k", *set_aside(B, 0)),
    ])  # fmt: skip
    assert found(judge) == [
        "duplicate out[2] offset 8: k 2, of input in[0] offset 2",
        "wrong out[2] offset 9: k 4, of input in[0] offset 4",
        "wrong out[2] offset 10: k 7, of input in[1] offset 0",
        f"missing out[{home(b'k')}]: k 3, of input in[0] offset 3",
        "missing out: 5, of input in[0] offset 5",
    ]
    assert found(origins(NONE)) == []


def test_a_long_record_is_told_by_its_beginning() -> None:
    judge = Bag("out", BOTH, lambda *_: "")
    judge.found([at(0, b"v" * 201, b"k" * 61), at(1, None, None)])
    assert [f.what for f in judge.findings()] == ["k" * 60 + " " + "v" * 200, "no value"]
