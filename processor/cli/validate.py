"""``processor validate``: the plans, compared with what the schema registry has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from processor import app
from processor.plan.describe import describe
from processor.settings import Settings

BROKEN: Final = 2


def validate(names: Sequence[str], settings: Settings) -> int:
    """Tell what was found, and return the exit code: 2 where a run would stumble over it."""
    plans = app.load_topologies(names, settings.set)
    app.connect_registries(plans, settings)
    found = [(plan, app.schema_findings(plan)) for plan in plans]
    for plan, each in found:
        click.echo(describe(plan).partition("\n")[0])
        for finding in each:
            click.echo(f"  {finding}")
        if not each:
            click.echo("  ok: the plan holds, and nothing of it is kept by a schema registry")
    broken = any(finding.weight == "break" for _, each in found for finding in each)
    return BROKEN if broken else 0
