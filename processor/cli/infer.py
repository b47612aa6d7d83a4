"""``processor infer``: a sample of a topic, and the code of a topology that reads it."""

from __future__ import annotations

import click

from processor import app
from processor.app.registries import schemas_of
from processor.app.sketch import sample, sketch
from processor.settings import Settings


def infer(topic: str, settings: Settings, records_max: int) -> None:
    """Look at the last records of a topic, and print the code."""
    log = app.reading(settings)
    try:
        records = sample(log, topic, records_max)
    finally:
        log.close()
    click.echo(sketch(topic, records, schemas_of(settings)))
