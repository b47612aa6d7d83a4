"""Which partition a key belongs to: the choice of Kafka's own clients, murmur2 of the key's bytes.

The broker never checks it, so that every writer of a keyed topic has to agree on it.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

_MASK: Final = 0xFFFFFFFF
_SEED: Final = 0x9747B28C
_MULTIPLIER: Final = 0x5BD1E995
_CACHED: Final = 1 << 17


def murmur2(data: bytes) -> int:
    """Kafka's variant of MurmurHash2, 32 bits, unsigned.

    >>> murmur2(b"abc")
    479470107
    """
    length = len(data)
    whole = length & ~3
    h = _SEED ^ length
    for word in struct.unpack_from(f"<{whole >> 2}I", data):
        k = word * _MULTIPLIER & _MASK
        k = (k ^ k >> 24) * _MULTIPLIER & _MASK
        h = h * _MULTIPLIER & _MASK ^ k
    if whole < length:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _MULTIPLIER & _MASK
    h = (h ^ h >> 13) * _MULTIPLIER & _MASK
    return h ^ h >> 15


@lru_cache(maxsize=_CACHED)  # keys repeat, and the hash in Python costs microseconds
def partition(key: bytes, count: int) -> int:
    """The partition of ``count`` that the key belongs to.

    >>> partition(b"abc", 4)
    3
    """
    return (murmur2(key) & 0x7FFFFFFF) % count
