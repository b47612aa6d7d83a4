"""What becomes of state when the topology has changed: operator by operator.

=============  =================================================================================
kept           the state is what the operator needs, as it is
migrated       it is needed under other names, in another order, or with parts of it left out
new            the operator has no state yet: it begins with nothing at the committed offset
dropped        no operator needs the state: refused, unless the user lets it go
incompatible   the state is not what the operator needs, and cannot be made that: refused
=============  =================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from processor.plan.fingerprint import (
    FORMAT,
    KNOWN,
    ROW,
    WATERMARKS,
    Cell,
    Content,
    Description,
    Operator,
    Windowed,
)


class Verdict(StrEnum):
    """What becomes of an operator's state."""

    KEPT = "kept"
    MIGRATED = "migrated"
    NEW = "new"
    DROPPED = "dropped"
    INCOMPATIBLE = "incompatible"


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict on one operator, or on the source.

    ``old`` and ``new`` are its names in checkpoints; ``keys`` says for each key where it stood;
    ``cells`` from which stored column each one comes, ``None`` for one that has no history: that is
    right only where no group is in state.
    """

    operator: str
    verdict: Verdict
    differences: tuple[str, ...] = ()
    old: str | None = None
    new: str | None = None
    keys: tuple[int, ...] = ()
    cells: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def unknown(self) -> list[str]:
        """The cells without history."""
        return [name for name, source in self.cells.items() if source is None]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All findings.

    ``watermark_us`` is what to add to the largest event time seen, so that the watermark does not
    go back under a longer delay; ``None``: event times are seen anew. ``replayable``: the new
    topology, run over the whole input, comes to the same state.
    """

    findings: tuple[Finding, ...]
    watermark_us: int | None
    replayable: bool

    def refused(self, *, allow_dropped: bool) -> bool:
        """Whether the state may not be used."""
        verdicts = {finding.verdict for finding in self.findings}
        dropped = Verdict.DROPPED in verdicts and not allow_dropped
        return Verdict.INCOMPATIBLE in verdicts or dropped


def compare(old: Description, new: Description) -> Comparison:
    """What becomes of the state that ``old`` describes under the topology ``new``.

    >>> description = Description(None, None, ("user",), ())
    >>> [str(finding.verdict) for finding in compare(description, description).findings]
    ['kept']
    """
    if old.format != new.format:
        difference = f"described in format {old.format}, this version reads {FORMAT}"
        refused = Finding("source", Verdict.INCOMPATIBLE, (difference,))
        return Comparison((refused,), None, replayable=False)
    pairs, dropped, fresh = _pairs(_counting(old), _counting(new))
    heard = [_heard(old), _heard(new)]
    if all(heard):
        pairs += zip(*heard, strict=True)
    fresh += [] if heard[0] else heard[1]
    source, watermark_us = _source(old, new, used=[now for _, now in pairs])
    found = [_operator(before, now) for before, now in pairs]
    found += [Finding(_label(o), Verdict.NEW, new=o.name) for o in fresh]
    found.sort(key=lambda finding: str(finding.new))
    found += [Finding(_label(o), Verdict.DROPPED, old=o.name) for o in dropped]
    same = all(a.steps == b.steps and a.frees == b.frees for a, b in pairs)
    replayable = same and not fresh and source.verdict is Verdict.KEPT
    return Comparison((source, *found), watermark_us, replayable)


def table(findings: Sequence[Finding]) -> str:
    """The findings as lines of text.

    >>> print(table([Finding("source", Verdict.KEPT)]))
      source  kept
    """
    width = max(len(finding.operator) for finding in findings)
    lines = []
    for finding in findings:
        told = "; ".join(finding.differences)
        lines.append(f"  {finding.operator:{width}}  {finding.verdict:12}  {told}".rstrip())
    return "\n".join(lines)


