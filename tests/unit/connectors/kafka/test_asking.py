"""Requests to a broker: what comes of an answer, of none, and of one that passes by itself."""

from __future__ import annotations

from concurrent.futures import Future

import pytest
from confluent_kafka import KafkaError, KafkaException

from processor.connectors.kafka import asking
from processor.connectors.kafka.asking import answered, retried
from processor.errors import FencedError, LogError, RetriableError


def holding(result=None, error=None) -> Future:
    future = Future()
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
    return future


def test_an_answer_is_given_and_an_error_is_told_with_what_was_asked(monkeypatch):
    assert answered(holding(7), "asking") == 7
    with pytest.raises(FencedError, match="asking: "):
        answered(holding(error=KafkaException(KafkaError(KafkaError.PRODUCER_FENCED))), "asking")
    monkeypatch.setattr(asking, "REQUEST_S", -1)
    with pytest.raises(RetriableError, match="asking: no answer"):
        answered(Future(), "asking")


def test_what_passes_by_itself_is_asked_again_ever_more_slowly(monkeypatch):
    waits, left = [], [RetriableError("soon")] * 7
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)

    def ask():
        if left:
            raise left.pop()
        return "there"

    assert retried(ask) == "there"
    assert waits == pytest.approx([0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5])


def test_what_does_not_pass_is_told_as_it_was(monkeypatch):
    tries = []

    def ask():
        tries.append(1)
        raise (LogError if len(tries) == 1 else RetriableError)("no")

    with pytest.raises(LogError):
        retried(ask)
    assert len(tries) == 1
    monkeypatch.setattr(asking, "RETRY_S", 0)
    with pytest.raises(RetriableError, match="no"):
        retried(ask)
    assert len(tries) == 2
