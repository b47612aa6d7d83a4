"""The client's errors, turned into those that say what the receiver must do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import redis

from processor.connectors.listening import answers, speaks_tls
from processor.errors import StoreAwayError, StoreError


def told(error: redis.RedisError, where: str, *, first: bool = False) -> StoreError:
    """The project's error for what the client raised; ``where`` is the address, for the message.

    With ``first``, while the server has never answered, the address is tried too where the client
    cannot say what is wrong, and what does not pass by itself is no `StoreAwayError`.
    """
    cause = _cause(error, where, first=first)
    if cause is not None:
        sort, why, remedy = cause
        return (sort if first else StoreAwayError)(
            f"Redis at {where} cannot be reached: {why}", remedy=remedy
        )
    for pattern, what, remedy in _SAID:
        if re.search(pattern, str(error)):
            return StoreError(f"Redis at {where} {what}", remedy=remedy)
    for kind, what, remedy in _REMEDIES:
        if isinstance(error, kind):
            away = isinstance(error, _AWAY) and not isinstance(error, redis.AuthenticationError)
            sort = StoreAwayError if away else StoreError
            return sort(f"Redis at {where} {what}", remedy=remedy)
    if str(error).startswith("MISCONF"):
        return StoreError(
            f"Redis at {where} cannot write to its own disk: {error}",
            remedy="give that disk room, then start again: nothing is lost",
        )
    if isinstance(error, _CANNOT_SERVE):
        return StoreAwayError(f"Redis at {where} cannot serve: {error}")
    return StoreError(
        f"Redis at {where} refused: {error}",
        remedy="look the message up in the documentation of Redis; the processor needs SET, "
        "GET, MGET, EXISTS, UNLINK, DEL, ZADD, ZRANGE, ZREM, SCAN and EVAL",
    )


_Cause = tuple[type[StoreError], str, str]


def _cause(error: redis.RedisError, where: str, *, first: bool) -> _Cause | None:
    """Why there is no connection; ``None`` where there is one, or nothing is known."""
    lost = isinstance(error, redis.ConnectionError | redis.TimeoutError)
    if not lost or isinstance(error, redis.AuthenticationError | redis.BusyLoadingError):
        return None
    text = str(error)
    for pattern, sort, why, remedy in _CONNECTING:
        if re.search(pattern, text):
            return sort, why, remedy
    return _tried(where) if first else None


def _tried(where: str) -> _Cause | None:
    """What listens at an address that took the connection and gave no answer."""
    parts = urlsplit(where)
    if parts.scheme not in ("redis", "rediss") or parts.hostname is None:
        return None
    place = (parts.hostname, parts.port or 6379)
    try:
        heard = answers(place, b"PING\r\n")
        tls = not heard and speaks_tls(place)
    except TimeoutError:
        return StoreAwayError, "it takes the connection, but gives no answer", _START
    except OSError as error:
        return StoreAwayError, error.strerror or str(error), _START
    is_redis = bool(heard) and heard[0].startswith((b"+PONG", b"-"))
    if not is_redis and not tls:
        return StoreAwayError, "what listens there hangs up, and may be no Redis", _START
    if (parts.scheme == "rediss") == tls:
        return None
    return StoreError, *(_TLS if tls else _NO_TLS)


_START: Final = "correct host and port in --redis-url, or start the server; nothing is lost"
_TLS: Final = ("it speaks TLS", "write rediss:// in --redis-url, or the other port")
_NO_TLS: Final = ("it does not speak TLS", "write redis:// in --redis-url, or the other port")
_CONNECTING: Final[Sequence[tuple[str, type[StoreError], str, str]]] = (
    (
        r"(?i)name or service not known|nodename|name resolution|no address associated",
        StoreAwayError,
        "no such host is known",
        "correct the host in --redis-url, or see that it is known here",
    ),
    (
        r"(?i)connection refused",
        StoreAwayError,
        "nothing listens there (connection refused)",
        _START,
    ),
    (
        r"(?i)no such file",
        StoreAwayError,
        "there is no such file",
        "correct the path of the socket, or of a certificate, in --redis-url, or start the server",
    ),
    (
        r"(?i)permission denied",
        StoreError,
        "this user may not use the socket",
        "let the processor's user read and write the socket",
    ),
    (
        r"(?i)hostname mismatch|IP address mismatch|is not valid for",
        StoreError,
        "its certificate is for another name",
        "give the name that the certificate has in --redis-url",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|(?i:certificate verify failed)",
        StoreError,
        "its certificate is signed by an authority that is not known here",
        "add ?ssl_ca_certs=FILE to --redis-url, with the authority's certificate",
    ),
    (r"WRONG_VERSION_NUMBER|PACKET_LENGTH|HTTP_REQUEST", StoreError, *_NO_TLS),
    (
        r"ALERT.*CERTIFICATE|CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE",
        StoreError,
        "it wants a certificate of the client's that it knows",
        "add ?ssl_certfile=FILE&ssl_keyfile=FILE to --redis-url",
    ),
)
_SAID: Final = (
    (
        r"Authentication required|NOAUTH",
        "wants a password",
        "give it in --redis-url, before the host: user:password@",
    ),
    (
        r"without any password configured",
        "has no password, and was given one",
        "take it out of --redis-url, or see that this is the right server",
    ),
    (
        r"DB index is out of range|invalid DB index",
        "has no database of this number",
        "give one that it has at the end of --redis-url: most have 0 to 15",
    ),
    (
        r"^MOVED |SELECT is not allowed in cluster mode",
        "is a node of a cluster",
        "give a Redis that is no cluster: a worker's keys lie in many slots",
    ),
)
_CANNOT_SERVE: Final = (redis.exceptions.ClusterDownError, redis.exceptions.TryAgainError)
_AWAY: Final = (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError)
_REMEDIES: Final[tuple[tuple[type[redis.RedisError], str, str], ...]] = (
    (
        redis.OutOfMemoryError,
        "has reached maxmemory and took no checkpoint",
        "raise maxmemory but keep the policy noeviction, or make windows and state shorter-lived",
    ),
    (
        redis.BusyLoadingError,
        "is still loading its data set",
        "wait until it has loaded; nothing is lost",
    ),
    (
        redis.ReadOnlyError,
        "is a replica that takes no writes",
        "give the address of the primary, or of a name that follows a fail-over",
    ),
    (
        redis.AuthenticationError,
        "refused the user or the password",
        "correct the user and password in --redis-url",
    ),
    (
        redis.exceptions.NoPermissionError,
        "does not let this user run a command or touch a key",
        "allow the user the commands of the store and the keys {*",
    ),
    (
        redis.TimeoutError,
        "did not answer in time",
        "check that the server is not overloaded or swapping, and the network between",
    ),
    (
        redis.ConnectionError,
        "cannot be reached",
        "check the server, the address and the firewall; nothing is lost",
    ),
)


def address(url: str) -> str:
    """The server's address without user and password, for messages.

    >>> address("redis://me:secret@cache:6379/0")
    'redis://cache:6379/0'
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "(unreadable)"
    if host and ":" in host:
        host = f"[{host}]"
    place = f"{host or ''}:{port}" if port else host or ""
    return f"{parts.scheme}://{place}{parts.path}"
