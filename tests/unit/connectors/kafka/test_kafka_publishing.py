"""What the producer asks of its client, call by call, and what it makes of the answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from processor.connectors.kafka import producer as module
from processor.connectors.kafka.producer import KafkaProducer
from processor.connectors.kafka.settings import Connection
from processor.errors import AbortableError, FencedError, LogError, RetriableError
from processor.model.log import Committed, Membership, Output, TopicPartition

LARGE = KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
FENCED = KafkaException(KafkaError(KafkaError.PRODUCER_FENCED))
SILENT = KafkaException(KafkaError(KafkaError._TIMED_OUT, retriable=True))
RECORD = SimpleNamespace(topic=lambda: "out")


class Client:
    """Keeps what it is asked; raises what it is told to at the calls of that number and name."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.problems: dict[str, list[BaseException | None]] = {}
        self.left = 0

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **named: Any) -> Any:
            problems = self.problems.get(name, [])
            problem = problems.pop(0) if problems else None
            self.asked.append((name, *args, named) if named else (name, *args))
            if problem is not None:
                raise problem
            return self.left

        return call

    def sent(self) -> list[Any]:
        return [asked[1:] for asked in self.asked if asked[0] == "produce"]

    def names(self) -> list[str]:
        return [asked[0] for asked in self.asked]


def made(transactional_id):
    producer = KafkaProducer(Connection("127.0.0.1:1"), transactional_id)
    real, producer._client = producer._client, Client()
    return producer, real


@pytest.fixture(params=["id"])
def producer(request):
    producer, real = made(request.param)
    yield producer
    producer._client = real
    producer.close()


@pytest.fixture
def client(producer):
    return producer._client


def test_only_a_producer_with_an_identity_takes_it(producer, client):
    producer.start(5)
    ((name, limit_s),) = client.asked
    assert (name, 0 < limit_s <= 5) == ("init_transactions", True)
    other, real = made(None)
    other.start(5)
    assert other._client.asked == []
    other._client = real
    other.close()


@pytest.mark.parametrize("full", [(), (1,), (0, 3), (4,), (2, 2)])
@pytest.mark.parametrize("partition", [None, 0, 7])
@pytest.mark.parametrize("headed", [False, True])
def test_every_record_is_handed_over_once_also_where_the_queue_is_full(
    producer, client, full, partition, headed
):
    values = [b"0", b"1", None, b"3", b"4"]
    keys = [b"a", None, b"c", b"d", b"e"]
    headers = [[("h", b"%d" % n)] for n in range(5)] if headed else None
    refusals: list[BaseException | None] = []
    for at in range(5):
        refusals += [BufferError()] * full.count(at) + [None]
    client.problems["produce"] = [*refusals]
    producer.produce(Output("out", values, keys, headers, partition))
    where = () if partition is None else (partition,)
    wanted = []
    for value, key, row in zip(values, keys, range(5), strict=True):
        named = ({"timestamp": 0, "headers": headers[row]},) if headers else ()
        wanted.append(("out", value, key, *where, *named))
    tried = [asked for asked, refusal in zip(client.sent(), refusals, strict=True) if not refusal]
    assert tried == wanted
    assert client.names().count("poll") == len(full)
    assert {asked for asked in client.asked if asked[0] == "poll"} <= {("poll", 0.05)}


def test_without_keys_each_record_has_none(producer, client):
    producer.produce(Output("out", [b"0", b"1"]))
    producer.produce(Output("out", []))
    assert client.sent() == [("out", b"0", None), ("out", b"1", None)]
    with pytest.raises(ValueError, match="3 keys for 1 values"):
        producer.produce(Output("out", [b"0"], [b"k"] * 3))