def _source(
    old: Description, new: Description, *, used: Sequence[Operator]
) -> tuple[Finding, int | None]:
    """The verdict on the source; what it hands on matters where state of the past is ``used``."""
    found: list[str] = []
    verdict, shift = Verdict.KEPT, 0
    if old.partitioned_by != new.partitioned_by:
        verdict = Verdict.INCOMPATIBLE if used else Verdict.MIGRATED
        found.append(
            f"partitioned by {_names(old.partitioned_by)} -> {_names(new.partitioned_by)}"
            + (": groups may lie in other partitions than their state" if used else "")
        )
    if old.event_time != new.event_time:
        both = old.event_time and new.event_time
        verdict = Verdict.INCOMPATIBLE if both and used else _worse(verdict)
        found.append(f"event time {_typed(old.event_time)} -> {_typed(new.event_time)}")
        return Finding("source", verdict, tuple(found)), None
    if bool(_heard(old)) != bool(_heard(new)):
        # What stands for the largest event time is another thing: the watermark is what stays.
        told = "is carried from here on" if _heard(new) else "is no longer carried"
        found.append(f"the watermark {told}, and stays where it is")
        shift = (new.delay_us or 0) - (old.delay_us or 0)
        return Finding("source", _worse(verdict), tuple(found)), shift
    if old.delay_us != new.delay_us:
        verdict = _worse(verdict)
        told = f"watermark's delay {_time(old.delay_us)} -> {_time(new.delay_us)}"
        if old.delay_us is not None and (new.delay_us or 0) > old.delay_us:
            shift = (new.delay_us or 0) - old.delay_us
            told += ", the watermark does not go back"
        elif old.delay_us is not None and new.delay_us is not None and any(map(_slides, used)):
            # What it would pass over at once would be windows that nobody has published.
            shift = new.delay_us - old.delay_us
            told += ", the watermark goes on from where it is"
        found.append(told)
    return Finding("source", verdict, tuple(found)), shift


def _slides(operator: Operator) -> bool:
    """Whether its windows overlap."""
    window = operator.window
    return window is not None and len(window) == 4 and window[1] != window[2]


def _counting(description: Description) -> list[Operator]:
    return [o for o in description.operators if o.name != WATERMARKS]


def _heard(description: Description) -> list[Operator]:
    """What keeps the watermarks that were told; to let go of it loses nothing."""
    return [o for o in description.operators if o.name == WATERMARKS]


def _worse(verdict: Verdict) -> Verdict:
    return Verdict.MIGRATED if verdict is Verdict.KEPT else verdict


def _pairs(
    old: Sequence[Operator], new: Sequence[Operator]
) -> tuple[list[tuple[Operator, Operator]], list[Operator], list[Operator]]:
    """Which of the new operators is which of the old ones; and those that have no other.

    The likeness that is looked for goes from strict to loose. Only where the state is the same
    whichever is taken, with equal steps and an equal schema, may several be alike.
    """
    pairs: list[tuple[Operator, Operator]] = []
    before, now = list(old), list(new)
    likenesses: list[tuple[Callable[[Operator], Hashable], bool]] = [
        (lambda o: (o.sinks, o.window, o.keys, _told(o), o.steps), True),
        (lambda o: (o.window, o.keys, _told(o), o.steps), True),
        (lambda o: (o.sinks, o.window, frozenset(o.keys)), False),
        (lambda o: (o.steps, o.window, frozenset(o.keys)), False),
        (lambda o: o.sinks, False),
    ]
    for likeness, several in likenesses:
        for key in dict.fromkeys(map(likeness, now)):
            theirs = [o for o in before if likeness(o) == key]
            ours = [o for o in now if likeness(o) == key]
            if len(theirs) == len(ours) == 1 or several:
                for a, b in zip(theirs, ours, strict=False):
                    pairs.append((a, b))
                    before.remove(a)
                    now.remove(b)
    return pairs, before, now


