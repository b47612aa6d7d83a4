"""A Kafka-centred micro-batch stream processor: the public names, and nothing else.

The names are loaded when they are first used, so that ``processor --help`` answers at once.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "Topology": "processor.api.topology",
    "Frame": "processor.api.frame",
    "Arrow": "processor.formats.arrow",
    "Avro": "processor.formats.avro.declared",
    "Batch": "processor.model.called",
    "Bytes": "processor.formats.bytes",
    "CloudEvents": "processor.formats.cloudevents",
    "Csv": "processor.formats.csv",
    "Debezium": "processor.formats.debezium",
    "Json": "processor.formats.json",
    "JsonSchema": "processor.formats.json_schema",
    "Parquet": "processor.formats.parquet",
    "Protobuf": "processor.formats.protobuf",
    "Registered": "processor.formats.registered",
    "Registry": "processor.formats.registry",
    "Text": "processor.formats.text",
    "ProcessorError": "processor.errors",
    "Queue": "processor.feeds.queued",
    "Receiver": "processor.feeds.receiving",
    "Query": "processor.app.query",
    "QueryError": "processor.errors",
    "TopologyError": "processor.errors",
    "active": "processor.app.active",
    "collect": "processor.app.collect",
    "start": "processor.app.start",
}

__all__ = [
    "Arrow",
    "Avro",
    "Batch",
    "Bytes",
    "CloudEvents",
    "Csv",
    "Debezium",
    "Frame",
    "Json",
    "JsonSchema",
    "Parquet",
    "ProcessorError",
    "Protobuf",
    "Query",
    "QueryError",
    "Queue",
    "Receiver",
    "Registered",
    "Registry",
    "Text",
    "Topology",
    "TopologyError",
    "active",
    "collect",
    "functions",
    "start",
]


def __getattr__(name: str) -> Any:
    if name == "functions":
        return import_module("processor.api.functions")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'processor' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