@pytest.mark.parametrize("headers", [None, [[], [], []]])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_record_that_the_client_refuses_is_told_with_its_size_and_breaks_the_batch(
    producer, client, headers, at
):
    values = [b"", None, b"xxx"]
    client.problems["produce"] = [*[None] * at, LARGE]
    with pytest.raises(AbortableError, match=f"a record of {[0, 0, 3][at]} bytes for out") as told:
        producer.produce(Output("out", values, None, headers))
    assert "max.message.bytes" in told.value.remedy
    for problem in (FENCED, SystemError("callback")):
        client.problems["produce"] = [*[None] * at, problem]
        with pytest.raises(FencedError, match=f"of {[0, 0, 3][at]} bytes"):
            producer.produce(Output("out", values, None, headers))


def test_waiting_for_room_tells_what_was_not_delivered_meanwhile(producer, client):
    client.problems["produce"] = [BufferError()]
    producer._failures.delivered(KafkaError(KafkaError._MSG_TIMED_OUT), RECORD)
    with pytest.raises(AbortableError, match="id: 1 records were not delivered, the first to out"):
        producer.produce(Output("out", [b"0"]))
    client.problems = {"produce": [BufferError()], "poll": [SystemError("fatal")]}
    with pytest.raises(FencedError, match="waiting for room"):
        producer.produce(Output("out", [b"0"]))


def test_a_failure_that_has_a_remedy_is_told_before_one_that_only_was_beside_it(producer):
    beside = KafkaError(KafkaError._INVALID_DIFFERENT_RECORD)
    why = KafkaError(KafkaError.INVALID_RECORD)
    for error in (beside, why, KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)):
        producer._failures.delivered(error, RECORD)
    with pytest.raises(
        AbortableError, match="3 records were not delivered, the first to out: "
    ) as e:
        producer.flush(1)
    assert "message.timestamp.after.max.ms" in e.value.remedy
    assert "key" in e.value.remedy


def test_of_failures_the_first_is_told_with_their_number_and_what_was_purged_is_none(producer):
    failures = producer._failures
    for code in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
        failures.delivered(KafkaError(code), RECORD)
    failures.delivered(None, RECORD)
    assert (failures.count, failures.first, failures.fatal) == (0, "", "")
    producer.flush(1)
    failures.delivered(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), RECORD)
    failures.delivered(KafkaError(KafkaError._MSG_TIMED_OUT), SimpleNamespace(topic=lambda: "b"))
    with pytest.raises(AbortableError, match=r"2 records were .*, the first to out: ") as told:
        producer.flush(1)
    assert told.value.remedy == "grant this principal access to the topic"
    # Within a transaction they count until it ends.
    with pytest.raises(AbortableError, match="2 records"):
        producer.flush(1)
    producer.begin()
    assert (failures.count, failures.first) == (0, "")
    producer.flush(1)


@pytest.mark.parametrize("producer", [None], indirect=True)
def test_without_a_transaction_each_flush_answers_for_its_own_records(producer, client):
    producer._failures.delivered(KafkaError(KafkaError._MSG_TIMED_OUT), RECORD)
    with pytest.raises(AbortableError, match="producer: 1 records were not delivered"):
        producer.flush(1)
    producer.flush(1)
    client.problems["flush"] = [SILENT]
    producer._failures.delivered(KafkaError(KafkaError._MSG_TIMED_OUT), RECORD)
    with pytest.raises(RetriableError, match="producer: flushing"):
        producer.flush(1)
    producer.flush(2)
    assert [asked for asked in client.asked if asked[0] == "flush"][-1] == ("flush", 2)


def test_what_is_not_acknowledged_in_time_is_told_with_its_topics(producer, client):
    client.left = 3
    for topic in ("b", "a", "b"):
        producer.produce(Output(topic, [b"0"]))
    with pytest.raises(AbortableError, match=r"3 records for a or b are not .* after 2 s") as told:
        producer.flush(2)
    assert not told.value.remedy
    with pytest.raises(AbortableError, match="3 records for  are"):
        producer.flush(2)


