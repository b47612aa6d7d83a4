"""`docs/api.md` has every public name, parameter, type and default, and its examples run."""

from __future__ import annotations

import inspect
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import pytest

import processor
from processor import errors
from processor import functions as F
from processor.api import functions
from processor.api.frame import Frame
from processor.api.group import Group
from processor.api.reader import Reader
from processor.api.running import Runnable
from processor.api.topology import Definition, Topology
from processor.api.writer import Writer
from processor.app.query import Query
from processor.connectors.memory.records import StoredMessage
from processor.formats import cloudevents, debezium
from processor.formats.avro.declared import Avro
from processor.formats.bytes import Bytes
from processor.formats.cloudevents import CloudEvents
from processor.formats.csv import Csv
from processor.formats.debezium import Debezium
from processor.formats.json import Json
from processor.formats.json_schema import JsonSchema
from processor.formats.parquet import Parquet
from processor.formats.protobuf import Protobuf
from processor.formats.registered import Registered
from processor.formats.registry import Registry
from processor.formats.text import Text
from processor.plan import nodes
from processor.testing import Crash, TestDriver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text()
WORDS = {
    name: " or ".join(f'"{word}"' for word in get_args(alias))
    for name, alias in {**vars(nodes), **vars(debezium), **vars(cloudevents)}.items()
    if get_origin(alias) is Literal
}
WORDS |= {"AnyColumns": "Mapping[str, DataType] or type or None"}
WORDS |= {"Columns": "Mapping[str, DataType] or type"}
WORDS |= {"Policy": '"stop" or "replay" or "changelog"'}
WORDS |= {"Compression": '"zstd" or "lz4" or "snappy" or "gzip" or "uncompressed"'}
WORDS |= {"OnSchemaChange": '"dead_letter" or "stop" or "continue"'}
WORDS |= {"Subjects": '"topic" or "record" or "topic_record"', "IdIn": '"value" or "header"'}
WORDS |= {"Guarantee": '"exactly-once" or "at-least-once"', "Unit": '"s" or "ms" or "us" or "ns"'}
WORDS |= {"OnNan": '"refuse" or "null"', "OnTwice": '"first" or "refuse"'}
# The methods of these sections are those of these classes.
OWNERS: dict[str, type] = {
    "Topology": Topology, "Definition": Definition, "Reading": Reader, "Frame": Frame,
    "Groups": Group, "Writing": Writer, "TestDriver": TestDriver, "Records": StoredMessage,
    "Query": Query,
}  # fmt: skip
MADE: dict[str, type] = {
    "Topology": Topology, "Avro": Avro, "Csv": Csv, "CloudEvents": CloudEvents,
    "Debezium": Debezium, "Json": Json, "Text": Text, "Bytes": Bytes, "TestDriver": TestDriver,
    "JsonSchema": JsonSchema, "Parquet": Parquet, "Protobuf": Protobuf, "Registered": Registered,
    "Registry": Registry,
}  # fmt: skip


