"""``--feed``: a file's records into the embedded log, as a producer of the topic would write them.

A topic that a topology reads as ``partitioned_by`` a column is keyed by that column's text, which
picks the partition as Kafka's own clients do. Any other topic's records go to one partition, in
the order of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from processor.api.running import Feed
from processor.app.fed import FEEDER, Fed
from processor.app.feed_format import check_file, check_records
from processor.connectors.ports import Log
from processor.errors import SettingsError
from processor.feeds.values import encoded, records
from processor.formats.base import (
    ManyRows,
    headed,
    many_rows,
    shown,
)
from processor.formats.csv import Csv
from processor.formats.registered import Registered
from processor.model.log import Output
from processor.plan import nodes

_CHUNK: Final = 10_000


def feed(
    log: Log, plans: Sequence[nodes.Plan], topic: str, given: Feed, *, once: bool = False
) -> bool:
    """Put records into the topic: those of a file, or values.

    With ``once``, of a log that is kept, all of them or none, and never a second time: returns
    whether they were put there now. Raises `SettingsError` for what cannot be fed.
    """
    told = _told(topic, given)
    source = _source(plans, topic, told)
    _check_keys(source, told)
    try:
        values = _values(source, given, told)
        note = Fed(log, topic, values) if once else None
        if isinstance(source.format, Registered) and isinstance(given, str | Path):
            values = source.format.fed(values)
    except (ValueError, TypeError) as error:
        raise SettingsError(
            f"{told}: {error}",
            remedy="give a file of the format that the topology reads it in"
            if isinstance(given, str | Path)
            else "give a list of text, bytes or rows as {column: cell}, or a frame",
        ) from error
    if note is not None and note.known():
        return False
    keys: list[bytes | None] = []
    if keyed(source) and (many := many_rows(source.format)) is not None:
        values, keys = _by_key(many, values, source)
    _put(log, _outputs(topic, values, keys, source), note)
    return True


def _outputs(
    topic: str, values: list[bytes], keys: list[bytes | None], source: nodes.Source
) -> Iterator[Output]:
    for start in range(0, len(values), _CHUNK):
        part = values[start : start + _CHUNK]
        if keyed(source):
            yield Output(topic, part, keys[start : start + _CHUNK] or _keys(part, source))
        else:
            yield Output(topic, part, partition=0)


def _put(log: Log, outputs: Iterator[Output], note: Fed | None) -> None:
    """Publish, with a note in one transaction."""
    producer = log.producer(None if note is None else FEEDER)
    producer.start(10)
    if note is not None:
        producer.begin()
        producer.produce(note.output())
    for output in outputs:
        producer.produce(output)
    producer.flush(30)
    if note is not None:
        producer.commit(30)
    producer.close()


def _told(topic: str, given: Feed) -> str:
    """What is fed, as it was given: a file, or values in Python."""
    return (
        f"--feed {topic}={given}" if isinstance(given, str | Path) else f"feed={{{topic!r}: ...}}"
    )


def _check_keys(source: nodes.Source, told: str) -> None:
    """Raise `SettingsError` where a record takes more than a value."""
    of_key = set() if source.key_format is None else set(source.key_format.columns or ())
    if not of_key <= set(getattr(source.key_format, "optional", ())):
        raise SettingsError(
            f"{told}: at {source.at} the records' keys are read as "
            f"{', '.join(source.of_key())}, and a file has values alone",
            remedy="make the key's columns optional, or write the topic with its keys",
        )
    if source.key is not None and source.key in source.partitioned_by:
        raise SettingsError(
            f"{told}: at {source.at} the topic is keyed by its records' own keys "
            f"({source.key}), and a file has values alone",
            remedy="write the topic with its keys, as TestDriver.feed(..., key=...) does in a test",
        )
    having = headed(source.format)
    if having is not None and having.reads_headers:
        raise SettingsError(
            f"{told}: at {source.at} a part of each record is in its headers, and a "
            "file has values alone",
            remedy='feed whole events: mode="structured"',
        )


def _values(source: nodes.Source, given: Feed, told: str) -> list[bytes]:
    """The records' values; raises `ValueError` or `TypeError` for what cannot be written."""
    form = source.format
    if not isinstance(given, str | Path):
        return encoded(form, given)
    path = Path(given)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{told}: {error.strerror}", remedy="name a file that can be read"
        ) from error
    inner = form.format if isinstance(form, Registered) else form
    check_file(text, inner, told)
    values = _without_header(list(records(text, inner)), inner, told)
    check_records(values, inner, told, source.at)
    return values


def keyed(source: nodes.Source) -> bool:
    """Whether the values of a topic's records make their keys; without any all go to one partition.

    >>> from processor import Text, Topology
    >>> keyed(Topology("copy").read.kafka("from", format=Text())._node)
    False
    """
    return bool(source.partitioned_by) and source.own().keys().isdisjoint(source.partitioned_by)


def _without_header(values: list[bytes], form: object, told: str) -> list[bytes]:
    """The records behind the line of names that a file of such a format begins with."""
    if not isinstance(form, Csv) or not form.header or not values:
        return values
    if form.decode(values[:1]).passed:
        return values[1:]
    raise SettingsError(
        f"{told}: the file begins with {shown(values[0].decode(errors='replace'))}, "
        f"which is not the header {form.separator.join(form.columns)!r} that its format tells of",
        remedy="correct the file's first line, or leave header=True out of the format",
    )


def _source(plans: Sequence[nodes.Plan], topic: str, told: str) -> nodes.Source:
    sources = [plan.source() for plan in plans if plan.source().topic == topic]
    if not sources:
        given = [plan.source() for plan in plans if not plan.source().internal]
        inputs = ", ".join(dict.fromkeys(source.topic for source in given))
        raise SettingsError(
            f"{told}: no topology that is run reads {topic!r}",
            remedy=f"they read {inputs}",
        )
    keyed = [source for source in sources if source.partitioned_by]
    for other in keyed[1:]:
        if other.partitioned_by != keyed[0].partitioned_by:
            raise SettingsError(
                f"{told}: {topic!r} is partitioned by "
                f"{', '.join(keyed[0].partitioned_by)} at {keyed[0].at} and by "
                f"{', '.join(other.partitioned_by)} at {other.at}",
                remedy="a topic has one key: run the topologies by themselves",
            )
    return (keyed or sources)[0]


def _keys(values: Sequence[bytes], source: nodes.Source) -> list[bytes | None]:
    """The text of the columns that the topic is keyed by; none for a record that cannot be read."""
    decoded = source.format.decode(values)
    keys = _texts(decoded.frame, source).to_list()
    for row in decoded.bad:
        keys[row] = None
    return keys


def _texts(frame: pl.DataFrame, source: nodes.Source) -> pl.Series:
    columns = [frame[name].cast(pl.String) for name in source.partitioned_by]
    return pl.select(pl.concat_str(columns, separator=",")).to_series().cast(pl.Binary)


def _by_key(
    form: ManyRows, values: Sequence[bytes], source: nodes.Source
) -> tuple[list[bytes], list[bytes | None]]:
    """Records of many rows dealt out anew, so that all rows of one are of its key."""
    frame = form.decode(values).frame
    found: list[bytes] = []
    keys: list[bytes | None] = []
    texts = _texts(frame, source)
    for key in texts.unique(maintain_order=True):
        packed = [value for _, value in form.pack(frame.filter(texts.eq_missing(key)))]
        found += packed
        keys += [key] * len(packed)
    return found, keys
