"""Without the extra ``registry`` the rest works, and who asks for it is told what to install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What the extra installs and nothing else does.
WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("google", "attrs", "httpx", "httpx2", "authlib", "jsonschema",
                                      "referencing", "cachetools"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from processor import *
from processor.testing import TestDriver
SCHEMA = {"type": "object", "properties": {"id": {"type": "integer"}}}
"""
COPY = """
topology = Topology("copy")
topology.read.kafka("a", format=FORM).write.kafka("b", format=FORM)
"""


def run(code):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT + code], cwd=ROOT, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 7), done.stderr
    return done.stdout


def refused(code):
    told = "\ntry:\n    {}\nexcept TopologyError as error:\n    print(error)\n"
    return run(told.format("\n    ".join(code.strip().splitlines())))


def test_all_else_works():
    code = COPY.replace("FORM", "JsonSchema(SCHEMA)") + (
        "driver = TestDriver(topology)\n"
        "driver.feed([{'id': 1}])\n"
        "driver.run()\n"
        "print(driver.values('b'), Registered(JsonSchema(SCHEMA)).describe())"
    )
    assert run(code).strip() == """[b'{"id":1}'] registered(json-schema(id Int64))"""


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("Protobuf('shop.desc', 'shop.Order')", "Protobuf needs google"),
        (
            "JsonSchema({'properties': {'a': {'type': 'integer', 'minimum': 1}}})",
            "JsonSchema needs jsonschema",
        ),
        (
            COPY.replace("FORM", "Registered(JsonSchema(SCHEMA))") + "TestDriver(topology)",
            "Registered needs ",
        ),
    ],
)
def test_what_needs_it_says_what_to_install(code, what):
    told = refused(code)
    assert what in told
    assert 'pip install "processor[registry]"' in told
    assert "<string>" in told or ".py:" in told


def test_a_run_without_schemas_loads_nothing_of_them():
    code = (
        "import sys, processor.cli.work, processor.engine.running.worker, topologies.uber.enrich\n"
        "parts = ('fastavro', 'google', 'jsonschema', 'confluent_kafka.schema_registry',\n"
        "         'processor.formats.writers', 'processor.connectors.registry.client')\n"
        "print([m for m in sys.modules if m.startswith(parts)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
