"""``processor describe``: the plans that `run` would run, with the parameters that make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import orjson

from processor import app
from processor.masking import MASK, secret_name
from processor.plan.describe import describe as plan_text
from processor.plan.graph import as_json, as_mermaid
from processor.plan.stages import Stage
from processor.settings import Settings

Form = Literal["text", "mermaid", "json"]


def describe(names: Sequence[str], settings: Settings, form: Form = "text") -> str:
    """Each topology's plan and parameters; raises what `run` would raise before it connects.

    As a picture or for programs it is stages and topics alone.
    """
    stages = app.load_stages(names, settings.set)
    plain = [Stage(stage.plan, stage.why) for stage in stages]
    if form == "mermaid":
        return as_mermaid(plain)
    if form == "json":
        return orjson.dumps(as_json(plain), option=orjson.OPT_INDENT_2).decode()
    lines = []
    for stage, following in zip(stages, [*stages[1:], None], strict=True):
        why = [f"  a stage of its own: {stage.why}"] * bool(stage.why)
        first, *others = plan_text(stage.plan).split("\n")
        lines += [first, *why, *others]
        if following is None or following.name != stage.name:
            lines += _parameters(stage.name, settings.set)
    return "\n".join(lines)


def _parameters(name: str, given: Mapping[str, str]) -> list[str]:
    lines = []
    for parameter, (kind, default) in app.parameters_of(name).items():
        value, origin = given.get(parameter, default), "given" if parameter in given else "default"
        shown = MASK if secret_name(parameter) else value
        lines.append(f"    {parameter} = {shown} ({kind}, {origin})")
    return ["  parameters (--set NAME=VALUE):", *lines] if lines else []
