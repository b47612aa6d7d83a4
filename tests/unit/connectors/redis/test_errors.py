"""Why Redis does not answer, told apart."""

from __future__ import annotations

import contextlib

import pytest
import redis

from processor.connectors.redis import errors as module
from processor.connectors.redis.errors import address, told
from processor.connectors.redis.store import RedisStore
from processor.errors import StoreAwayError, StoreError
from tests.services.handle import Unavailable
from tests.services.listeners import Listener, certificate, closed


def pong(data):
    """A Redis, as far as a greeting goes; what it does not understand it waits for the end of."""
    return b"+PONG\r\n" if data.endswith(b"\r\n") else b""


CASES = {
    "closed": (None, "redis", StoreAwayError, "nothing listens there"),
    "silent": (lambda _: b"", "redis", StoreAwayError, "gives no answer"),
    "hangs up": (lambda _: None, "redis", StoreAwayError, "may be no Redis"),
    "plain to TLS": ("tls", "redis", StoreError, "it speaks TLS"),
    "TLS to plain": (pong, "rediss", StoreError, "does not speak TLS"),
    "TLS to what says no": (lambda _: b"-ERR\r\n", "rediss", StoreError, "does not speak TLS"),
    "unknown authority": ("tls", "rediss", StoreError, "authority that is not known"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_listens_at_an_address_is_told(case):
    answer, scheme, kind, why = CASES[case]
    with contextlib.ExitStack() as stack:
        address = closed()
        if answer is not None:
            try:
                listener = Listener(tls=True) if answer == "tls" else Listener(answer)
            except Unavailable as reason:
                pytest.skip(str(reason))
            address = stack.enter_context(listener).address
        store = RedisStore(f"{scheme}://me:hunter2@{address}/0", retry_s=0, timeout_s=1.0)
        with pytest.raises(StoreError) as raised:
            store.ping()
    assert type(raised.value) is kind, raised.value
    assert raised.value.message.startswith(f"Redis at {scheme}://{address}/0 cannot be reached: ")
    assert why in raised.value.message
    assert raised.value.remedy
    assert "hunter2" not in str(raised.value)


def test_an_unknown_host_is_told():
    with pytest.raises(StoreAwayError, match="no such host is known"):
        RedisStore("redis://no-such-host.invalid:1", retry_s=0).ping()


def test_a_socket_that_is_not_there_is_told(tmp_path):
    with pytest.raises(StoreAwayError, match="there is no such file"):
        RedisStore(f"unix://{tmp_path}/none.sock", retry_s=0).ping()


def test_a_certificate_for_another_name_is_not_an_unknown_authority():
    try:
        ca, _ = certificate()
        listener = Listener(tls=True, host="127.0.0.2")
    except (Unavailable, OSError) as reason:
        pytest.skip(str(reason))
    with listener, pytest.raises(StoreError, match="its certificate is for another name"):
        RedisStore(f"rediss://{listener.address}?ssl_ca_certs={ca}", retry_s=0).ping()


@pytest.mark.parametrize(
    ("error", "what", "remedy"),
    [
        (redis.AuthenticationError("Authentication required."), "wants a password", "redis-url"),
        (redis.ResponseError("NOAUTH Authentication required."), "wants a password", "redis-url"),
        (redis.AuthenticationError("AUTH <password> called without any password configured for "
                                   "the default user."), "has no password", "take it out"),
        (redis.AuthenticationError("invalid username-password pair or user is disabled."),
         "refused the user or the password", "correct the user"),
        (redis.ResponseError("DB index is out of range"), "no database of this number", "0 to 15"),
        (redis.ResponseError("MOVED 3999 127.0.0.1:6381"), "node of a cluster", "no cluster"),
    ],
)  # fmt: skip
def test_what_redis_says_becomes_a_cause_and_a_remedy(error, what, remedy):
    found = told(error, "redis://cache")
    assert type(found) is StoreError
    assert what in found.message
    assert remedy in found.remedy


def test_an_address_is_tried_where_it_has_a_host_and_what_the_system_says_is_told(monkeypatch):
    asked, said = [], [OSError(113, "No route to host"), OSError("bare")]

    def answers(place, hello):
        asked.append(place)
        raise said.pop(0)

    monkeypatch.setattr(module, "answers", answers)
    lost = redis.ConnectionError("lost")
    for url in ("unix:///a/b.sock", "redis:///0"):
        assert told(lost, url, first=True).message == f"Redis at {url} cannot be reached"
    assert asked == []
    for url, why in (("redis://cache", "No route to host"), ("rediss://cache:1", "bare")):
        found = told(lost, url, first=True)
        assert (type(found), found.message) == (
            StoreAwayError, f"Redis at {url} cannot be reached: {why}"
        )  # fmt: skip
    assert asked == [("cache", 6379), ("cache", 1)]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://me:secret@cache:6379/0", "redis://cache:6379/0"), ("redis://cache", "redis://cache"),
        ("rediss://:secret@[::1]:1/2", "rediss://[::1]:1/2"), ("unix:///a/b.sock", "unix:///a/b.sock"),
        ("redis://me:secret@cache:port/0", "(unreadable)"), ("redis://[::1/0", "(unreadable)"),
    ],
)  # fmt: skip
def test_an_address_is_shown_without_user_and_password(url, shown):
    assert address(url) == shown


def test_once_it_has_answered_all_may_pass_by_itself():
    certificate_ = redis.ConnectionError(
        "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"
    )
    assert type(told(certificate_, "rediss://cache", first=True)) is StoreError
    assert type(told(certificate_, "rediss://cache")) is StoreAwayError


@pytest.mark.redis
def test_of_a_real_server_password_and_database_are_told_apart(redis_server):
    address = redis_server.url.rpartition("/")[0].rpartition("@")[2].removeprefix("redis://")
    for url, what in (
        (f"redis://:hunter2@{address}/0", "has no password, and was given one"),
        (f"redis://bob:hunter2@{address}/0", "refused the user or the password"),
        (f"redis://{address}/99", "has no database of this number"),
    ):
        with pytest.raises(StoreError) as raised:
            RedisStore(url, retry_s=0).ping()
        assert what in raised.value.message
        assert "hunter2" not in str(raised.value)
