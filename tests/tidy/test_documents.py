"""What the documents say is there."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def commands() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_readme_has_two_commands_of_one_line_each():
    assert [command.count("\n") for command in commands()] == [1, 1]


def test_ci_runs_the_second_command_and_nothing_else():
    shown = subprocess.run(
        ["bash", ROOT / ".ci/run", "--print"], capture_output=True, text=True, check=True
    )
    assert shown.stdout == commands()[1]


def test_the_commands_install_from_the_locks_with_hashes():
    for command, lock in zip(commands(), ["requirements", "requirements-test"], strict=True):
        assert f"--require-hashes -r {lock}.lock" in command


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-test.lock"])
def test_a_lock_holds_every_dependency_of_the_project(lock):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    if "test" in lock:
        wanted += project["optional-dependencies"]["test"]
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / lock).read_text(), re.MULTILINE))
    assert {re.split(r"[><=\[]", name)[0] for name in wanted} <= locked


def test_every_path_in_the_architecture_exists():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    paths = set(re.findall(r"`((?:processor|topologies|tests|docs|benchmarks)/[\w./-]*)`", text))
    assert len(paths) > 20
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    "document", [p.relative_to(ROOT) for p in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]],
    ids=str,
)  # fmt: skip
def test_links_between_documents_lead_somewhere(document):
    text = (ROOT / document).read_text()
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    missing = [link for link in links if not ((ROOT / document).parent / link).exists()]
    assert missing == []
