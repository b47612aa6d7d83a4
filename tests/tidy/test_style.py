from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path for room in ("processor", "topologies") for path in (ROOT / room).rglob("*.py")
)


def run(*command: str) -> None:
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def tool(name: str) -> list[str]:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found, f"{name} is not installed"
    return [found]


def test_the_linter_finds_nothing() -> None:
    run(*tool("ruff"), "check", "--no-cache", ".")


def test_every_file_is_formatted() -> None:
    run(*tool("ruff"), "format", "--no-cache", "--check", ".")


def test_types_hold_strictly() -> None:
    run(sys.executable, "-m", "mypy")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_is_over_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_that_runs_code_when_read_is_imported(path: Path) -> None:
    forbidden = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        assert not {name.split(".")[0] for name in names} & forbidden


def test_a_noqa_says_which_rule_it_is_about() -> None:
    for path in SOURCES:
        for line in path.read_text(encoding="utf-8").splitlines():
            if "# noqa" in line:
                assert re.search(r"# noqa: [A-Z]+[0-9]+", line), f"{path}: {line}"


def test_headers_are_read_in_one_place_only() -> None:
    """What else calls the client's method may end the process: see `processor.model.headers`."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            assert not (called and node.func.attr == "headers"), f"{path}:{node.lineno}"  # type: ignore[attr-defined]
