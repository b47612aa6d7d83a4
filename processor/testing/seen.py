"""What a driver's topology has published and shown, as rows."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from processor.errors import ProcessorError
from processor.formats.csv import Csv
from processor.formats.parquet import Parquet
from processor.formats.registered import Registered
from processor.plan.nodes import Files, Plan
from processor.sinks.tables import Tables
from processor.testing.reads import Reads


class Seen(Reads):
    """What comes of a topology's sinks."""

    plans: Sequence[Plan]
    tables: Tables

    def rows(self, topic: str) -> list[dict[str, Any]]:
        """The rows of an output topic, read by the format that wrote them.

        Raises `ProcessorError` if no sink with columns in its format writes the topic.
        """
        sinks = [sink for plan in self.plans for sink in plan.sinks]
        forms = [sink.format for sink in sinks if sink.topic == topic]
        if not forms or not forms[0].columns:
            raise ProcessorError(f"{topic!r} is written by no format with columns")
        form = forms[0].bare if isinstance(forms[0], Registered) else forms[0]
        decoded = form.decode(self.values(topic))
        if decoded.bad:
            raise ProcessorError(f"{topic}: {next(iter(decoded.bad.values()))}")
        return decoded.frame.to_dicts()

    def table(self, name: str) -> pl.DataFrame:
        """What the table that ``write.memory(name)`` makes holds now."""
        return self.tables.table(name)

    def sql(self, query: str) -> pl.DataFrame:
        """What a query in SQL finds in the tables."""
        return self.tables.sql(query)

    def files(self, folder: str | Path) -> list[dict[str, Any]]:
        """The rows of all files of a directory that the topology writes, in the order of names.

        Raises `ProcessorError` if no sink with columns in its format writes there.
        """
        sinks = [sink for plan in self.plans for sink in plan.sinks]
        forms = [s.format for s in sinks if s.outside == Files(str(folder))]
        if not forms:
            raise ProcessorError(f"no sink writes files to {folder}")
        rows: list[dict[str, Any]] = []
        for path in sorted(Path(folder).glob("[!.]*")):
            data, form = path.read_bytes(), forms[0]
            if isinstance(form, Parquet):
                rows += pl.read_parquet(io.BytesIO(data)).to_dicts()
            elif isinstance(form, Csv):
                lines = data.splitlines()[int(form.header) :]
                rows += form.decode(lines).frame.to_dicts()
            elif form.columns:
                rows += form.decode(data.splitlines()).frame.to_dicts()
            else:
                rows += pl.read_ndjson(io.BytesIO(data)).to_dicts()
        return rows
