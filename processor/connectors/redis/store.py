"""Checkpoint blobs in Redis (or Valkey): plain keys, no expiry.

A task ``application/topic/partition`` keeps all its keys behind one hash tag, so that they lie on
one node of a Redis Cluster::

    {application/topic/partition}:d:12:ab34    a blob
    {application/topic/partition}:index        sorted set of the blobs' keys, by epoch
    {application/topic/partition}:own          who works on the task
    {application/topic/partition}:begun        a position that the group has committed

Nothing here expires: a checkpoint that vanishes by itself is lost state. What reads and then writes
is a script, which Redis runs in one step.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import orjson
import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry

from processor.clock import Clock, SystemClock
from processor.connectors.ports import Blob, Former, Owner, Staged
from processor.connectors.redis.errors import address, told
from processor.errors import SettingsError, StoreError

_T = TypeVar("_T")

# What a server takes at most, unless it is told otherwise (proto-max-bulk-len).
VALUE_BYTES_MAX: Final = 512 * 1024 * 1024
_KEYS_PER_CALL: Final = 32  # a blob has up to 8 MB: this bounds what one reply may hold
_ASKED_PER_CALL: Final = 1_000
_SCANNED_PER_CALL: Final = 5_000

# Whatever a record held, it is overwritten; one that is no text is nobody's.
_DIGITS_MAX: Final = 20
_ACQUIRE: Final = """
local had = redis.pcall('GET', KEYS[1])
if type(had) == 'table' then redis.call('DEL', KEYS[1]); had = false end
redis.call('SET', KEYS[1], ARGV[1])
local newest = redis.pcall('GET', KEYS[2])
if type(newest) == 'table' then newest = '0' end
return {had, newest}
"""
# The index last: a blob that it does not name is found by a scan only.
_DELETE: Final = """
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for i = 3, #KEYS do redis.call('UNLINK', KEYS[i]) end
redis.pcall('ZREM', KEYS[2], unpack(ARGV, 2))
return 1
"""


class RedisStore:
    """A store on one Redis server.

    Connections that break, time-outs, a server that is still loading and one that has become a
    replica are tried again for ``retry_s`` seconds, so that a restart or a fail-over of Redis is a
    pause and not a failure. All calls give the same result when made twice, hence it is safe.
    A server that has ``ended`` for good says so by the error that this returns, and is not waited
    for.

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
        ended: Callable[[], StoreError | None] = lambda: None,
    ) -> None:
        self.address: Final = address(url)
        self._retry_s = retry_s
        self._met = False
        self._ended = ended
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

    def acquire(self, owners: Mapping[str, Owner]) -> dict[str, Former]:
        """Take tasks, each in one step with learning who had it."""
        replies = self._pipeline(
            [
                ("EVAL", _ACQUIRE, 2, _own(task), _begun(task), _pack(owner))
                for task, owner in owners.items()
            ]
        )
        return {
            task: Former(_unpack(had), newest is not None, _number(newest))
            for task, (had, newest) in zip(owners, replies, strict=True)
        }

    def owners(self, tasks: Sequence[str]) -> dict[str, Owner | None]:
        """Who has the tasks."""
        replies = self._pipeline([("GET", _own(task)) for task in tasks])
        return {task: _unpack(reply) for task, reply in zip(tasks, replies, strict=True)}

    def begin(self, tasks: Mapping[str, int]) -> None:
        """Note positions of these tasks that the group has committed."""
        self._pipeline([("SET", _begun(task), str(newest)) for task, newest in tasks.items()])

    def stage(self, blobs: Mapping[str, Sequence[Blob]]) -> dict[str, Staged]:
        """Write each task's blobs, in one round trip."""
        commands: list[tuple[Any, ...]] = []
        asked: list[tuple[str, int, int]] = []
        for task, pieces in blobs.items():
            _check_sizes(task, pieces)
            if pieces:
                # The index first: a blob that it does not name is found by a scan only.
                scores = [part for blob in pieces for part in (blob.epoch, blob.key)]
                commands.append(("ZADD", _index(task), *scores))
            commands += [("SET", _key(task, blob.key), blob.data) for blob in pieces]
            parents = {_key(task, parent) for blob in pieces for parent in blob.parents}
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
        for part in _parts([_key(task, key) for key in keys], _KEYS_PER_CALL):
            found += self._call(partial(self._redis.mget, part))
        return found

    def missing(self, keys: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
        """Those of each task's keys that are not there, for the tasks that miss any."""
        pairs = [(task, key) for task, asked in keys.items() for key in asked]
        gone: dict[str, list[str]] = {}
        for part in _parts(pairs, _ASKED_PER_CALL):
            replies = self._pipeline([("EXISTS", _key(task, key)) for task, key in part])
            for (task, key), there in zip(part, replies, strict=True):
                if not there:
                    gone.setdefault(task, []).append(key)
        return gone

    def blobs(self, task: str) -> dict[str, int]:
        """The keys of the task's blobs with their epochs, orphans among them, from the index."""
        (pairs,) = self._pipeline([("ZRANGE", _index(task), 0, -1, "WITHSCORES")])
        flat = iter(pairs or ())
        found = ((_name(key), float(epoch)) for key, epoch in zip(flat, flat, strict=True))
        # What somebody else has put there is no blob of ours.
        return {key: int(epoch) for key, epoch in found if key and math.isfinite(epoch)}

    def reindex(self, task: str) -> dict[str, int]:
        """The same, found by a scan of all keys; the index is made anew from it."""
        prefix = _key(task, "")
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", prefix) + "*"
        found: dict[str, int] = {}
        cursor = 0
        while True:
            ask = partial(self._redis.scan, cursor, match=pattern, count=_SCANNED_PER_CALL)
            cursor, names = self._call(ask)
            for key in (_name(name).removeprefix(prefix) for name in names):
                _, _, behind = key.partition(":")
                epoch = behind.partition(":")[0]
                if epoch.isdecimal():
                    found[key] = int(epoch)
            if not cursor:
                break
        scores = [part for key, epoch in found.items() for part in (epoch, key)]
        kept = [("ZADD", _index(task), *part) for part in _parts(scores, 2 * _ASKED_PER_CALL)]
        self._pipeline([("UNLINK", _index(task)), *kept])
        return found

    def delete(self, task: str, keys: Collection[str], owner: Owner) -> bool:
        """Delete blobs, in one step with seeing that the task is still ``owner``'s."""
        for part in _parts(list(keys), _KEYS_PER_CALL):
            names = [_own(task), _index(task), *(_key(task, key) for key in part)]
            (done,) = self._pipeline([("EVAL", _DELETE, len(names), *names, _pack(owner), *part)])
            if not done:
                return False
        return True

    def clear(self, task: str, owner: Owner) -> bool:
        """Delete all that the store has of a task, found without the index, if ``owner`` has it."""
        rest = ("index", "begun", "own")
        return self.delete(task, [*self.reindex(task), *rest], owner)

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
                if isinstance(reply, Exception) and not _of_another_type(reply):
                    raise reply
            return [None if isinstance(reply, Exception) else reply for reply in replies]

        return self._call(do)

    def _call(
        self, do: Callable[[], _T], waits_for: type[redis.RedisError] = redis.RedisError
    ) -> _T:
        deadline = self._clock.monotonic_s() + self._retry_s

        def give_up(error: Exception) -> None:
            hopeless = not isinstance(error, waits_for) or isinstance(
                error, redis.AuthenticationError | redis.exceptions.AuthorizationError
            )
            over = self._ended()
            if over is not None:
                raise over from error
            if hopeless or self._clock.monotonic_s() >= deadline:
                raise error
            if isinstance(error, redis.ReadOnlyError):
                # The address may lead to another server by now; this connection never will.
                self._redis.connection_pool.disconnect(inuse_connections=False)

        try:
            answer = self._retry.call_with_retry(do, give_up)
        except redis.RedisError as error:
            raise told(error, self.address, first=not self._met) from error
        self._met = True
        return answer


def _name(data: bytes) -> str:
    """A key as text; empty where it is none."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return ""


def _key(task: str, key: str) -> str:
    return f"{{{task}}}:{key}"


def _index(task: str) -> str:
    return _key(task, "index")


def _check_sizes(task: str, blobs: Sequence[Blob]) -> None:
    """A server hangs up over a value that is too large, which looks as if it were away."""
    for blob in blobs:
        if len(blob.data) > VALUE_BYTES_MAX:
            raise StoreError(
                f"checkpoint {blob.key} of task {task} has {len(blob.data)} bytes, Redis takes "
                f"{VALUE_BYTES_MAX}",
                remedy="group by shorter keys: one key of a group has to fit",
            )


def _of_another_type(error: Exception) -> bool:
    """A key that somebody made something else of: as good as not there."""
    return isinstance(error, redis.ResponseError) and str(error).startswith("WRONGTYPE")


def _own(task: str) -> str:
    return _key(task, "own")


def _number(text: bytes | None) -> int:
    """A position; 0 for what is none, as anybody may have written it."""
    return int(text) if text is not None and text.isdigit() and len(text) < _DIGITS_MAX else 0


def _begun(task: str) -> str:
    return _key(task, "begun")


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


def _parts(items: Sequence[_T], size: int) -> list[Sequence[_T]]:
    return [items[at : at + size] for at in range(0, len(items), size)]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
