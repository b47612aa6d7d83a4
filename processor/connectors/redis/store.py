"""Checkpoint blobs in Redis (or Valkey): plain keys, no scripts, no expiry.

A task ``application/topic/partition`` keeps all its keys behind one hash tag, so that they lie on
one node of a Redis Cluster::

    {application/topic/partition}:d:12:ab34    a blob
    {application/topic/partition}:index        sorted set of the blobs' keys, by epoch
    {application/topic/partition}:own          who works on the task

Nothing here expires: a checkpoint that vanishes by itself is lost state.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import orjson
import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry

from processor.clock import Clock, SystemClock
from processor.connectors.ports import Blob, Owner, Staged
from processor.errors import FencedError, SettingsError, StoreError

_T = TypeVar("_T")

_KEYS_PER_CALL: Final = 32  # a blob has up to 8 MB: this bounds what one reply may hold


class RedisStore:
    """A store on one Redis server.

    Connections that break, time-outs, a server that is still loading and one that has become a
    replica are tried again for ``retry_s`` seconds, so that a restart or a fail-over of Redis is a
    pause and not a failure. All calls give the same result when made twice, hence it is safe.

    Example::

        store = RedisStore("redis://localhost:6379/0")
        store.stage({"rides/input/0": [Blob("d:1:ab", b"...", epoch=1)]})
        store.load("rides/input/0", ["d:1:ab"])
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 5.0,
        retry_s: float = 20.0,
        clock: Clock | None = None,
    ) -> None:
        self.address: Final = address(url)
        self._retry_s = retry_s
        self._clock = clock or SystemClock()
        # redis-py tries again when it connects and, around that, when it sends: the two multiply.
        # So its client is told not to, and the one loop is here, with a deadline.
        self._retry = Retry(
            ExponentialBackoff(cap=0.5, base=0.01),
            retries=-1,
            supported_errors=(redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError),
        )
        try:
            # redis-py's types allow for its asynchronous client in every reply.
            self._redis: Any = redis.Redis.from_url(
                url,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                retry=Retry(NoBackoff(), retries=0),
                protocol=2,
                decode_responses=False,
            )
        except ValueError as error:
            raise SettingsError(
                f"the Redis address {self.address} cannot be read",
                remedy="write redis://host:port/database, rediss://… for TLS, or unix:///path",
            ) from error

    def acquire(self, owners: Mapping[str, Owner]) -> dict[str, Owner | None]:
        """Take tasks, all or none; returns who had each before."""
        before = self.owners(list(owners))
        for task, owner in owners.items():
            held = before[task]
            if held and held.token != owner.token and held.generation > owner.generation:
                raise FencedError(
                    f"{task} is held by {held.transactional_id} under generation "
                    f"{held.generation}, this worker has generation {owner.generation}",
                    remedy="nothing: the worker gives the partition up and polls again",
                )
        self._pipeline([("SET", _own(task), _pack(owner)) for task, owner in owners.items()])
        return before

    def owners(self, tasks: Sequence[str]) -> dict[str, Owner | None]:
        """Who has the tasks."""
        replies = self._pipeline([("GET", _own(task)) for task in tasks])
        return {task: _unpack(reply) for task, reply in zip(tasks, replies, strict=True)}

    def stage(self, blobs: Mapping[str, Sequence[Blob]]) -> dict[str, Staged]:
        """Write each task's blobs, in one round trip."""
        commands: list[tuple[Any, ...]] = []
        asked: list[tuple[str, int, int]] = []
        for task, pieces in blobs.items():
            if pieces:
                # The index first: a blob that it does not name could never be collected.
                scores = [part for blob in pieces for part in (blob.epoch, blob.key)]
                commands.append(("ZADD", _index(task), *scores))
            commands += [("SET", _key(task, blob.key), blob.data) for blob in pieces]
            parents = {_key(task, blob.parent) for blob in pieces if blob.parent is not None}
            commands.append(("GET", _own(task)))
            if parents:
                commands.append(("EXISTS", *parents))
            asked.append((task, len(commands) - 1, len(parents)))
        replies = self._pipeline(commands)
        return {
            task: Staged(
                owner=_unpack(replies[last - 1] if parents else replies[last]),
                linked=not parents or replies[last] == parents,
            )
            for task, last, parents in asked
        }

    def load(self, task: str, keys: Sequence[str]) -> list[bytes | None]:
        """The blobs' bytes, ``None`` for one that is not there."""
        found: list[bytes | None] = []
        for part in _parts([_key(task, key) for key in keys]):
            found += self._call(partial(self._redis.mget, part))
        return found

    def blobs(self, task: str) -> dict[str, int]:
        """The keys of the task's blobs with their epochs, orphans among them."""
        pairs = self._call(partial(self._redis.zrange, _index(task), 0, -1, withscores=True))
        return {key.decode(): int(epoch) for key, epoch in pairs}

    def delete(self, task: str, keys: Collection[str]) -> None:
        """Delete blobs."""
        for part in _parts(list(keys)):
            # The index last, for the same reason as in `stage`.
            self._pipeline(
                [("UNLINK", *(_key(task, key) for key in part)), ("ZREM", _index(task), *part)]
            )

    def clear(self, task: str) -> None:
        """Delete all that the store has of a task."""
        self.delete(task, list(self.blobs(task)))
        self._pipeline([("UNLINK", _index(task), _own(task))])

    def ping(self) -> None:
        """Raise `StoreError` unless the store answers."""
        self._call(self._redis.ping)

    def policy(self) -> dict[str, str] | None:
        """What the server does with keys: ``maxmemory-policy``, ``maxmemory`` and ``appendonly``.

        ``None`` where the server does not let a client see (managed services often do not).
        Anything but ``noeviction`` may silently lose state. This is the first that is asked of a
        server, so one that is still loading is waited for, but a wrong address is told at once.
        """
        names = ("maxmemory-policy", "maxmemory", "appendonly")

        def ask() -> list[Any] | None:
            try:
                return [self._redis.execute_command("CONFIG", "GET", name) for name in names]
            except redis.ResponseError:
                return None

        found = self._call(ask, waits_for=redis.BusyLoadingError)
        if found is None:
            return None
        return {
            _text(key): _text(value)
            for reply in found
            for key, value in (
                reply.items()
                if isinstance(reply, dict)
                else zip(reply[::2], reply[1::2], strict=True)
            )
        }

    def close(self) -> None:
        """Let go of the connection."""
        self._redis.close()

    def _pipeline(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send all commands in one round trip; none of them stands in a transaction."""
        if not commands:
            return []

        def do() -> list[Any]:
            with self._redis.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                # redis-py would put the command, with the blob, into the text of the error.
                replies: list[Any] = pipeline.execute(raise_on_error=False)
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
            return replies

        return self._call(do)

    def _call(
        self, do: Callable[[], _T], waits_for: type[redis.RedisError] = redis.RedisError
    ) -> _T:
        deadline = self._clock.monotonic_s() + self._retry_s

        def give_up(error: Exception) -> None:
            hopeless = not isinstance(error, waits_for) or isinstance(
                error, redis.AuthenticationError | redis.exceptions.AuthorizationError
            )
            if hopeless or self._clock.monotonic_s() >= deadline:
                raise error
            if isinstance(error, redis.ReadOnlyError):
                # The address may lead to another server by now; this connection never will.
                self._redis.connection_pool.disconnect(inuse_connections=False)

        try:
            return self._retry.call_with_retry(do, give_up)
        except redis.RedisError as error:
            raise self._error(error) from error

    def _error(self, error: redis.RedisError) -> StoreError:
        for kind, what, remedy in _REMEDIES:
            if isinstance(error, kind):
                return StoreError(f"Redis at {self.address} {what}", remedy=remedy)
        if str(error).startswith("MISCONF"):
            return StoreError(
                f"Redis at {self.address} cannot write to its own disk: {error}",
                remedy="give that disk room, then start again: nothing is lost",
            )
        return StoreError(
            f"Redis at {self.address} refused: {error}",
            remedy="look the message up in the documentation of Redis; the processor needs SET, "
            "GET, MGET, EXISTS, UNLINK, ZADD, ZRANGE and ZREM",
        )


_REMEDIES: Final[tuple[tuple[type[redis.RedisError], str, str], ...]] = (
    (
        redis.OutOfMemoryError,
        "has reached maxmemory and took no checkpoint",
        "raise maxmemory but keep the policy noeviction, or make windows and state shorter-lived",
    ),
    (
        redis.BusyLoadingError,
        "is still loading its data set",
        "wait until it has loaded and start the processor again; nothing is lost",
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
        "check the server, the address and the firewall, then start again: nothing is lost",
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


def _key(task: str, key: str) -> str:
    return f"{{{task}}}:{key}"


def _index(task: str) -> str:
    return _key(task, "index")


def _own(task: str) -> str:
    return _key(task, "own")


def _pack(owner: Owner) -> bytes:
    return orjson.dumps(
        {
            "token": owner.token,
            "transactional_id": owner.transactional_id,
            "generation": owner.generation,
        }
    )


def _unpack(data: bytes | None) -> Owner | None:
    if data is None:
        return None
    try:
        values = orjson.loads(data)
        return Owner(values["token"], values["transactional_id"], int(values["generation"]))
    except (ValueError, KeyError, TypeError):
        return None  # a damaged record is nobody's: the store's owner is hygiene only


def _parts(keys: Sequence[str]) -> list[Sequence[str]]:
    return [keys[at : at + _KEYS_PER_CALL] for at in range(0, len(keys), _KEYS_PER_CALL)]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
