"""A format that was found, as it is written in Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from processor.app import sketch_schemas
from processor.formats.base import VALUE_BYTES_MAX
from processor.formats.csv import Csv
from processor.formats.inferred import Inferred
from processor.formats.json import Json
from processor.formats.registered import Registered
from processor.formats.spelling import quoted, spelt
from processor.formats.text import Text

INDENT: Final = "    "


@dataclass(frozen=True, slots=True)
class Code:
    """A format as it is written: its name, its columns with their notes, and other arguments."""

    name: str
    columns: tuple[tuple[str, str], ...]
    more: tuple[str, ...]
    uses: tuple[str, ...] = ()

    def line(self) -> str:
        """All in one line, without notes."""
        columns = f"{{{', '.join(code for code, _ in self.columns)}}}"
        return f"{self.name}({', '.join([*([columns] * bool(self.columns)), *self.more])})"

    def block(self) -> list[str]:
        """A line for each column, with its note."""
        if not self.columns:
            return [self.line()]
        lines = [f"{self.name}(", f"{INDENT}{{"]
        for code, note in self.columns:
            lines.append(f"{INDENT * 2}{code}," + f"  # {one_line(note)}" * bool(note))
        return [*lines, f"{INDENT}}},", *(f"{INDENT}{one}," for one in self.more), ")"]


def code_of(found: Inferred) -> Code:
    """The code of a format.

    >>> code_of(infer([b"1,a", b"2,b"])).line()
    'Csv({"c1": pl.Int64, "c2": pl.String})'
    """
    form = found.form
    if isinstance(form, Registered):
        text, uses = sketch_schemas.spelt_form(form)
        return Code("Registered", (), (text.removeprefix("Registered(")[:-1],), tuple(uses))
    more: list[str] = []
    if form.value_bytes_max != VALUE_BYTES_MAX:
        more.append(f"value_bytes_max={form.value_bytes_max}")
    if isinstance(form, Text):
        return Code("Text", (), tuple(more))
    if isinstance(form, Json) and form.optional:
        more.append(f"optional=frozenset({{{', '.join(map(quoted, sorted(form.optional)))}}})")
    if isinstance(form, Json) and form.maps:
        more.append(f"maps=frozenset({{{', '.join(map(quoted, sorted(form.maps)))}}})")
    if isinstance(form, Csv) and form.optional:
        more.append(f"optional=frozenset({{{', '.join(map(quoted, sorted(form.optional)))}}})")
    if isinstance(form, Csv) and form.header:
        more.append("header=True")
    if isinstance(form, Csv) and form.separator != ",":
        more.append(f"separator={quoted(form.separator)}")
    if form.epoch:
        units = (f"{quoted(name)}: {quoted(unit)}" for name, unit in form.epoch.items())
        more.append(f"epoch={{{', '.join(units)}}}")
    columns = (
        (f"{quoted(name)}: {spelt(kind)}", found.notes.get(name, ""))
        for name, kind in (form.columns or {}).items()
    )
    return Code(type(form).__name__, tuple(columns), tuple(more))


def one_line(note: str) -> str:
    r"""A note as a comment may have it.

    >>> one_line("a\nb")
    'a b'
    """
    return " ".join(note.split()).encode("unicode_escape").decode()
