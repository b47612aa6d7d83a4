import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Thread

import pytest

from processor.connectors.ports import Blob
from processor.connectors.redis import embedded as module
from processor.connectors.redis.embedded import EmbeddedRedis, state_directory
from processor.connectors.redis.store import RedisStore
from processor.errors import SettingsError, StoreError
from tests.unit.others import anothers, mode

TASK = "app/rides/0"
CHILD = """
import sys
import tempfile
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


def test_a_long_path_of_temporary_files_is_no_trouble(tmp_path, monkeypatch):
    (tmp_path / ("long" * 30)).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 30)))
    with EmbeddedRedis() as server:
        write(server)


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


def test_a_server_that_cannot_start_says_why_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_START_S", 1e6)
    with pytest.raises(StoreError, match=r"ended at once(.|\n)*maxmemory"):
        failed = EmbeddedRedis(tmp_path, config={"maxmemory": "plenty"})
        failed.start()
    assert failed.pid is None
    with EmbeddedRedis(tmp_path) as server:  # it lets go of the directory
        write(server)


def test_its_log_is_of_this_run_and_signals_of_the_terminal_are_not_for_it(tmp_path):
    (tmp_path / "redis.log").write_text("earlier\n" * 9_999)
    with EmbeddedRedis(tmp_path) as server:
        assert os.getsid(server.pid) == server.pid
        assert "earlier" not in (tmp_path / "redis.log").read_text()


@pytest.mark.parametrize("loose", [".", "redis.log"])
def test_rights_that_others_had_are_told_of_be_it_in_the_directory_or_in_a_file(
    tmp_path, caplog, loose
):
    with EmbeddedRedis(tmp_path / "state"):
        pass
    (tmp_path / "state" / loose).chmod(0o755)
    with EmbeddedRedis(tmp_path / "state"):
        assert "could be read by other users" in caplog.text


def test_a_temporary_directory_that_cannot_be_made_is_told_and_one_that_is_gone_is_no_error(
    monkeypatch, tmp_path
):
    # A directory that the test has made: what the product tells may be wrong, and it is deleted.
    made = tmp_path / "temporary"
    made.mkdir(mode=0o700)
    monkeypatch.setattr(module.tempfile, "mkdtemp", lambda **_: str(made))
    with EmbeddedRedis():
        shutil.rmtree(made)

    def full(**_):
        raise OSError("no space")

    monkeypatch.setattr(module.tempfile, "mkdtemp", full)
    with pytest.raises(SettingsError, match="no temporary directory can be made: no space"):
        EmbeddedRedis().start()


def test_a_server_that_does_not_stop_is_killed(tmp_path, monkeypatch):
    server = EmbeddedRedis(tmp_path)
    server.start()
    process = server._process
    os.kill(process.pid, signal.SIGSTOP)
    monkeypatch.setattr(module, "_STOP_S", 0.05)
    server.close()
    assert process.returncode == -signal.SIGKILL
    monkeypatch.undo()
    with EmbeddedRedis(tmp_path) as server:
        write(server)


def test_where_the_data_are_is_said_by_the_environment_or_is_below_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_directory() == tmp_path / "state" / "processor"
    for nothing in (lambda: monkeypatch.setenv("XDG_STATE_HOME", ""),
                    lambda: monkeypatch.delenv("XDG_STATE_HOME")):  # fmt: skip
        nothing()
        assert state_directory() == tmp_path / ".local" / "state" / "processor"

    def homeless():
        raise RuntimeError("none")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(SettingsError, match="this user has no home directory: none") as raised:
        state_directory()
    assert "--redis-url" in raised.value.remedy


def test_it_is_stopped_by_the_process_that_started_it_and_by_no_other(tmp_path):
    server = EmbeddedRedis(tmp_path)
    server.close()
    server._pid = 1  # made by another process, which forked
    server.start()
    process = server._process
    assert server._pid == os.getpid()
    server.start()
    assert server._process is process
    server._pid = 1
    server.close()
    assert process.poll() is None
    server._pid = os.getpid()
    server.close()
    server.close()
    assert (process.poll(), server.pid) == (0, None)


def test_a_full_server_is_told_with_its_remedy():
    with EmbeddedRedis(config={"maxmemory": "3mb"}) as server:
        store = RedisStore(server.url)
        with pytest.raises(StoreError, match="raise maxmemory"):
            for epoch in (1, 2):
                store.stage({TASK: [Blob(f"d:{epoch}:a", b"x" * 4_000_000, epoch)]})
        store.close()


def rights(directory):
    return {p.name: mode(p) for p in (directory, *directory.rglob("*")) if not p.is_symlink()}


def private(directory):
    """Directories 0700 and files 0600, all of them."""
    found = rights(directory)
    wanted = {p.name: 0o700 if p.is_dir() else 0o600 for p in (directory, *directory.rglob("*"))}
    assert {"redis.log", "redis.lock", "appendonlydir"} <= found.keys()
    return found == wanted


def test_what_it_keeps_is_for_its_user_alone(tmp_path):
    before = os.umask(0o022)
    try:
        with EmbeddedRedis(tmp_path / "state" / "processor") as server:
            write(server)
            directory = tmp_path / "state" / "processor"
            assert (directory / "redis.sock").is_socket()
            assert private(directory), rights(directory)
            assert mode(tmp_path / "state") == 0o700
    finally:
        os.umask(before)
    assert private(directory), rights(directory)


def test_without_a_directory_it_is_for_its_user_alone_too():
    with EmbeddedRedis() as server:
        write(server)
        path = Path(server.url.removeprefix("unix://").partition("?")[0]).parent
        assert private(path), rights(path)


def test_a_directory_of_an_earlier_version_goes_on_and_is_tightened(tmp_path, caplog):
    directory = tmp_path / "processor"
    with EmbeddedRedis(directory) as server:
        write(server)
    for path in (directory, *directory.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    with EmbeddedRedis(directory) as server:
        assert read(server) == [b"x"]
        assert private(directory), rights(directory)
    assert f"{directory} could be read by other users" in caplog.text
    caplog.clear()
    with EmbeddedRedis(directory) as server:
        assert read(server) == [b"x"]
    assert not caplog.text


def test_a_directory_of_another_user_is_refused(tmp_path, monkeypatch):
    directory = tmp_path / "processor"
    directory.mkdir(mode=0o755)
    anothers(directory, monkeypatch)
    with pytest.raises(SettingsError, match="processor cannot be used: it is of another user"):
        EmbeddedRedis(directory).start()
    assert mode(directory) == 0o755
    assert not list(directory.iterdir())


def test_a_link_to_a_directory_is_followed_where_it_is_ours_only(tmp_path, monkeypatch):
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    with EmbeddedRedis(link) as server:
        write(server)
    with EmbeddedRedis(real) as server:
        assert read(server) == [b"x"]
    anothers(link, monkeypatch)
    with pytest.raises(SettingsError, match="of another user"):
        EmbeddedRedis(link).start()


@pytest.mark.parametrize("name", ["redis.log", "redis.lock"])
def test_a_link_in_the_place_of_a_file_empties_nothing(tmp_path, name):
    victim, directory = tmp_path / "victim", tmp_path / "processor"
    victim.write_text("dear")
    directory.mkdir(mode=0o700)
    (directory / name).symlink_to(victim)
    with pytest.raises(SettingsError, match=f"{name} cannot be used: it is a link"):
        EmbeddedRedis(directory).start()
    assert victim.read_text() == "dear"


def test_the_umask_is_the_servers_only(tmp_path):
    before = os.umask(0o027)
    try:
        with EmbeddedRedis(tmp_path):
            assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


def test_an_address_in_an_error_has_no_password():
    store = RedisStore("redis://user:hidden@127.0.0.1:1/0", retry_s=0)
    with pytest.raises(StoreError, match=r"redis://127.0.0.1:1/0 cannot be reached") as raised:
        store.ping()
    assert "hidden" not in str(raised.value)
