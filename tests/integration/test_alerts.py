"""The alert rules: each is right by Prometheus' own tool, and tried both ways."""

import re
import shutil
from pathlib import Path

import pytest

from processor.metrics.catalogue import Metrics
from processor.metrics.standing import Health, Standing

ROOT = Path(__file__).parents[2]
RULES = ROOT / "docker/prometheus"
ALERTS = (RULES / "alerts.yml").read_text()
NAMES = re.findall(r"- alert: (\w+)", ALERTS)


@pytest.fixture
def copy(tmp_path):
    for name in ("alerts.yml", "alerts.test.yml", "prometheus.yml"):
        shutil.copy(RULES / name, tmp_path)
    return tmp_path


def test_the_rules_and_the_configuration_that_names_them_are_right(promtool, copy):
    code, said = promtool.run(copy, "check", "config", "prometheus.yml")
    assert code == 0, said
    assert f"{len(NAMES)} rules found" in promtool.run(copy, "check", "rules", "alerts.yml")[1]


def test_each_rule_fires_when_it_should_and_not_before(promtool, copy):
    code, said = promtool.run(copy, "test", "rules", "alerts.test.yml")
    assert code == 0, said


def test_the_tests_of_the_rules_notice_those_that_never_fire(promtool, copy):
    never = re.sub(r"expr: (>-\n(?: {10}.*\n)+|.*\n)", "expr: vector(0) > 1\n", ALERTS)
    assert never.count("vector(0)") == len(NAMES)
    (copy / "alerts.yml").write_text(never)
    code, said = promtool.run(copy, "test", "rules", "alerts.test.yml")
    assert code != 0
    assert [name for name in NAMES if name not in said] == []


def test_the_rules_use_no_metric_that_is_not_there():
    metrics = Metrics()
    metrics.shows("t", lambda: Health(Standing(), 0))
    families = {family.name for family in metrics.registry.collect()}
    known = families | {f"{name}_total" for name in families}
    used = set(re.findall(r"\bprocess(?:or)?_[a-z_]+", re.sub(r"'[^']*'", "", ALERTS)))
    assert used <= known
    assert len(used) > 8


def test_each_alert_says_how_grave_it_is_what_is_wrong_and_what_to_do():
    for part in ALERTS.split("- alert: ")[1:]:
        for word in ("severity: ", "summary: ", "remedy: "):
            assert part.count(word) == 1, part
