"""A real socket on this machine: a server that sends, ends, and comes back."""

from __future__ import annotations

import socket
from threading import Thread

import pytest

from processor.errors import FeedError
from processor.feeds.base import Limit
from processor.feeds.tcp import Socket
from tests.unit.feeds.reading import Turned


class Server:
    """Listens, and takes a connection when it is asked to."""

    def __init__(self, port: int = 0) -> None:
        self.listening = socket.create_server(("127.0.0.1", port))
        self.port = self.listening.getsockname()[1]
        self.taken: socket.socket | None = None

    def send(self, data: bytes) -> None:
        if self.taken is None:
            self.listening.settimeout(5)
            self.taken, _ = self.listening.accept()
        self.taken.sendall(data)

    def end(self) -> None:
        if self.taken is not None:
            self.taken.close()
            self.taken = None

    def close(self) -> None:
        self.end()
        self.listening.close()


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


def waited(one: Turned, records: int = 100):
    for _ in range(200):
        piece = one.reading.read(Limit(records, 1 << 20, wait_s=0.02))
        if piece is not None:
            return piece
    raise AssertionError("nothing came")


def connected(server: Server) -> Turned:
    one = Turned(Socket("127.0.0.1", server.port))
    assert one.reading.read(Limit(1, 1, wait_s=0.0)) is None  # it connects
    return one


def test_lines_come_once_they_are_whole_and_until_they_are_committed(server):
    one = connected(server)
    server.send(b"a\r\nb\nc")
    assert waited(one, 1).values == [b"a"]
    first = waited(one)
    assert first.values == [b"a", b"b"]
    one.commit(first)
    server.send(b"d\n")
    assert waited(one).values == [b"cd"]
    one.reading.close()


def test_a_server_that_ends_is_connected_to_again_and_a_line_that_was_cut_off_is_told(server):
    one = connected(server)
    server.send(b"a\nhalf")
    one.commit(waited(one))
    server.end()
    while not one.told:
        one.reading.read(Limit(9, 9, wait_s=0.02))
    assert "in the middle of a line: 4 bytes are left out" in one.told[0]
    one.reading.read(Limit(9, 9, wait_s=0.0))
    server.send(b"b\n")
    assert waited(one).values == [b"b"]
    one.reading.close()


def test_while_nobody_listens_it_is_tried_again_with_pauses_that_grow(server):
    port = server.port
    server.close()
    one = Turned(Socket("127.0.0.1", port))
    pauses = []
    for _ in range(8):
        one.read()
        before = one.clock.monotonic_s()
        pauses.append(max(0.0, one.reading._again_s - before))
        one.clock.advance(pauses[-1] + 0.001)
    assert pauses == pytest.approx([0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0], abs=1e-3)
    assert len(one.told) == 1
    assert "refused" in one.told[0]
    again = Server(port)
    one.clock.advance(5)
    one.read()
    again.send(b"x\n")
    assert waited(one).values == [b"x"]
    one.reading.close()
    again.close()


@pytest.mark.parametrize("size", [1_000_000, 1_000_001, 3_000_000])
def test_a_line_that_has_no_room_in_a_topic_is_left_out_as_one_and_told_once(server, size):
    one = connected(server)
    sending = Thread(target=server.send, args=(b"x" * size + b"\r\nb\n",))
    sending.start()
    found = []
    while found[-1:] != [b"b"]:
        piece = waited(one)
        found += piece.values
        one.commit(piece)
    sending.join()
    left_out = size > 1_000_000
    assert [len(line) for line in found] == ([1] if left_out else [size, 1])
    assert ["is left out" in told for told in one.told] == [True] * left_out
    one.reading.close()


def test_a_line_that_has_no_room_stops_a_run_that_is_to_fail(server):
    one = Turned(Socket("127.0.0.1", server.port), on_error="fail")
    one.read()
    sending = Thread(target=server.send, args=(b"x" * 1_100_000 + b"\n",))
    sending.start()
    with pytest.raises(FeedError, match="a line of more than 1000000 bytes"):
        waited(one)
    sending.join()
    one.reading.close()