def test_a_fatal_error_fences_whatever_else_there_is(producer, client):
    producer._failures.error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    producer.flush(1)
    producer._failures.error(KafkaError(KafkaError._FATAL, "fenced off", fatal=True))
    producer._failures.delivered(KafkaError(KafkaError._MSG_TIMED_OUT), RECORD)
    client.left = 3
    with pytest.raises(FencedError, match="id: fenced off") as told:
        producer.flush(1)
    assert told.value.remedy == "make a new producer"


def test_what_an_earlier_transaction_threw_away_is_heard_before_the_next_begins(producer, client):
    producer.begin()
    assert client.asked == [("poll", 0), ("begin_transaction",)]
    client.problems["begin_transaction"] = [FENCED]
    with pytest.raises(FencedError, match="id: beginning a transaction"):
        producer.begin()


def test_only_an_open_transaction_is_aborted_and_what_failed_in_it_is_forgotten(producer, client):
    producer.abort(5)
    assert client.asked == []
    producer.begin()
    producer._failures.delivered(KafkaError(KafkaError._MSG_TIMED_OUT), RECORD)
    producer.abort(5)
    producer.abort(5)
    producer.flush(1)
    producer.begin()
    producer.commit(5)
    producer.abort(5)
    assert client.names() == [
        "poll", "begin_transaction", "abort_transaction", "flush", "poll", "begin_transaction",
        "commit_transaction",
    ]  # fmt: skip


def test_positions_go_with_their_metadata_and_the_standing(producer, client):
    offsets = {
        TopicPartition("in", 3): Committed(7, "m"),
        TopicPartition("in", 4): Committed(8, ""),
    }
    producer.send_offsets(offsets, Membership(1, frozenset(), b"token"), 5)
    ((_, positions, token, limit_s),) = client.asked
    found = [(p.topic, p.partition, p.offset, p.metadata) for p in positions]
    assert found == [("in", 3, 7, "m"), ("in", 4, 8, "")]
    assert (token, 0 < limit_s <= 5) == (b"token", True)
    client.problems["send_offsets_to_transaction"] = [FENCED]
    with pytest.raises(FencedError, match="sending the offsets"):
        producer.send_offsets(offsets, Membership(1, frozenset(), b"token"), 5)
    client.problems["send_offsets_to_transaction"] = [SILENT]
    with pytest.raises(AbortableError, match="sending the offsets"):
        producer.send_offsets(offsets, Membership(1, frozenset(), b"token"), 0)
    assert client.asked[-1] == ("poll", 0)


def test_a_call_is_made_again_within_its_limit_and_only_where_the_client_says_so(
    producer, client, monkeypatch
):
    now = [100.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(
        monotonic=lambda: now[0], sleep=lambda s: now.__setitem__(0, now[0] + s)
    ))  # fmt: skip
    client.problems["init_transactions"] = [SILENT] * 99
    with pytest.raises(RetriableError, match="id: taking the identity"):
        producer.start(0.07)
    limits = [asked[1] for asked in client.asked]
    assert limits == pytest.approx([0.07, 0.05, 0.03, 0.01])
    client.asked.clear()
    with pytest.raises(RetriableError):
        producer.start(-1)
    assert client.asked == [("init_transactions", 0.001)]
    client.asked.clear()
    with pytest.raises(RetriableError):
        producer.start(0.02)
    assert len(client.asked) == 1
    for problem, kind in ((LARGE, LogError), (SystemError("x"), FencedError)):
        client.asked.clear()
        client.problems["init_transactions"] = [problem]
        with pytest.raises(kind):
            producer.start(50)
        assert len(client.asked) == 1


def test_closing_throws_away_what_waits_and_asks_for_no_answer(producer, client):
    client.problems["poll"] = [SystemError("fatal")]
    producer.close()
    assert client.asked == [
        ("purge", {"in_queue": True, "in_flight": True, "blocking": False}), ("poll", 0)
    ]  # fmt: skip
    producer.close()
    assert len(client.asked) == 2
