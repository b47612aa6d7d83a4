"""What an embedded run publishes, on the screen: committed records, each partition's in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import click

from processor.app.topics import topics_of
from processor.connectors.ports import Log
from processor.errors import RegistryError
from processor.formats.base import Format, SchemaFormat
from processor.formats.legible import as_json
from processor.formats.registered import Registered
from processor.model.headers import headers_of
from processor.model.log import Message, TopicPartition
from processor.plan import nodes

LOOK_S: Final = 0.1
_OURS: Final = "processor."
_REASON: Final = "processor.error"


class Screen:
    """Shows the rows that go to ``write.console()``; with ``everything`` all that is published.

    What goes from stage to stage is not.

    A row of the console is its value. Of others topic, key and value are shown, between tabs, of
    what was set aside the reason, and the headers but for the processor's own. Of a log that is
    kept on disk only what comes from now on is ``new``.
    """

    def __init__(
        self, log: Log, plans: Sequence[nodes.Plan], *, everything: bool, new: bool = False
    ) -> None:
        self._log = log
        self._consoles = {nodes.console_topic(plan.whole()) for plan in plans}
        written = {topic for plan in plans for topic in topics_of(plan)[1]}
        sinks = [sink for plan in plans for sink in plan.sinks]
        between = {sink.topic for sink in sinks if sink.internal}
        self._topics = sorted(written - between if everything else written & self._consoles)
        self._schemed = _schemed({sink.topic: sink.format for sink in sinks})
        self._keyed = _schemed({sink.topic: sink.key_format for sink in sinks})
        self._at: dict[TopicPartition, int] = {}
        for topic, described in log.describe(self._topics if new else []).items():
            for number, extent in described.extents.items():
                self._at[TopicPartition(topic, number)] = extent.high
        self._ended = threading.Event()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Shows while the block runs, and what is left at its end."""
        if not self._topics:
            yield
            return
        looking = threading.Thread(target=self._look, daemon=True)
        looking.start()
        try:
            yield
        finally:
            self._ended.set()
            looking.join()
            self.show()

    def _look(self) -> None:
        while not self._ended.wait(LOOK_S):
            self.show()

    def show(self) -> None:
        """Show what has been committed since the last look."""
        for topic, described in self._log.describe(self._topics).items():
            for number, extent in described.extents.items():
                partition = TopicPartition(topic, number)
                at = max(self._at.get(partition, 0), extent.low)
                for messages in self._log.scan(partition, at, extent.high):
                    for message in messages:
                        click.echo(self._line(topic, message))
                self._at[partition] = extent.high

    def _line(self, topic: str, message: Message) -> str:
        value = _shown(self._schemed.get(topic), message.value())
        if topic in self._consoles:
            return value
        key = _shown(self._keyed.get(topic), message.key())
        told = [topic, key, value]
        for name, header in headers_of(message):
            if name == _REASON:
                told.insert(3, _text(header))
            elif not name.startswith(_OURS):
                told.append(f"{name}={_text(header)}")
        return "\t".join(told)


def _schemed(forms: Mapping[str, Format | None]) -> dict[str, SchemaFormat]:
    """The formats with a schema, as what they have written is read."""
    return {
        topic: form.bare if isinstance(form, Registered) else form
        for topic, form in forms.items()
        if isinstance(form, SchemaFormat)
    }


def _shown(form: SchemaFormat | None, data: bytes | None) -> str:
    """A key or a value as text; of a format with a schema as JSON."""
    line = None
    if form is not None and data is not None:
        with suppress(RegistryError):
            line = as_json(form, [data])[0]
    return _text(data if line is None else line)


def _text(data: bytes | None) -> str:
    return "-" if data is None else data.decode(errors="replace")
