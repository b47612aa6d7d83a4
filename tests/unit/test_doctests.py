from __future__ import annotations

import doctest
import importlib
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("formats", "state", "operators", "plan", "api", "model")
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for room in ROOMS
    for path in (ROOT / "processor" / room).rglob("*.py")
    if path.stem != "__init__"
)
MODULES += ["processor.private", "processor.slots", "processor.settings"]
MODULES += [
    f"processor.app.{name}"
    for name in (
        "active",
        "capture",
        "collect",
        "feed",
        "host",
        "journal",
        "query",
        "sigterm",
        "start",
    )
]
MODULES += ["processor.app.fed"]
MODULES += [f"processor.connectors.sqlite.{name}" for name in ("blocks", "database", "log")]
MODULES += ["processor.connectors.memory.records", "processor.connectors.redis.embedded"]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_do_what_they_show(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
