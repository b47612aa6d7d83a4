"""What a former life of an application has left in the topics that it writes.

A group without a committed position may be new, or may have lost its positions. Where the store has
forgotten too, the topics may still tell: dead letters and late records name who set them aside, and
a changelog is one application's own. Rows that a topology publishes name nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from processor.connectors.ports import Log
from processor.model.headers import STAGE, headers_of
from processor.model.log import Extent, TopicPartition

LOOKED_AT: Final = 1_000


def trace(
    log: Log,
    app: str,
    source: str,
    set_aside: Collection[str],
    changelog: str | None,
    *,
    internal: Collection[str] = (),
) -> str | None:
    """Where there is a record of an application's former life; ``None``: nowhere.

    Looked at are the latest `LOOKED_AT` records of each partition of the topics ``set_aside``,
    which take what cannot be processed of ``source``, and of those ``internal`` ones that the
    application writes, and whether ``changelog`` holds anything.
    """
    own = [changelog] if changelog else []
    for where, extent in _filled(log, own):
        return f"{where} offset {extent.low}"
    for where, extent in _filled(log, [*set_aside, *internal]):
        for run in log.scan(where, max(extent.low, extent.high - LOOKED_AT), extent.high):
            for message in run:
                told = dict(headers_of(message))
                stage = told.get(STAGE) or b""
                topic = told.get("processor.topic") or b""
                aside = stage.startswith(f"{app}/".encode()) and topic == source.encode()
                if aside or (stage == app.encode() and where.topic in internal):
                    return f"{where} offset {message.offset()}"
    return None


def filled(log: Log, topics: Collection[str]) -> list[str]:
    """Those of the topics that hold records."""
    return sorted({where.topic for where, _ in _filled(log, topics)})


def _filled(log: Log, topics: Collection[str]) -> Iterable[tuple[TopicPartition, Extent]]:
    for topic, description in log.describe(topics).items():
        for number, extent in sorted(description.extents.items()):
            if extent.high > extent.low:
                yield TopicPartition(topic, number), extent
