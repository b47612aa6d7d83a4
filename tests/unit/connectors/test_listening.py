"""What an address says to a greeting."""

from __future__ import annotations

import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest

from processor.connectors import listening
from processor.connectors.listening import answers, speaks_tls

ALERT = bytes.fromhex("15030300020246")


@contextmanager
def saying(*replies):
    """Takes one connection, says each reply to what it hears, hangs up; tells what it heard."""
    heard = []

    def serve(server):
        connection, _ = server.accept()
        with connection:
            for reply in replies:
                heard.append(connection.recv(1 << 16))
                connection.sendall(reply)
            with suppress(ConnectionError):
                heard.append(connection.recv(1 << 16) if replies[-1] else b"")

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve, server)
        yield server.getsockname(), heard
        served.result(20)


@pytest.mark.parametrize("times", [1, 2])
def test_the_greeting_is_said_as_often_as_asked_and_no_more(times):
    with saying(b"one", b"two") as (address, heard):
        replies = [b"one", b"two"][:times]
        assert answers(address, b"hello", times) == replies
    assert heard[:times] == [b"hello"] * times
    assert b"hello" not in heard[times:]


def test_who_hangs_up_is_asked_no_more_and_what_it_said_before_is_told():
    with saying(b"one", b"") as (address, heard):
        assert answers(address, b"hello", 9) == [b"one"]
    assert heard == [b"hello", b"hello", b""]


def test_what_tls_says_of_a_greeting_without_it_is_no_answer():
    with saying(ALERT) as (address, heard):
        assert answers(address, b"hello", 9) == []
    assert heard == [b"hello", b""]
    with saying(ALERT) as (address, _):
        assert speaks_tls(address)


def test_who_hangs_up_at_a_greeting_in_tls_or_says_something_else_speaks_none():
    with saying(b"") as (address, _):
        assert not speaks_tls(address)
    with saying(b"-ERR what?\r\n") as (address, _):
        assert not speaks_tls(address)


def test_who_breaks_the_connection_off_speaks_no_tls():
    def serve(server):
        connection, _ = server.accept()
        connection.recv(1 << 16)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve, server)
        assert not speaks_tls(server.getsockname())
        served.result(20)


def test_who_says_nothing_or_does_not_listen_is_an_error_of_its_own(monkeypatch):
    monkeypatch.setattr(listening, "TRY_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = silent.getsockname()
        with pytest.raises(TimeoutError):
            answers(address, b"hello")
        with pytest.raises(TimeoutError):
            speaks_tls(address)
    for ask in (lambda: answers(address, b"hello"), lambda: speaks_tls(address)):
        with pytest.raises(ConnectionRefusedError):
            ask()
