"""What a campaign came to, as text: tables, and of what is wrong what happened before it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.campaign.history import Finding, History, clock
from tests.campaign.judge import Judged
from tests.campaign.oracle import Wrong
from tests.campaign.progress import Stalls

SHOWN = 4
BEFORE_S = 45


def findings(wrong: Sequence[Wrong]) -> Iterator[Finding]:
    """What the oracle found, by kind, topic and partition: how many, which offsets, the first."""
    by: dict[tuple[str, str, int], list[Wrong]] = defaultdict(list)
    for each in wrong:
        by[each.kind, each.topic, each.partition].append(each)
    for (kind, topic, partition), some in sorted(by.items()):
        known = [each.at_ms for each in some if each.at_ms]
        first = min(some, key=lambda each: each.at_ms or 2**63)
        offsets = sorted({offset for each in some for offset in each.offsets})
        when = clock(min(known)) if known else "?"
        where = f"input offsets {ranges(offsets)}, first at {when}"
        lines = [f"{topic}, partition {partition} of the input: {len(some)} {kind}, {where}"]
        lines += [f"  {each.what[:400]}" for each in [first, *some[: SHOWN - 1]]]
        yield Finding(kind, "\n".join(dict.fromkeys(lines)), min(known, default=None))


def ranges(numbers: Sequence[int]) -> str:
    """Numbers as runs; what is nearly without a gap counts as one.

    >>> ranges([1, 2, 3, 9, 400])
    '1..9 (4), 400'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number - runs[-1][1] <= 100:
            runs[-1][1] = number
            runs[-1][2] += 1
        else:
            runs.append([number, number, 1])
    shown = [f"{a}..{b} ({n})" if a != b else f"{a}" for a, b, n in runs[:8]]
    return ", ".join(shown) + (f" and {len(runs) - 8} runs more" if len(runs) > 8 else "")


def table(rows: Iterable[tuple[str, object]], title: str) -> str:
    entries = [(str(name), f"{value:,}" if isinstance(value, int) else str(value))
               for name, value in rows]  # fmt: skip
    width = max((len(name) for name, _ in entries), default=0)
    return "\n".join([f"\n{title}", *(f"  {name:<{width}}  {value:>9}" for name, value in entries)])


def report(
    history: History, judged: Judged, stalls: Stalls, controls: Mapping[str, bool], last: str
) -> str:
    """The tables at the end."""
    kinds = Counter(finding.kind for finding in history.findings)
    caught = sum(controls.values())
    stood = {
        app: f"{longest:.1f} s (partition {partition})"
        for app, (longest, partition) in stalls.longest.items()
    }
    parts = [
        table(sorted(history.faults.items()), "faults"),
        table(sorted(history.places.items()), "places at which workers stopped themselves"),
        table(sorted(history.exits.items()), "exits of workers"),
        table([("records in", judged.records_in), *sorted(judged.compared.items())], "compared"),
        table(stood.items(), "longest without progress while nothing hindered it"),
        table([(f"caught of {len(controls)}", caught)], "controls"),
        table(sorted(kinds.items()) or [("none", 0)], "findings"),
        f"\n{last}: " + ("AMISS" if history.findings else "all is right"),
    ]
    return "\n".join(parts)


def details(history: History, directory: Path) -> str:
    """Each finding with what happened shortly before it; of equal ones the first few."""
    lines = [f"\nlogs are in {directory}"]
    told: Counter[str] = Counter()
    for number, finding in enumerate(history.findings, 1):
        like = f"{finding.kind} {re.sub(r'[0-9]+', '', finding.what.splitlines()[0])[:60]}"
        told[like] += 1
        if told[like] > SHOWN:
            continue
        lines.append(f"\n--- finding {number}, {finding}")
        if finding.at_ms is not None:
            lines.append(f"  what happened before {clock(finding.at_ms)}:")
            lines += [f"    {event}" for event in history.around(finding.at_ms, BEFORE_S)]
    lines += [f"{n - SHOWN} more like: {like}" for like, n in told.items() if n > SHOWN]
    return "\n".join(lines)
