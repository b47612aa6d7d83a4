"""How long the consumer asks its client, what it hands it, and how it ends."""

from __future__ import annotations

from types import SimpleNamespace as Thing
from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Named

from processor.connectors.kafka import closing
from processor.connectors.kafka import consumer as module
from processor.connectors.kafka.consumer import KafkaConsumer
from processor.connectors.kafka.settings import Connection
from processor.errors import (
    AbortableError,
    FencedError,
    IdentityTakenError,
    LogError,
    RetriableError,
)
from processor.model.log import (
    Assigned,
    Committed,
    Extent,
    Lost,
    Membership,
    Revoked,
    TopicPartition,
)

FIRST, SECOND = TopicPartition("in", 0), TopicPartition("in", 1)
SILENT = KafkaException(KafkaError(KafkaError._TIMED_OUT))


def token(generation: int, member: str = "one-1") -> bytes:
    number = generation.to_bytes(4, "little", signed=True)
    return b"CGMDv2:" + number + b"g\0" + member.encode() + b"\0"


class Client:
    """Keeps what it is asked; answers by name, in order, and lets the clock go on meanwhile."""

    def __init__(self, now: list[float]) -> None:
        self.now, self.asked = now, []
        self.answers: dict[str, list[Any]] = {}

    def __getattr__(self, name: str) -> Any:
        if name == "consumer_group_metadata" and not self.answers.get(name):
            return lambda: token(7)  # what callbacks ask, too

        def call(*args: Any, **named: Any) -> Any:
            plain = [
                [tuple(p) if isinstance(p, tuple) else (p.topic, p.partition, p.offset) for p in a]
                if isinstance(a, list) else a
                for a in args
            ]  # fmt: skip
            self.asked.append((name, *plain, *([named] if named else [])))
            answer = self.answers[name].pop(0) if self.answers.get(name) else None
            if name == "consume" and not answer:
                self.now[0] += args[1]
            if isinstance(answer, Exception):
                raise answer
            return answer() if callable(answer) else answer

        return call

    def of(self, name: str) -> list[Any]:
        return [asked[1:] for asked in self.asked if asked[0] == name]


@pytest.fixture
def now():
    return [100.0]


@pytest.fixture
def consumer(monkeypatch, now):
    made = KafkaConsumer(
        Connection("127.0.0.1:1", {"max.poll.interval.ms": "14500"}), "g", "one", ["in"]
    )
    real, made._client = made._client, Client(now)
    clock = Thing(
        monotonic=lambda: now[0], sleep=lambda s: now.__setitem__(0, now[0] + s)
    )  # fmt: skip
    monkeypatch.setattr(module, "time", clock)
    for name in ("topic", "partition", "offset", "error"):
        target = {"partition": "_number"}.get(name, f"_{name}")
        monkeypatch.setattr(module, target, lambda m, name=name: getattr(m, name)())
    yield made
    made._client = real
    made.close(leave=False)


@pytest.fixture
def client(consumer):
    return consumer._client


def record(where, at, error=None):
    return Thing(
        topic=lambda: where and where.topic, partition=lambda: where and where.partition,
        offset=lambda: at, error=lambda: error,
    )  # fmt: skip


def given(consumer, *partitions):
    consumer._on_assign(consumer._client, [Named(*p) for p in partitions])


@pytest.mark.parametrize(
    ("limit_s", "asked"),
    [(0.0, [0.0]), (-1, [-1]), (0.05, [0.05]), (0.1, [0.1]), (0.25, [0.1, 0.1, 0.05])],
)
def test_a_poll_asks_in_slices_up_to_its_limit(consumer, client, limit_s, asked):
    polled = consumer.poll(7, limit_s)
    assert (polled.messages, polled.changes, polled.ends) == ([], [], {})
    assert [a[0] for a in client.of("consume")] == [7] * len(asked)
    assert [a[1] for a in client.of("consume")] == pytest.approx(asked)


def test_a_poll_ends_with_what_it_got_be_it_a_record_or_a_change(consumer, client):
    given(consumer, FIRST)
    consumer._changes, consumer._opened = [], {FIRST}
    client.answers["consume"] = [None, [record(FIRST, 3)]]
    assert [m.offset() for m in consumer.poll(7, 9).messages] == [3]
    assert len(client.of("consume")) == 2
    client.answers["consume"] = [None, lambda: given(consumer, SECOND) or []]
    assert consumer.poll(7, 9).changes == [Assigned(frozenset({SECOND}))]
    assert len(client.of("consume")) == 4
    # An end alone is told when the time is over.
    eof = KafkaError(KafkaError._PARTITION_EOF)
    client.answers["consume"] = [[record(FIRST, 4, eof)], None]
    assert consumer.poll(7, 0.15).ends == {FIRST: 4}
    assert len(client.of("consume")) == 7