def _operator(old: Operator, new: Operator) -> Finding:
    """The verdict on an operator that was there before."""
    wrong = _incompatible(old, new)
    if wrong:
        return Finding(_label(new), Verdict.INCOMPATIBLE, tuple(wrong), old.name, new.name)
    stored = {cell.content: cell.name for cell in old.cells}
    by_name = {cell.name: cell.content for cell in old.cells}
    cells = {
        cell.name: cell.name if by_name.get(cell.name) == cell.content else _stored(stored, cell)
        for cell in new.cells
        # Earlier versions did not have it; then state that is loaded tells.
        if cell.content in stored or not cell.function.endswith(KNOWN)
    }
    keys = tuple(old.keys.index(key) for key in new.keys)
    told = [cell for cell in new.cells if not cell.function.endswith(KNOWN)]
    found = [f"{c} has no history{_needs(c)}" for c in told if cells[c.name] is None]
    found += [
        f"{c} comes from {cells[c.name]}" for c in told if cells[c.name] not in (None, c.name)
    ]
    found += [f"{c} is left out" for c in old.cells
              if c.name not in cells.values() and not c.function.endswith(KNOWN)]  # fmt: skip
    if old.keys != new.keys:
        found.append("keys in another order")
    if new.frees and not old.frees:
        found.append("closed windows leave state from now on")
    verdict = Verdict.MIGRATED if found else Verdict.KEPT
    if old.steps != new.steps:
        found.append("the steps before it have changed, and hold from here on")
    if old.sinks != new.sinks:
        found.append(f"written to {_names(new.sinks)}, before to {_names(old.sinks)}")
    return Finding(_label(new), verdict, tuple(found), old.name, new.name, keys, cells)


def _stored(stored: Mapping[Content, str], cell: Cell) -> str | None:
    """The stored column that a cell comes from; a mean's sum also from an exact one."""
    exact = cell.function, cell.column, cell.kind, "<i8"
    of_mean = cell.function == "sum" and cell.dtype == "<f8"
    return stored.get(cell.content) or (stored.get(exact) if of_mean else None)


def _needs(cell: Cell) -> str:
    """What would be the history of a mean's part, or of a count, which looks as if it were there.

    >>> _needs(Cell("avg.count", "count", "cents", "Int64", "<i8"))
    ': it would be that of F.count("cents"), which passes over nulls as F.count() does not'
    """
    if cell.function == "count" and cell.column is not None:
        return (
            f': it would be that of F.count("{cell.column}"), which passes over nulls as '
            "F.count() does not"
        )
    mean = cell.function == "sum" and cell.name.endswith(".sum")
    return f': it would be that of F.sum("{cell.column}")' if mean else ""


def _told(operator: Operator) -> tuple[Cell, ...]:
    """Its cells, without those that only tell of another one whether it holds a value."""
    return tuple(cell for cell in operator.cells if not cell.function.endswith(KNOWN))


def _incompatible(old: Operator, new: Operator) -> list[str]:
    found = []
    if old.window != new.window:
        found.append(f"window {_window(old.window)} -> {_window(new.window)}")
    if sorted(old.keys) != sorted(new.keys):
        found.append(f"keys {_keys(old)} -> {_keys(new)}")
    elif old.frees and not new.frees:
        found.append("closed windows were freed, and would be needed now")
    if ROW in {cell.function for cell in (*old.cells, *new.cells)} and old.cells != new.cells:
        found.append(f"rows of {_rows(old)} -> {_rows(new)}")
    return found


def _label(operator: Operator) -> str:
    return f"{operator.name} to {_names(operator.sinks)}" if operator.sinks else operator.name


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) or "nothing"


def _keys(operator: Operator) -> str:
    return ", ".join(f"{name}: {kind}" for name, kind in operator.keys)


def _window(window: Windowed | None) -> str:
    if window is None:
        return "none"
    if len(window) == 2:
        return f"{_time(window[1])} of {window[0]}"
    column, size, slide, start = window
    return f"{_time(size)} of {column} every {_time(slide)} from {_time(start)} on"


def _rows(operator: Operator) -> str:
    """What a join keeps: its kind and bounds in microseconds, and its columns."""
    return ", ".join(f"{cell.name}: {cell.kind}" for cell in operator.cells) or "nothing"


def _time(microseconds: int | None) -> str:
    return "none" if microseconds is None else str(timedelta(microseconds=microseconds))


def _typed(column: tuple[str, str] | None) -> str:
    return "none" if column is None else f"{column[0]}: {column[1]}"
