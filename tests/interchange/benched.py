"""What the tests have in common: topologies as text, run to the end of their input."""

from __future__ import annotations

from textwrap import dedent

IMPORTS = """
import json
import polars as pl
from processor import (
    Avro, Csv, Json, JsonSchema, Protobuf, Registered, Registry, Text, Topology, functions as F,
)
"""


def run(bench, name, code, *args, crashed=False, **env):
    """Runs a topology between the topics of ``bench`` to the end of its input."""
    path = bench.directory / f"{name}.py"
    path.write_text(IMPORTS + dedent(code))
    made = bench.start(
        path, "--bootstrap-servers", bench.servers, "--redis-url", bench.redis_url,
        "--session-timeout", "6s", "--create-topics", 4, "--until-caught-up", *args, env=env,
    )  # fmt: skip
    if crashed:
        assert made.exit_code() == 70, made.tail()
        return made
    return made.succeeds()


def misplaced(made):
    """What a run says of keys that lie elsewhere."""
    return [event["what"] for event in made.events("see whether this is right")]
