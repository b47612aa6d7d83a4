"""The Kafka producer: outputs and positions, all or nothing."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from functools import partial
from itertools import repeat
from operator import length_hint
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException, Producer, TopicPartition

from processor.connectors.kafka import settings
from processor.connectors.kafka.errors import PURGED, classify, kind, reason, remedy
from processor.errors import (
    AbortableError,
    FencedError,
    LogError,
    OutcomeUnknownError,
    RetriableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from processor.model.log import Committed, Membership, Output
    from processor.model.log import TopicPartition as Partition

RETRY_S = 0.02
# How long past its own limit a call of the client may take before it is given up.
HANG_S = 2.0


class _Failures:
    """What the client's callbacks heard. Apart from the producer, so that they make no cycle."""

    def __init__(self) -> None:
        self.first = ""
        self.remedy = ""
        self.count = 0
        self.fatal = ""

    def delivered(self, error: Any, message: Any) -> None:
        """Note a record that was not delivered."""
        if error is None or error.code() in PURGED:
            return
        self.count += 1
        what_to_do = remedy(error)
        # A record may only have been in one request with the one that is why.
        if not self.first or (what_to_do and not self.remedy):
            self.first = f"{message.topic()}: {error.str()}"
            self.remedy = what_to_do

    def error(self, error: Any) -> None:
        """Note an error of the client as a whole; only a fatal one counts."""
        if error.fatal():
            self.fatal = error.str()

    def clear(self) -> None:
        """Forget the failures of a transaction that has ended."""
        self.first, self.count = "", 0


