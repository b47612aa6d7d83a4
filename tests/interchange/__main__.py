"""``python -m tests.interchange``: all clients of others, and a schema registry of others.

What is run with the other tests, and what fetches too much for that: Apicurio's registry and its
serializers for Java. What is not to be had is a failure here.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.services import Unavailable
from tests.services.apicurio import LocalApicurio

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.interchange", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="as pytest's -k has it")
    parser.add_argument("--bootstrap-servers", metavar="H:P", help="a broker; else one is started")
    parser.add_argument("--redis-url", metavar="URL", help="a Redis; else one is started")
    options = parser.parse_args()
    os.environ["CI"] = "true"
    for name, given in (("BOOTSTRAP_SERVERS", options.bootstrap_servers),
                        ("REDIS_URL", options.redis_url)):  # fmt: skip
        if given is not None:
            os.environ[f"PROCESSOR_TEST_{name}"] = given
    try:
        registry = LocalApicurio()
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 2
    with closing(registry):
        os.environ["PROCESSOR_TEST_SCHEMA_REGISTRY_URL"] = registry.url
        # Each by its name: beside their directory pytest passes over what it does not find itself.
        files = [path for path in sorted(HERE.glob("*.py")) if "\ndef test_" in path.read_text()]
        files.append(HERE.parent / "contract" / "test_schemas.py")
        told = ["-v", "--durations=0", "--durations-min=10", "-k", options.only]
        return int(pytest.main([*told, *map(str, files)]))


if __name__ == "__main__":
    sys.exit(main())
