"""Which partition a key lies in, as Kafka's own clients choose it: written again, on its own."""

from __future__ import annotations

from functools import lru_cache

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995


@lru_cache(maxsize=1 << 14)
def place(key: bytes, partitions: int) -> int:
    """The partition of a key: murmur2 without its sign, modulo.

    >>> place(b"abc", 4)
    3
    """
    h = 0x9747B28C ^ len(key)
    cut = len(key) // 4 * 4
    for at in range(0, cut, 4):
        k = int.from_bytes(key[at : at + 4], "little") * _M & _MASK
        k = (k ^ (k >> 24)) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if cut < len(key):
        h = (h ^ int.from_bytes(key[cut:], "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    h ^= h >> 15
    return (h & 0x7FFFFFFF) % partitions
