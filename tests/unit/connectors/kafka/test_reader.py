"""A scan with a client that says what it is told to: where it ends, and what stops it."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from processor.connectors.kafka import reader as module
from processor.connectors.kafka.reader import scan
from processor.connectors.kafka.settings import Connection
from processor.errors import LogError, RetriableError
from processor.model.log import TopicPartition

IN = TopicPartition("in", 3)
EOF, AWAY = KafkaError(KafkaError._PARTITION_EOF), KafkaError(KafkaError._TRANSPORT)


class Record:
    def __init__(self, offset: int, error: Any = None) -> None:
        self.at, self.wrong = offset, error

    def offset(self) -> int:
        return self.at

    def error(self) -> Any:
        return self.wrong


class Client:
    def __init__(self, polls: list[list[Record]], extent: tuple[int, int] | Exception) -> None:
        self.polls, self.extent, self.asked = polls, extent, []
        self.closed = 0

    def __call__(self, configuration: dict[str, Any]) -> Client:
        self.isolation = configuration["isolation.level"]
        return self

    def get_watermark_offsets(self, where: Any, limit_s: float) -> tuple[int, int]:
        if isinstance(self.extent, Exception):
            raise self.extent
        return self.extent

    def assign(self, partitions: list[Any]) -> None:
        self.asked += [(p.topic, p.partition, p.offset) for p in partitions]

    def consume(self, count: int, limit_s: float) -> list[Record]:
        return self.polls.pop(0) if self.polls else []

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def scanned(monkeypatch):
    monkeypatch.setattr(module, "SILENCE_S", 0.05)

    def scanned(start, end, *polls, extent=(2, 9), committed=True):
        client = Client(list(polls), extent)
        monkeypatch.setattr(module, "Consumer", client)
        found, problem = [], None
        try:
            pieces = scan(Connection("b:1"), IN, start, end, committed=committed)
            found.extend([m.offset() for m in piece] for piece in pieces)
        except LogError as error:
            problem = error
        assert client.closed == 1
        return client, found, problem

    return scanned


def records(*offsets):
    return [Record(offset) for offset in offsets]


def test_a_scan_gives_the_records_of_its_range_and_ends_with_its_last(scanned):
    client, found, problem = scanned(
        4, 8, records(4, 5), records(), records(6), records(7), records(8)
    )
    assert (found, problem, client.asked) == ([[4, 5], [6], [7]], None, [("in", 3, 4)])
    assert (len(client.polls), client.isolation) == (1, "read_committed")
    client, found, problem = scanned(2, 8, records(2, 7, 8, 9), records(9), committed=False)
    assert (found, problem, client.isolation) == ([[2, 7]], None, "read_uncommitted")
    assert len(client.polls) == 1
    _, found, problem = scanned(0, 1, records(0), records(1), extent=(0, 9))
    assert (found, problem) == ([[0]], None)


def test_behind_the_last_record_the_mark_tells_the_end_of_the_partition(scanned):
    client, found, problem = scanned(4, 99, records(4), [Record(8, EOF)], [Record(9, EOF)], [])
    assert (found, problem, len(client.polls)) == ([[4]], None, 1)
    client, found, problem = scanned(4, 9, [*records(4), Record(9, EOF)], [])
    assert (found, problem, len(client.polls)) == ([[4]], None, 1)


@pytest.mark.parametrize(("start", "end"), [(9, 9), (9, 99), (5, 5), (6, 5)])
def test_an_empty_range_is_not_read(scanned, start, end):
    client, found, problem = scanned(start, end, records(5))
    assert (found, problem, client.asked, len(client.polls)) == ([], None, [], 1)


def test_what_stops_a_scan_is_told(scanned):
    _, found, problem = scanned(1, 9, records(5))
    assert (found, type(problem)) == ([], LogError)
    assert "out of range, the partition begins at 2" in problem.message
    assert scanned(2, 9, records(8))[1:] == ([[8]], None)
    _, found, problem = scanned(2, 9, records(5))
    assert (found, type(problem)) == ([[5]], RetriableError)
    assert "nothing came for 0.05 s" in problem.message
    wrong = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    _, found, problem = scanned(2, 9, records(5), [Record(0, wrong), Record(6)])
    assert (found, type(problem)) == ([[5]], LogError)
    assert "grant this principal access" in problem.remedy
    # What passes by itself does not.
    assert scanned(2, 9, [Record(0, AWAY), *records(5)], records(8))[1:] == ([[5], [8]], None)
    # Nor does an error say where the partition ends.
    assert scanned(2, 9, [Record(99, AWAY)], records(8))[1:] == ([[8]], None)
    assert scanned(0, 1, [Record(99, AWAY)], records(0), extent=(0, 9))[1:] == ([[0]], None)
    problem = scanned(2, 9, extent=KafkaException(KafkaError(KafkaError._TIMED_OUT)))[2]
    assert isinstance(problem, RetriableError)
    assert "in-3" in problem.message or "in" in problem.message


def test_silence_counts_from_what_came_last(scanned, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    class Slow(list):
        def pop(self, at):
            now[0] += 0.04
            return super().pop(at)

    def slowly(*polls):
        client = Client(Slow(polls), (2, 9))
        monkeypatch.setattr(module, "Consumer", client)
        return [m.offset() for p in scan(Connection("b:1"), IN, 2, 9, committed=True) for m in p]

    assert slowly(records(2), [], records(4), [], records(8)) == [2, 4, 8]
    with pytest.raises(RetriableError):
        slowly(records(2), [], [], records(8))
