from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import processor

ROOT = Path(__file__).parents[2]
STUB = ROOT / "processor" / "__init__.pyi"


def stub_names() -> dict[str, str]:
    names = {}
    for node in ast.parse(STUB.read_text()).body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def test_the_stub_has_the_names_of_the_package() -> None:
    assert sorted(stub_names()) == sorted(processor.__all__) == sorted(dir(processor))


@pytest.mark.parametrize("name", processor.__all__)
def test_every_public_name_comes_from_where_the_stub_says(name: str) -> None:
    found = getattr(processor, name)
    home = getattr(found, "__module__", None)
    full = f"{home}.{found.__name__}" if home else found.__name__
    assert full == stub_names()[name]


def test_another_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = processor.Nothing  # type: ignore[attr-defined]


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, processor; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"polars", "numpy", "confluent_kafka", "redis", "pydantic"} & set(
        done.stdout.split()
    )
