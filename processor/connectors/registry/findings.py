"""What a registry says of a plan before it runs: whether it can read what is written, and write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from processor.connectors.registry.kept import of_node
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
    for at, form in of_node(source):
        yield from _read(form, at)
        if form.part == "key" and source.keyed_by_format():
            yield from _several(form, at)
    for at, form in (each for sink in plan.sinks for each in of_node(sink)):
        yield from _written(form, at)


def _read(form: Registered, at: Location) -> Iterator[Finding]:
    versions = form.schemas.versions(form.subject, form.writers.kind)
    if not versions:
        yield Finding(at, "note", f"{form.what}: there is no subject {form.subject!r} yet")
    for number, (known, schema) in enumerate(reversed(versions)):
        what = f"{form.what}: version {known.version} of {form.subject!r} (schema {known.number})"
        why = _unfit(form, schema)
        if why is None:
            yield Finding(at, "ok", f"{what} is read as the columns")
        elif number == 0:
            yield Finding(at, "break", f"{what} is the last, and cannot be read: {why}")
        else:
            yield Finding(at, "note", f"{what} cannot be read: {why}")


def _several(form: Registered, at: Location) -> Iterator[Finding]:
    """Where a topic is keyed by what has a number, a key of each schema is another key to Kafka."""
    numbers = {known.number for known, _ in form.schemas.versions(form.subject, form.writers.kind)}
    if form.numbered and len(numbers) > 1:
        told = ", ".join(map(str, sorted(numbers)))
        yield Finding(
            at, "note",
            f"{form.what}: written with the schemas {told} in turns, a key has other bytes with "
            "each, and lies in several partitions with a group in each",
        )  # fmt: skip


def _unfit(form: Registered, schema: Schema) -> str | None:
    if schema.kind != form.writers.kind:
        return f"it is of {schema.kind}, not {form.writers.kind}"
    try:
        form.writers.reading(schema, lenient=form.on_schema_change == "continue")
    except UnfitError as error:
        return str(error)
    return None


def _written(form: Registered, at: Location) -> Iterator[Finding]:
    try:
        former = ", ".join(map(str, form.moved_from()))
        yield _found(form, at, former)
    except RegistryAwayError:
        raise
    except RegistryError as error:
        what = f"{form.what}: the schema of {form.subject!r}"
        yield Finding(at, "break", f"{what}: {error.message}")


def _found(form: Registered, at: Location, former: str) -> Finding:
    what = f"{form.what}: the schema of {form.subject!r}"
    wanted = form.writers.wanted
    known: Known | None = form.schemas.find(form.subject, wanted)
    if known is not None:
        named = f"version {known.version}, schema {known.number}"
        moved = f"; keys of schema {former} have other bytes, and lie in other partitions"
        weight: Weight = "note" if former else "ok"
        return Finding(at, weight, f"{what} is there: {named}{moved if former else ''}")
    if not form.auto_register:
        return Finding(at, "break", f"{what} is not there: register it, or auto_register=True")
    if former:
        return Finding(
            at, "break",
            f"{what} is not there, and keys were written with schema {former}: they would go to "
            "other partitions; register it yourself, if that is meant",
        )  # fmt: skip
    if form.schemas.allows(form.subject, wanted) is False:
        return Finding(at, "break", f"{what} is not there, and its rules do not let it be")
    return Finding(at, "note", f"{what} is not there: a run registers it")
