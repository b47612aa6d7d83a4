"""What a campaign came to, as text: tables, and of what is wrong what happened before it."""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from tests.campaign.history import Finding, History, clock
from tests.campaign.judge import Judged
from tests.campaign.oracle import Wrong
from tests.campaign.progress import Stalls

SHOWN = 4
BEFORE_S = 40
SAID_S, SAID_MAX = 15, 40
CLOSE_MS = 8_000
Timed = TypeVar("Timed", Finding, Wrong)
STAMP = re.compile(r'"timestamp":"([^"]+)"')


def findings(wrong: Sequence[Wrong]) -> Iterator[Finding]:
    """What the oracle found, by the moment, kind and topic: how many, which offsets, examples."""
    for moment in together(wrong):
        by: dict[tuple[str, str], list[Wrong]] = defaultdict(list)
        for each in moment:
            by[each.kind, each.topic].append(each)
        for (kind, topic), some in sorted(by.items()):
            known = [each.at_ms for each in some if each.at_ms]
            when = clock(min(known)) if known else "?"
            lines = [f"{topic}: {len(some)} {kind}, first at {when}"]
            for p in sorted({each.partition for each in some}):
                here = {o for each in some if each.partition == p for o in each.offsets}
                lines.append(f"  partition {p} of the input, offsets {ranges(sorted(here))}")
            lines += [f"  such as {each.what[:300]}" for each in some[:2]]
            yield Finding(kind, "\n".join(lines), min(known, default=None))


def together(found: Sequence[Timed]) -> list[list[Timed]]:
    """What lies close together in time, together."""
    groups: list[list[Timed]] = []
    for each in sorted(found, key=lambda each: each.at_ms or 0):
        last = groups[-1][-1].at_ms if groups else None
        if last is None or (each.at_ms or 0) - last > CLOSE_MS:
            groups.append([])
        groups[-1].append(each)
    return groups


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
    """What is wrong, with what happened shortly before it and what the workers said then."""
    lines = [f"\nlogs are in {directory}"]
    for number, group in enumerate(together(history.findings), 1):
        at_ms = min((finding.at_ms for finding in group if finding.at_ms), default=0)
        lines.append(f"\n=== incident {number}, at {clock(at_ms)}: {len(group)} findings")
        for kind, some in _by_kind(group).items():
            lines += [str(finding) for finding in some[:SHOWN]]
            if len(some) > SHOWN:
                lines.append(f"and {len(some) - SHOWN} more: {kind}")
        lines.append("--- what happened before")
        lines += [f"  {str(event)[:200]}" for event in history.around(at_ms, BEFORE_S)]
        said = list(_said(directory, at_ms))
        lines.append(f"--- what the workers said then ({len(said)} lines)")
        lines += said[-SAID_MAX:]
    return "\n".join(lines)


def _by_kind(group: Sequence[Finding]) -> Mapping[str, list[Finding]]:
    found: dict[str, list[Finding]] = defaultdict(list)
    for finding in group:
        found[f"{finding.kind}: {finding.what.splitlines()[0].split(',')[0][:120]}"].append(finding)
    return found


def _said(directory: Path, at_ms: int) -> Iterator[str]:
    """Lines of all logs near a time, but for those of the batches, in their order."""
    first, last = stamp(at_ms - SAID_S * 1000), stamp(at_ms + 3000)
    found = []
    for path in directory.glob("*.log"):
        for line in path.read_text(errors="replace").splitlines():
            when = STAMP.search(line)
            if when and first <= when[1] <= last and '"event":"batch"' not in line:
                found.append((when[1], path.stem, line))
    for when, name, line in sorted(found):
        yield f"  {when[11:23]} {name}: {line[:300]}"


def stamp(at_ms: int) -> str:
    """A time as the workers' logs have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_ms // 1000)) + f".{at_ms % 1000:03}"
