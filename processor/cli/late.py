"""``processor late``: what a longer delay of the watermark would have saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Final

import click
import orjson

from processor import app
from processor.cli.progress import Progress
from processor.connectors.ports import Log
from processor.engine.offline.late import SHARES, Lateness, Loss, lateness
from processor.errors import SettingsError
from processor.model import duration
from processor.model.log import TopicPartition
from processor.plan.nodes import Plan
from processor.settings import Settings

DELAYS: Final = ("0s", "1m", "5m", "15m", "1h", "6h", "1d", "2d", "7d")


def late(name: str, settings: Settings, delays: str | None, *, as_json: bool) -> None:
    """Look at the input as it is now, and tell."""
    plans = [p for p in app.load_topologies([name], settings.set) if not p.source().internal]
    # Who goes by the clock has no late records; that is told where all do.
    plans = [plan for plan in plans if not plan.source().clock] or plans
    app.connect_registries(plans, settings)
    wanted = [_delay(text) for text in (delays.split(",") if delays else DELAYS)]
    log = app.reading(settings)
    try:
        for plan in plans:
            _tell(plan, log, wanted, as_json=as_json)
    finally:
        log.close()


def _tell(plan: Plan, log: Log, wanted: Sequence[timedelta], *, as_json: bool) -> None:
    known, notes = looked_at(plan, log)
    present = plan.delay()
    losses = [known.loss(d) for d in sorted({*wanted, *([present] if present else [])})]
    base = known.loss(present or timedelta(0))
    savings = [(s, known.loss(known.saving(s, base.delay))) for s in SHARES] if base.late else []
    if present is None:
        notes.append("the topology has no watermark, so nothing is late: the table tells what "
                     "would be late with one")  # fmt: skip
        savings = []
    if base.windows is None:
        notes.append("which windows would miss some is not known here: the stage that reads the "
                     "topic has none, or makes them of other rows")  # fmt: skip
    tell = _json if as_json else _text
    click.echo(tell(plan, known, base, losses, savings, notes))


def looked_at(plan: Plan, log: Log) -> tuple[Lateness, list[str]]:
    """The lateness of all that the input holds, and what is to be said of it."""
    topic, _ = app.topics_of(plan)
    described = log.describe([topic])
    if topic not in described:
        raise SettingsError(
            f"there is no topic {topic!r}",
            remedy="see that Kafka and the topology's names are the right ones (--set)",
        )
    extents = {TopicPartition(topic, p): e for p, e in described[topic].extents.items()}
    gone = sorted(str(partition) for partition, extent in extents.items() if extent.low > 0)
    notes = []
    if gone:
        notes.append(
            f"the first records of {', '.join(gone)} are gone: event times before them count no "
            "more, so that more may have been late"
        )
    total = sum(extent.high - extent.low for extent in extents.values())
    progress = Progress("late", "offsets", total)
    return lateness(plan, partial(progress.scan, log), extents), notes


def _delay(text: str) -> timedelta:
    try:
        return duration.parse(text.strip())
    except ValueError as error:
        raise SettingsError(f"--delays: {error}", remedy="say 10m,1h,2d") from None


Savings = Sequence[tuple[float, Loss]]


def _text(  # noqa: PLR0917 - all that is told
    plan: Plan,
    known: Lateness,
    base: Loss,
    losses: Sequence[Loss],
    savings: Savings,
    notes: Sequence[str],
) -> str:
    present = plan.delay()
    lines = [f"note: {note}" for note in notes]
    lines.append(
        f"{plan.app}: {known.records} records, {len(known.behind)} of them behind the largest "
        f"event time of their partition, by up to {_shown(known)}"
    )
    lines.append(f"{'delay':>18} {'late records':>14} {'windows':>10} {'saved':>10}")
    for loss in losses:
        mark = "  (the topology's)" if loss.delay == present else ""
        lines.append(
            f"{duration.text(loss.delay):>18} {loss.late:>14} {_count(loss.windows):>10} "
            f"{base.late - loss.late:>10}{mark}"
        )
    lines += [
        f"to save {share:.1%} of {base.late}: {duration.text(loss.delay)} ({loss.late} stay late)"
        for share, loss in savings
    ]
    return "\n".join(lines)


def _shown(known: Lateness) -> str:
    most = int(known.behind[-1]) if len(known.behind) else 0
    return duration.about(timedelta(microseconds=most))


def _count(number: int | None) -> str:
    return "-" if number is None else str(number)


def _json(  # noqa: PLR0917 - all that is told
    plan: Plan,
    known: Lateness,
    base: Loss,
    losses: Sequence[Loss],
    savings: Savings,
    notes: Sequence[str],
) -> str:
    present = plan.delay()
    told = {
        "topology": plan.app,
        "records": known.records,
        "behind": len(known.behind),
        "delay_s": None if present is None else present.total_seconds(),
        "late": base.late,
        "delays": [_fields(loss) for loss in losses],
        "to_save": [{"share": share, **_fields(loss)} for share, loss in savings],
        "notes": notes,
    }
    dump: Callable[[object], bytes] = orjson.dumps
    return dump(told).decode()


def _fields(loss: Loss) -> dict[str, float | int | None]:
    return {"delay_s": loss.delay.total_seconds(), "late": loss.late, "windows": loss.windows}
