"""``processor reset``: begin again somewhere else, with offsets and state together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from processor import app, telling
from processor.cli.progress import Progress
from processor.engine.reset import Step, steps
from processor.engine.reset import reset as carry_out
from processor.errors import SettingsError, StateMismatchError
from processor.model.manifest import Manifest
from processor.settings import Settings

_SHOWN: Final = 40


def reset(name: str, settings: Settings, to: str, *, sure: bool) -> None:
    """Tell what would be done; with ``sure`` do it."""
    if to not in ("earliest", "latest") and not to.isdecimal():
        raise SettingsError(
            f"--to {to!r} is neither an offset nor a place", remedy="say earliest, latest or 1200"
        )
    (plan,) = app.load_topologies([name], settings.set)
    app.reading(settings).close()
    with app.backends(settings) as used:
        telling.line(used.line)
        wanted = steps(plan, used.log, used.store, to)
        click.echo(_text(plan.app, wanted))
        if not sure:
            click.echo("nothing was changed: --yes does it")
            return
        crash, progress = app.crash_probe(), Progress("reset", "partitions", len(wanted))

        def probe(step: str) -> None:
            crash(step)
            progress.done(step == "after:clear")

        carry_out(plan, used.log, used.store, wanted, probe)
        click.echo(f"{plan.app} is reset")


def _text(name: str, wanted: Sequence[Step]) -> str:
    lines = [f"{name}:"]
    for step in wanted:
        at = "nothing committed" if step.offset is None else f"offset {step.offset}"
        lines.append(f"  {step.partition}: {at} -> offset {step.to}, {step.blobs} state blobs go")
        if step.manifest:
            lines.append(f"    manifest {_short(step.manifest)} -> an empty one")
    lines.append("  what was published stays: records that are read again are published again")
    return "\n".join(lines)


def _short(manifest: str) -> str:
    """What a manifest names; the whole of it is the group's committed metadata."""
    try:
        named = Manifest.parse(manifest)
    except StateMismatchError:
        return manifest if len(manifest) <= _SHOWN else f"{manifest[:_SHOWN]}…"
    return f"of batch {named.epoch}, attempt {named.attempt or 'none'}"
