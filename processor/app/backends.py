"""Which log and which store a run works on.

::

    bootstrap servers?  yes: KafkaLog          redis URL?  yes: RedisStore
                        no:  data directory?               no:  embedded valkey-server, AOF on
                             yes: SqliteLog
                             no:  MemoryLog
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import structlog
import tenacity

from processor.app.waiting import Probes, probes
from processor.clock import SystemClock
from processor.connectors.ports import Log, Store
from processor.engine.running import patience
from processor.errors import (
    ProcessorError,
    RegistryAwayError,
    RetriableError,
    SettingsError,
    StoreAwayError,
)
from processor.settings import Settings

log_lines = structlog.get_logger("processor")
Answer = TypeVar("Answer")

_AWAY: Final = (RetriableError, StoreAwayError, RegistryAwayError)
# A command alone waits through a restart of Redis; a worker's loop waits by itself, for longer.
RETRY_S = 20.0
# Where checkpoints of the log in a data directory are; those of a log in Kafka are beside them.
CHECKPOINTS: Final = "checkpoints"
RETRY_RUNNING_S = 5.0


@dataclass(frozen=True, slots=True)
class Backends:
    """The log and the store in use, one line that says which they are, and the name of each."""

    log: Log
    store: Store
    line: str
    log_name: str = "the log"
    store_name: str = "the store"


@contextmanager
def backends(settings: Settings, *, running: bool = False) -> Iterator[Backends]:
    """Connect to what the settings name; what they do not name is embedded.

    ``running`` is for workers, whose loop bears what is away for a while.
    """
    with ExitStack() as stack:
        log, log_name = _log(settings)
        stack.callback(log.close)
        store, store_name = _store(settings, stack, RETRY_RUNNING_S if running else RETRY_S)
        stack.callback(store.close)
        store.ping()
        line = f"log: {log_name}; checkpoints: {store_name}"
        yield Backends(log, store, line, log_name, store_name)


def reading(settings: Settings) -> Log:
    """The log alone, for a command that looks at topics which others have filled."""
    if settings.bootstrap_servers is None:
        from processor.connectors.sqlite.database import holds_log

        if settings.data_dir is None:
            raise SettingsError(
                "the embedded log is empty when a command starts: there is nothing to look at",
                remedy="say where Kafka is: --bootstrap-servers; or where a log is kept: "
                "--data-dir",
            )
        if not holds_log(settings.data_dir):
            raise SettingsError(
                f"there is no log in {settings.data_dir}",
                remedy="name the directory that the run was given: --data-dir (PROCESSOR_DATA_DIR)",
            )
    return _log(settings)[0]


def _log(settings: Settings) -> tuple[Log, str]:
    if settings.bootstrap_servers is None:
        from processor.connectors.memory.log import MemoryLog

        if settings.kafka:
            from processor.connectors.kafka import making

            making.check(settings.kafka)
            log_lines.warning(
                "settings of the Kafka client are not used: the log is embedded",
                settings=sorted(settings.kafka), remedy="say where Kafka is: --bootstrap-servers",
            )  # fmt: skip
        if settings.data_dir is None:
            return MemoryLog(), "embedded, in this process (no --bootstrap-servers given)"
        from processor.connectors.sqlite.log import SqliteLog

        kept = SqliteLog(settings.data_dir)
        return kept, f"embedded, in {settings.data_dir} (no --bootstrap-servers given)"
    from processor.connectors.kafka.log import KafkaLog

    log = KafkaLog(
        settings.bootstrap_servers,
        settings.kafka,
        session_timeout_ms=round(settings.session_timeout.total_seconds() * 1000),
        transaction_timeout_ms=round(settings.transaction_timeout.total_seconds() * 1000),
    )
    log.cluster_id()
    if settings.data_dir is not None and settings.redis_url is not None:
        log_lines.warning(
            "the data directory is not used: neither the log nor Redis is embedded",
            data_dir=str(settings.data_dir), remedy="leave --data-dir out",
        )  # fmt: skip
    return log, f"Kafka at {settings.bootstrap_servers}"


def _store(settings: Settings, stack: ExitStack, retry_s: float) -> tuple[Store, str]:
    from processor.connectors.redis.store import RedisStore

    if settings.redis_url is not None:
        remote = RedisStore(settings.redis_url.get_secret_value(), retry_s=retry_s)
        policy = (remote.policy() or {}).get("maxmemory-policy", "noeviction")
        if policy != "noeviction":
            log_lines.warning(
                "Redis may evict checkpoints: set noeviction", maxmemory_policy=policy
            )
        return remote, f"Redis at {remote.address}"
    from processor.connectors.redis.embedded import EmbeddedRedis, state_directory

    # Checkpoints are of use only with the log they belong to: one in memory is gone with us.
    directory = None
    config: dict[str, str] = {}
    if settings.bootstrap_servers is not None:
        directory = state_directory(settings.data_dir)
    elif settings.data_dir is not None:
        directory = settings.data_dir / CHECKPOINTS
        # The log is on the disk with each commit, and so is what it names.
        config = {"appendfsync": "always"}
    server = stack.enter_context(EmbeddedRedis(directory, config=config))
    where = directory or "a temporary directory"
    store = RedisStore(server.url, retry_s=retry_s, ended=server.ended)
    return store, f"embedded Redis in {where} (no --redis-url given)"


def patiently(
    settings: Settings,
    stop: threading.Event,
    make: Callable[[], Answer],
    numbers: Sequence[int] = (0,),
    *,
    apps: Sequence[str],
    waits: Callable[[ProcessorError], None] = lambda _: None,
) -> Answer | None:
    """What is made of a log, a store and a registry, tried again while one of them is away.

    Meanwhile the probes of the workers of these ``numbers`` are answered; the lines of the log name
    them and the topologies ``apps``, and ``waits`` hears of what is away. ``None`` when told to
    stop before; raises what was in the way when that has lasted for ``give_up_after``.
    """
    who = {
        "topology": ", ".join(apps),
        "worker": numbers[0] if len(numbers) == 1 else f"{min(numbers)} to {max(numbers)}",
    }
    clock = SystemClock()
    started_s = clock.monotonic_s()
    give_up_s = settings.give_up_after.total_seconds()
    told = {"give_up_after_s": round(give_up_s, 1), **who}
    tries = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_AWAY),
        stop=tenacity.stop_after_delay(give_up_s) | tenacity.stop_when_event_set(stop),
        wait=tenacity.wait_exponential(patience.FIRST_S, max=patience.MOST_S),
        sleep=tenacity.sleep_using_event(stop),
        reraise=True,
    )
    try:
        with probes(settings, numbers) as waiting:
            tell = partial(_tell_try, waiting, waits, told)
            answer = tries.copy(before_sleep=tell)(make)
    except _AWAY as error:
        if stop.is_set():
            return None
        raise type(error)(
            f"{error.message}; given up after {give_up_s:.0f} s",
            remedy=error.remedy or patience.REMEDY,
        ) from error
    if waiting.waited:
        tell_end(clock.monotonic_s() - started_s, **who)
    return answer


def _tell_try(
    waiting: Probes,
    waits: Callable[[ProcessorError], None],
    who: Mapping[str, object],
    state: tenacity.RetryCallState,
) -> None:
    problem = state.outcome.exception() if state.outcome else None
    if isinstance(problem, ProcessorError):
        waiting.wait(problem)
        tell_wait(problem, state.upcoming_sleep, **who)
        waits(problem)


def tell_wait(error: ProcessorError, pause_s: float, **who: object) -> None:
    """One line about something that is away, for now, and who waits for it."""
    log_lines.warning(
        "waiting",
        reason=error.message,
        remedy=error.remedy or patience.REMEDY,
        again_in_s=round(pause_s, 1),
        **who,
    )


def tell_end(after_s: float, **who: object) -> None:
    """One line that the waiting is over: a warning, as those before it."""
    log_lines.warning("waiting is over", after_s=round(after_s, 1), **who)
