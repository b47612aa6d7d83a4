"""How a server is started: whose directory it is, who holds it, and how long is waited."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis

from processor.connectors.redis import embedded as module
from processor.connectors.redis.embedded import EmbeddedRedis
from processor.errors import SettingsError, StoreError


class Clock:
    """Goes on by sleeping only, always as far; ``then`` happens at the end of each sleep."""

    def __init__(self, monkeypatch, step, then=lambda count: None):
        self.now, self.step, self.slept, self.then = 5.0, step, 0, then
        monkeypatch.setattr(module, "SystemClock", lambda: self)
        monkeypatch.setattr(module.time, "sleep", self.sleep)

    def monotonic_s(self):
        return self.now

    def sleep(self, seconds):
        assert 0 < seconds < 1
        self.slept += 1
        assert self.slept < 100
        self.now += self.step
        self.then(self.slept)


class Place:
    """A directory with a lock that says who holds it, as it may be told."""

    def __init__(self, path, holder=None):
        self.path, self.opened = path, []
        (path / "redis.lock").write_text(holder or "")
        self.held = None if holder is None else self.file("redis.lock")
        if self.held is not None:
            fcntl.flock(self.held, fcntl.LOCK_EX)

    def file(self, name):
        self.opened.append(os.open(self.path / name, os.O_RDWR))
        return self.opened[-1]

    def release(self):
        os.close(self.held)

    def says(self):
        return (self.path / "redis.lock").read_text()


def test_who_takes_the_lock_says_so_in_it_and_nothing_else(tmp_path):
    place = Place(tmp_path)
    (tmp_path / "redis.lock").write_text("a longer text of someone earlier")
    taken = module._take(place)
    assert taken == place.opened[0]
    assert place.says() == f"{os.getpid()}\n"
    os.close(taken)


def test_a_lock_of_a_process_that_lives_is_refused_at_once(tmp_path, monkeypatch):
    clock, place = Clock(monkeypatch, 1.0), Place(tmp_path, f"{os.getpid()}\n")
    with pytest.raises(StoreError) as raised:
        module._take(place)
    assert raised.value.message.endswith(f" is in use by process {os.getpid()}")
    assert clock.slept == 0
    assert place.says() == f"{os.getpid()}\n"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(place.opened[1])
    place.release()


@pytest.mark.parametrize(
    ("holder", "shown"), [("\n", "?"), ("x" * 40, "x" * 32), ("no process", "no process")]
)
def test_a_lock_of_one_that_died_is_waited_for_so_long(tmp_path, monkeypatch, holder, shown):
    clock, place = Clock(monkeypatch, 2.5), Place(tmp_path, holder)
    with pytest.raises(StoreError) as raised:
        module._take(place)
    assert raised.value.message.endswith(f" is in use by process {shown}")
    assert clock.slept == module._ORPHAN_S / 2.5
    place.release()


def test_the_lock_is_taken_when_the_server_of_one_that_died_has_ended(tmp_path, monkeypatch):
    place = Place(tmp_path, "no process")
    clock = Clock(monkeypatch, 2.5, lambda slept: place.release() if slept == 3 else None)
    taken = module._take(place)
    assert clock.slept == 3
    assert place.says() == f"{os.getpid()}\n"
    os.close(taken)


def test_a_process_lives_where_it_can_be_asked_or_is_anothers(monkeypatch):
    answers = {7: None, 8: ProcessLookupError(), 9: PermissionError()}
    asked = []

    def kill(pid, number):
        asked.append((pid, number))
        if answers[pid]:
            raise answers[pid]

    monkeypatch.setattr(module.os, "kill", kill)
    found = {pid: module._alive(pid) for pid in ("7", "8", "9", "", "7 8", "-7")}
    assert found == {"7": True, "8": False, "9": True, "": False, "7 8": False, "-7": False}
    assert asked == [(7, 0), (8, 0), (9, 0)]


@pytest.mark.parametrize(
    ("of", "us", "followed"),
    [(0, 0, True), (0, 7, True), (7, 7, True), (1, 7, False), (8, 7, False), (7, 0, False)],
)
def test_a_link_is_followed_where_it_is_ours_or_the_systems(
    tmp_path, monkeypatch, of, us, followed
):  # fmt: skip
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    lstat = Path.lstat
    monkeypatch.setattr(
        Path, "lstat", lambda path: SimpleNamespace(st_uid=of, st_mode=lstat(path).st_mode)
    )
    monkeypatch.setattr(module.os, "geteuid", lambda: us)
    # Whose directory it is, is looked at where it is opened.
    assert module.real(Path("real"), remedy="") == tmp_path / "real"
    if followed:
        assert module.real(Path("link"), remedy="") == tmp_path / "real"
    else:
        with pytest.raises(SettingsError, match=f"{tmp_path}/link cannot be used"):
            module.real(Path("link"), remedy="")


class Client:
    """Is not answered for so many tries."""

    def __init__(self, tries):
        self.tries, self.asked, self.closed = tries, 0, False

    def ping(self):
        self.asked += 1
        if self.asked <= self.tries:
            raise redis.ConnectionError

    def close(self):
        self.closed = True


@pytest.mark.parametrize(
    ("process", "tries", "asked", "told"),
    [
        (SimpleNamespace(poll=lambda: None), 3, 4, ""),
        (SimpleNamespace(poll=lambda: None), 99, 5, "did not start"),
        (SimpleNamespace(poll=lambda: 0), 99, 1, "ended at once"),
        (SimpleNamespace(poll=lambda: 1), 99, 1, "ended at once"),
        (None, 99, 1, "ended at once"),
        (SimpleNamespace(poll=lambda: 1), 0, 1, ""),
    ],
)
def test_a_start_is_waited_for_until_it_answers_ends_or_takes_too_long(
    monkeypatch, process, tries, asked, told
):
    Clock(monkeypatch, module._START_S / 4)
    client = Client(tries)
    monkeypatch.setattr(module.redis.Redis, "from_url", lambda url, **options: client)
    log = SimpleNamespace(read_text=lambda errors: "\n".join("abcdefg"))
    server = EmbeddedRedis()
    server._process = process
    if not told:
        server._wait(log)
    else:
        with pytest.raises(StoreError) as raised:
            server._wait(log)
        assert raised.value.message == f"the embedded Redis {told}"
        assert raised.value.remedy == f"read {log}; its last lines:\nc\nd\ne\nf\ng"
    assert (client.asked, client.closed) == (asked, True)


def test_the_end_of_the_process_closes_it_where_nothing_else_did(monkeypatch, tmp_path):
    closing = []
    monkeypatch.setattr(module.atexit, "register", closing.append)
    monkeypatch.setattr(module.atexit, "unregister", closing.remove)
    monkeypatch.setattr(EmbeddedRedis, "_serve", lambda server, place, lock: None)
    monkeypatch.setattr(EmbeddedRedis, "_wait", lambda server, log: None)
    server = EmbeddedRedis(tmp_path)
    server.start()
    assert closing == [server.close]
    server.close()
    assert closing == []
