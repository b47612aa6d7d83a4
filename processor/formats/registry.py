"""A schema registry: how a topology names one, and what formats ask of it.

The client is in `processor.connectors.registry`; formats know this port alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, TypeAlias

from processor import masking
from processor.errors import TopologyError
from processor.formats import declared
from processor.refusals import registry as refusals

Kind: TypeAlias = Literal["AVRO", "JSON", "PROTOBUF"]
Part: TypeAlias = Literal["value", "key"]


@dataclass(frozen=True, slots=True)
class Named:
    """A schema that another one refers to: by what name, and where the registry has it."""

    name: str
    subject: str
    version: int
    text: str


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema as a registry keeps it, with those that it refers to, each before who needs it."""

    kind: str
    text: str
    references: tuple[Named, ...] = ()


class Import(NamedTuple):
    """A schema that another one refers to, and the names of those that it refers to itself."""

    name: str
    text: str
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A schema to be looked up: those that it ``uses`` at any depth come before who needs them."""

    schema: Schema
    imports: tuple[Import, ...] = ()
    uses: tuple[str, ...] = ()


class Known(NamedTuple):
    """What a registry calls a schema of a subject: ``guid`` is empty where it gives none."""

    number: int
    guid: str
    version: int


class Schemas(Protocol):
    """A registry that answers. Each call raises `RegistryAwayError` when it does not.

    What it refuses for good is a `RegistryError`. ``name`` tells it from others, without secrets.
    """

    name: str

    def read(self, ids: Collection[int | str], kind: Kind) -> dict[int | str, Schema | None]:
        """Schemas by number, or by guid as 32 hexadecimal digits; ``None`` for one unknown.

        Of a schema of another ``kind`` than is looked for the text may be in any form.
        """
        ...

    def find(self, subject: str, wanted: Wanted) -> Known | None:
        """The very schema under a subject; ``None`` where it is not there."""
        ...

    def register(self, subject: str, wanted: Wanted) -> Known:
        """Put a schema under a subject, with what it imports; what is there already stays."""
        ...

    def versions(self, subject: str, kind: str) -> list[tuple[Known, Schema]]:
        """The last versions of a subject, oldest first; none where there is no such subject."""
        ...

    def allows(self, subject: str, wanted: Wanted) -> bool | None:
        """Whether the subject's rules would let the schema be its next version.

        ``None`` where that cannot be asked: there is no version yet, or the registry is in memory.
        """
        ...


@dataclass(frozen=True)
class Registry:
    """Where a schema registry is, and how its client comes to it.

    Args:
        url: as in ``https://registry:8081``, several with commas between them; ``mock://name`` is
            one in memory. Left out, the settings say (``--schema-registry-url``).
        client: properties of Confluent's client besides, as text: ``basic.auth.user.info``
            (``user:password``), ``bearer.auth.token``, ``ssl.ca.location``, ``timeout`` (seconds)
            and so on. They go before those of the settings (``--schema-registry``).

    Raises `TopologyError` for an address or a property that cannot be meant. No message shows a
    secret of it.

    >>> Registry("https://me:hunter22@registry:8081").url == str(Registry("https://a:1").url)
    False
    >>> Registry(client={"tiemout": "5"})
    Traceback (most recent call last):
    processor.errors.TopologyError: ...: Registry: tiemout: there is no such property; did you ...
      remedy: correct it
    """

    url: str | None = field(default=None, repr=False)
    client: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    def __post_init__(self) -> None:
        at = declared.told_at()
        if not isinstance(self.client, Mapping):
            raise TopologyError(
                f"{at}: Registry: client gives no properties", remedy='say client={"timeout": "5"}'
            )
        if self.url is not None:
            masking.conceal_address(str(self.url))
        for name, value in self.client.items():
            if refusals.secret(str(name)):
                masking.conceal(str(value))
        why = refusals.url_fault(self.url) if isinstance(self.url, str) else None
        if self.url is not None and (why or not isinstance(self.url, str)):
            raise TopologyError(
                f"{at}: Registry: the address is none: {why or 'it is no text'}",
                remedy="correct it, or leave it out and say --schema-registry-url",
            )
        for name, value in self.client.items():
            fault = refusals.broken(str(name), str(value))
            if fault is not None:
                raise TopologyError(f"{at}: Registry: {name}: {fault}", remedy="correct it")


def subject_of(strategy: str, topic: str, record: str, part: Part = "value") -> str:
    """The subject of a topic's values, or of its keys.

    >>> [subject_of(how, "orders", "shop.Order") for how in ("topic", "record", "topic_record")]
    ['orders-value', 'shop.Order', 'orders-shop.Order']
    >>> subject_of("topic", "orders", "shop.Order", "key")
    'orders-key'
    """
    if strategy == "topic":
        return f"{topic}-{part}"
    return record if strategy == "record" else f"{topic}-{record}"


def texts_of(references: Sequence[Named]) -> list[tuple[str, str]]:
    """The schemas that one refers to, by name."""
    return [(named.name, named.text) for named in references]
