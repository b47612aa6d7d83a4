"""``processor reset``: begin elsewhere, offsets and state together; or set a watermark back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

import click

from processor import app, telling
from processor.cli import given
from processor.cli.progress import Progress
from processor.engine.offline.reset import Step, resets
from processor.engine.offline.reset import reset as carry_out
from processor.engine.offline.setback import Setback, set_back, setbacks
from processor.errors import SettingsError, StateMismatchError
from processor.model import moment
from processor.model.manifest import Manifest
from processor.plan.nodes import Plan
from processor.settings import Settings

NOTHING = "nothing was changed: --yes does it"
_SHOWN: Final = 40


def reset(
    name: str,
    settings: Settings,
    to: str | None,
    partitions: str | None,
    watermark: str | None,
    *,
    sure: bool,
) -> None:
    """Tell what would be done; with ``sure`` do it.

    ``to`` is a place, ``earliest`` for ``None``; ``partitions`` are numbers with commas between
    them, all for ``None``. With ``watermark``, a time, that is set back instead.
    """
    if to is not None and watermark is not None:
        raise SettingsError(
            "--to and --watermark exclude each other: one begins anew with empty state, the other "
            "keeps offsets and state",
            remedy="give one of them",
        )
    only = given.numbers("--partitions", partitions)
    back = None if watermark is None else given.time("--watermark", watermark)
    place = "earliest" if to is None else to
    if place not in ("earliest", "latest") and not place.isdecimal():
        given.time(
            "--to", place, "neither an offset, nor a time, nor a place", "earliest, latest, 1200"
        )
    plans = app.load_topologies([name], settings.set)
    app.reading(settings).close()
    with app.backends(settings) as used:
        telling.line(used.line)
        if back is None:
            _begin_anew(plans, used, place, only, sure=sure)
        elif len(plans) > 1:
            raise SettingsError(
                f"{plans[0].app} has {len(plans)} stages, and each counts on the watermark of the "
                "one in front",
                remedy="begin anew: processor reset --to ...",
            )
        else:
            _set_back(plans[0], used, back, only, sure=sure)


def _begin_anew(
    plans: Sequence[Plan], used: app.Backends, to: str, only: Collection[int] | None, *, sure: bool
) -> None:
    wanted = resets(plans, used.log, used.store, to, only)
    for name, one in wanted.items():
        click.echo(_text(name, one.steps))
        if one.fed and (feed := one.plan.source().feed) is not None:
            click.echo(f"  the feed {feed.name} begins anew: {feed.source.describe()}")
    if not sure:
        click.echo(NOTHING)
        return
    count = sum(len(one.steps) for one in wanted.values())
    crash, progress = app.crash_probe(), Progress("reset", "partitions", count)

    def probe(step: str) -> None:
        crash(step)
        progress.done(step == "after:clear")

    carry_out(wanted, used.log, used.store, probe)
    click.echo(f"{plans[0].app} is reset")


def _set_back(
    plan: Plan, used: app.Backends, back: datetime, only: Collection[int] | None, *, sure: bool
) -> None:
    wanted = setbacks(plan, used.log, back, only)
    click.echo(_watermarks(plan.app, wanted))
    if all(step.new is None for step in wanted):
        click.echo("nothing is to be done")
    elif not sure:
        click.echo(NOTHING)
    else:
        set_back(plan, used.log, wanted, app.crash_probe())
        click.echo(f"the watermark of {plan.app} is set back")


def _text(name: str, wanted: Sequence[Step]) -> str:
    lines = [f"{name}:"]
    for step in wanted:
        at = "nothing committed" if step.offset is None else f"offset {step.offset}"
        lines.append(f"  {step.partition}: {at} -> offset {step.to}, {step.blobs} state blobs go")
        if step.manifest:
            lines.append(f"    manifest {_short(step.manifest)} -> an empty one")
    if wanted and len(wanted) < wanted[0].of:
        lines.append(f"  the other {wanted[0].of - len(wanted)} partitions stay as they are")
    if wanted and not any(step.offset is not None or step.blobs for step in wanted):
        lines.append(
            f"  note: no group {name} has ever committed in this topic; see that it is the "
            "application that is meant (--set app=...)"
        )
    lines.append("  what was published stays: records that are read again are published again")
    return "\n".join(lines)


def _watermarks(name: str, wanted: Sequence[Setback]) -> str:
    lines = [f"{name}:"]
    for step in wanted:
        if step.now is None or step.to is None:
            lines.append(f"  {step.partition}: no event time was committed yet")
        elif step.new is None:
            lines.append(f"  {step.partition}: watermark {moment.text(step.now)} stays")
        else:
            now, to = moment.text(step.now), moment.text(step.to)
            lines.append(f"  {step.partition}: watermark {now} -> {to}")
    lines.append(
        "  offsets and state stay; a window that was closed is closed: what comes for it begins "
        "a new count"
    )
    return "\n".join(lines)


def _short(manifest: str) -> str:
    """What a manifest names; the whole of it is the group's committed metadata."""
    try:
        named = Manifest.parse(manifest)
    except StateMismatchError:
        return manifest if len(manifest) <= _SHOWN else f"{manifest[:_SHOWN]}…"
    return f"of batch {named.epoch}, attempt {named.attempt or 'none'}"
