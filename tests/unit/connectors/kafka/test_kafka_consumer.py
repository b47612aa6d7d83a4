"""What the consumer makes of what its client tells, at moments that no broker has to order."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as Named

from processor.connectors.kafka import consumer as module
from processor.connectors.kafka.consumer import KafkaConsumer
from processor.connectors.kafka.settings import Connection
from processor.errors import FencedError, LogError, RetriableError
from processor.model.log import Assigned, Committed, Lost, Revoked, TopicPartition

FIRST, SECOND = TopicPartition("in", 0), TopicPartition("in", 1)


class Record:
    """A message of the client, or an error in its place."""

    def __init__(self, where: TopicPartition | None, offset: int, error: Any = None) -> None:
        self.where, self.at, self.wrong = where, offset, error

    def topic(self) -> str | None:
        return self.where.topic if self.where else None

    def partition(self) -> int | None:
        return self.where.partition if self.where else None

    def offset(self) -> int:
        return self.at

    def error(self) -> Any:
        return self.wrong


def end(where: TopicPartition, offset: int) -> Record:
    return Record(where, offset, KafkaError(KafkaError._PARTITION_EOF))


def token(generation: int, member: str = "one-1") -> bytes:
    number = generation.to_bytes(4, "little", signed=True)
    return b"CGMDv2:" + number + b"group\0" + member.encode() + b"\0"


class Client:
    """Gives what it is told to, poll by poll, and keeps what it is asked for."""

    def __init__(self) -> None:
        self.polls: list[list[Record]] = []
        self.asked: list[tuple[str, Any]] = []
        self.seeks: list[KafkaException] = []
        self.generation, self.member = 3, "one-1"
        self.answers: list[Any] = []

    def consume(self, records_max: int, timeout_s: float) -> list[Record]:
        return self.polls.pop(0) if self.polls else []

    def incremental_assign(self, partitions: list[Named]) -> None:
        self.asked.append(("assign", [(p.partition, p.offset) for p in partitions]))

    def incremental_unassign(self, partitions: list[Named]) -> None:
        self.asked.append(("unassign", [p.partition for p in partitions]))

    def seek(self, target: Named) -> None:
        self.asked.append(("seek", (target.partition, target.offset)))
        if self.seeks:
            raise self.seeks.pop(0)

    def consumer_group_metadata(self) -> bytes:
        return token(self.generation, self.member)

    def commit(self, offsets: list[Named], asynchronous: bool) -> list[Named]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def get_watermark_offsets(self, _: Named, *args: Any, **named: Any) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> Any:
    # The client's own methods take messages of its own only.
    for name in ("topic", "partition", "offset", "error"):
        target = {"partition": "_number"}.get(name, f"_{name}")
        monkeypatch.setattr(module, target, getattr(Record, name))
    made = KafkaConsumer(Connection("127.0.0.1:1"), "group", "one", ["in"])
    real, made._client = made._client, Client()
    give(made, FIRST, SECOND)
    made.poll(1, 0.0)
    yield made
    made._client = real
    made.close(leave=False)


def give(consumer: KafkaConsumer, *partitions: TopicPartition) -> None:
    consumer._on_assign(consumer._client, [Named(*p) for p in partitions])


def polled(consumer: KafkaConsumer, *records: Record) -> list[tuple[int, int]]:
    consumer._client.polls = [list(records)]
    return [(m.partition(), m.offset()) for m in consumer.poll(100, 0.0).messages]


def test_records_below_the_position_after_a_seek_are_not_returned(consumer):
    consumer.open({FIRST: 0, SECOND: 0})
    assert polled(consumer, Record(FIRST, 0), Record(FIRST, 1), Record(SECOND, 0)) == [
        (0, 0), (0, 1), (1, 0)
    ]  # fmt: skip
    consumer.open({FIRST: 7})
    # What was on its way when the position was moved; the first at the position is kept.
    assert polled(consumer, Record(FIRST, 2), Record(SECOND, 1)) == [(1, 1)]
    assert polled(consumer, Record(FIRST, 6), Record(FIRST, 7), Record(FIRST, 8)) == [
        (0, 7), (0, 8)
    ]  # fmt: skip
    assert polled(consumer, Record(FIRST, 3)) == []
    assert polled(consumer, Record(FIRST, 9)) == [(0, 9)]
    # From there on offsets ascend, and nothing is looked at any more.
    assert not consumer._floors.get(FIRST)


def test_a_seek_back_brings_what_was_read_once_more(consumer):
    consumer.open({FIRST: 5})
    assert polled(consumer, Record(FIRST, 5), Record(FIRST, 6)) == [(0, 5), (0, 6)]
    consumer.open({FIRST: 5})
    assert consumer._client.asked[-1] == ("seek", (0, 5))
    assert polled(consumer, Record(FIRST, 5)) == [(0, 5)]


def test_records_of_a_partition_that_was_shut_meanwhile_are_not_returned(consumer):
    consumer.open({FIRST: 0, SECOND: 0})
    consumer.shut([FIRST])
    assert consumer._client.asked[-1] == ("unassign", [0])
    assert polled(consumer, Record(FIRST, 0), Record(SECOND, 0)) == [(1, 0)]
    consumer.shut([FIRST])
    assert [what for what, _ in consumer._client.asked].count("unassign") == 1


def test_an_end_that_was_told_before_the_position_moved_is_not_told_after(consumer):
    consumer.open({FIRST: 0, SECOND: 0})
    consumer._client.polls = [[end(FIRST, 9), end(SECOND, 4)]]
    assert consumer.poll(100, 0.0).ends == {FIRST: 9, SECOND: 4}
    assert consumer.poll(100, 0.0).ends == {}
    for move in (lambda: consumer.open({FIRST: 3}), lambda: consumer.shut([FIRST])):
        consumer._consume(100, 0.0)
        consumer._judge(end(FIRST, 9))
        consumer._judge(end(SECOND, 5))
        move()
        assert consumer.poll(100, 0.0).ends == {SECOND: 5}
    # What is not open has no end either.
    consumer._client.polls = [[end(FIRST, 9)]]
    assert consumer.poll(100, 0.0).ends == {}


def test_a_partition_that_is_not_assigned_cannot_be_opened(consumer):
    with pytest.raises(LogError, match="not assigned: other"):
        consumer.open({TopicPartition("other", 0): 0})


@pytest.mark.parametrize("code", [KafkaError._STATE, KafkaError._PREV_IN_PROGRESS])
def test_a_client_that_cannot_move_yet_is_asked_again(consumer, code):
    consumer.open({FIRST: 0})
    consumer._client.seeks = [KafkaException(KafkaError(code))] * 2
    consumer.open({FIRST: 4})
    assert consumer._client.asked[-3:] == [("seek", (0, 4))] * 3


def test_a_client_that_never_moves_is_told_of_and_so_is_any_other_refusal(consumer, monkeypatch):
    consumer.open({FIRST: 0})
    consumer._client.seeks = [KafkaException(KafkaError(KafkaError._TIMED_OUT))]
    with pytest.raises(RetriableError, match="opening partitions"):
        consumer.open({FIRST: 4})
    monkeypatch.setattr(module, "OPEN_S", -1.0)
    consumer._client.seeks = [KafkaException(KafkaError(KafkaError._STATE))]
    with pytest.raises(LogError, match="opening partitions"):
        consumer.open({FIRST: 4})


def test_what_is_taken_away_is_neither_owned_nor_open_and_lost_is_out_of_the_group(consumer):
    consumer.open({FIRST: 0})
    consumer._on_revoke(consumer._client, [Named(*FIRST)])
    assert consumer._client.asked[-1] == ("unassign", [0])
    assert consumer.poll(1, 0.0).changes == [Revoked(frozenset({FIRST}))]
    assert consumer.membership().partitions == {SECOND}
    assert consumer.membership().generation == 3
    consumer._on_lost(consumer._client, [Named(*SECOND)])
    assert consumer.poll(1, 0.0).changes == [Lost(frozenset({SECOND}))]
    assert consumer.membership().generation == -1
    assert not consumer.owns_any()
    give(consumer, FIRST)
    assert consumer.poll(1, 0.0).changes == [Assigned(frozenset({FIRST}))]
    assert consumer.membership().generation == 3


def test_an_offset_outside_the_topic_is_an_error_and_no_silent_jump(consumer):
    consumer.open({FIRST: 99})
    wrong = Record(FIRST, 99, KafkaError(KafkaError._AUTO_OFFSET_RESET))
    consumer._client.polls = [[wrong]]
    with pytest.raises(LogError) as raised:
        consumer.poll(1, 0.0)
    assert "outside what the topic holds" in raised.value.remedy
    # Of a partition that is not open any more it is an echo.
    consumer.shut([FIRST])
    assert polled(consumer, wrong) == []


def test_an_error_that_passes_by_itself_leaves_the_records_beside_it(consumer):
    consumer.open({FIRST: 0})
    away = Record(None, 0, KafkaError(KafkaError._TRANSPORT))
    assert polled(consumer, away, Record(FIRST, 0)) == [(0, 0)]
    fenced = Record(None, 0, KafkaError(KafkaError.FENCED_INSTANCE_ID))
    consumer._client.polls = [[fenced]]
    with pytest.raises(FencedError):
        consumer.poll(1, 0.0)


def test_positions_outside_a_transaction_are_committed_by_a_member_that_owns_them_only(consumer):
    head = {FIRST: Committed(5, "m")}
    consumer._client.answers = [[Named("in", 0, 5)]]
    consumer.commit(head, 1.0)
    with pytest.raises(FencedError, match="does not own"):
        consumer.commit({TopicPartition("in", 7): Committed(5, "m")}, 1.0)
    consumer._client.generation = -1
    with pytest.raises(FencedError, match="does not own"):
        consumer.commit(head, 1.0)


def test_a_commit_outside_a_transaction_that_timed_out_is_no_success(consumer):
    head = {FIRST: Committed(5, "m")}
    consumer._client.answers = [KafkaException(KafkaError(KafkaError._TIMED_OUT))]
    with pytest.raises(RetriableError, match="committing positions"):
        consumer.commit(head, 1.0)
    # Who is not of this generation any more has been taken the partitions.
    consumer._client.answers = [KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION))]
    with pytest.raises(FencedError, match="committing positions"):
        consumer.commit(head, 1.0)


def test_the_lag_is_told_of_what_is_open_and_heard_of_and_never_below_nothing(consumer):
    consumer.open({FIRST: 0})
    consumer._client.answers = [(0, 10)]
    assert consumer.lag({FIRST: 4, SECOND: 4}) == {FIRST: 6}
    for answer, expected in [((0, 0), {FIRST: 0}), ((0, -1001), {}), (None, {})]:
        consumer._client.answers = [answer]
        assert consumer.lag({FIRST: 4}) == expected


def test_what_was_taken_away_has_no_position_and_no_end_when_it_comes_back(consumer):
    consumer.open({FIRST: 7})
    assert consumer._client.asked[-1] == ("assign", [(0, 7)])
    consumer._judge(end(FIRST, 9))
    consumer._on_revoke(consumer._client, [Named(*FIRST), Named(*SECOND)])
    # Only what it was handed is the client's to let go of.
    assert consumer._client.asked[-1] == ("unassign", [0])
    assert (consumer._opened, consumer._floors, consumer._ends) == (set(), {}, {})


def test_a_partition_whose_commit_was_refused_is_no_success(consumer):
    refused = type("Answer", (), {"error": KafkaError(KafkaError.REBALANCE_IN_PROGRESS)})()
    consumer._client.answers = [[refused]]
    with pytest.raises(FencedError, match="committing positions"):
        consumer.commit({FIRST: Committed(5, "m")}, 1.0)
