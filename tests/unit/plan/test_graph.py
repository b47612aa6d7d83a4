from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from processor.cli.main import cli
from processor.plan.graph import as_json, as_mermaid
from tests.staged import CASES


def test_a_picture_has_every_stage_and_every_topic_once_with_what_lies_between():
    assert as_mermaid(CASES["three in a row"].build().stages()).splitlines() == [
        "flowchart LR",
        "    topic0([in]) --> stage0[app]",
        "    stage0 -->|by user| topic1{{app.by-user}}",
        "    topic1 --> stage1[app.by-user]",
        "    stage1 --> topic2([out])",
        "    stage1 --> topic3{{app.all}}",
        "    topic3 --> stage2[app.all]",
        "    stage2 --> topic4([all])",
    ]


@pytest.mark.parametrize("name", CASES)
def test_json_has_what_text_has(name):
    told = json.loads(json.dumps(as_json(CASES[name].build().stages())))
    read = {stage["reads"]["topic"] for stage in told}
    for stage in told:
        assert bool(stage["why"]) == stage["reads"]["internal"]
        assert stage["topology"] == "app"
        for sink in stage["writes"]:
            assert sink["internal"] == (sink["topic"] in read)


@pytest.mark.parametrize(("form", "has"), [("mermaid", "flowchart LR"), ("json", '"stage": "uber')])
def test_the_command_prints_either(form, has):
    done = CliRunner().invoke(cli, ["describe", "topologies.uber.pipeline", "--as", form])
    assert done.exit_code == 0
    assert has in done.output
    assert "uber.by-cluster" in done.output


def test_json_has_a_windows_slide_and_start():
    (group,) = as_json(CASES["windows that slide, updated"].build().stages())[1]["groups"]
    assert (group["window_s"], group["slide_s"], group["start_s"]) == (3000.0, 1200.0, 300.0)
