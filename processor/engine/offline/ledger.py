"""The ledger of an application: which dead letters were sent to the input again.

::

    APP-redriven:   {topic, its id, partition, offsets} …      some records a transaction

It is a topic that the log keeps for ever. Each transaction of a redrive writes into it what it
sends, so that both become true at one point. Two sorts of offsets are noted: those of letters in
their topic, and those of the records in the input that the letters are of, since a batch that was
published twice, or an input that was read again, makes two letters of one record.

A topic that was made anew has another id, so that what was noted of the former one says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson

from processor.connectors.ports import Log
from processor.errors import LogError, RetriableError, SettingsError
from processor.model.log import Message, Output, TopicPartition
from processor.model.offsets import Offsets

_FORM: Final = 1


def ledger_of(app: str) -> str:
    """The ledger topic of an application.

    >>> ledger_of("rides")
    'rides-redriven'
    """
    return f"{app}-redriven"


class Ledger:
    """Reads and writes the ledger of one application.

    Args:
        log: where it is.
        app: the application.
        topics: the topics that offsets are noted of, which have to be there.
    """

    def __init__(self, log: Log, app: str, *topics: str) -> None:
        self._log = log
        self.topic = ledger_of(app)
        asked = {topic: log.identity(topic) for topic in topics}
        self._ids = {topic: answer() for topic, answer in asked.items()}

    def prepare(self) -> None:
        """See that the topic is there and forgets nothing.

        Raises `SettingsError` where it is kept for a time only.
        """
        self._log.create({self.topic: 1}, forever=True)
        kept_ms = self._log.kept_ms(self.topic)
        if kept_ms is not None or self._log.compacted([self.topic]):
            raise SettingsError(
                f"the topic {self.topic} forgets: letters would be sent twice",
                remedy="set its retention.ms to -1 and its cleanup.policy to delete",
            )

    def read(self) -> dict[TopicPartition, Offsets]:
        """What is noted of the topics as they are now, committed; nothing where it is not there.

        Raises `LogError` for a record that is none of a ledger's.
        """
        described = self._log.describe([self.topic]).get(self.topic)
        found: dict[TopicPartition, list[Offsets]] = {}
        for number, extent in described.extents.items() if described is not None else ():
            where = TopicPartition(self.topic, number)
            for messages in self._log.scan(where, extent.low, extent.high):
                for message in messages:
                    partition, identity, offsets = _entry(where, message)
                    if identity == self._ids.get(partition.topic):
                        found.setdefault(partition, []).append(offsets)
        return {partition: Offsets.union(parts) for partition, parts in found.items()}

    def settled(self, timeout_s: float) -> None:
        """See that nothing in it waits for the end of a transaction, so that `read` reads all.

        Who has the identity has ended his own. Raises `RetriableError` for one of anybody else.
        """
        described = self._log.describe([self.topic])
        places = [TopicPartition(self.topic, n) for d in described.values() for n in d.extents]
        view = self._log.look([self.topic], places, timeout_s)
        for where in places:
            if view.stable.get(where, -1) != view.tops.get(where, -1):
                raise RetriableError(
                    f"{where}: an open transaction holds back what is noted there",
                    remedy="find its producer (kafka-transactions.sh find-hanging); the topic is "
                    "the processor's own",
                )

    def output(self, noted: Mapping[TopicPartition, Offsets]) -> Output:
        """The records that note these offsets."""
        values = [
            orjson.dumps(
                {
                    "form": _FORM,
                    "topic": partition.topic,
                    "id": self._ids[partition.topic],
                    "partition": partition.partition,
                    "offsets": offsets.steps(),
                }
            )
            for partition, offsets in noted.items()
        ]
        return Output(self.topic, values, partition=0)


def _entry(where: TopicPartition, message: Message) -> tuple[TopicPartition, str, Offsets]:
    try:
        told = orjson.loads(message.value() or b"")
        if told["form"] != _FORM:
            raise ValueError
        partition = TopicPartition(str(told["topic"]), int(told["partition"]))
        return partition, str(told["id"]), Offsets.from_steps(told["offsets"])
    except (ValueError, KeyError, TypeError):
        raise LogError(
            f"{where} offset {message.offset()} is no record of a ledger: what was sent again "
            "cannot be told for certain",
            remedy="see who else writes to that topic; it is the processor's own",
        ) from None
