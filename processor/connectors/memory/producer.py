"""A producer of the in-memory log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from processor.connectors.memory.broker import Broker, Identity, Transaction
from processor.connectors.memory.group import MemberToken
from processor.connectors.memory.records import Columns
from processor.errors import AbortableError, LogError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from processor.model.log import Committed, Membership, Output, TopicPartition


class MemoryProducer:
    """Publishes; implements `processor.connectors.ports.Producer`.

    A record is in the log once `produce` returns, in a transaction invisible until `commit`.
    """

    def __init__(self, broker: Broker, transactional_id: str | None) -> None:
        self._broker = broker
        self._id = transactional_id
        self._epoch = 0
        self._closed = False

    def start(self, timeout_s: float) -> None:  # noqa: ARG002
        """Take the identity: fence its earlier holder and abort what it left open."""
        with self._broker.changed:
            self._check_open()
            if self._id is not None:
                self._epoch = self._broker.fence(self._id)

    def begin(self) -> None:
        """Open a transaction."""
        with self._broker.changed:
            identity = self._identity()
            if identity.transaction is not None:
                raise LogError("a transaction is open already")
            identity.transaction = Transaction()

    def produce(self, output: Output) -> None:
        """Append records; raises `LogError` for an unknown topic."""
        with self._broker.changed:
            self._check_open()
            transaction = None if self._id is None else self._transaction()
            columns = Columns.of(output, self._broker.clock.now_ms())
            self._broker.append(output.topic, columns, transaction, output.partition)

    def flush(self, timeout_s: float) -> None:  # noqa: ARG002
        """Everything is acknowledged already; raises `FencedError` when the identity was taken."""
        with self._broker.changed:
            self._check_open()
            if self._id is not None:
                self._identity()

    def send_offsets(
        self,
        offsets: Mapping[TopicPartition, Committed],
        membership: Membership,
        timeout_s: float,  # noqa: ARG002
    ) -> None:
        """Make the positions part of the transaction.

        Refused (`AbortableError`) with a stale generation. As on a real broker **not** refused:
        a fresh membership with a partition that is no longer owned, and no standing at all while
        the group is empty.
        """
        with self._broker.changed:
            transaction = self._transaction()
            token = membership.token
            if not isinstance(token, MemberToken):
                raise AbortableError("the membership is not of this log")
            group = self._broker.group(token.group)
            refusal = group.refusal(token, membership.generation)
            if refusal is not None:
                raise AbortableError(f"the offsets are refused: {refusal}")
            group.send(transaction, offsets)
            transaction.offsets.setdefault(token.group, {}).update(offsets)

    def commit(self, timeout_s: float) -> None:  # noqa: ARG002
        """Commit: outputs and positions become visible together."""
        with self._broker.changed:
            self._broker.finish(self._identity(), commit=True)

    def abort(self, timeout_s: float) -> None:  # noqa: ARG002
        """Abort the transaction."""
        with self._broker.changed:
            self._broker.finish(self._identity(), commit=False)

    def close(self) -> None:
        """Let go. An open transaction stays open until it is fenced or expires."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise LogError("the producer is closed")

    def _identity(self) -> Identity:
        self._check_open()
        if self._id is None or not self._epoch:
            raise LogError("the producer was not started with a transactional id")
        return self._broker.identity(self._id, self._epoch)

    def _transaction(self) -> Transaction:
        transaction = self._identity().transaction
        if transaction is None:
            raise LogError("no transaction is open")
        return transaction