def section(name: str) -> str:
    """What stands under a heading, up to the next of its rank."""
    found = re.search(rf"^(##+) `?{re.escape(name)}`?\n", PAGE, re.MULTILINE)
    assert found, f"docs/api.md has no section {name}"
    rest = PAGE[found.end() :]
    end = re.search(rf"^#{{2,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def kind(annotation: object) -> str:
    """A type as the page writes it: a bar would be a cell of its own."""
    text = "" if annotation is inspect.Parameter.empty else str(annotation)
    text = re.sub(r"\b(?:nodes|pl)\.(?=[A-Z]\w)(?!Expr)", "", text)
    text = re.sub(r"\w+", lambda word: WORDS.get(word[0], word[0]), text)
    return text.replace(" | ", " or ")


def default(value: object) -> str:
    """A default as the page writes it; one that does not fit a cell is told in words."""
    if value is inspect.Parameter.empty:
        return ""
    if isinstance(value, timedelta):
        return '`"1 day"`' if value == timedelta(days=1) else f"`{value}`"
    if isinstance(value, int) and not isinstance(value, bool) and value >= 10_000:
        return f"`{value:_}`"
    text = "{}" if repr(value) == "<factory>" else repr(value).replace("'", '"')
    return f"`{text}`" if len(text) < 40 else "see below"


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    found = inspect.signature(function).parameters.values()
    return [parameter for parameter in found if parameter.name != "self"]


def signature(function: Callable[..., Any], name: str) -> str:
    """A call in one line, with types and defaults."""
    parts: list[str] = []
    for one in parameters(function):
        if one.kind is one.KEYWORD_ONLY and not any(part.startswith("*") for part in parts):
            parts.append("*")
        stars = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
        value = default(one.default).strip("`")
        parts.append(
            f"{stars}{one.name}: {kind(one.annotation)}" + (f" = {value}" if value else "")
        )
    return f"{name}({', '.join(parts)})"


def table(part: str) -> list[list[str]]:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| .+ \|$", part, re.MULTILINE)
    return [list(row) for row in rows]


def public(owner: type) -> Iterator[tuple[str, Any]]:
    kinds = [one for one in owner.__mro__[::-1] if one not in (object, Runnable)]
    found = {name: value for one in kinds for name, value in vars(one).items()}
    for name, value in found.items():
        made = value.__func__ if isinstance(value, staticmethod) else value
        if not name.startswith("_") and (callable(made) or isinstance(made, property)):
            yield name, made


def told(part: str, function: Callable[..., Any], name: str) -> None:
    """The call is there in one line, or has a section with a row for each parameter."""
    line = signature(function, name)
    if f"`{line}`" in part:
        return
    assert re.search(rf"^##+ `?[\w.]*\b{name}`?$", part, re.MULTILINE), f"not on the page: `{line}`"
    heading = re.search(rf"^##+ `?([\w.]*\b{name})`?$", part, re.MULTILINE)[1]
    wanted = [[p.name, kind(p.annotation), default(p.default)] for p in parameters(function)]
    assert table(section(heading)) == wanted


METHODS = [
    pytest.param(heading, name, value, id=f"{heading}.{name}")
    for heading, owner in OWNERS.items()
    for name, value in public(owner)
]


@pytest.mark.parametrize(("heading", "name", "value"), METHODS)
def test_the_page_of_names_has_each_method_with_its_parameters(heading, name, value):
    part = section(heading)
    if isinstance(value, property):
        assert f"`{name}`" in part
    else:
        told(part, value, name)


@pytest.mark.parametrize("heading", MADE)
def test_the_page_of_names_has_what_a_class_is_made_with(heading):
    part = section(heading)
    line = signature(MADE[heading], heading)
    wanted = [[p.name, kind(p.annotation), default(p.default)] for p in parameters(MADE[heading])]
    assert f"`{line}`" in part or table(part)[: len(wanted)] == wanted, f"not on the page: `{line}`"


@pytest.mark.parametrize("name", functions._THERE)
def test_the_page_of_names_has_each_function(name):
    told(section("Functions"), getattr(F, name), name)


@pytest.mark.parametrize("name", ["start", "collect"])
def test_the_page_of_names_has_what_runs_topologies(name):
    told(section("Running"), getattr(processor, name), name)
    method = inspect.signature(getattr(Topology, name)).parameters.values()
    function = inspect.signature(getattr(processor, name)).parameters.values()
    assert [str(p) for p in method][1:] == [str(p) for p in function][1:]


def test_the_page_of_names_has_each_name_of_the_package():
    names = [name for name in processor.__all__ if name != "functions"]
    assert [name for name in names if f"`{name}" not in PAGE] == []
    assert f"`{Crash.__name__}`" in section("TestDriver")


def test_the_page_of_names_has_what_a_driver_lets_a_test_look_at():
    topology = Topology("t")
    topology.read.kafka("in", format=Text()).write.kafka("out", format=Text())
    attributes = [name for name in vars(TestDriver(topology)) if not name.startswith("_")]
    assert [name for name in attributes if f"| `{name}` |" not in section("TestDriver")] == []


def test_the_page_of_names_has_every_error_with_its_code():
    made = [e for e in vars(errors).values() if inspect.isclass(e) and issubclass(e, Exception)]
    part = section("Errors")
    assert [e.__name__ for e in made if f"| `{e.__name__}` | `{e.code}` |" not in part] == []


def blocks(document: str) -> list[Any]:
    """The examples of a document that can run: all of the page's, elsewhere those that test."""
    text = (ROOT / document).read_text()
    found = [
        (m.start(), m[1])
        for m in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]
    return [
        pytest.param(code, f"{document}:{text[:start].count(chr(10)) + 2}", id=f"{document}-{n}")
        for n, (start, code) in enumerate(found)
        if document == "docs/api.md" or "TestDriver" in code
    ]


@pytest.mark.parametrize(
    ("code", "where"), [b for d in ("README.md", "docs/guide.md", "docs/api.md") for b in blocks(d)]
)
def test_an_example_runs(code, where, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, where, "exec", dont_inherit=True), names)  # noqa: S102 - our own text
    for name in [name for name in names if name.startswith("test_")]:
        names[name]()
