"""Whether records lie where their keys belong.

An aggregate counts on it that all records of a key are in one partition. The broker does not see to
that: each writer does, by its partitioner. Of every batch a few records are looked at: the text
of the ``partitioned_by`` column, by murmur2, against the partition that the record came from. The
first that lies elsewhere is told, and the partitioner that put it there as soon as it is known, or
that the topic is keyed by something else; all that are found are counted.

Where the columns are read of the key itself (``key_format``), its bytes are looked at as they were
written; and one key that is written in two ways, so that it lies in two partitions, is told too. So
are keys with the numbers of several schemas of a registry: each number is another key to Kafka.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Final

from processor.connectors.partitioner import partition as partition_of
from processor.formats.base import many_rows
from processor.formats.registered import Registered
from processor.model.batch import Sample
from processor.plan.nodes import Plan

SAMPLE_MAX: Final = 64
CLOSELY: Final = 1024
ONE_IN: Final = 2048
_KEYS_MIN: Final = 4  # fewer lie by chance where a partitioner puts them
_SHOWN_MAX: Final = 60
_HOMES_MAX: Final = 4096
_MANY: Final = "; the rows of one record are all to be of its key: a record for each key"
_MASK: Final = 0xFFFFFFFF
_DEFAULT: Final = "partitioner=murmur2_random in librdkafka, Kafka's own clients without a setting"


class Keys:
    """Looks at samples of the keys of a topology's input.

    Args:
        partitions: how many the input topic has.
        tell: hears of the first record that lies elsewhere, and what partitioner fits.
    """

    def __init__(self, plan: Plan, partitions: int, tell: Callable[[str], None]) -> None:
        source = plan.source()
        columns = source.partitioned_by
        self._written = source.keyed_by_format()
        # How several columns make a key is not known; nor has one partition an elsewhere.
        known = (len(columns) == 1 or self._written) and partitions > 1
        self._column = ", ".join(columns) if known else None
        self._partitions = partitions
        self._tell = tell
        self._passed = 0
        self._known: list[Sample] = []
        self._untold = True
        self._otherwise = not self._written  # no key seen so far says what its column says
        self._many = many_rows(source.format) is not None
        self._homes: dict[str, tuple[int, bytes]] = {}
        form = source.key_format if self._written and partitions > 1 else None
        self._form = form if isinstance(form, Registered) and form.numbered else None
        self.seen = self.misplaced = 0

    def wanted(self, rows: int) -> int:
        """How many of a batch's rows to look at: closely at first, then one in so many.

        >>> from processor import Text, Topology
        >>> topology = Topology("copy")
        >>> lines = topology.read.kafka("from", format=Text(), partitioned_by="value")
        >>> lines.write.kafka("to", format=Text())
        >>> [Keys(topology.plan(), n, print).wanted(20_000) for n in (1, 2)]
        [0, 64]
        """
        self._look_at_schemas()
        if self._column is None:
            return 0
        if self.seen < CLOSELY:
            return min(rows, SAMPLE_MAX)
        # Over small batches, so that most of them cost nothing.
        few, self._passed = divmod(self._passed + rows, ONE_IN)
        return min(few, rows, SAMPLE_MAX)

    def look(self, samples: Sequence[Sample]) -> int:
        """How many of the samples lie elsewhere; a key that is null has no place."""
        keyed = [sample for sample in samples if sample.text is not None]
        elsewhere = [sample for sample in keyed if self._elsewhere(sample)]
        self.seen += len(keyed)
        self._otherwise = self._otherwise and all(map(_foreign, keyed))
        if self._untold and (elsewhere or self.misplaced):
            self._known += keyed
            fits = self._fits() if len({_bytes(s) for s in self._known}) >= _KEYS_MIN else None
            if not self.misplaced:
                self._tell(self._told(elsewhere[0], fits))
            elif fits is not None and not self._otherwise:
                self._tell(f"{keyed[0].message.topic()}: {fits}")
            self._untold = fits is None and len(self._known) < SAMPLE_MAX
        self.misplaced += len(elsewhere)
        return len(elsewhere)

    def _look_at_schemas(self) -> None:
        """Tell once that keys are written with several schemas, of which they have the number."""
        form = self._form
        if form is None or len(numbers := form.read_with) < 2:
            return
        self._form = None
        self._tell(
            f"{form.topic}: keys are written with the schemas {', '.join(map(str, numbers))}: a "
            "key's bytes begin with the number, so that one key lies in another partition with "
            "each, and has a group in each. Let all writers write keys with one schema; after a "
            "change of it copy the topic to a new one, by key"
        )

    def _elsewhere(self, sample: Sample) -> bool:
        text, lies = str(sample.text).encode(), sample.message.partition()
        if self._written:
            home = partition_of(_bytes(sample), self._partitions)
            return home != lies or self._twice(sample) is not None
        if partition_of(text, self._partitions) == lies:
            return False
        key = sample.message.key()
        # A key that is made of the text keeps records of one text together as well.
        made = key is not None and key != text and _made_of(key, text)
        return not made or partition_of(key or b"", self._partitions) != lies

    def _twice(self, sample: Sample) -> tuple[int, bytes] | None:
        """Where else a key of the same columns was seen, and its bytes."""
        text, here = str(sample.text), (sample.message.partition() or 0, _bytes(sample))
        if len(self._homes) < _HOMES_MAX:
            self._homes.setdefault(text, here)
        there = self._homes.get(text, here)
        return there if there[0] != here[0] else None

    def _told_of_bytes(self, sample: Sample, fits: str | None) -> str:
        message, key = sample.message, _shown(sample.message.key())
        where = f"{message.topic()}[{message.partition()}] offset {message.offset()}"
        home = partition_of(_bytes(sample), self._partitions)
        other = self._twice(sample)
        if home == message.partition() and other is not None:
            return (
                f"{where}: the key {key} is written {_shown(other[1])} in partition {other[0]}: "
                "where writers of a topic differ in this, a key has a group in each of two "
                "partitions. Let all writers write keys alike, to the byte"
            )
        return (
            f"{where}: a record with the key {key} belongs to partition {home} of "
            f"{self._partitions} by murmur2 of the key's bytes, and lies in {message.partition()}; "
            "where writers of a topic differ in this, a key has a group in each of two partitions. "
            + (fits or f"Let all writers use murmur2 of the key's bytes ({_DEFAULT})")
        )

    def _told(self, sample: Sample, fits: str | None) -> str:
        if self._written:
            return self._told_of_bytes(sample, fits)
        message, text = sample.message, str(sample.text)
        if self._otherwise:
            return (
                f"{message.topic()}[{message.partition()}] offset {message.offset()}: the topic is "
                f"not keyed by {self._column!r}: the record's key is {_shown(message.key())} where "
                f"the column is {text!r}, so that records of one group may lie in several "
                "partitions, with a total in each. Name the column that the topic is keyed by "
                f"(partitioned_by=), or write it keyed by {self._column!r} first, by a topology of "
                "its own" + (_MANY if self._many else "")
            )
        home = partition_of(text.encode(), self._partitions)
        return (
            f"{message.topic()}[{message.partition()}] offset {message.offset()}: a record with "
            f"{self._column}={text!r} belongs to partition {home} of {self._partitions} by murmur2 "
            f"of that text, and lies in {message.partition()}; where writers of a topic differ in "
            "this, a key has a group in each of two partitions. "
            + (fits or f"Let all writers use murmur2 of that text ({_DEFAULT})")
        )

    def _fits(self) -> str | None:
        """What puts the records where they are, if it is one of those that are known."""
        count = self._partitions
        pairs = {(_bytes(s), s.message.partition() or 0) for s in self._known}
        all_ = f"All {len(self._known)} looked at lie where"
        for name, place in PARTITIONERS.items():
            if all(place(key, count) == lies for key, lies in pairs):
                keys = _of(self._known)
                return f"{all_} {name} puts {keys}. Let all writers use murmur2 ({_DEFAULT})"
        for former in range(count - 1, 1, -1):
            if all(partition_of(key, former) == lies for key, lies in pairs):
                return (
                    f"{all_} they belong if the topic has {former} partitions: it was written "
                    "before it was given more. Copy it to a new topic, by key"
                )
        return None


def _of(samples: Sequence[Sample]) -> str:
    same = all(_bytes(sample) == str(sample.text).encode() for sample in samples)
    return "the keys" if same else "their record keys, which are another text"


def _foreign(sample: Sample) -> bool:
    """Whether a record's key says something else than its column."""
    key, text = sample.message.key(), str(sample.text).encode()
    return key is not None and key != text and not _made_of(key, text)


