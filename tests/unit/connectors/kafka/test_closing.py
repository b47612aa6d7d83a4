"""How a member leaves and its client ends, with a client that says so at the right moment."""

from __future__ import annotations

import threading
import time

import pytest
from confluent_kafka import KafkaError, KafkaException

from processor.connectors.kafka import closing
from processor.connectors.kafka.closing import end, leave_group


class Client:
    """Gives back its partitions and its name after so many turns; keeps what it was asked."""

    def __init__(self, assigned: int = 0, named: int = 0, problem: Exception | None = None) -> None:
        self.assigned, self.named, self.problem = assigned, named, problem
        self.asked: list[object] = []
        self.hold = threading.Event()

    def unsubscribe(self) -> None:
        self.asked.append("unsubscribe")

    def consume(self, count: int, timeout_s: float) -> list[object]:
        self.asked.append((count, timeout_s))
        if self.problem:
            raise self.problem
        self.assigned, self.named = self.assigned - 1, self.named - 1
        return []

    def assignment(self) -> list[str]:
        return ["p"] if self.assigned > 0 else []

    def memberid(self) -> str:
        return "me" if self.named > 0 else ""

    def close(self) -> None:
        self.asked.append("close")
        if self.problem:
            raise self.problem
        if not self.hold.wait(20):
            self.asked.append("never")


class Owner:
    def __init__(self, client: Client, turns: int) -> None:
        self.client, self.turns = client, turns

    def owns_any(self) -> bool:
        return len(self.client.asked) - 1 < self.turns


@pytest.mark.parametrize("turns", [(1, 0, 0), (3, 0, 0), (0, 3, 0), (0, 0, 3), (2, 3, 4)])
def test_a_member_has_left_when_all_is_back_and_the_broker_knows_its_name_no_more(turns):
    owned, assigned, named = turns
    client = Client(assigned, named)
    leave_group(client, Owner(client, owned))
    assert client.asked == ["unsubscribe", *[(1, 0.02)] * max(turns)]


def test_leaving_ends_after_its_limit_whatever_the_broker_does(monkeypatch):
    monkeypatch.setattr(closing, "LEAVE_S", 0.05)
    client = Client(assigned=1 << 40)
    before = time.monotonic()
    leave_group(client, Owner(client, 0))
    assert time.monotonic() - before >= 0.05
    assert len(client.asked) > 2


@pytest.mark.parametrize(
    "problem", [None, KafkaException(KafkaError(KafkaError._STATE)), SystemError("no")]
)
def test_a_client_is_served_once_and_closed_whatever_it_says_of_that(problem, caplog):
    client = Client(problem=problem)
    client.hold.set()
    with caplog.at_level("INFO"):
        end(client, "one")
    assert client.asked == [(1, 0), "close"]
    assert ("one: closing: " in caplog.text) == (problem is not None)
    assert "left behind" not in caplog.text


def test_a_client_that_does_not_close_is_left_behind_and_told_of(monkeypatch, caplog):
    monkeypatch.setattr(closing, "CLOSE_S", 0.05)
    client = Client()
    end(client, "one")
    assert "one: the client did not close within 0.05 s: left behind" in caplog.text
    assert [t.daemon for t in threading.enumerate() if "(_close)" in t.name] == [True]
    client.hold.set()
