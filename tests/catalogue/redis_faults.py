"""Faults of a Redis that is a local process: what it holds, its files, its settings."""

from __future__ import annotations

import random
import re
import signal
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.integration.running import until


def client(server):
    return redis.Redis.from_url(server.url, socket_timeout=10)


def ask(server, *command):
    with client(server) as asking:
        return asking.execute_command(*command)


def configure(server, **settings):
    for name, value in settings.items():
        ask(server, "CONFIG", "SET", name.replace("_", "-"), value)


def flush(server):
    ask(server, "FLUSHALL")


def blobs(server, pattern="d:*"):
    """The keys of the checkpoints, sorted by task and epoch."""
    found = [key.decode() for key in ask(server, "KEYS", f"{{*}}:{pattern}")]
    return sorted(found, key=lambda key: (_task(key), int(key.split("}:")[1].split(":")[1]), key))


def _task(key):
    return re.match(r"\{(.*)\}:", key)[1]


def parts(key):
    """A key's task, and the blob's name within it: what an error has to tell."""
    return _task(key), key.split("}:")[1]


def flip(server, key):
    """Alters one byte in the middle of a blob."""
    with client(server) as asking:
        data = bytearray(asking.get(key))
        data[len(data) // 2] ^= 1
        asking.set(key, bytes(data))


def flip_first(server):
    for key in blobs(server, "d:1:*"):
        flip(server, key)


def aof(server):
    """The file to which the server appends."""
    (found,) = Path(server._directory).glob("appendonlydir/*.incr.aof")
    return found


def cut(server, count):
    """SIGKILL, the last bytes of the append-only file gone, up again; what the file had been.

    ``count`` is a number of bytes or a share of the file. A SIGKILL alone loses nothing: what was
    written is in the page cache.
    """
    server.kill()
    path = aof(server)
    whole = path.read_bytes()
    left = len(whole) - (round(len(whole) * count) if isinstance(count, float) else count)
    path.write_bytes(whole[:left])
    server._start()
    return whole


def restore(server, whole):
    """The append-only file as it was before `cut`, as from a backup."""
    server.kill()
    aof(server).write_bytes(whole)
    server._start()


def follow(replica, primary):
    """Makes a replica, and returns when it has all."""
    host, port = primary.address.split(":")
    ask(replica, "REPLICAOF", host, port)
    in_step(replica, primary)


def in_step(replica, primary):
    def told():
        here, there = ask(replica, "INFO", "replication"), ask(primary, "INFO", "replication")
        up = here.get("master_link_status") == "up" and not here.get("master_sync_in_progress")
        return up and here["slave_repl_offset"] == there["master_repl_offset"]

    until(told, "the replica has everything")


def fail_over(primary, replica):
    """The replica is the primary now, the primary its replica; nothing is lost."""
    until(lambda: _ready_to_swap(primary), "the primary sees its replica")
    ask(primary, "FAILOVER", "TO", *replica.address.split(":"))
    until(lambda: _role(primary) == "slave" and _role(replica) == "master", "the fail-over")


def _ready_to_swap(primary):
    return ask(primary, "INFO", "replication")["connected_slaves"] >= 1


def _role(server):
    return ask(server, "INFO", "replication")["role"]


def take_over(server, other):
    """The other's data on the first one's address, as when an address follows a fail-over."""
    server.kill()
    other.stop()
    at = server._command.index("--dir") + 1
    server._command[at] = str(other._directory)
    server._start()


@contextmanager
def stopped(server):
    """The process stands still, connections and all."""
    server._process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server._process.send_signal(signal.SIGCONT)


FILLERS = 60


@contextmanager
def loading(server, seconds):
    """A restart in which the server loads its data for about so long, and says so."""
    choice = random.Random(1)
    with client(server) as asking:
        for i in range(FILLERS):  # bytes that do not get smaller by compression
            asking.set(f"filler:{i}", choice.randbytes(4096))
        # The server only answers while it loads the base file, so that has to have the keys.
        asking.execute_command("BGREWRITEAOF")
        until(lambda: not _rewriting(asking.info("persistence")), "the file is rewritten")
    answers, command = server._answers, list(server._command)
    server._command += ["--loading-process-events-interval-bytes", "1024"]
    server._command += ["--key-load-delay", str(round(seconds * 1_000_000 / FILLERS))]
    server._answers = _loads
    server.kill()
    server._start()
    server._answers, server._command = answers, command
    yield
    until(lambda: not _loading(server), "the data is loaded", seconds + 60)


def _rewriting(info):
    return info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"]


def _loads(address):
    """Raises unless the server says that it is loading."""
    with redis.Redis.from_url(f"redis://{address}/0", socket_timeout=2) as asking:
        try:
            asking.ping()
        except redis.BusyLoadingError:
            return
    raise ConnectionError("not loading yet")


def _loading(server):
    try:
        return ask(server, "INFO", "persistence")["loading"]
    except redis.RedisError:
        return True


def evict(server):
    """Lets the server throw away a checkpoint to make room."""
    before = len(blobs(server))
    configure(server, maxmemory=ask(server, "INFO", "memory")["used_memory"] + 200_000)
    with client(server) as asking:
        for i in range(2000):
            asking.set(f"filler:{i}", b"x" * 1000)
            if i % 50 == 49 and len(blobs(server)) < before:
                break
    configure(server, maxmemory=0)
    assert len(blobs(server)) < before, "nothing was evicted"
