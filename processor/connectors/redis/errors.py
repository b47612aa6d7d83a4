"""The client's errors, turned into those that say what the receiver must do."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import redis

from processor.errors import StoreAwayError, StoreError


def told(error: redis.RedisError, where: str) -> StoreError:
    """The project's error for what the client raised; ``where`` is the address, for the message."""
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
        "correct the user and password in redis_url",
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