class KafkaProducer:
    """Implements `processor.connectors.ports.Producer`."""

    def __init__(self, connection: settings.Connection, transactional_id: str | None) -> None:
        self._name = transactional_id or "producer"
        self._transactional = transactional_id is not None
        self._failures = _Failures()
        self._open = False
        self._topics: set[str] = set()
        self._caller: _Caller | None = None
        self._client: Any = Producer(
            settings.producer_settings(
                connection, transactional_id, self._failures.delivered, self._failures.error
            )
        )

    def __repr__(self) -> str:
        return f"KafkaProducer({self._name!r})"

    def start(self, timeout_s: float) -> None:
        """Take the identity: fence its earlier holder and abort what it left open."""
        if self._transactional:
            self._insist(self._client.init_transactions, timeout_s, "taking the identity")

    def begin(self) -> None:
        """Open a transaction."""
        try:
            # What an abort threw away may be reported only now: serve it, then forget it.
            self._client.poll(0)
            self._failures.clear()
            self._client.begin_transaction()
        except (KafkaException, SystemError) as problem:
            raise classify(problem, f"{self._name}: beginning a transaction") from problem
        self._open = True

    def produce(self, output: Output) -> None:
        """Hand over records. Raises `AbortableError` for one that the client refuses."""
        # One call per record is the fast way: measured, the client's batch call takes twice the
        # time, for the dictionaries that it wants.
        values, done = output.values, 0
        self._topics.add(output.topic)
        keys: Sequence[bytes | None] = output.keys or [None] * len(values)
        if len(keys) != len(values):
            raise ValueError(f"{output.topic}: {len(keys)} keys for {len(values)} values")
        while done < len(values):
            try:
                if output.headers is None and output.timestamps is None:
                    done = self._plain(output.topic, values, keys, done, output.partition)
                else:
                    done = self._described(output, keys, done)
            except _QueueFull as full:
                done = full.done
                # The queue empties by sending; past the transaction's time-out it fails instead.
                self._serve(0.05)

    def _plain(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None],
        done: int,
        partition: int | None,
    ) -> int:
        left = iter(values[done:])
        where = () if partition is None else (repeat(partition),)
        calls = map(self._client.produce, repeat(topic), left, keys[done:], *where)
        try:
            deque(calls, maxlen=0)
        except BufferError:
            raise _QueueFull(len(values) - length_hint(left) - 1) from None
        except (KafkaException, SystemError) as problem:
            value = values[len(values) - length_hint(left) - 1]
            raise self._refused(problem, topic, value) from problem
        return len(values)

    def _described(self, output: Output, keys: Sequence[bytes | None], done: int) -> int:
        """Records with headers, or with timestamps of their own."""
        topic, values = output.topic, output.values
        where = () if output.partition is None else (output.partition,)
        send, at = self._client.produce, done
        headers = output.headers or [()] * len(values)
        # 0 is the time of writing to the client.
        times = [time or 0 for time in output.timestamps or [0] * len(values)]
        try:
            for at in range(done, len(values)):
                more = {"timestamp": times[at], "headers": list(headers[at])}
                send(topic, values[at], keys[at], *where, **more)
        except BufferError:
            raise _QueueFull(at) from None
        except (KafkaException, SystemError) as problem:
            raise self._refused(problem, topic, values[at]) from problem
        return len(values)

    def _refused(self, problem: BaseException, topic: str, value: bytes | None) -> Exception:
        error = classify(problem, f"a record of {len(value or b'')} bytes for {topic}")
        if isinstance(error, FencedError):
            return error
        # Whatever the client refuses, the batch cannot be whole any more.
        return AbortableError(error.message, remedy=error.remedy)

    def _serve(self, timeout_s: float) -> None:
        try:
            self._client.poll(timeout_s)
        except (KafkaException, SystemError) as problem:
            raise classify(problem, f"{self._name}: waiting for room") from problem
        self._check()

    def _check(self) -> None:
        failures = self._failures
        if failures.fatal:
            raise FencedError(f"{self._name}: {failures.fatal}", remedy="make a new producer")
        if failures.count:
            raise AbortableError(
                f"{self._name}: {failures.count} records were not delivered, the first to "
                f"{failures.first}",
                remedy=failures.remedy,
            )

    def flush(self, timeout_s: float) -> None:
        """Wait until all that was handed over is acknowledged."""
        try:
            left = self._client.flush(timeout_s)
        except (KafkaException, SystemError) as problem:
            raise classify(problem, f"{self._name}: flushing") from problem
        finally:
            topics, self._topics = sorted(self._topics), set()
            failures, first = self._failures.count, self._failures.first
            what_to_do = self._failures.remedy
            if not self._transactional:
                self._failures.clear()
        if self._failures.fatal:
            self._check()
        if failures:
            raise AbortableError(
                f"{self._name}: {failures} records were not delivered, the first to {first}",
                remedy=what_to_do,
            )
        if left:
            raise AbortableError(
                # No remedy: a topic or a broker that is away is waited for.
                f"{self._name}: {left} records for {' or '.join(topics)} are not acknowledged "
                f"after {timeout_s:g} s"
            )

    def send_offsets(
        self,
        offsets: Mapping[Partition, Committed],
        membership: Membership,
        timeout_s: float,
    ) -> None:
        """Make the positions part of the transaction."""
        positions = [
            TopicPartition(topic, partition, committed.offset, metadata=committed.metadata)
            for (topic, partition), committed in offsets.items()
        ]

        def send(limit_s: float) -> None:
            self._client.send_offsets_to_transaction(positions, membership.token, limit_s)

        try:
            self._insist(send, timeout_s, "sending the offsets")
        except FencedError:
            raise
        except LogError as problem:
            # A record that was not delivered meanwhile is why, and has the better remedy.
            self._serve(0)
            # Never to be followed by a commit: that would publish outputs without positions.
            raise AbortableError(problem.message, remedy=problem.remedy) from problem

    def commit(self, timeout_s: float) -> None:
        """Commit the transaction: outputs and positions become visible together."""
        try:
            self._insist(self._client.commit_transaction, timeout_s, "committing")
        except RetriableError as problem:
            raise OutcomeUnknownError(problem.message, remedy=problem.remedy) from problem
        self._open = False

    def abort(self, timeout_s: float) -> None:
        """Abort the transaction; nothing to do where none is open."""
        if self._open:
            self._insist(self._client.abort_transaction, timeout_s, "aborting")
            self._open = False
            self._failures.clear()

    def _insist(self, call: Callable[[float], None], timeout_s: float, doing: str) -> None:
        """Make a transactional call, again while the client says that it may be made again."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return self._answered(call, max(0.001, deadline - time.monotonic()), doing)
            except (KafkaException, SystemError) as problem:
                error = reason(problem)
                again = error is not None and kind(error) is RetriableError
                if not again or time.monotonic() + RETRY_S >= deadline:
                    raise classify(problem, f"{self._name}: {doing}") from problem
                time.sleep(RETRY_S)

    def _answered(self, call: Callable[[float], None], limit_s: float, doing: str) -> None:
        """Make a call that is sure to end.

        When a broker goes away at the wrong moment, the client (librdkafka 2.16) never returns from
        sending the offsets, whatever its limit. The thread that it hangs in is left behind; what
        may still come of the call, the next producer under this identity shuts out.
        """
        caller, self._caller = self._caller or _Caller(), None
        try:
            problem = caller.made(partial(call, limit_s), limit_s + HANG_S)
        except Empty:
            caller.leave()
            raise FencedError(f"{self._name}: {doing}: the client hangs") from None
        # Only one that has answered is asked again: the next answer must be to the next call.
        self._caller = caller
        if problem is not None:
            raise problem

    def close(self) -> None:
        """Let go of the connection. An open transaction is left to be fenced or timed out."""
        client, self._client = self._client, None
        if self._caller:
            self._caller.leave()
            self._caller = None
        if client is not None:
            # The client's own close would abort the transaction, and wait without a limit.
            client.purge(in_queue=True, in_flight=True, blocking=False)
            with contextlib.suppress(KafkaException, SystemError):  # told when it mattered
                client.poll(0)


class _Caller:
    """A thread that makes calls one after the other; with one that never ends it is left behind."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._answers: SimpleQueue[BaseException | None] = SimpleQueue()
        threading.Thread(target=_make, args=(self._calls, self._answers), daemon=True).start()

    def made(self, call: Callable[[], None], limit_s: float) -> BaseException | None:
        """Make a call; answers what it raised. Raises `Empty` when it has not ended in time."""
        self._calls.put(call)
        return self._answers.get(timeout=limit_s)

    def leave(self) -> None:
        """Let the thread end, when it can."""
        self._calls.put(None)


def _make(
    calls: SimpleQueue[Callable[[], None] | None], answers: SimpleQueue[BaseException | None]
) -> None:
    while (call := calls.get()) is not None:
        try:
            call()
            answers.put(None)
        except BaseException as problem:  # noqa: BLE001 - it is raised again where it was asked for
            answers.put(problem)


class _QueueFull(Exception):  # noqa: N818 - a signal inside this module
    """The client's queue has no room for the record numbered ``done``."""

    def __init__(self, done: int) -> None:
        super().__init__(done)
        self.done = done
