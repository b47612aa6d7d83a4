"""What the topics between and behind the stages may be written in: ``--set format=avro``."""

from __future__ import annotations

from pathlib import Path

import processor
from processor import Json, TopologyError

SCHEMAS = Path(__file__).parent


def chosen(
    name: str, json: Json, schema: str, select: tuple[str, ...] | None = None
) -> Json | processor.Avro:
    """The format of a name: the JSON that is given, or Avro of a schema's file beside this one."""
    if name == "json":
        return json
    if name == "avro":
        # Loaded when it is asked for: JSON alone needs none of it.
        return processor.Avro(SCHEMAS / schema, select=select)
    raise TopologyError(
        f"there is no format {name!r}", remedy="say --set format=json or --set format=avro"
    )