def test_a_partition_that_is_given_is_taken_without_a_position_until_it_is_opened(consumer, client):
    given(consumer, FIRST, SECOND)
    consumer.open({SECOND: 5})
    consumer.open({FIRST: 6, SECOND: 7})
    consumer._on_revoke(client, [Named(*FIRST)])
    consumer._on_lost(client, [Named(*SECOND)])
    assert client.asked == [
        ("incremental_assign", []), ("incremental_assign", [("in", 1, 5)]),
        ("seek", Named("in", 1, 7)), ("incremental_assign", [("in", 0, 6)]),
        ("incremental_unassign", [("in", 0, -1001)]), ("incremental_unassign", [("in", 1, -1001)]),
    ]  # fmt: skip
    assert client.of("seek")[0][0].offset == 7
    assert consumer.poll(1, 0).changes == [
        Assigned(frozenset({FIRST, SECOND})), Revoked(frozenset({FIRST})), Lost(frozenset({SECOND}))
    ]  # fmt: skip
    assert consumer.poll_interval_s == 14.5
    with pytest.raises(LogError, match="not assigned: in"):
        consumer.open({FIRST: 0})


def test_what_the_client_refuses_is_told_by_what_was_being_done(consumer, client):
    given(consumer, FIRST)
    for name, ask, doing in (
        ("consume", lambda: consumer.poll(1, 0), "reading"),
        ("incremental_assign", lambda: consumer.open({FIRST: 0}), "opening partitions"),
        ("committed", lambda: consumer.committed([FIRST], 1), "reading committed positions"),
        ("get_watermark_offsets", lambda: consumer.extent(FIRST, 1), "asking for its offsets"),
    ):
        client.answers[name] = [SILENT]
        with pytest.raises(RetriableError, match=doing):
            ask()
    for name, ask in (("consume", lambda: consumer.poll(1, 0)),
                      ("incremental_assign", lambda: consumer.open({FIRST: 0}))):  # fmt: skip
        client.answers[name] = [SystemError("callback")]
        with pytest.raises(FencedError):
            ask()
    assert consumer._opened == set()
    consumer.open({FIRST: 0})
    for problem, kind in ((SILENT, RetriableError), (SystemError("callback"), FencedError)):
        consumer.open({FIRST: 0})
        client.answers["incremental_unassign"] = [problem]
        with pytest.raises(kind, match="shutting partitions"):
            consumer.shut([FIRST])
        assert consumer._opened == set()


def test_a_fatal_error_of_the_client_ends_the_membership_and_others_do_not(consumer, client):
    consumer._on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert consumer.poll(1, 0).messages == []
    consumer._on_error(KafkaError(KafkaError.FENCED_INSTANCE_ID, "group.instance.id fenced"))
    with pytest.raises(IdentityTakenError, match=r"g/one: group\.instance\.id fenced") as raised:
        consumer.poll(1, 0)
    assert raised.value.remedy == "join with a new consumer"
    consumer._fatal = "epoch"
    with pytest.raises(FencedError) as raised:
        consumer.poll(1, 0)
    assert not isinstance(raised.value, IdentityTakenError)
    client.asked.clear()
    consumer.close(leave=True)
    assert [name for name, *_ in client.asked] == ["consume", "close"]


@pytest.mark.parametrize("code", [KafkaError._STATE, KafkaError._PREV_IN_PROGRESS])
def test_a_seek_is_tried_again_for_ten_seconds_and_no_longer(consumer, client, now, code):
    given(consumer, FIRST)
    consumer.open({FIRST: 0})
    client.answers["seek"] = [KafkaException(KafkaError(code))] * 2_000
    before = now[0]
    with pytest.raises(LogError, match="opening partitions"):
        consumer.open({FIRST: 1})
    assert 10.0 <= now[0] - before < 10.03
    client.answers["seek"] = [SILENT, None]
    with pytest.raises(RetriableError):
        consumer.open({FIRST: 1})
    client.answers["seek"] = [SystemError("callback"), None]
    with pytest.raises(FencedError):
        consumer.open({FIRST: 1})


