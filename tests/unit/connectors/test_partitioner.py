"""Kafka's murmur2, against the vectors of Kafka's own tests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.connectors.partitioner import murmur2, partition

VECTORS = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "signed"), VECTORS.items())
def test_the_hash_is_that_of_kafka(key, signed):
    assert murmur2(key) == signed % (1 << 32)


@pytest.mark.parametrize("key", VECTORS)
def test_the_partition_is_the_positive_hash_modulo_the_count(key):
    assert partition(key, 7) == (VECTORS[key] & 0x7FFFFFFF) % 7


@given(st.binary(max_size=40), st.integers(1, 50))
def test_every_key_has_one_partition(key, count):
    assert 0 <= partition(key, count) < count
    assert partition(key, count) == partition(bytes(key), count)


@given(st.binary(max_size=40))
def test_a_topic_of_one_partition_has_it_all(key):
    assert partition(key, 1) == 0
