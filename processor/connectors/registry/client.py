"""Confluent's client of a schema registry, as `processor.formats.registry.Schemas`.

A number and what it stands for never change, so what was read once is kept. What is unknown is not:
a follower of the registry may not have heard yet of a schema that a record is written with, so it
is asked for twice, with a short pause for all unknown ones of a batch together, and forgotten after
some time.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Any, Final, TypeAlias

from processor.connectors.registry.errors import NotThereError, told
from processor.formats.registry import Kind, Known, Named, Schema, Wanted, texts_of
from processor.masking import masked
from processor.refusals import registry as refusals

# One answer may take as long; the loop, which bears what is away, tries again for far longer.
TIMEOUT_S: Final = 5.0
TRIES: Final[Mapping[str, float]] = {
    "timeout": TIMEOUT_S, "max.retries": 2, "retries.wait.ms": 100, "retries.max.wait.ms": 1000,
}  # fmt: skip
AGAIN_S: Final = 0.25
# More than so many unknown ones in a batch are garbage, for which nobody waits.
AGAIN_MOST: Final = 50
UNKNOWN_S: Final = 30.0
VERSIONS_MOST: Final = 50
_UNKNOWN_MOST: Final = 100_000
_PROTOBUF: Final = "PROTOBUF"
_FILE: Final = "its.proto"
_DEFAULT: Final = re.compile(r"\bdefault\s*=")

_Key: TypeAlias = tuple[int | str, bool]
"""A number or a guid, and whether the schema is wanted as the descriptor of a file."""


class Client:
    """A registry by its address and the properties of its client.

    >>> client = Client("mock://docs", {})
    >>> known = client.register("orders-value", Wanted(Schema("JSON", "{}")))
    >>> client.read([known.number, 77], "JSON")
    {1: Schema(kind='JSON', text='{}', references=()), 77: None}
    """

    def __init__(self, url: str, properties: Mapping[str, str]) -> None:
        from confluent_kafka.schema_registry import SchemaRegistryClient

        self.name = f"the schema registry at {masked(url)}"
        given: dict[str, object] = {**TRIES, "url": url, **properties}
        if "bearer.auth.token" in properties:
            given.setdefault("bearer.auth.credentials.source", "STATIC_TOKEN")
        for name in refusals.NUMBERS & given.keys():
            given[name] = float(str(given[name]))
        self._memory = url.startswith("mock://")
        self._make = partial(SchemaRegistryClient.new_client, given)
        with told(self.name):
            self.client: Any = self._make()
        # It keeps a schema by its number, in whatever form it was asked for first.
        self._other: Any = self.client if self._memory else None
        self._schemas: dict[_Key, Schema] = {}
        self._unknown: dict[_Key, float] = {}
        self._lock = Lock()

    def read(self, ids: Collection[int | str], kind: Kind) -> dict[int | str, Schema | None]:
        """Schemas by number or guid; ``None`` for one that the registry does not know."""
        with self._lock:
            keys = {one: (one, kind == _PROTOBUF) for one in ids}
            now_s = time.monotonic()
            unknown = self._ask(
                key
                for key in keys.values()
                if key not in self._schemas and self._unknown.get(key, 0.0) <= now_s
            )
            if unknown and len(unknown) <= AGAIN_MOST and not self._memory:
                time.sleep(AGAIN_S)
                unknown = self._ask(unknown)
            if len(self._unknown) + len(unknown) > _UNKNOWN_MOST:
                self._unknown.clear()
            if not self._memory:
                self._unknown |= dict.fromkeys(unknown, time.monotonic() + UNKNOWN_S)
            return {one: self._schemas.get(key) for one, key in keys.items()}

    def _ask(self, keys: Iterable[_Key]) -> list[_Key]:
        """Fetch and keep them; those that are unknown are returned."""
        unknown: list[_Key] = []
        for key in keys:
            try:
                self._schemas[key] = self._fetched(*key)
            except NotThereError:
                unknown.append(key)
        return unknown

    def _fetched(self, one: int | str, serialized: bool) -> Schema:
        with told(self.name):
            client, form = self._asking(serialized=serialized)
            if isinstance(one, int):
                return _whole(client, client.get_schema(one, fmt=form), form)
            return _whole(client, client.get_schema_by_guid(_dashed(one), fmt=form), form)

    def find(self, subject: str, wanted: Wanted) -> Known | None:
        """The very schema under a subject."""
        try:
            with told(self.name):
                return _known(self.client.lookup_schema(
                    subject, self._theirs(wanted, register=False), normalize_schemas=True
                ))  # fmt: skip
        except NotThereError:
            apart = wanted.imports or wanted.schema.kind == _PROTOBUF
            return self._alike(subject, wanted) if apart else None

    def _alike(self, subject: str, wanted: Wanted) -> Known | None:
        """The last version that says the same and refers to the same, wherever that is registered.

        Not every registry knows a text of Protobuf by its descriptor. Were it registered once more,
        every deployment would add a version.
        """
        kind = wanted.schema.kind
        same = _same_messages if kind == _PROTOBUF else _same_text
        for known, schema in reversed(self.versions(subject, kind)):
            if schema.kind == kind and same(wanted, schema):
                return known
        return None

    def register(self, subject: str, wanted: Wanted) -> Known:
        """Put a schema under a subject, after those that it imports."""
        with told(self.name):
            theirs = self._theirs(wanted, register=True)
            self.client.register_schema(subject, theirs, normalize_schemas=True)
            # A registry's answer to the former may lack the version and the guid.
            return _known(self.client.lookup_schema(subject, theirs, normalize_schemas=True))

    def versions(self, subject: str, kind: str) -> list[tuple[Known, Schema]]:
        """The last versions of a subject, oldest first."""
        try:
            with told(self.name):
                client, form = self._asking(serialized=kind == _PROTOBUF)
                numbers = sorted(client.get_versions(subject))[-VERSIONS_MOST:]
                found = [client.get_version(subject, number, fmt=form) for number in numbers]
                return [(_known(one), _whole(client, one.schema, form)) for one in found]
        except NotThereError:
            return []

    def allows(self, subject: str, wanted: Wanted) -> bool | None:
        """Whether the subject's rules would let the schema be its next version."""
        if self._memory:
            return None
        try:
            with told(self.name):
                theirs = self._theirs(wanted, register=False)
                return bool(self.client.test_compatibility(subject, theirs))
        except NotThereError:
            return None

    def close(self) -> None:
        """Let go of the connections."""
        self.client.close()
        if self._other is not None:
            self._other.close()

    def _asking(self, *, serialized: bool) -> tuple[Any, str | None]:
        """Whom to ask for schemas, and in what form.

        The text of a .proto file would need a compiler, its descriptor does not.
        """
        if not serialized:
            return self.client, None
        if self._other is None:
            self._other = self._make()
        return self._other, "serialized"

    def _theirs(self, wanted: Wanted, *, register: bool) -> Any:
        """A schema as the client has it; what it refers to is a subject of its own name."""
        from confluent_kafka.schema_registry import Schema as Theirs
        from confluent_kafka.schema_registry import SchemaReference

        kind = wanted.schema.kind
        known: dict[str, Any] = {}
        for name, text, uses in wanted.imports:
            other = Theirs(text, kind, [known[one] for one in uses])
            if register:
                self.client.register_schema(name, other, normalize_schemas=True)
            found = self.client.lookup_schema(name, other, normalize_schemas=True)
            known[name] = SchemaReference(name, name, found.version)
        return Theirs(wanted.schema.text, kind, [known[one] for one in wanted.uses])


