"""The schema registries of a run, by its settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from processor.connectors.registry.findings import Finding, findings
from processor.formats.registry import Schemas
from processor.plan.nodes import Plan
from processor.settings import Settings

EMBEDDED: Final = "mock://embedded"


def connect_registries(plans: Sequence[Plan], settings: Settings) -> None:
    """Give the formats of plans their registries; on the embedded log there is one in memory.

    Not where that log is on disk: its records would outlive their schemas.
    """
    from processor.connectors.registry.connect import connect

    secret = settings.schema_registry_url
    memory = settings.bootstrap_servers is None and settings.data_dir is None
    embedded = EMBEDDED if memory else None
    url = secret.get_secret_value() if secret is not None else embedded
    for plan in plans:
        connect(plan, url, settings.schema_registry, memory=memory)


def schemas_of(settings: Settings) -> Schemas | None:
    """The registry that the settings name, if they name one; nothing is asked yet."""
    from processor.connectors.registry.connect import client

    secret = settings.schema_registry_url
    if secret is None:
        return None
    return client(secret.get_secret_value(), settings.schema_registry, "--schema-registry-url")


def schema_findings(plan: Plan) -> list[Finding]:
    """What the registries say of a plan."""
    return list(findings(plan))


def prepare_schemas(plans: Sequence[Plan]) -> None:
    """See that the registries have the schemas of all that is written."""
    from processor.connectors.registry.connect import prepare

    for plan in plans:
        prepare(plan)
