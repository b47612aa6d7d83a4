"""The composition root: settings to adapters to workers."""

from processor.app.backends import Backends, backends, patiently, reading
from processor.app.feed import feed
from processor.app.feeding import feed_all
from processor.app.host import Host
from processor.app.preparing import looked_at, picked, prepared
from processor.app.probe import crash_probe
from processor.app.registries import connect_registries, prepare_schemas, schema_findings
from processor.app.run import connected, run
from processor.app.topics import PARTITIONS, ends_of, prepare_topics, topics_of
from processor.app.topologies import (
    Loaded,
    is_there,
    load_stages,
    load_topologies,
    load_topology,
    parameters_of,
    taken,
)
from processor.app.worker import options_of, run_worker

__all__ = [
    "PARTITIONS",
    "Backends",
    "Host",
    "Loaded",
    "backends",
    "connect_registries",
    "connected",
    "crash_probe",
    "ends_of",
    "feed",
    "feed_all",
    "is_there",
    "load_stages",
    "load_topologies",
    "load_topology",
    "looked_at",
    "options_of",
    "parameters_of",
    "patiently",
    "picked",
    "prepare_schemas",
    "prepare_topics",
    "prepared",
    "reading",
    "run",
    "run_worker",
    "schema_findings",
    "taken",
    "topics_of",
]
