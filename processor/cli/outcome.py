"""What came of a demo: its files, its table, and whether its totals add up."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import orjson
from rich.console import Console
from rich.table import Table

from processor.cli import picture
from processor.errors import SettingsError
from processor.model.headers import headers_of
from processor.model.log import Message

POINTS_MAX: Final = 6_000
ROWS: Final = 12


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run: lines read, records of the topics, and what stage 2 found too late."""

    read: int
    enriched: Sequence[Message]
    popular: Sequence[Message]
    dead_letters: Sequence[Message]
    late: int

    def counts(self) -> list[dict[str, Any]]:
        """The final counts by window and cluster: the last record of each is the right one."""
        last: dict[tuple[str, int], dict[str, Any]] = {}
        for message in self.popular:
            row = orjson.loads(message.value() or b"{}")
            last[row["window_start"], row["cluster"]] = row
        return [row for _, row in sorted(last.items())]

    def faults(self) -> list[str]:
        """What does not add up."""
        faults = []
        out, set_aside = len(self.enriched), len(self.dead_letters)
        if self.read != out + set_aside:
            faults.append(f"{self.read} lines went in, {out + set_aside} records came out")
        counted = sum(row["trips"] for row in self.counts())
        if out != counted + self.late:
            faults.append(f"{out} trips were enriched, {counted} counted, {self.late} late")
        return faults

    def write(self, directory: Path, centroids: Sequence[tuple[float, float]]) -> None:
        """Four files; raises `SettingsError` where they cannot be written."""
        counts = self.counts()
        sizes: Counter[int] = Counter()
        for row in counts:
            sizes[row["cluster"]] += row["trips"]
        title = f"{len(self.enriched):,} trips in {len(centroids)} clusters"
        files: dict[str, Iterable[bytes]] = {
            "trips-enriched.jsonl": ((m.value() or b"") + b"\n" for m in self.enriched),
            "popular-clusters.jsonl": (orjson.dumps(row) + b"\n" for row in counts),
            "dead-letters.jsonl": (orjson.dumps(told(m)) + b"\n" for m in self.dead_letters),
            "clusters.svg": [picture.svg(self._sample(), centroids, sizes, title).encode()],
        }
        for name, lines in files.items():
            try:
                with (directory / name).open("wb") as file:
                    file.writelines(lines)
            except OSError as error:
                raise SettingsError(
                    f"{directory / name} cannot be written: {error.strerror}",
                    remedy="name another folder with --output",
                ) from None

    def _sample(self) -> list[picture.Point]:
        step = -(-len(self.enriched) // POINTS_MAX) or 1
        rows = (orjson.loads(m.value() or b"{}") for m in self.enriched[::step])
        return [(row["lat"], row["lon"], row["cluster"]) for row in rows]

    def tell(
        self, centroids: Sequence[tuple[float, float]], directory: Path, took_s: float
    ) -> None:
        """The table, where the files are, the totals; exit code 1 if these do not add up."""
        counts = self.counts()
        if counts:
            Console().print(_table(counts, centroids))
        click.echo(
            f"wrote clusters.svg, trips-enriched.jsonl, popular-clusters.jsonl and "
            f"dead-letters.jsonl to {directory}, after {took_s:.1f} s"
        )
        counted = sum(row["trips"] for row in counts)
        click.echo(f"enriched {len(self.enriched)} = counted {counted} + late {self.late}")
        click.echo(
            f"read {self.read} = enriched {len(self.enriched)} + "
            f"dead-lettered {len(self.dead_letters)}"
        )
        faults = self.faults()
        if faults:
            raise click.ClickException(f"the totals do not add up: {'; '.join(faults)}")


def told(message: Message) -> dict[str, Any]:
    """A dead letter as JSON: where it came from, what is wrong, and its bytes.

    They are ``text``, or ``base64`` where they are no UTF-8.
    """
    headers = {
        name: (value or b"").decode(errors="backslashreplace")
        for name, value in headers_of(message)
        if name.startswith("processor.")
    }
    letter: dict[str, Any] = {
        "topic": headers.get("processor.topic"),
        "partition": _number(headers.get("processor.partition")),
        "offset": _number(headers.get("processor.offset")),
        "stage": headers.get("processor.stage"),
        "error": headers.get("processor.error"),
    }
    value = message.value()
    try:
        letter["text"] = None if value is None else value.decode()
    except UnicodeDecodeError:
        letter["base64"] = base64.b64encode(value or b"").decode()
    return letter


def _number(text: str | None) -> int:
    """What a header of ours says; -1 for one that is missing or of somebody else."""
    return int(text) if text and text.isdecimal() else -1


def _table(counts: Sequence[dict[str, Any]], centroids: Sequence[tuple[float, float]]) -> Table:
    """The clusters' busiest hours."""
    busiest = sorted(counts, key=lambda row: (-row["trips"], row["window_start"], row["cluster"]))
    shown = busiest[:ROWS]
    table = Table(title=f"Popular clusters by hour: the {len(shown)} busiest of {len(counts)}")
    table.add_column("hour")
    table.add_column("cluster", justify="right")
    table.add_column("centre")
    table.add_column("trips", justify="right")
    for row in shown:
        lat, lon = centroids[row["cluster"]]
        hour = str(row["window_start"]).replace("T", " ")[:16]
        table.add_row(hour, str(row["cluster"]), f"{lat:.4f}, {lon:.4f}", str(row["trips"]))
    return table
