import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from processor.connectors.ports import Blob
from processor.connectors.redis.embedded import EmbeddedRedis
from processor.connectors.redis.store import RedisStore
from processor.errors import StoreError

TASK = "app/rides/0"
CHILD = """
import sys
from pathlib import Path
from processor.connectors.redis.embedded import EmbeddedRedis
server = EmbeddedRedis(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
sys.stdin.read()
"""


def read(server):
    store = RedisStore(server.url)
    try:
        return store.load(TASK, ["d:1:a"])
    finally:
        store.close()


def write(server):
    store = RedisStore(server.url)
    store.stage({TASK: [Blob("d:1:a", b"x", 1)]})
    store.close()


def test_it_keeps_data_over_runs_and_evicts_nothing(tmp_path):
    with EmbeddedRedis(tmp_path) as server:
        write(server)
        store = RedisStore(server.url)
        policy = store.policy()
        store.close()
        assert policy is not None
        assert policy["maxmemory-policy"] == "noeviction"
        assert policy["appendonly"] == "yes"
    with EmbeddedRedis(tmp_path) as server:
        assert read(server) == [b"x"]


def test_without_a_directory_nothing_is_left():
    with EmbeddedRedis() as server:
        write(server)
        path = Path(server.url.removeprefix("unix://").partition("?")[0])
        assert path.is_socket()
    assert not path.parent.exists()


def test_a_second_server_in_the_directory_is_refused(tmp_path):
    with EmbeddedRedis(tmp_path) as server:
        write(server)
        with pytest.raises(StoreError, match="in use by process"):
            EmbeddedRedis(tmp_path).start()
        assert read(server) == [b"x"]


def test_a_long_path_is_no_trouble(tmp_path):
    with EmbeddedRedis(tmp_path / ("long" * 30)) as server:
        write(server)


def test_it_dies_with_its_parent_and_the_next_takes_the_directory(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[4],
    ) as child:
        assert child.stdout
        assert child.stdout.readline()
        child.kill()
    with EmbeddedRedis(tmp_path) as server:  # waits for the lock of the dying server
        write(server)


def test_a_store_rides_out_a_restart(tmp_path):
    with EmbeddedRedis(tmp_path) as server:
        write(server)
        store = RedisStore(server.url)
        store.ping()
        assert server.pid
        os.kill(server.pid, signal.SIGKILL)
        found = []
        reader = Thread(target=lambda: found.append(store.load(TASK, ["d:1:a"])))
        reader.start()
        server.close()
        server.start()
        reader.join(30)
        store.close()
        assert found == [[b"x"]]


def test_a_server_that_cannot_start_says_why(tmp_path):
    with pytest.raises(StoreError, match="maxmemory"):
        EmbeddedRedis(tmp_path, config={"maxmemory": "plenty"}).start()


def test_a_full_server_is_told_with_its_remedy():
    with EmbeddedRedis(config={"maxmemory": "3mb"}) as server:
        store = RedisStore(server.url)
        with pytest.raises(StoreError, match="raise maxmemory"):
            for epoch in (1, 2):
                store.stage({TASK: [Blob(f"d:{epoch}:a", b"x" * 4_000_000, epoch)]})
        store.close()


def test_an_address_in_an_error_has_no_password():
    store = RedisStore("redis://user:hidden@127.0.0.1:1/0", retry_s=0)
    with pytest.raises(StoreError, match=r"redis://127.0.0.1:1/0 cannot be reached") as raised:
        store.ping()
    assert "hidden" not in str(raised.value)
