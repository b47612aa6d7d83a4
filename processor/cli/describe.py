"""``processor describe``: the plans that `run` would run, with the parameters that make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from processor import app
from processor.masking import MASK, secret_name
from processor.plan.describe import describe as plan_text
from processor.settings import Settings


def describe(names: Sequence[str], settings: Settings) -> str:
    """Each topology's plan and parameters; raises what `run` would raise before it connects."""
    plans = app.load_topologies(names, settings.set)
    texts = []
    for name, plan in zip(names, plans, strict=True):
        texts.append("\n".join([plan_text(plan), *_parameters(name, settings.set)]))
    return "\n".join(texts)


def _parameters(name: str, given: Mapping[str, str]) -> list[str]:
    lines = []
    for parameter, (kind, default) in app.parameters_of(name).items():
        value, origin = given.get(parameter, default), "given" if parameter in given else "default"
        shown = MASK if secret_name(parameter) else value
        lines.append(f"    {parameter} = {shown} ({kind}, {origin})")
    return ["  parameters (--set NAME=VALUE):", *lines] if lines else []
