"""From the formats of a plan to the registries that they ask."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from processor.connectors.registry.client import Client
from processor.connectors.registry.kept import formats, of_node
from processor.errors import RegistryError, SettingsError
from processor.formats.needs import needed
from processor.formats.registry import Schemas
from processor.model.location import Location
from processor.plan.nodes import Plan


def connect(
    plan: Plan, url: str | None, properties: Mapping[str, str], *, memory: bool = True
) -> None:
    """Give each format its registry: its own, or the one at ``url``; nothing is asked yet.

    One in ``memory`` is another one in each process, and forgets with it.

    Raises `SettingsError` where there is none, and `TopologyError` where the client is not
    installed.
    """
    for at, form in formats(plan):
        place = form.registry.url or url
        if place is None:
            raise SettingsError(
                f"{at}: {form.what} has schemas in a registry, and nothing says where it is",
                remedy='say --schema-registry-url, or Registered(..., Registry("https://..."))',
            )
        if place.startswith("mock://") and not memory:
            raise SettingsError(
                f"{at}: {form.what} has schemas in {place}, a registry in memory, which no other "
                "process sees",
                remedy="say where the registry is, --schema-registry-url https://...; mock:// is "
                "for tests and for the embedded log",
            )
        given = {} if form.registry.url else properties
        form.connect(client(place, {**given, **form.registry.client}, at))


def client(url: str, properties: Mapping[str, str], at: Location | str) -> Client:
    """A registry's client; raises `TopologyError`, at what asks for it, where it is not installed.

    One for all that ask one registry: they share what it knows.
    """
    needed("confluent_kafka.schema_registry", "Registered", at)
    return _client(url, tuple(sorted(properties.items())))


def in_memory(plan: Plan) -> Client | None:
    """A registry of a plan's own, in memory; ``None`` where no format has one."""
    for at, form in formats(plan):
        needed("confluent_kafka.schema_registry", "Registered", at)
        # Drivers of one topology have its formats in common, and so what these ask.
        return form.connected if isinstance(form.connected, Client) else Client("mock://test", {})
    return None


def connect_to(plan: Plan, schemas: Schemas) -> None:
    """Give each format this registry, whatever it says itself."""
    for _, form in formats(plan):
        form.connect(schemas)


def prepare(plan: Plan) -> None:
    """See that the registry has what the sinks write, or register it where that was asked for.

    Raises `RegistryError` with the line where it has not, and `RegistryAwayError` where it does not
    answer.
    """
    for at, form in (each for sink in plan.sinks for each in of_node(sink)):
        try:
            form.known()
        except RegistryError as error:
            raise type(error)(f"{at}: {error.message}", remedy=error.remedy) from error


@lru_cache(maxsize=64)
def _client(url: str, properties: tuple[tuple[str, str], ...]) -> Client:
    return Client(url, dict(properties))
