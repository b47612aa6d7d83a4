"""What the store makes of a server that refuses; the server speaks from a list."""

import socketserver
import threading
from contextlib import contextmanager, nullcontext

import pytest
import redis

from processor.connectors.ports import Blob, Owner
from processor.connectors.redis import store as module
from processor.connectors.redis.store import RedisStore
from processor.errors import SettingsError, StoreAwayError, StoreError
from tests.contract.drive import unique

LOADING = "-LOADING the dataset is in memory"
READ_ONLY = "-READONLY You can't write against a read only replica."
DISK = "-MISCONF Errors writing to the AOF file: No space left on device"


class Scripted(socketserver.ThreadingTCPServer):
    """Answers CONFIG, SET and PING with the next reply of its list, the last again and again."""

    daemon_threads = allow_reuse_address = True

    def __init__(self, replies):
        self.replies, self.heard, self.connections = replies, [], 0
        self.ended = threading.Event()
        super().__init__(("127.0.0.1", 0), Conversation)

    def next(self):
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


class Conversation(socketserver.StreamRequestHandler):
    def handle(self):
        self.server.connections += 1
        while words := self._command():
            if words[0] in ("CONFIG", "SET", "PING"):
                self.server.heard.append(words)
                reply = self.server.next()
            else:
                reply = "+OK"
            self.wfile.write(f"{reply}\r\n".encode())
        self.server.ended.set()

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


def write(store):
    store.begin({"app/rides/0": 1})


def test_a_primary_that_has_become_a_replica_is_asked_again_over_a_new_connection():
    with serving(READ_ONLY, READ_ONLY, "+OK") as (server, store):
        write(store)
        assert len(server.heard) == 3
        assert server.connections == 3


def test_a_server_that_stays_a_replica_is_told_with_the_remedy():
    with serving(READ_ONLY, retry_s=0.05) as (_, store):
        with pytest.raises(StoreError, match="is a replica that takes no writes") as caught:
            write(store)
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
            write(store)
        assert "No space left on device" in caught.value.message
        assert caught.value.remedy.startswith("give that disk room")


@pytest.mark.parametrize("reply", [LOADING, READ_ONLY, "-MASTERDOWN Link with MASTER is down"])
def test_what_passes_by_itself_is_told_as_such(reply):
    with serving(reply, retry_s=0.05) as (_, store), pytest.raises(StoreAwayError):
        write(store)


@pytest.mark.parametrize("reply", [DISK, "-NOPERM no", "-WRONGPASS no", "-ERR unknown command"])
def test_what_somebody_has_to_mend_is_told_as_such(reply):
    with serving(reply, retry_s=0.05) as (_, store), pytest.raises(StoreError) as caught:
        write(store)
    assert not isinstance(caught.value, StoreAwayError)


@pytest.mark.parametrize("url", ["cache:6379", "http://cache", "redis://cache/0?db=x"])
def test_an_address_that_cannot_be_read_is_told_before_anything_is_asked(url):
    with pytest.raises(SettingsError, match="cannot be read") as caught:
        RedisStore(url)
    assert "redis://host:port/database" in caught.value.remedy


def test_what_listens_is_looked_at_only_until_the_server_has_answered_once(monkeypatch):
    looked = []
    real = module.told

    def told(error, where, *, first):
        looked.append(first)
        return real(error, where)

    monkeypatch.setattr(module, "told", told)
    with serving("-ERR no", "+PONG", "-ERR no", retry_s=0) as (_, store):
        for wrong in (True, False, True):
            with pytest.raises(StoreError) if wrong else nullcontext():
                store.ping()
    assert looked == [True, False]


def test_closing_lets_go_of_the_connection():
    with serving("+PONG") as (server, store):
        store.ping()
        assert not server.ended.is_set()
        store.close()
        assert server.ended.wait(10)


def test_a_server_that_is_gone_is_away():
    with serving("+OK") as (server, _):
        port = server.server_address[1]
    store = RedisStore(f"redis://127.0.0.1:{port}/0", retry_s=0.05)
    with pytest.raises(StoreAwayError, match="cannot be reached"):
        write(store)


def test_a_value_that_the_server_would_not_take_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(module, "VALUE_BYTES_MAX", 100)
    with serving("+OK") as (server, store):
        with pytest.raises(StoreError, match=r"d:7:ab of task app/rides/0 has 101 bytes"):
            store.stage({"app/rides/0": [Blob("d:7:ab", b"x" * 101, 7)]})
        assert server.heard == []
        store._pipeline = lambda commands: [None] * len(commands)
        store.stage({"app/rides/0": [Blob("d:7:ab", b"x" * 100, 7)]})


@pytest.mark.redis
@pytest.mark.parametrize("kind", ["list", "text", "number"])
def test_whatever_lies_in_an_owner_record_or_an_index_is_overwritten(redis_server, kind):
    task = f"{unique('app')}/rides/0"
    client = redis.Redis.from_url(redis_server.url)
    for key in ("own", "index"):
        name = f"{{{task}}}:{key}"
        {
            "list": lambda name: client.rpush(name, b"a", b"b"),
            "text": lambda name: client.set(name, b"\xff{not json"),
            "number": lambda name: client.set(name, 7),
        }[kind](name)
    store = RedisStore(redis_server.url)
    me = Owner("me;1", "app.me", 1)
    assert store.stage({task: [Blob("d:1:a", b"1", 1)]})[task].owner is None
    assert store.owners([task]) == {task: None}
    assert store.acquire({task: me})[task].owner is None
    assert store.stage({task: [Blob("d:2:a", b"2", 2)]})[task].owner == me
    store.blobs(task)
    assert store.reindex(task) == store.blobs(task) == {"d:1:a": 1, "d:2:a": 2}
    assert store.delete(task, ["d:1:a"], me)
    assert store.blobs(task) == {"d:2:a": 2}