def test_the_standing_is_that_of_the_clients_token(consumer, client):
    for generation in (7, -1, 1 << 30, 300):
        found = token(generation)
        client.answers["consumer_group_metadata"] = [found, found]
        given(consumer)
        assert consumer.membership() == Membership(generation, frozenset(), found)


def test_a_generation_that_was_not_told_yet_is_none_to_commit_in(consumer, client):
    """What it takes away is not known before its callbacks are served."""
    given(consumer, FIRST)
    client.answers["consumer_group_metadata"] = [token(8)]
    assert consumer.membership() == Membership(-1, frozenset({FIRST}), token(8))
    client.answers["consumer_group_metadata"] = [token(8), token(8)]
    given(consumer)
    assert consumer.membership().generation == 8


def test_positions_are_not_committed_in_a_generation_that_was_not_told_yet(consumer, client):
    given(consumer, FIRST)
    client.answers["consumer_group_metadata"] = [token(8)]
    with pytest.raises(AbortableError, match="has not told yet"):
        consumer.commit({FIRST: Committed(1, "m")}, 1)
    client.answers["consumer_group_metadata"] = [token(7, "two")]
    with pytest.raises(FencedError, match="does not own"):
        consumer.commit({FIRST: Committed(1, "m")}, 1)
    assert client.of("commit") == []


def test_of_the_newer_protocol_a_generation_counts_at_once(consumer, client):
    consumer._classic = False
    given(consumer, FIRST)
    client.answers["consumer_group_metadata"] = [token(8)]
    assert consumer.membership().generation == 8


@pytest.mark.parametrize("heard", ["assigned", "revoked"])
def test_a_member_that_became_another_without_a_word_is_out(consumer, client, heard):
    given(consumer, FIRST, SECOND)
    client.answers["consumer_group_metadata"] = [token(7, "two")]
    if heard == "assigned":
        given(consumer)
    else:
        consumer._on_revoke(client, [Named(*FIRST)])
    assert consumer.membership().generation == -1
    with pytest.raises(FencedError, match="taken for dead and joined anew"):
        consumer.poll(10, 0.0)
    assert client.of("consume") == []


@pytest.mark.parametrize("member", ["", "two"])
def test_a_member_that_is_another_is_none_until_its_callbacks_say_what_was_lost(
    consumer, client, member
):
    given(consumer, FIRST)
    # Empty from when the group knows it no more until it has joined anew.
    client.answers["consumer_group_metadata"] = [token(7, member)] * 2
    assert consumer.membership().generation == -1
    with pytest.raises(FencedError, match="does not own"):
        consumer.commit({FIRST: Committed(1, "m")}, 1)
    consumer._on_lost(client, [Named(*FIRST)])
    assert consumer.poll(10, 0.0).changes


def test_a_member_that_was_told_of_its_loss_becomes_another_one_in_order(consumer, client):
    given(consumer, FIRST)
    consumer._on_lost(client, [Named(*FIRST)])
    client.answers["consumer_group_metadata"] = [token(9, "two"), token(9, "two")]
    given(consumer, SECOND)
    assert consumer.membership() == Membership(9, frozenset({SECOND}), token(9, "two"))
    assert consumer.poll(10, 0.0).changes


def test_positions_and_extents_are_asked_for_with_the_limit(consumer, client):
    client.answers["committed"] = [[
        Thing(topic="in", partition=0, offset=4, metadata="m", error=None),
        Thing(topic="in", partition=1, offset=OFFSET_INVALID, metadata=None, error=None),
    ]]  # fmt: skip
    assert consumer.committed([FIRST, SECOND], 3) == {FIRST: Committed(4, "m"), SECOND: None}
    client.answers["get_watermark_offsets"] = [(2, 9), None]
    assert consumer.extent(SECOND, 4) == Extent(2, 9)
    with pytest.raises(RetriableError, match="no answer within 4 s"):
        consumer.extent(SECOND, 4)
    assert client.asked == [
        ("committed", [("in", 0, -1001), ("in", 1, -1001)], 3),
        ("get_watermark_offsets", Named("in", 1), 4), ("get_watermark_offsets", Named("in", 1), 4),
    ]  # fmt: skip


