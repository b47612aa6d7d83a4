import threading
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from processor.connectors.kafka import producer as module
from processor.connectors.kafka.producer import KafkaProducer
from processor.connectors.kafka.settings import Connection
from processor.errors import AbortableError, FencedError, OutcomeUnknownError
from processor.model.log import Membership, Output


def test_fewer_keys_than_values_are_refused_and_nothing_is_left_out():
    producer = KafkaProducer(Connection("127.0.0.1:1"), None)
    with pytest.raises(ValueError, match="1 keys for 2 values"):
        producer.produce(Output("out", [b"1", b"2"], [b"k"]))
    producer.close()


class Hanging:
    """A client whose first commit ends only when it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.commits: list[float] = []

    def commit_transaction(self, limit_s: float) -> None:
        self.commits.append(limit_s)
        if len(self.commits) == 1:
            self.let.wait()
            raise SystemError("the answer to the first")


def test_a_call_that_never_ends_is_left_behind_and_answers_no_later_one(monkeypatch):
    monkeypatch.setattr(module, "HANG_S", 0.01)
    producer = KafkaProducer(Connection("127.0.0.1:1"), None)
    real, producer._client = producer._client, Hanging()
    hanging, before = producer._client, set(threading.enumerate())
    with pytest.raises(FencedError, match="the client hangs"):
        producer.commit(0.01)
    (thread,) = set(threading.enumerate()) - before
    assert thread.daemon  # it does not keep the process from ending
    hanging.let.set()
    thread.join(10)
    assert not thread.is_alive()
    producer.commit(5)
    producer.commit(5)
    assert len(hanging.commits) == 3
    producer._client = real
    producer.close()


def test_calls_share_one_thread_which_ends_with_the_producer():
    producer = KafkaProducer(Connection("127.0.0.1:1"), None)
    real, producer._client = producer._client, Hanging()
    producer._client.let.set()
    before = set(threading.enumerate())
    with pytest.raises(FencedError, match="the answer to the first"):
        producer.commit(5)
    producer.commit(5)
    (thread,) = set(threading.enumerate()) - before
    producer._client = real
    producer.close()
    thread.join(5)
    assert not thread.is_alive()


class Refusing:
    """A client that does not take offsets, and tells of a record only when it is served."""

    def __init__(self, producer: KafkaProducer, undelivered: bool) -> None:
        self._producer, self._undelivered = producer, undelivered

    def send_offsets_to_transaction(self, *_: object) -> None:
        raise KafkaException(
            KafkaError(KafkaError._STATE, "a record has failed", txn_requires_abort=True)
        )

    def poll(self, _: float) -> None:
        if self._undelivered:
            record = SimpleNamespace(topic=lambda: "out")
            self._producer._failures.delivered(
                KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), record
            )


@pytest.mark.parametrize(
    ("undelivered", "told"),
    [(True, "1 records were not delivered, the first to out"), (False, "sending the offsets")],
)
def test_a_record_that_was_not_delivered_is_told_before_what_follows_from_it(undelivered, told):
    producer = KafkaProducer(Connection("127.0.0.1:1"), None)
    real, producer._client = producer._client, Refusing(producer, undelivered)
    with pytest.raises(AbortableError, match=told) as raised:
        producer.send_offsets({}, Membership(1, frozenset()), 5)
    assert bool(raised.value.remedy) == undelivered
    producer._client = real
    producer.close()


class Unanswering:
    """A client whose commit raises what it is told to, and which counts what it is asked for."""

    def __init__(self, *problems: KafkaException) -> None:
        self.problems, self.calls = list(problems), []

    def begin_transaction(self) -> None:
        self.calls.append("begin")

    def poll(self, _: float) -> None:
        pass

    def commit_transaction(self, _: float) -> None:
        self.calls.append("commit")
        if self.problems:
            raise self.problems.pop(0)

    def abort_transaction(self, _: float) -> None:
        self.calls.append("abort")


def timed_out() -> KafkaException:
    return KafkaException(KafkaError(KafkaError._TIMED_OUT, "no answer", retriable=True))


def test_a_commit_that_timed_out_may_have_happened_and_is_no_refusal():
    producer = KafkaProducer(Connection("127.0.0.1:1"), "one")
    real, producer._client = producer._client, Unanswering(timed_out())
    producer.begin()
    with pytest.raises(OutcomeUnknownError, match="one: committing: no answer"):
        producer.commit(0.0)
    # It is open still: who gives up has something to abort.
    producer.abort(5)
    assert producer._client.calls == ["begin", "commit", "abort"]
    producer._client = real
    producer.close()


def test_a_commit_that_timed_out_within_its_limit_is_made_again():
    producer = KafkaProducer(Connection("127.0.0.1:1"), "one")
    real, producer._client = producer._client, Unanswering(timed_out())
    producer.begin()
    producer.commit(60)
    producer.abort(5)
    assert producer._client.calls == ["begin", "commit", "commit"]
    producer._client = real
    producer.close()


def test_a_commit_that_was_refused_is_told_as_such():
    refused = KafkaException(KafkaError(KafkaError._STATE, "bad", txn_requires_abort=True))
    producer = KafkaProducer(Connection("127.0.0.1:1"), "one")
    real, producer._client = producer._client, Unanswering(refused)
    producer.begin()
    with pytest.raises(AbortableError, match="one: committing: bad"):
        producer.commit(60)
    assert producer._client.calls == ["begin", "commit"]
    producer._client = real
    producer.close()