def _same_text(wanted: Wanted, schema: Schema) -> bool:
    """Whether two schemas in JSON say the same, however they are laid out."""
    texts = {one.name: _content(one.text) for one in wanted.imports}
    named = {one.name: _content(one.text) for one in schema.references}
    return _content(schema.text) == _content(wanted.schema.text) and named == texts


def _content(text: str) -> Any:
    with suppress(ValueError):
        return json.loads(text)
    return text


def _same_messages(wanted: Wanted, schema: Schema) -> bool:
    from processor.formats.proto_schema import parsed, same

    if _DEFAULT.search(schema.text) is not None:
        return False  # what an absent field stands for is not read of a text
    with suppress(ValueError):
        imports = [(one.name, one.text) for one in wanted.imports]
        own = parsed(wanted.schema.text, imports, _FILE)
        return same(own, parsed(schema.text, texts_of(schema.references), _FILE))
    return False


def _known(found: Any) -> Known:
    guid = (found.guid or "").replace("-", "").lower()
    return Known(int(found.schema_id), guid, int(found.version or 0))


def _whole(client: Any, found: Any, form: str | None) -> Schema:
    """A schema with all that it refers to, at any depth."""
    named: dict[str, Named] = {}
    _collect(client, found, form, named)
    return Schema(found.schema_type or "AVRO", found.schema_str, tuple(named.values()))


def _collect(client: Any, found: Any, form: str | None, named: dict[str, Named]) -> None:
    for reference in found.references or ():
        name, subject, version = reference.name, reference.subject, reference.version
        if name not in named:
            other = client.get_version(subject, version, deleted=True, fmt=form).schema
            _collect(client, other, form, named)
            named[name] = Named(name, subject, version, other.schema_str)


def _dashed(guid: str) -> str:
    return f"{guid[:8]}-{guid[8:12]}-{guid[12:16]}-{guid[16:20]}-{guid[20:]}"
