"""Records that no stage can read: written down, and made by chance from good ones."""

from __future__ import annotations

import random

from tests.integration.running import enriched_lines, trips

_LINE = b"2014-08-01 00:03:00,40.7366,-73.9906,B02512"
_DT, _LAT, _LON, _BASE = _LINE.split(b",")


def _noise(seed, count):
    """Bytes by chance; the first is no beginning of any UTF-8."""
    chance = random.Random(seed)
    return [b"\xff" + chance.randbytes(chance.randint(1, 200)) for _ in range(count)]


def _without_a_part(good, seed):
    """Each good one, cut off somewhere in its first half."""
    chance = random.Random(seed)
    return [value[: chance.randint(1, len(value) // 2)] for value in good]


BAD_LINES = [
    None, b"", b" ", b",", b",,,", b"\0", b"\xef\xbb" + _LINE,
    b",".join([_DT, _LAT, _LON]),
    b",".join([_DT, _LAT, _LON, _BASE, b"more"]),
    b";".join([_DT, _LAT, _LON, _BASE]),
    b",".join([b"01/08/2014", _LAT, _LON, _BASE]),
    b",".join([b"2014-02-30 00:00:00", _LAT, _LON, _BASE]),
    b",".join([b"2014-08-01 25:00:00", _LAT, _LON, _BASE]),
    b",".join([b"", _LAT, _LON, _BASE]),
    *(b",".join([_DT, lat, _LON, _BASE])
      for lat in (b"", b"x", b"nan", b"inf", b"-inf", b"1e999", b"0x10", b"4 0", b"40,7", b"--4")),
    b'"' + _LINE, _LINE[:-1] + b"\xff", _LINE[:-1] + b"\0",
    b'{"dt":"2014-08-01 00:03:00"}', b"[]", b"B" * 1_000_000,
    *_noise(1, 40), *_without_a_part(trips(40, first=9000), 2),
]  # fmt: skip

_JSON = b'{"dt":"2014-08-01 00:03:00","cluster":%s}'
BAD_JSON = [
    None, b"", b" ", b"\0", b"{", b"}", b"[]", b"[1,2]", b"1", b'"text"', b"true", b"nul",
    b"{}x", b"{'dt':1}", b"\xef\xbb\xbf{", b'{"dt":"2014-08-01 00:03:00","cluster":1',
    b'{"dt":"2014-08-01 00:03:00","cluster":1}}', b'{"dt":"2014-08-01 00:03:00" "cluster":1}',
    b'{"dt":"no time","cluster":1}', b'{"dt":"2014-13-01 00:03:00","cluster":1}',
    b'{"dt":[],"cluster":1}', b'{"dt":{},"cluster":1}', b'{"dt":true,"cluster":1}',
    *(_JSON % v for v in (b"x", b'"x"', b"1.5", b"1e400", b"NaN", b"Infinity", b"[1]", b"{}",
                          b"9223372036854775808", b"01", b"+1", b"0x1")),
    b"[" * 5000, b'{"a":' * 3000, b'{"dt":"' + b"9" * 1_000_000,
    *_noise(3, 40), *_without_a_part(enriched_lines(trips(40, first=9000))[0], 4),
]  # fmt: skip
