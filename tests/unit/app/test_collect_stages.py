"""What is collected of a topology of several stages is what plain Python comes to."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from tests.staged import CASES, END, as_json, input_of, start

ONE_HOP = [
    ("windows by another column", "out"), ("by another column", "out"), ("complete", "out"),
    ("windows of all", "out"), ("a total", "out"), ("two topics united", "copy"),
    ("two topics united", "out"), ("united with itself", "out"), ("computed keys", "seen"),
    ("computed keys", "out"), ("two ways", "out"), ("two ways", "shops"), ("two queries", "out"),
    ("two queries", "flags"),
]  # fmt: skip


def plain(cell):
    if isinstance(cell, datetime):
        return cell.isoformat()
    return cell if isinstance(cell, str | int | bool | None) else str(cell)


@pytest.mark.parametrize(("name", "topic"), ONE_HOP)
def test_a_sink_behind_stages_is_collected(name, topic):
    case = CASES[name]
    topics = input_of(5, case.topics, 1, 200)
    for parts in topics.values():
        parts[0].sort(key=lambda record: record["t"])  # nothing is late, whatever lies where
    fed = {t: [json.dumps(as_json(r)) for r in parts[0]] for t, parts in topics.items()}
    frame = case.build().collect(sink=topic, feed=fed)
    last = start(2 * END)
    found = [tuple(map(plain, row)) for row in frame.rows()]
    found = [row for row in found if last not in row]  # a window that is still open is there too
    expected = [tuple(map(plain, row)) for row in case.expected(topics)[topic]]
    assert sorted(found, key=repr) == sorted(expected, key=repr)
