"""What the help and the page of settings say is what holds."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from processor.app.topics import PARTITIONS
from processor.app.worker import RECORDS_MAX, RECORDS_MAX_WITH_STATE
from processor.cli.main import cli
from processor.model import duration
from processor.refusals.kafka import _PROMISES
from processor.refusals.registry import KNOWN
from processor.settings import PREFIX, Settings, load

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"
RUN = cli.commands["run"]
OPTIONS = {p.name: p for p in RUN.params if isinstance(p, click.Option)}
TABLES = {"kafka", "schema_registry"}
FIELDS = {name: field for name, field in Settings.model_fields.items() if name not in TABLES}
COMMAND_LINE_ONLY = {"config", "feed", "show"}


def option(field: str) -> click.Option:
    return OPTIONS["set_" if field == "set" else field]


def test_every_setting_is_an_option_and_every_option_a_setting():
    names = {name.rstrip("_") for name in OPTIONS}
    assert names - COMMAND_LINE_ONLY == {name.rstrip("_") for name in Settings.model_fields}


@pytest.mark.parametrize("field", [f for f in FIELDS if f != "set"])
def test_a_default_that_is_told_is_the_one_that_holds(field):
    told, value = str(option(field).show_default), FIELDS[field].default
    if isinstance(value, timedelta):
        assert duration.parse(told) == value
    elif isinstance(value, bool):
        assert (told.partition(";")[0] == "off") is not value
    elif value is not None:
        assert told == str(value)
    else:
        known = {
            "bootstrap_servers": "embedded", "redis_url": "embedded", "instance": "the host's name",
            "metrics_port": "none is served", "data_dir": "in memory", "stages": "all",
            "schema_registry_url": "in memory, on the embedded log",
            "batch_records_max": f"{RECORDS_MAX}; {RECORDS_MAX_WITH_STATE} with state",
        }  # fmt: skip
        assert told == known[field]


def test_the_partitions_of_topics_that_are_created_are_told():
    assert f"{PARTITIONS} partitions without N" in str(option("create_topics").show_default)


def test_the_help_shows_every_default():
    text = " ".join(CliRunner().invoke(cli, ["run", "--help"], terminal_width=300).output.split())
    for field in FIELDS:
        shown = option(field).show_default
        if shown:
            assert f"[default: ({shown})]" in text, field


@pytest.mark.parametrize("given", ["4", None])
def test_topics_are_created_with_and_without_a_number(given, monkeypatch):
    seen: dict[str, Any] = {}
    monkeypatch.setattr("processor.cli.run.run", lambda *a, **_: seen.update(settings=a[1]))
    args = ["run", "x", "--create-topics", *([given] if given else [])]
    assert CliRunner().invoke(cli, args).exit_code == 0
    assert seen["settings"].create_topics == (int(given) if given else True)


def rows() -> list[str]:
    found = []
    for name, each in OPTIONS.items():
        default = str(each.show_default) if each.show_default else ""
        if name in COMMAND_LINE_ONLY:
            place = f"`{PREFIX}CONFIG`" if name == "config" else ""
        else:
            field = "set" if name == "set_" else name
            variable = PREFIX + field.rstrip("_").upper()
            place = f"`{variable}{'__NAME' if field in ('set', *TABLES) else ''}`"
        found.append(f"| `{each.opts[0]}` | {place} | {default} | {each.help} |")
    return found


def test_the_page_of_settings_has_every_one_with_its_default():
    """Where this fails, the rows that are told belong into the page."""
    page = PAGE.read_text()
    table = re.findall(r"^\| `--.*\|$", page, re.MULTILINE)
    assert table == rows(), "\n".join(rows())


def test_the_page_names_every_property_that_cannot_be_set_otherwise():
    assert properties("Settings of Kafka's client") == set(_PROMISES)


def test_the_page_names_every_property_of_the_registrys_client():
    assert properties("Settings of the registry's client") == KNOWN


def properties(heading: str) -> set[str]:
    """Those in the first column of a section's table."""
    part = PAGE.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\| (`[a-z][^|]*) \|", part, re.MULTILINE)
    return {name for cell in found for name in re.findall(r"`([a-z.]+)`", cell)}


def test_the_pages_example_is_read(tmp_path, monkeypatch):
    (example,) = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "processor.toml").write_text(example)
    monkeypatch.chdir(tmp_path)
    settings = load()
    assert isinstance(settings.redis_url, SecretStr)
    assert settings.set
    assert settings.kafka
