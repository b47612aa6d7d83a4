"""What the documents say is there."""

import os
import re
import signal
import subprocess
import sys
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


@pytest.mark.parametrize(
    "lock", ["requirements.lock", "requirements-image.lock", "requirements-test.lock"]
)
def test_a_lock_holds_every_dependency_of_the_project(lock):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    if "test" in lock:
        wanted += project["optional-dependencies"]["test"]
    locked = set(_locked(lock))
    assert {re.split(r"[><=\[]", name)[0] for name in wanted} <= locked


def _locked(lock: str) -> dict[str, set[str]]:
    """The versions of each package in a lock: some have another one for older Pythons."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(
        r"^([a-z0-9-]+)==([^ ;]+)", (ROOT / lock).read_text(), re.MULTILINE
    ):
        found.setdefault(name, set()).add(version)
    return found


def test_the_image_has_what_was_tested_and_all_that_formats_may_need():
    image, tested = _locked("requirements-image.lock"), _locked("requirements-test.lock")
    assert image.items() <= tested.items()
    assert _locked("requirements.lock").items() <= image.items()
    assert {"protobuf", "jsonschema", "referencing", "attrs", "authlib"} <= image.keys()
    assert "requirements-image.lock" in (ROOT / "docker/processor/Dockerfile").read_text()
    assert "!requirements-image.lock" in (ROOT / ".dockerignore").read_text().split()


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


def _table(document: str, heading: str) -> list[list[str]]:
    """The rows of the first table under a heading."""
    part = (ROOT / document).read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip()[1:-1].split("|") for line in part.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row] for row in rows]


def test_the_page_of_metrics_has_every_metric_with_its_type_and_labels():
    from processor.metrics.catalogue import Metrics
    from processor.metrics.standing import Health, Standing, Topic
    from processor.model.log import TopicPartition

    there = TopicPartition("in", 0)
    standing = Standing(positions={there: 1}, watermark_ms={there: 1})
    topic = Topic("in", "input", up=True, partitions=1)
    metrics = Metrics()
    metrics.begin("t")
    metrics.shows(
        "t", lambda: Health(standing, 1, topics=(topic,), lag={there: 0}, held={there: 0})
    )
    served = {}
    for family in metrics.registry.collect():
        name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels = {label for sample in family.samples for label in sample.labels}
        served[name] = (
            "gauge" if family.type == "info" else family.type,
            labels - {"topology", "le"},
        )
    written = {
        name.strip("`"): (kind, set(filter(None, labels.split(", "))))
        for name, kind, labels, _ in _table("docs/metrics.md", "Every metric")
    }
    assert written == served


def test_the_page_of_metrics_has_every_alert():
    rules = (ROOT / "docker/prometheus/alerts.yml").read_text()
    written = [name.strip("`") for name, *_ in _table("docs/metrics.md", "Alerts")]
    assert written == re.findall(r"- alert: (\w+)", rules)


def test_the_command_of_the_services_prints_addresses_and_ends_on_ctrl_c():
    given = {
        "PROCESSOR_TEST_BOOTSTRAP_SERVERS": "broker:1",
        "PROCESSOR_TEST_REDIS_URL": "redis://store:2/0",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "tests.services"],
        cwd=ROOT, env=os.environ | given, stdout=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        printed = [running.stdout.readline() for _ in range(3)]
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 0
    assert printed[1:] == [
        "export PROCESSOR_BOOTSTRAP_SERVERS=broker:1\n",
        "export PROCESSOR_REDIS_URL=redis://store:2/0\n",
    ]
