"""What a registry says of a plan before it runs: whether it can read what is written, and write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from processor.errors import RegistryAwayError, RegistryError
from processor.formats.fitting import UnfitError
from processor.formats.registered import Registered
from processor.formats.registry import Known, Schema
from processor.plan.nodes import Location, Plan

Weight: TypeAlias = Literal["ok", "note", "break"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about a topic's schemas; a ``break`` is what a run would stumble over."""

    at: Location
    weight: Weight
    what: str

    def __str__(self) -> str:
        return f"{self.weight}: {self.at}: {self.what}"


def findings(plan: Plan) -> Iterator[Finding]:
    """What there is to say of each topic whose schemas a registry keeps.

    Raises `RegistryAwayError` where it does not answer.
    """
    source = plan.source()
    if isinstance(source.format, Registered):
        yield from _read(source.format, source.at)
    for sink in plan.sinks:
        if isinstance(sink.format, Registered):
            yield _written(sink.format, sink.at)


def _read(form: Registered, at: Location) -> Iterator[Finding]:
    versions = form.schemas.versions(form.subject, form.writers.kind)
    if not versions:
        yield Finding(at, "note", f"{form.topic!r}: there is no subject {form.subject!r} yet")
    for number, (known, schema) in enumerate(reversed(versions)):
        what = (
            f"{form.topic!r}: version {known.version} of {form.subject!r} (schema {known.number})"
        )
        why = _unfit(form, schema)
        if why is None:
            yield Finding(at, "ok", f"{what} is read as the columns")
        elif number == 0:
            yield Finding(at, "break", f"{what} is the last, and cannot be read: {why}")
        else:
            yield Finding(at, "note", f"{what} cannot be read: {why}")


def _unfit(form: Registered, schema: Schema) -> str | None:
    if schema.kind != form.writers.kind:
        return f"it is of {schema.kind}, not {form.writers.kind}"
    try:
        form.writers.reading(schema, lenient=form.on_schema_change == "continue")
    except UnfitError as error:
        return str(error)
    return None


def _written(form: Registered, at: Location) -> Finding:
    what = f"{form.topic!r}: the schema of {form.subject!r}"
    wanted = form.writers.wanted
    try:
        known: Known | None = form.schemas.find(form.subject, wanted)
        if known is not None:
            named = f"version {known.version}, schema {known.number}"
            return Finding(at, "ok", f"{what} is there: {named}")
        if not form.auto_register:
            return Finding(at, "break", f"{what} is not there: register it, or auto_register=True")
        if form.schemas.allows(form.subject, wanted) is False:
            return Finding(at, "break", f"{what} is not there, and its rules do not let it be")
    except RegistryAwayError:
        raise
    except RegistryError as error:
        return Finding(at, "break", f"{what}: {error.message}")
    return Finding(at, "note", f"{what} is not there: a run registers it")
