"""Whether state and records lie where their keys belong, so that state can be dealt out by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from processor.connectors.partitioner import partition as partition_of
from processor.connectors.ports import Log
from processor.engine.offline.keybytes import KeyBytes
from processor.engine.restore.grown import OTHERWISE
from processor.errors import RegistryAwayError, RegistryError, StateMismatchError
from processor.formats.registered import Registered
from processor.model.batch import Slice
from processor.model.log import NULL_KEYS, Committed, Extent, Message, TopicPartition
from processor.operators import many, own
from processor.operators.base import slab_of
from processor.plan.nodes import Plan
from processor.state.base import TaskState
from processor.state.slab import Slab

LOOKED_AT: Final = 20_000


def belongs(key: bytes | None, count: int) -> int:
    """The partition, of so many, that a record with this key lies in."""
    return NULL_KEYS if key is None else partition_of(key, count)


def slabs_of(state: TaskState) -> dict[str, Slab]:
    """The state, which is of aggregates; raises `StateMismatchError` where it is not."""
    for name, kept in state.items():
        if not isinstance(kept, Slab):
            raise StateMismatchError(
                f"the state of {name} is no aggregate: which rows belong to which partition of the "
                "input, its keys do not say",
                remedy=OTHERWISE,
            )
    return {name: slab_of(state, name) for name in state}


def _check_number(plan: Plan) -> None:
    """What a registry calls the key's schema is a part of each key, and has to be known."""
    source = plan.source()
    if source.keyed_by_format() and isinstance(source.key_format, Registered):
        try:
            source.key_format.known()
        except RegistryAwayError:
            raise
        except RegistryError as error:
            raise StateMismatchError(
                f"{plan.app}: which bytes a key of {source.topic!r} has is not known: "
                f"{error.message}",
                remedy=f"give key_format the schema that keys are written with; or {OTHERWISE}",
            ) from error


class Keys:
    """Whether keys lie where they belong: by the new count, and by the former ones until then."""

    def __init__(self, plan: Plan, former: range, partitions: int) -> None:
        source = plan.source()
        if source.watermark is not None:
            raise StateMismatchError(
                f"{plan.app}: the watermark is carried by the input's records: what a partition "
                "has heard of its writers cannot be dealt out",
                remedy=OTHERWISE,
            )
        if any(sink.watermark is not None for sink in plan.sinks):
            raise StateMismatchError(
                f"{plan.app}: its records carry the watermark: a group that moves to a partition "
                "which is further would be late for who reads them",
                remedy=OTHERWISE,
            )
        _check_number(plan)
        self.bytes = KeyBytes(source)
        if not self.bytes.known:
            raise StateMismatchError(
                f"{plan.app}: the input is partitioned by {', '.join(source.partitioned_by)}: how "
                "these make a record's key is not known",
                remedy=OTHERWISE,
            )
        self._source = source
        self._former, self._partitions = former, partitions
        self._seen = 0

    def check_state(self, old: Mapping[TopicPartition, TaskState]) -> None:
        """Every group lies in the partition of its key, by the former count."""
        for partition, state in old.items():
            for slab in slabs_of(state).values():
                for key in self.bytes.of(slab.keys(slab.live())):
                    self._check(key, partition, self._former[-1:], "a group of state")

    def check_records(
        self, log: Log, partition: TopicPartition, extent: Extent, head: Committed | None
    ) -> None:
        """The latest records that were read lie where they belonged, those to be read where now."""
        read = head.offset if head else extent.low
        start = max(extent.low, read - LOOKED_AT)
        for run in log.scan(partition, start, extent.high):
            values = [message.value() for message in run]
            part = Slice(partition, run, values, start, extent.high, None)
            read_rows = own.read(self._source.format, [part], self._source.tombstones)
            (rows,) = many.by_row([part], read_rows)
            decoded = own.added(read_rows, [rows], self._source)
            texts = self.bytes.of(decoded.frame)
            for row, message in enumerate(rows.messages):
                if row not in decoded.bad and row not in decoded.passed:
                    self._check_record(partition, message, texts[row], read)

    def check_evidence(self, old: Mapping[TopicPartition, TaskState]) -> None:
        """There was a record to see the keys by, or there is no state."""
        if not self._seen and any(s.rows() for state in old.values() for s in state.values()):
            raise StateMismatchError(
                "the input holds no record by which to see how its keys are written",
                remedy=OTHERWISE,
            )

    def _check_record(
        self, partition: TopicPartition, message: Message, text: bytes | None, read: int
    ) -> None:
        offset, key = message.offset() or 0, message.key()
        what = f"the record at offset {offset}"
        if key != text:
            raise StateMismatchError(
                f"{partition}: {what} has the key {key!r}, its {self.bytes.name} is {text!r}: "
                "groups cannot be assigned by their record keys",
                remedy=OTHERWISE,
            )
        self._seen += 1
        now = range(self._partitions, self._partitions + 1)
        self._check(text, partition, self._former if offset < read else now, what)

    def _check(
        self, key: bytes | None, partition: TopicPartition, counts: range, what: str
    ) -> None:
        """That a key belongs here by one of the counts that there were when it was read."""
        numbers = [belongs(key, count) for count in counts]
        if partition.partition not in numbers:
            raise StateMismatchError(
                f"{partition}: {what} with the key {key!r} belongs to partition {numbers[-1]} of "
                f"{counts[-1]}: it was written before the partition count was raised and is not "
                "read yet, or after it and was read, or by another rule than murmur2",
                remedy=OTHERWISE,
            )
