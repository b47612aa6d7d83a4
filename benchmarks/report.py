"""Runs as a table of medians with their ratios, and as a chart; both are Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from benchmarks.contenders import CONTENDERS
from benchmarks.measure import Figures

OURS: Final = "processor"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a contender; ``job`` is the heading that it stands under."""

    job: str
    contender: str
    records: int
    figures: Figures


def table(runs: Sequence[Run]) -> str:
    """A block for each job, the fastest first; *ours* is how many times the processor is ahead."""
    heads = ("job", "contender", "promise", "records/s", "ours", "CPU s per million", "ours",
             "broker's CPU s", "RSS MB", "PSS MB", "first output, s", "outputs",
             "records", "runs")  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", f"|---|---|---|{'---:|' * (len(heads) - 3)}"]
    for job in dict.fromkeys(run.job for run in runs):
        found = [run for run in runs if run.job == job]
        names = sorted({r.contender for r in found}, key=lambda n: -_rate(found, n))
        ours = [r.figures for r in found if r.contender == OURS]
        lines += [_row(job, n, [r for r in found if r.contender == n], ours) for n in names]
    return "\n".join(lines)


def _rate(runs: Sequence[Run], name: str) -> float:
    return median(r.figures.rate for r in runs if r.contender == name)


def _row(job: str, name: str, runs: Sequence[Run], ours: Sequence[Figures]) -> str:
    def middle(of: Callable[[Figures], float]) -> float:
        return median(of(run.figures) for run in runs)

    def ahead(of: Callable[[Figures], float], *, less: bool = False) -> str:
        if not ours or name == OURS:
            return ""
        ratio = median(map(of, ours)) / middle(of)
        return f"{1 / ratio if less else ratio:.2f} x"

    broker = [s for r in runs if (s := r.figures.broker_cpu_s) is not None]
    cells = (
        job,
        name,
        CONTENDERS[name].promise,
        f"{middle(lambda f: f.rate):,.0f}",
        ahead(lambda f: f.rate),
        f"{middle(lambda f: f.cpu_s):.2f}",
        ahead(lambda f: f.cpu_s, less=True),
        f"{median(broker):.2f}" if broker else "",
        f"{middle(lambda f: f.rss_mb):,.0f}",
        f"{middle(lambda f: f.pss_mb):,.0f}",
        f"{middle(lambda f: f.startup_s):.1f}",
        f"{middle(lambda f: f.outputs):,.0f}",
        f"{runs[0].records:,}",
        str(len(runs)),
    )
    return f"| {' | '.join(cells)} |"


def chart(runs: Sequence[Run]) -> str:
    """Medians of records/s, one chart for each job, in Mermaid's words."""
    blocks = []
    for job in dict.fromkeys(run.job for run in runs):
        found = [run for run in runs if run.job == job]
        names = sorted({r.contender for r in found}, key=lambda n: -_rate(found, n))
        rates = [round(_rate(found, name)) for name in names]
        blocks.append(
            "```mermaid\nxychart-beta horizontal\n"
            f'    title "{job}: records/s"\n'
            f"    x-axis [{', '.join(names)}]\n"
            f"    y-axis 0 --> {max(rates)}\n"
            f"    bar [{', '.join(map(str, rates))}]\n```"
        )
    return "\n\n".join(blocks)
