"""The settings of topics, as far as the broker shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from confluent_kafka import admin as untyped_admin

from processor.connectors.kafka.asking import REQUEST_S, answered
from processor.errors import LogError, RetriableError

if TYPE_CHECKING:
    from collections.abc import Collection

admin: Any = untyped_admin


def settings_of(client: Any, topics: Collection[str]) -> dict[str, dict[str, str]]:
    """Each topic's settings by name; a topic whose settings this principal may not see has none.

    Raises `RetriableError` where no answer comes.
    """
    if not topics:
        return {}
    kind = admin.ConfigResource.Type.TOPIC
    asked = [admin.ConfigResource(kind, name) for name in sorted(set(topics))]
    found = {}
    for resource, answer in client.describe_configs(asked, request_timeout=REQUEST_S).items():
        try:
            told = answered(answer, f"{resource.name}: asking for its settings")
        except RetriableError:
            raise
        except LogError:  # seeing them takes a right of its own
            continue
        found[resource.name] = {name: entry.value or "" for name, entry in told.items()}
    return found
