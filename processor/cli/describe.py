"""``processor describe``: the plans that `run` would run, with the parameters that make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from processor import app
from processor.masking import MASK, secret_name
from processor.plan.describe import describe as plan_text
from processor.settings import Settings


def describe(names: Sequence[str], settings: Settings) -> str:
    """Each topology's plan and parameters; raises what `run` would raise before it connects."""
    lines = []
    stages = app.load_stages(names, settings.set)
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
