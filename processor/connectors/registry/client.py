"""Confluent's client of a schema registry, as `processor.formats.registry.Schemas`.

A number and what it stands for never change, so what was read once is kept. What is unknown is not:
a follower of the registry may not have heard yet of a schema that a record is written with, so it
is asked for twice, with a short pause for all unknown ones of a batch together, and forgotten after
some time.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from threading import Lock
from typing import Any, Final

from processor.connectors.registry.errors import NotThereError, told
from processor.formats.registry import Known, Named, Schema, Wanted
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
_UNKNOWN_MOST: Final = 100_000
_PROTOBUF: Final = "PROTOBUF"


class Client:
    """A registry by its address and the properties of its client.

    >>> client = Client("mock://docs", {})
    >>> known = client.register("orders-value", Wanted(Schema("JSON", "{}")))
    >>> client.read([known.number, 77])
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
        with told(self.name):
            self.client: Any = SchemaRegistryClient.new_client(given)
        self._memory = url.startswith("mock://")
        self._schemas: dict[int | str, Schema] = {}
        self._unknown: dict[int | str, float] = {}
        self._lock = Lock()

    def read(self, ids: Collection[int | str]) -> dict[int | str, Schema | None]:
        """Schemas by number or guid; ``None`` for one that the registry does not know."""
        with self._lock:
            missing = [one for one in ids if one not in self._schemas]
            now_s = time.monotonic()
            asked = [one for one in missing if self._unknown.get(one, 0.0) <= now_s]
            unknown = self._ask(asked)
            if unknown and len(unknown) <= AGAIN_MOST and not self._memory:
                time.sleep(AGAIN_S)
                unknown = self._ask(unknown)
            if len(self._unknown) + len(unknown) > _UNKNOWN_MOST:
                self._unknown.clear()
            self._unknown |= dict.fromkeys(unknown, time.monotonic() + UNKNOWN_S)
            return {one: self._schemas.get(one) for one in ids}

    def _ask(self, ids: Collection[int | str]) -> list[int | str]:
        """Fetch and keep them; those that are unknown are returned."""
        unknown: list[int | str] = []
        for one in ids:
            try:
                self._schemas[one] = self._fetched(one)
            except NotThereError:
                unknown.append(one)
        return unknown

    def _fetched(self, one: int | str) -> Schema:
        with told(self.name):
            # The text of a .proto file would need a compiler, and its descriptor does not; of
            # other kinds the registry passes over the word.
            if isinstance(one, int):
                found = self.client.get_schema(one, fmt="serialized")
            else:
                found = self.client.get_schema_by_guid(_dashed(one), fmt="serialized")
            return self._whole(found)

    def _whole(self, found: Any) -> Schema:
        """With all that a schema refers to, at any depth."""
        named: dict[str, Named] = {}
        self._collect(found, named)
        return Schema(found.schema_type or "AVRO", found.schema_str, tuple(named.values()))

    def _collect(self, found: Any, named: dict[str, Named]) -> None:
        for reference in found.references or ():
            if reference.name in named:
                continue
            other = self.client.get_version(
                reference.subject, reference.version, deleted=True, fmt="serialized"
            ).schema
            self._collect(other, named)
            named[reference.name] = Named(
                reference.name, reference.subject, reference.version, other.schema_str
            )

    def find(self, subject: str, wanted: Wanted) -> Known | None:
        """The very schema under a subject."""
        try:
            with told(self.name):
                return self._known(self.client.lookup_schema(
                    subject, self._theirs(wanted, register=False), normalize_schemas=True
                ))  # fmt: skip
        except NotThereError:
            return None

    def register(self, subject: str, wanted: Wanted) -> Known:
        """Put a schema under a subject, after those that it imports."""
        with told(self.name):
            theirs = self._theirs(wanted, register=True)
            self.client.register_schema(subject, theirs, normalize_schemas=True)
            # A registry's answer to the former may lack the version and the guid.
            return self._known(self.client.lookup_schema(subject, theirs, normalize_schemas=True))

    def latest(self, subject: str) -> tuple[Known, Schema] | None:
        """The last version of a subject, as it is now."""
        try:
            with told(self.name):
                found = self.client.get_version(subject, "latest", fmt="serialized")
                return self._known(found), self._whole(found.schema)
        except NotThereError:
            return None

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
        """Let go of the connection."""
        self.client.close()

    def _known(self, found: Any) -> Known:
        guid = (found.guid or "").replace("-", "").lower()
        return Known(int(found.schema_id), guid, int(found.version or 0))

    def _theirs(self, wanted: Wanted, *, register: bool) -> Any:
        """A schema as the client has it; what it imports is a subject of the file's name."""
        from confluent_kafka.schema_registry import Schema as Theirs
        from confluent_kafka.schema_registry import SchemaReference

        references: list[Any] = []
        for name, text in wanted.imports:
            # Each is registered with all before it, of which it may import any.
            other = Theirs(text, _PROTOBUF, list(references))
            if register:
                self.client.register_schema(name, other, normalize_schemas=True)
            found = self.client.lookup_schema(name, other, normalize_schemas=True)
            references.append(SchemaReference(name, name, found.version))
        return Theirs(wanted.schema.text, wanted.schema.kind, references)


def _dashed(guid: str) -> str:
    return f"{guid[:8]}-{guid[8:12]}-{guid[12:16]}-{guid[16:20]}-{guid[20:]}"
