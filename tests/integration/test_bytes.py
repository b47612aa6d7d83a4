"""Plain bytes and records without a value on a real broker."""

from __future__ import annotations

import pytest

from processor.connectors.kafka import KafkaLog
from processor.model.log import Output
from tests.integration.running import bench
from tests.integration.test_compaction import make, run

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]
MODULE = """
from processor import Bytes, Topology

topology = Topology("bytes-{source}")
rows = topology.read.kafka("{source}", format=Bytes(tombstones=True), key="k")
rows.write.kafka("{copy}", key="k", format=Bytes(tombstones=True))
rows.select("value").write.kafka("{keyed}", key="value", format=Bytes(tombstones=True))
"""


def test_tombstones_and_keys_of_any_bytes_are_published(kafka, bench):
    unique = bench.trips
    names = {"source": f"{unique}-b", "copy": f"{unique}-copy", "keyed": f"{unique}-keyed"}
    for name in names.values():
        make(kafka.bootstrap_servers, name)
    values = [b"\xff\0a", b"b", None, b"c\n"]
    producer = KafkaLog(kafka.bootstrap_servers).producer(None)
    producer.start(10)
    producer.produce(Output(names["source"], [*values, b""], [b"1", b"2", b"1", b"3", b"4"]))
    producer.flush(20)
    producer.close()
    module = bench.directory / "plain_bytes.py"
    module.write_text(MODULE.format(**names))
    run(bench, module, "--create-topics", "4").succeeds()
    copied = {(m.key(), m.value()) for m in bench.topics.read(names["copy"])}
    assert copied == {(b"1", b"\xff\0a"), (b"2", b"b"), (b"1", None), (b"3", b"c\n")}
    ones = [m.value() for m in bench.topics.read(names["copy"]) if m.key() == b"1"]
    assert ones == [b"\xff\0a", None]
    keyed = {(m.key(), m.value()) for m in bench.topics.read(names["keyed"])}
    assert keyed == {(v, v) for v in values}
    (letter,) = bench.topics.read(f"bytes-{names['source']}-dead-letters")
    assert (letter.key(), letter.value()) == (b"4", b"")
