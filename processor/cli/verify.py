"""``processor verify``: is what was published what the input makes?"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final

import click
import orjson

from processor import app
from processor.cli.progress import Progress
from processor.connectors.ports import Log
from processor.engine.offline.span import Span
from processor.engine.offline.verify import Report
from processor.engine.offline.verify import verify as compare
from processor.engine.running.idle import raises
from processor.errors import RetriableError, SettingsError
from processor.model import moment
from processor.model.log import Committed, Extent, TopicPartition
from processor.model.manifest import Manifest
from processor.plan.nodes import Plan
from processor.settings import Settings

AMISS: Final = 3
SHOWN: Final = 50
TRIES: Final = 5


def verify(
    name: str, settings: Settings, from_: str | None, to: str | None, *, as_json: bool
) -> int:
    """Compare, tell, and return the exit code: 0 where all is right, 3 where not."""
    plans = app.load_topologies([name], settings.set)
    app.connect_registries(plans, settings)
    for option, text in (("--from", from_), ("--to", to)):
        if text is not None and not text.isdecimal():
            when(text, f"{option} ")
    if len(plans) > 1 and (from_ is not None or to is not None):
        raise SettingsError(
            f"{plans[0].app} has {len(plans)} stages, and a range of one's input is none of the "
            "next one's",
            remedy="leave --from and --to out",
        )
    log = app.reading(settings)
    try:
        if len(plans) == 1:
            reports = [verified(plans[0], log, from_, to)]
        else:
            begun = {p: at for plan in plans for p, at in _begun(plan, log).items()}
            reports = [_staged(plan, log, _shared(plans), begun) for plan in plans]
    finally:
        log.close()
    for plan, report in zip(plans, reports, strict=True):
        click.echo(_json(plan, report) if as_json else _text(plan, report))
    return AMISS if any(report.findings for report in reports) else 0


def _staged(
    plan: Plan, log: Log, shared: Collection[str], begun: Mapping[TopicPartition, int]
) -> Report:
    """The comparison of one stage of several; what cannot be recomputed is told, and not judged."""
    try:
        return verified(plan, log, shared=shared, begun=begun)
    except SettingsError as error:
        if not plan.source().internal:
            raise
        return Report(notes=[error.message], judged=False, unjudged=[error.message])


def _begun(plan: Plan, log: Log) -> dict[TopicPartition, int]:
    """Where a stage behind has begun: what it was handed before is of a former life."""
    if not plan.source().internal:
        return {}
    heads = log.committed(plan.app, plan.source().topic, stable=False)
    return {p: Manifest.parse(head.metadata).origin or 0 for p, head in heads.items()}


def _shared(plans: Sequence[Plan]) -> frozenset[str]:
    """The topics that several stages write."""
    topics = [topic for plan in plans for topic in {sink.topic for sink in plan.published()}]
    return frozenset(topic for topic in topics if topics.count(topic) > 1)


def verified(
    plan: Plan,
    log: Log,
    from_: str | None = None,
    to: str | None = None,
    *,
    shared: Collection[str] = (),
    begun: Mapping[TopicPartition, int] | None = None,
) -> Report:
    """The comparison, of a range that both ends bound; raises `SettingsError` for a bad one.

    Those of the topics that are ``shared`` other stages write too. A stage whose input has been
    trimmed is not judged. Of internal topics is looked at what is behind those offsets at which
    their readers have ``begun``.
    """
    topic, written = app.topics_of(plan)
    have = log.describe({topic, *written})
    missing = sorted({topic, *written} - have.keys())
    if missing:
        raise SettingsError(
            f"topics are missing: {', '.join(missing)}",
            remedy="see that Kafka and the topology's names are the right ones (--set)",
        )
    if plan.source().internal and any(e.low > 0 for e in have[topic].extents.values()):
        why = f"{topic} has been trimmed: what it began with is read no more"
        return Report(notes=[why], judged=False, unjudged=[why])
    for _ in range(TRIES):
        before = _positions(log, plan, topic)
        outputs = {name: d.extents for name, d in log.describe(written).items()}
        if to is not None or before == _positions(log, plan, topic):
            break
    else:
        raise SettingsError(
            f"{plan.app} is at work: its position moves while its outputs are looked at",
            remedy="give --to, or stop it for a while",
        )
    extents = {TopicPartition(topic, n): extent for n, extent in have[topic].extents.items()}
    starts, ends = (_offsets(log, topic, extents, text) for text in (from_, to))
    if begun and any(where.topic in written and at for where, at in begun.items()):
        # A reset has begun here: what came before was handed on in a former life.
        starts = {p: Manifest.parse(head.metadata).origin or 0 for p, head in before.items()}
    spans = {
        partition: _span(
            extent, before.get(partition, Committed(extent.low, "")),
            starts.get(partition), ends.get(partition),
        )
        for partition, extent in extents.items()
    }  # fmt: skip
    if (from_ is not None or to is not None) and all(s.start == s.end for s in spans.values()):
        raise SettingsError(
            f"{topic} has no committed record from {from_ or 'its beginning'} to {to or 'now'}",
            remedy="committed is " + ", ".join(
                f"{partition} up to {span.committed}" for partition, span in sorted(spans.items())
            ),
        )  # fmt: skip
    total = sum(span.end - span.low for span in spans.values())
    total += sum(e.high - e.low for extents in outputs.values() for e in extents.values())
    progress = Progress("verify", "offsets", total)
    report = compare(plan, partial(progress.scan, log), spans, outputs, shared, begun=begun)
    if any(finding.kind == "missing" for finding in report.findings) and raises(plan):
        report.notes.append(
            "watermarks of partitions that stood still, also at the end of a run that ends where "
            "its input does, go on without records, and those of added partitions begin at the "
            "others': what came too late for that is told as missing, and as wrong where late rows "
            "are sent"
        )
    return report


def _positions(log: Log, plan: Plan, topic: str) -> dict[TopicPartition, Committed]:
    for _ in range(TRIES):
        try:
            found = log.committed(plan.app, topic)
            break
        except RetriableError:
            continue
    else:
        raise SettingsError(
            f"{plan.app}: a transaction holds its position",
            remedy="try again; one that is left over ends after --transaction-timeout",
        )
    if not found:
        raise SettingsError(
            f"the group {plan.app!r} has committed nothing in {topic!r}",
            remedy="name the application with --set app=..., or run it first",
        )
    return found


def _span(extent: Extent, head: Committed, start: int | None, end: int | None) -> Span:
    start = max(extent.low if start is None else start, extent.low)
    end = max(start, min(head.offset if end is None else end, head.offset))
    return Span(extent.low, start, end, head.offset, head.metadata)


def _offsets(
    log: Log, topic: str, partitions: Collection[TopicPartition], text: str | None
) -> Mapping[TopicPartition, int]:
    """An offset as it stands, or those of the first records of a time or later; none for none."""
    if text is None:
        return {}
    if text.isdecimal():
        return dict.fromkeys(partitions, int(text))
    return log.offsets_at(topic, moment.millis(when(text)))


def when(text: str, option: str = "") -> datetime:
    """An ISO time; UTC where it names no zone.

    >>> when("1970-01-01T00:00:01").year
    1970
    """
    try:
        return moment.parse(text)
    except ValueError:
        raise SettingsError(
            f"{option}{text!r} is neither an offset nor a time",
            remedy=f"say 1200 or {moment.EXAMPLE}",
        ) from None


def _text(plan: Plan, report: Report) -> str:
    counts = _counts(report)
    lines = [f"note: {note}" for note in report.notes]
    lines += map(str, report.findings[:SHOWN])
    if len(report.findings) > SHOWN:
        lines.append(f"... and {len(report.findings) - SHOWN} more; --json has all")
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    begun = f"{plan.app}: {report.recomputed} records recomputed, "
    if not (report.judged or report.findings):
        lines.append(f"{begun}nothing was compared of what it writes: {report.unjudged[0]}")
        return "\n".join(lines)
    right = "all is right, but see the notes" if report.notes else "all is right"
    said = told if report.findings else right
    lines.append(f"{begun}{report.compared} outputs compared: {said}")
    return "\n".join(lines)


def _counts(report: Report) -> Mapping[str, int]:
    kinds = ("missing", "duplicate", "wrong")
    return {kind: sum(f.kind == kind for f in report.findings) for kind in kinds}


def _json(plan: Plan, report: Report) -> str:
    told = {
        "stage": plan.app,
        "right": not report.findings if report.judged or report.findings else None,
        "recomputed": report.recomputed,
        "compared": report.compared,
        **_counts(report),
        "findings": report.findings,
        "notes": report.notes,
    }
    dump: Callable[[object], bytes] = orjson.dumps
    return dump(told).decode()