def test_positions_are_committed_at_once_with_their_metadata(consumer, client):
    given(consumer, FIRST)
    client.answers["commit"] = [[]]
    consumer.commit({FIRST: Committed(0, "m")}, 1)
    ((named,),) = client.of("commit")
    (position,) = named["offsets"]
    assert (position.topic, position.partition, position.offset, position.metadata) == (
        "in", 0, 0, "m"
    )  # fmt: skip
    assert named["asynchronous"] is False
    # What a person can mend is no question of who owns the partitions.
    client.answers["commit"] = [KafkaException(KafkaError(KafkaError.OFFSET_METADATA_TOO_LARGE))]
    with pytest.raises(LogError) as raised:
        consumer.commit({FIRST: Committed(0, "m")}, 1)
    assert type(raised.value) is LogError
    assert "offset.metadata.max.bytes" in raised.value.remedy


def test_the_lag_is_from_what_was_heard_and_leaves_out_what_cannot_be_asked(consumer, client):
    given(consumer, FIRST, SECOND)
    consumer.open({FIRST: 0, SECOND: 0})
    client.answers["get_watermark_offsets"] = [SILENT, (0, 9)]
    closed = TopicPartition("in", 7)
    assert consumer.lag({closed: 1, FIRST: 4, SECOND: 4}) == {SECOND: 5}
    assert client.of("get_watermark_offsets") == [
        (Named(*FIRST), {"cached": True}), (Named(*SECOND), {"cached": True})
    ]  # fmt: skip


@pytest.mark.parametrize("leave", [True, False])
def test_a_member_closes_once_and_leaves_only_if_it_is_to(consumer, client, monkeypatch, leave):
    monkeypatch.setattr(closing, "LEAVE_S", 0.0)
    given(consumer, FIRST)
    consumer.open({FIRST: 0})
    assert consumer.owns_any()
    client.asked.clear()
    client.answers["unsubscribe"] = [SILENT]
    consumer.close(leave=leave)
    consumer.close(leave=leave)
    assert [name for name, *_ in client.asked] == ["unsubscribe"] * leave + ["consume", "close"]
    assert (consumer.owns_any(), consumer._opened) == (False, set())


def test_an_error_in_a_records_place_is_judged_by_where_and_what_it_is(consumer, client):
    given(consumer, FIRST)
    consumer.open({FIRST: 0})
    denied = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    for where, place in ((FIRST, "in"), (TopicPartition("in", -1), "in"), (None, "reading")):
        client.answers["consume"] = [[record(where, 0, denied)]]
        with pytest.raises(LogError, match=f"g/one: {place}") as raised:
            consumer.poll(1, 0)
        assert "grant this principal" in raised.value.remedy
    # Of a partition that is not open it is an echo.
    client.answers["consume"] = [[record(SECOND, 0, denied), record(FIRST, 0)]]
    assert [m.offset() for m in consumer.poll(1, 0).messages] == [0]


def test_runs_of_several_partitions_are_each_kept_from_their_own_position(consumer, client):
    given(consumer, FIRST, SECOND)
    consumer.open({FIRST: 2, SECOND: 5})
    client.answers["consume"] = [[
        record(FIRST, 1), record(FIRST, 2), record(SECOND, 5), record(FIRST, 3), record(SECOND, 6),
        record(TopicPartition("out", 0), 9),
    ]]  # fmt: skip
    found = [(m.topic(), m.partition(), m.offset()) for m in consumer.poll(9, 0).messages]
    assert found == [("in", 0, 2), ("in", 1, 5), ("in", 0, 3), ("in", 1, 6)]
    assert consumer._floors == {}


def test_records_that_came_with_the_loss_of_their_partition_are_not_returned(consumer, client):
    given(consumer, FIRST, SECOND)
    consumer.open({FIRST: 0, SECOND: 0})
    client.answers["consume"] = [[record(FIRST, 0), record(SECOND, 0)]]
    assert len(consumer.poll(9, 0).messages) == 2
    assert consumer._floors == {}

    def lost():
        consumer._on_lost(client, [Named(*FIRST)])
        return [record(FIRST, 1), record(SECOND, 1)]

    client.answers["consume"] = [lost]
    polled = consumer.poll(9, 0)
    assert [(m.partition(), m.offset()) for m in polled.messages] == [(1, 1)]
    assert polled.changes == [Lost(frozenset({FIRST}))]


def test_a_partition_that_was_not_moved_is_read_from_its_first_record(consumer, client):
    given(consumer, FIRST, SECOND)
    consumer.open({FIRST: 7, SECOND: 0})
    consumer._floors.pop(SECOND)
    client.answers["consume"] = [[record(SECOND, 0), record(FIRST, 6)]]
    assert [(m.partition(), m.offset()) for m in consumer.poll(9, 0).messages] == [(1, 0)]
