"""What the store makes of a server that refuses; the server speaks from a list."""

import socketserver
import threading
from contextlib import contextmanager

import pytest

from processor.connectors.ports import Owner
from processor.connectors.redis.store import RedisStore
from processor.errors import StoreError

LOADING = "-LOADING the dataset is in memory"
READ_ONLY = "-READONLY You can't write against a read only replica."
DISK = "-MISCONF Errors writing to the AOF file: No space left on device"


class Scripted(socketserver.ThreadingTCPServer):
    """Answers CONFIG and SET with the next reply of its list, the last again and again."""

    daemon_threads = allow_reuse_address = True

    def __init__(self, replies):
        self.replies, self.heard, self.connections = replies, [], 0
        super().__init__(("127.0.0.1", 0), Conversation)

    def next(self):
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


class Conversation(socketserver.StreamRequestHandler):
    def handle(self):
        self.server.connections += 1
        while words := self._command():
            if words[0] in ("CONFIG", "SET"):
                self.server.heard.append(words)
                reply = self.server.next()
            else:
                reply = "$-1" if words[0] == "GET" else "+OK"
            self.wfile.write(f"{reply}\r\n".encode())

    def _command(self):
        count = int(self.rfile.readline().strip()[1:] or 0)
        words = []
        for _ in range(count):
            size = int(self.rfile.readline()[1:])
            words.append(self.rfile.read(size + 2)[:-2].decode())
        return words


@contextmanager
def serving(*replies, retry_s=20.0):
    with Scripted(list(replies)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        store = RedisStore(f"redis://127.0.0.1:{server.server_address[1]}/0", retry_s=retry_s)
        yield server, store
        store.close()
        server.shutdown()
        thread.join()


def acquire(store):
    return store.acquire({"app/rides/0": Owner("me", "app.me", 1)})


def test_a_primary_that_has_become_a_replica_is_asked_again_over_a_new_connection():
    with serving(READ_ONLY, READ_ONLY, "+OK") as (server, store):
        acquire(store)
        assert len(server.heard) == 3
        assert server.connections == 3


def test_a_server_that_stays_a_replica_is_told_with_the_remedy():
    with serving(READ_ONLY, retry_s=0.05) as (_, store):
        with pytest.raises(StoreError, match="is a replica that takes no writes") as caught:
            acquire(store)
        assert "address of the primary" in caught.value.remedy


def test_the_first_question_waits_while_the_server_loads():
    with serving(LOADING, LOADING, "*2\r\n+name\r\n+value") as (_, store):
        assert store.policy() == {"name": "value"}


def test_a_server_that_loads_for_too_long_is_told():
    with (
        serving(LOADING, retry_s=0.05) as (_, store),
        pytest.raises(StoreError, match="is still loading its data set"),
    ):
        store.policy()


def test_an_address_where_nobody_listens_is_told_at_once():
    with serving("+OK") as (server, _):
        port = server.server_address[1]
    store = RedisStore(f"redis://127.0.0.1:{port}/0", retry_s=1_000_000)
    with pytest.raises(StoreError, match="cannot be reached"):
        store.policy()


def test_a_server_that_does_not_let_us_see_its_settings_is_taken_as_it_is():
    with serving("-NOPERM this user has no permissions to run the 'config' command") as (_, store):
        assert store.policy() is None


def test_a_disk_that_is_full_is_told_with_the_remedy():
    with serving(DISK) as (_, store):
        with pytest.raises(StoreError, match="cannot write to its own disk") as caught:
            acquire(store)
        assert "No space left on device" in caught.value.message
        assert caught.value.remedy.startswith("give that disk room")
