"""``processor dlq ls`` and ``show``: which dead letters there are, and what they hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Final

import click
import orjson

from processor import app
from processor.cli import given, lettering
from processor.cli.progress import Progress
from processor.connectors.ports import Log
from processor.engine.offline.ledger import Ledger
from processor.engine.offline.letters import FOREIGN, Row, Wanted, chosen, spans_of, summary
from processor.errors import SettingsError
from processor.model import moment
from processor.plan.nodes import Plan
from processor.settings import Settings

NEEDED: Final = "processor.topic", "processor.stage", "processor.error"
COLUMNS: Final = ("letters", "sent again", "first", "last", "step", "of", "error")


@dataclass(frozen=True, slots=True)
class Place:
    """Where letters are: their topic, and the plan of the topology, where one was named."""

    log: Log
    topic: str
    plan: Plan | None


@contextmanager
def placed(name: str, settings: Settings, *, is_topic: bool) -> Iterator[Place]:
    """The place that a name means, a topology's or a topic's own."""
    plan = None
    if not is_topic and app.is_there(name):
        plan, *_ = app.load_topologies([name], settings.set)
    elif settings.set:
        raise SettingsError(
            f"--set is for a topology's parameters, and {name!r} is a topic",
            remedy="name the topology, or leave --set out",
        )
    log = app.reading(settings)
    try:
        topic = name if plan is None else plan.dead_letters()
        if plan is None and topic not in log.describe([topic]):
            raise SettingsError(
                f"there is no topology and no topic {name!r}",
                remedy="name a module, as in my_rides, a file, as in ./rides.py, or a topic of "
                "dead letters",
            )
        yield Place(log, topic, plan)
    finally:
        log.close()


def wanted(
    *, error: str, step: str, partitions: str | None, from_: str | None, to: str | None
) -> Wanted:
    """What the filters say; raises `SettingsError` for what is no time or no partition."""
    numbers = given.numbers("--partition", partitions)
    since, until = (
        None if text is None else moment.millis(given.time(option, text))
        for option, text in (("--from", from_), ("--to", to))
    )
    return Wanted(error, step, None if numbers is None else frozenset(numbers), since, until)


def ls(name: str, settings: Settings, *, is_topic: bool, as_json: bool, **filters: Any) -> None:
    """Tell how many there are of each sort."""
    terms = wanted(**filters)
    with placed(name, settings, is_topic=is_topic) as place:
        spans = spans_of(place.log, place.topic)
        noted = None
        if place.plan is not None:
            noted = Ledger(place.log, place.plan.app, place.topic).read()
        total = sum(extent.high - extent.low for extent in spans.values())
        progress = Progress("dlq ls", "offsets", total)
        rows = summary(partial(progress.scan, place.log), spans, terms, noted)
    click.echo((_json if as_json else _table)(place, rows))


def show(
    name: str, settings: Settings, limit: int, *, is_topic: bool, as_json: bool, **filters: Any
) -> None:
    """Show the first letters that are wanted."""
    terms = wanted(**filters)
    tell = lettering.as_json if as_json else lettering.as_text
    with placed(name, settings, is_topic=is_topic) as place:
        found = chosen(place.log.scan, spans_of(place.log, place.topic), terms)
        letters = [tell(*one) for one in islice(found, limit)]
    if letters or not as_json:
        click.echo("\n".join(letters) or f"{place.topic}: no such dead letter")


def _table(place: Place, rows: Sequence[Row]) -> str:
    letters, sent = sum(map(len, rows)), sum(row.redriven for row in rows)
    # Of a topic alone it is not known whose ledger would tell.
    known = place.plan is not None
    foreign = sum(len(row) for row in rows if row.error == FOREIGN)
    if rows and foreign == letters:
        return (
            f"{place.topic}: {letters} records, and none is a dead letter of the processor's: they "
            f"have no {', '.join(NEEDED)} in their headers\n"
            "  remedy: name a topology, or its topic of dead letters, as in my_rides-dead-letters"
        )
    lines = [f"{place.topic}: {letters} dead letters" + f", {sent} of them sent again" * known]
    if foreign:
        lines[0] += f"; {foreign} of them are none of the processor's"
    cells = [COLUMNS, *(_cells(row, known=known) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if rows:
        lines += ["  ".join(_aligned(row, widths)).rstrip() for row in cells]
    return "\n".join(lines)


def _cells(row: Row, *, known: bool) -> tuple[str, ...]:
    first, last = (_when(ms) for ms in (row.first_ms, row.last_ms))
    of = f"{row.topic}[{_numbers(row)}]" if row.topic else "-"
    step = f"{row.app}/{row.step}" if row.app else "-"
    sent = str(row.redriven) if known else "-"
    texts = (lettering.plain(text) for text in (step, of, row.error))
    return str(len(row)), sent, first, last, *texts


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    for place, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        yield cell.rjust(width) if place < 2 else cell.ljust(width)


def _numbers(row: Row) -> str:
    """Partitions, with runs in short: 0-3,7."""
    runs: list[list[int]] = []
    for number in sorted(row.partitions):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def _json(place: Place, rows: Sequence[Row]) -> str:
    told = {
        "topic": place.topic,
        "app": place.plan.app if place.plan is not None else None,
        "letters": sum(map(len, rows)),
        "foreign": sum(len(row) for row in rows if row.error == FOREIGN),
        "rows": [
            {
                "app": row.app, "step": row.step, "error": lettering.masked(row.error),
                "topic": row.topic, "letters": len(row),
                "sent_again": row.redriven if place.plan is not None else None,
                "partitions": {str(p): n for p, n in sorted(row.partitions.items())},
                "first": _when(row.first_ms), "last": _when(row.last_ms),
            }
            for row in rows
        ],
    }  # fmt: skip
    return orjson.dumps(told).decode()


def _when(ms: int) -> str:
    return moment.text(ms * 1_000)