def _shown(key: bytes | None) -> str:
    text = (key or b"").decode(errors="backslashreplace")
    return repr(text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…")


def _bytes(sample: Sample) -> bytes:
    key = sample.message.key()
    return str(sample.text).encode() if key is None else key


def _made_of(key: bytes, text: bytes) -> bool:
    """Whether a record's key says what the text says, in a form of its own.

    >>> _made_of(b'{"user":"ann"}', b"ann"), _made_of((7).to_bytes(8, "big"), b"7")
    (True, True)
    """
    if text and text in key:
        return True
    digits = text.removeprefix(b"-")
    if not digits.isdigit() or len(key) not in (4, 8):
        return False
    return int(text) in (int.from_bytes(key, "big", signed=True),
                         int.from_bytes(key, "little", signed=True))  # fmt: skip


def _crc32(key: bytes, count: int) -> int:
    """What librdkafka does without a setting, and clients made of it.

    >>> _crc32(b"abc", 4)
    2
    """
    return zlib.crc32(key) % count


def _fnv1a(key: bytes, count: int) -> int:
    """What Sarama does, a client for Go.

    >>> _fnv1a(b"abc", 4)
    3
    """
    h = 0x811C9DC5
    for byte in key:
        h = (h ^ byte) * 0x01000193 & _MASK
    return (h if h < 1 << 31 else (1 << 32) - h) % count


PARTITIONERS: Final[dict[str, Callable[[bytes, int], int]]] = {
    "crc32 (librdkafka's own choice)": _crc32,
    "fnv1a (Sarama's own choice)": _fnv1a,
    "murmur2": partition_of,
}
