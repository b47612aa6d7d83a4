"""Reads all topics of a stage and has the oracle judge them, a partition of the input at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from tests.campaign import oracle
from tests.campaign.collect import Reader, Record
from tests.campaign.expected import Expected, expect
from tests.campaign.oracle import Wrong
from tests.campaign.terms import PARTITIONS, Stage

AT_ONCE = 600_000


@dataclass(frozen=True)
class Compared:
    """A list of outputs, and the judge of it: what a control alters and has judged again."""

    topic: str
    records: Sequence[Record]
    judge: Callable[[Sequence[Record]], list[Wrong]]
    # Of an update only the last of its group cannot be left out.
    update: bool = False


@dataclass
class Judged:
    """What came of it all."""

    records_in: int = 0
    compared: Counter[str] = field(default_factory=Counter)
    wrong: list[Wrong] = field(default_factory=list)
    acknowledged: Counter[int] = field(default_factory=Counter)

    def add(self, lists: Iterator[Compared]) -> Iterator[Compared]:
        """Judge each list, and pass it on."""
        for each in lists:
            self.compared[each.topic] += len(each.records)
            self.wrong += each.judge(each.records)
            yield each


def judge(
    reader: Reader, stages: Sequence[Stage], source: str, judged: Judged
) -> Iterator[Compared]:
    """All lists of all stages that read ``source``, judged."""
    bad: dict[tuple[int, int], tuple] = {}
    late: dict[tuple[int, int], tuple] = {}
    # As many partitions at a time as fit into memory: each look at a topic takes a moment.
    step = max(1, min(PARTITIONS, AT_ONCE * PARTITIONS // (1 + reader.size(source, PARTITIONS))))
    for first in range(0, PARTITIONS, step):
        numbers = range(first, min(first + step, PARTITIONS))
        expected: dict[int, Expected] = {}
        for number, records in reader.partitions(source, numbers).items():
            judged.records_in += len(records)
            judged.acknowledged[number] = len(records)
            expected[number] = expect(number, records)
            bad |= {(number, at): (record,) for at, record in expected[number].bad.items()}
            late |= {(number, at): entry for at, entry in expected[number].late.items()}
        for stage in stages:
            yield from judged.add(_outputs(reader, stage, expected))
    for stage in stages:
        yield from judged.add(_aside(reader, stage, source, bad, late))


def _outputs(reader: Reader, stage: Stage, expected: Mapping[int, Expected]) -> Iterator[Compared]:
    update = stage.shape == "windowed"
    by = oracle.judge_windows if update else oracle.judge_rows
    for number, records in reader.partitions(stage.output, expected).items():
        yield Compared(stage.output, records, partial(by, stage, expected[number]), update)


def _aside(reader: Reader, stage: Stage, source: str, bad, late) -> Iterator[Compared]:
    for topic, wanted in ((stage.dead, bad), (stage.late, late)):
        if topic is not None:
            yield Compared(
                topic,
                reader.whole(topic, PARTITIONS),
                partial(oracle.judge_aside, topic, source, wanted),
            )
