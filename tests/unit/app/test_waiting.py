from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request
from datetime import timedelta

import pytest
import structlog

from processor.app.backends import patiently
from processor.errors import RegistryAwayError, RetriableError, StoreAwayError
from processor.metrics.server import serve
from processor.settings import Settings


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def asked(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_while_a_run_waits_for_its_servers_it_is_alive_and_not_ready_and_says_why():
    port = free_port()
    settings = Settings(metrics_port=port, give_up_after=timedelta(seconds=60))
    seen = []

    def away_once() -> str:
        if not seen:
            seen.append("first")
            raise RetriableError("no Kafka broker answered at nowhere:9092")
        seen.append((asked(port, "/livez")[0], asked(port, "/readyz")))
        seen.append(asked(port, "/metrics")[1])
        return "there"

    assert patiently(settings, threading.Event(), away_once, apps=["rides"]) == "there"
    live, (ready, why) = seen[1]
    assert (live, ready) == (200, 503)
    assert "waiting: no Kafka broker answered at nowhere:9092" in why
    assert 'processor_ready{topology=""} 0.0' in seen[2]
    assert 'processor_broker_up{topology=""} 0.0' in seen[2]
    assert "processor_store_up{" not in seen[2]
    with pytest.raises(urllib.error.URLError):
        asked(port, "/livez")


def test_a_schema_registry_that_is_away_is_neither_a_broker_nor_a_store_that_is_down():
    port = free_port()
    settings = Settings(metrics_port=port, give_up_after=timedelta(seconds=60))
    seen = []

    def away_once() -> str:
        if not seen:
            seen.append("first")
            raise RegistryAwayError("the schema registry at nowhere does not answer")
        seen.append((asked(port, "/readyz"), asked(port, "/metrics")[1]))
        return "there"

    assert patiently(settings, threading.Event(), away_once, apps=["rides"]) == "there"
    (ready, why), metrics = seen[1]
    assert ready == 503
    assert "waiting: the schema registry at nowhere does not answer" in why
    assert 'processor_ready{topology=""} 0.0' in metrics
    assert "processor_broker_up{" not in metrics
    assert "processor_store_up{" not in metrics


def test_the_ports_of_all_workers_are_answered_and_one_that_is_taken_is_left_alone():
    port = free_port()
    settings = Settings(metrics_port=port, give_up_after=timedelta(seconds=60))
    seen = []

    def away_once() -> None:
        if not seen:
            seen.append(0)
            raise RetriableError("away")
        seen.extend(asked(port + number, "/readyz")[0] for number in (0, 2))

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + 1))
        taken.listen()
        patiently(settings, threading.Event(), away_once, range(3), apps=["rides"])
    assert seen == [0, 503, 503]


def test_a_port_that_was_just_asked_can_be_taken_again():
    from prometheus_client import CollectorRegistry

    first = serve(CollectorRegistry(), 0)
    asked(first.port, "/livez")
    with socket.create_connection(("127.0.0.1", first.port)) as left:
        left.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        first.close()
        second = serve(CollectorRegistry(), first.port)
    second.close()


@pytest.mark.parametrize(("numbers", "worker"), [((0,), 0), ((5,), 5), (range(2, 4), "2 to 3")])
def test_lines_of_waiting_name_worker_and_topology_and_one_tells_that_it_is_over(numbers, worker):
    tries = iter([RetriableError("away"), StoreAwayError("gone"), None])

    def away_twice() -> str:
        if (error := next(tries)) is not None:
            raise error
        return "there"

    with structlog.testing.capture_logs() as lines:
        patiently(Settings(), threading.Event(), away_twice, numbers, apps=["rides", "spend"])
    assert [line["event"] for line in lines] == ["waiting", "waiting", "waiting is over"]
    assert {line["topology"] for line in lines} == {"rides, spend"}
    assert {line["worker"] for line in lines} == {worker}
    assert {line["log_level"] for line in lines} == {"warning"}
    assert lines[-1]["after_s"] >= 0
    assert [line["give_up_after_s"] for line in lines[:-1]] == [900, 900]


def test_where_nothing_was_away_nothing_is_told():
    with structlog.testing.capture_logs() as lines:
        patiently(Settings(), threading.Event(), lambda: "there", apps=["rides"])
    assert lines == []


def test_questions_that_a_registry_does_not_answer_are_counted_before_there_is_a_worker():
    port = free_port()
    tries = iter(range(3))
    shown = []

    def away_twice() -> str:
        if (number := next(tries)) < 2:
            raise RegistryAwayError("the schema registry at nowhere does not answer")
        shown.append(asked(port, "/metrics")[1])
        return str(number)

    patiently(Settings(metrics_port=port), threading.Event(), away_twice, apps=["rides"])
    assert 'processor_registry_failures_total{topology=""} 2.0' in shown[0]
    assert 'processor_ready{topology=""} 0.0' in shown[0]
