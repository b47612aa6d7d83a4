"""The input, drawn from a seed: rides of all kinds of keys, late ones, and what is no ride."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.campaign.places import place
from tests.campaign.terms import DELAY_S, PARTITIONS

START = datetime(2024, 1, 1, tzinfo=UTC)
# Event time passes so much faster than the clock: windows close every few seconds.
SPEED = 20
KEYS = 300
GARBAGE, LATE, EDGE = 0.015, 0.012, 0.004


@dataclass(frozen=True)
class Sent:
    """One record, as it is to be sent."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


def keys() -> list[str]:
    """Short and long ones around every length at which text may be kept otherwise, and odd ones."""
    names = [f"key-{i}" for i in range(KEYS // 2)]
    lengths = [1, 7, 8, 15, 16, 23, 24, 31, 32, 46, 47, 48, 49, 63, 64, 65, 100, 255, 256, 1000]
    names += [f"{n}".ljust(n, "x")[:n] + tail for n in lengths for tail in ("", "\0", "é", "y")]
    names += [
        "",
        "\0",
        "\0\0",
        "a",
        "a\0",
        "a\0\0",
        "ä",
        "a\u0308",
        "日本語",
        "🚕",
        "🚕\0",
        '"',
        "\\",
    ]
    names += ["line\nbreak", "tab\t", " a", "a ", "null", "-0", "1", "1.0", "True", "K", "k"]
    names += [f"{'long-' * 12}{i}" for i in range(40)] + [f"ключ-{i}" * 4 for i in range(20)]
    return list(dict.fromkeys(names))


class Rides:
    """Draws records one after the other; ``at_s`` is how far the campaign's clock is."""

    def __init__(self, seed: str, first: int = 0) -> None:
        self._draw = random.Random(seed)
        self._number = first
        self._keys = keys()
        self._draw.shuffle(self._keys)
        # A few keys have most of the records.
        self._weights = [1 / (5 + i) for i in range(len(self._keys))]
        self._largest = [0] * PARTITIONS
        self._ahead: Iterator[str] = iter(())

    def _key(self) -> str:
        found = next(self._ahead, None)
        if found is None:
            self._ahead = iter(self._draw.choices(self._keys, self._weights, k=1000))
            found = next(self._ahead)
        return found

    def next(self, at_s: float) -> Sent:
        """The next record."""
        draw, key = self._draw, self._key()
        self._number += 1
        chance, encoded = draw.random(), key.encode()
        partition = place(encoded, PARTITIONS)
        if chance < GARBAGE:
            return self._garbage(key)
        now = int(at_s * SPEED)
        time = now - draw.randrange(DELAY_S - 20)
        if chance < GARBAGE + LATE:
            time = now - draw.randrange(DELAY_S + 1, 20 * DELAY_S)
        elif chance < GARBAGE + LATE + EDGE:
            # Just late, just not, and the very second in between.
            time = self._largest[partition] - DELAY_S + draw.randrange(-1, 2)
        self._largest[partition] = max(self._largest[partition], time)
        # No two of a group have the same amount: a sum that is wrong tells which is missing.
        amount = self._number * (1 if draw.random() < 0.7 else -1)
        ride = {"k": key, "t": _text(time), "v": amount, "u": self._number}
        plain = draw.random() < 0.5
        value = json.dumps(ride, ensure_ascii=plain).encode()
        # What a record is keyed by is the producer's affair, as long as a group stays together.
        named = encoded if draw.random() < 0.98 else draw.choice([None, b"other", b"\xff\0"])
        return Sent(partition, named, value, self._headers())

    def _headers(self) -> list[tuple[str, bytes]]:
        return [("trace", b"%d\0\xff" % self._number)] if self._draw.random() < 0.05 else []

    def _garbage(self, key: str) -> Sent:
        draw = self._draw
        ride = {"k": key, "t": _text(0), "v": self._number, "u": self._number}
        whole = json.dumps(ride).encode()
        without = {name: ride[name] for name in draw.sample(sorted(ride), 3)}
        wrong = {
            "v": draw.choice(["1", 1.5, True, None, 2**63, -(2**63) - 1, [1]]),
            "t": draw.choice(["soon", "", None, "2024-02-30T00:00:00", "2024-01-01T25:00:00"]),
            "k": None,
            "u": "x",
        }
        name = draw.choice(sorted(wrong))
        value = draw.choice(
            [
                None, None, b"", b"\0", b"{", b"[]", b"7", b"null", b"\xff\xfe", b"no ride \0",
                whole[: draw.randrange(1, len(whole))], whole + b"}", whole + whole,
                whole.replace(b'"k": "', b'"k": "\xff'), whole.replace(b'"k": "', b'"k": "\\ud800'),
                json.dumps(without).encode(), json.dumps(ride | {name: wrong[name]}).encode(),
                b"x" * draw.randrange(1, 3000),
            ]
        )  # fmt: skip
        named = draw.choice([None, key.encode(), b"%d" % self._number])
        return Sent(draw.randrange(PARTITIONS), named, value, self._headers())


def _text(seconds: int) -> str:
    return (START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
