"""``processor dlq redrive``: dead letters go to the input again."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import click
import orjson

from processor import app
from processor.cli.dlq import Place, placed, wanted
from processor.cli.lettering import plain
from processor.cli.progress import Progress
from processor.clock import SystemClock
from processor.engine.offline.redrive import STAYS, Redrive, Redriven, Route, Stamp, Terms
from processor.engine.running.rubbish import collected_between_batches
from processor.errors import SettingsError
from processor.settings import Settings


def redrive(
    name: str,
    settings: Settings,
    attempts: int,
    stamp: Stamp,
    named: tuple[str | None, str | None],
    *,
    dry_run: bool,
    is_topic: bool,
    as_json: bool,
    **filters: Any,
) -> None:
    """Send them, or only look, and tell; ``named`` are the application and the input of a topic."""
    terms = Terms(wanted(**filters), attempts, stamp)
    with placed(name, settings, is_topic=is_topic) as place:
        route = _route(place, *named)
        clock = SystemClock()
        with collected_between_batches(clock) as tidy:
            crash = app.crash_probe()

            def probe(step: str) -> None:
                crash(step)
                if step == "after:commit":
                    tidy()

            timeout_s = settings.transaction_timeout.total_seconds()
            command = Redrive(route, terms, place.log, clock, timeout_s=timeout_s, probe=probe)
            total = sum(extent.high - extent.low for extent in command.spans.values())
            progress = Progress("dlq redrive", "offsets", total)
            command.scan = partial(progress.scan, place.log)
            done = command.look() if dry_run else command.run()
    click.echo(_json(route, done, dry_run) if as_json else "\n".join(_text(route, done, dry_run)))


def _route(place: Place, application: str | None, to_topic: str | None) -> Route:
    if place.plan is not None:
        if application is not None or to_topic is not None:
            raise SettingsError(
                "--app and --input are for a topic: a topology has its own",
                remedy="leave them out, or name the topic of dead letters",
            )
        return Route(place.plan.app, place.topic, place.plan.source().topic)
    if application is None or to_topic is None:
        raise SettingsError(
            f"{place.topic} is a topic: whose letters are to be sent, and where to?",
            remedy="name the topology; or say --app and --input, as `processor dlq ls` shows them",
        )
    return Route(application, place.topic, to_topic)


def _text(route: Route, done: Redriven, dry_run: bool) -> Iterator[str]:
    what = "1 dead letter" if done.sent == 1 else f"{done.sent} dead letters"
    verb = "would be sent" if dry_run else "was sent" if done.sent == 1 else "were sent"
    yield f"{route.app}: {what} {verb} from {route.letters} to {route.input}"
    if done.doubles:
        yield f"  {done.doubles} are of records that were sent already"
    for why, count in sorted(done.stays.items()):
        yield f"  {count} stay: they {STAYS[why]}"
    if done.unwanted:
        yield f"  {done.unwanted} were not asked for"
    yield from (f"  note: {plain(note)}" for note in done.notes)


def _json(route: Route, done: Redriven, dry_run: bool) -> str:
    told = {
        "app": route.app, "letters": route.letters, "input": route.input, "dry_run": dry_run,
        "sent": done.sent, "doubles": done.doubles, "unwanted": done.unwanted,
        "stays": dict(sorted(done.stays.items())), "notes": [plain(note) for note in done.notes],
    }  # fmt: skip
    return orjson.dumps(told).decode()
