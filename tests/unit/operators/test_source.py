from __future__ import annotations

import datetime as dt
import json

import polars as pl
import pytest

from processor import Json
from processor.errors import RecordError
from processor.formats.base import Decoded
from processor.model.batch import Result
from processor.operators.aside import Aside, messages_at
from processor.operators.base import TASK, Context, Refusal
from processor.operators.source import Decode
from tests.unit.messages import piece

FORM = Json({"t": pl.Datetime("us")}, millis=frozenset({"t"}))
SECOND = 1_000_000


def at(*seconds: int | None) -> list[bytes | None]:
    return [None if s is None else json.dumps({"t": s * 1000}).encode() for s in seconds]


def run(
    *slices: tuple[list[bytes | None], int | None],
    delay_s: int | None = 10,
    on_error: str = "dead_letter",
    tagged: bool = True,
    late: str | None = None,
) -> tuple[list[tuple[int, int]], Result]:
    delay_us = None if delay_s is None else delay_s * SECOND
    step = Decode(FORM, "t", delay_us, late, Aside("app", on_error, "dlq"), tagged)  # type: ignore[arg-type]
    pieces = [
        piece(values, partition=i, start=100 * i, event_time_max=before)
        for i, (values, before) in enumerate(slices)
    ]
    context = Context(pieces, [{} for _ in pieces], Result())
    frame = step.admit(step.decode(pieces)[0], {}, context)
    epoch = dt.datetime(1970, 1, 1)
    tags = frame[TASK].to_list() if tagged else [0] * frame.height
    seconds = [(t - epoch) // dt.timedelta(seconds=1) for t in frame["t"]]
    return list(zip(tags, seconds, strict=True)), context.result


def test_an_empty_batch_is_no_rows() -> None:
    rows, result = run(([], 5 * SECOND), ([], None))
    assert rows == []
    assert result.event_times_max == [5 * SECOND, None]
    assert result.counts.balanced()


def test_a_record_exactly_at_the_watermark_is_in_time() -> None:
    rows, result = run((at(100, 90, 89), None))
    assert rows == [(0, 100), (0, 90)]
    assert result.counts.late == 1


def test_lateness_is_decided_in_the_order_of_offsets() -> None:
    rows, result = run((at(50, 100, 89, 50), None))
    assert [t for _, t in rows] == [50, 100]
    assert result.counts.late == 2


@pytest.mark.parametrize("cut", range(7))
def test_lateness_does_not_depend_on_where_a_batch_ends(cut: int) -> None:
    values = at(50, 100, 89, 90, 120, 105)
    first, one = run((values[:cut], None))
    second, two = run((values[cut:], one.event_times_max[0]))
    assert [t for _, t in first + second] == [50, 100, 90, 120]
    assert two.event_times_max == [120 * SECOND]


def test_each_partition_has_its_own_watermark() -> None:
    rows, result = run((at(1000), None), (at(5), None), (at(5), 1000 * SECOND))
    assert rows == [(0, 1000), (1, 5)]
    assert result.event_times_max == [1000 * SECOND, 5 * SECOND, 1000 * SECOND]


def test_bad_records_move_no_watermark() -> None:
    rows, result = run((at(None, None), None), ([*at(7), b"junk"], None))
    assert rows == [(1, 7)]
    assert result.event_times_max == [None, 7 * SECOND]
    assert (result.counts.read, result.counts.dead_lettered, result.counts.late) == (4, 3, 0)


def test_without_a_delay_nothing_is_late_but_the_largest_time_is_known() -> None:
    rows, result = run((at(100, 1), None), delay_s=None)
    assert len(rows) == 2
    assert result.event_times_max == [100 * SECOND]


def test_a_dead_letter_has_the_bytes_the_key_and_where_it_came_from() -> None:
    _, result = run((at(1), None), ([*at(1), b"junk", None], None))
    (letters,) = result.outputs
    assert letters.topic == "dlq"
    assert letters.values == [b"junk", None]
    assert letters.keys == [b"k1", b"k2"]
    assert letters.headers is not None
    headers = dict(letters.headers[0])
    assert headers["h"] == b"1"
    assert headers["processor.topic"] == b"in"
    assert headers["processor.partition"] == b"1"
    assert headers["processor.offset"] == b"101"
    assert headers["processor.timestamp"] == b"1101"
    assert headers["processor.stage"] == b"app/decode"
    assert b"no JSON" in (headers["processor.error"] or b"")


def test_skipped_records_are_counted() -> None:
    rows, result = run(([b"junk", *at(1)], None), on_error="skip")
    assert rows == [(0, 1)]
    assert (result.counts.skipped, result.outputs) == (1, [])


def test_failing_names_the_record_and_the_reason() -> None:
    with pytest.raises(RecordError, match=r"in\[1\] offset 101: step app/decode .* no JSON"):
        run((at(1), None), ([*at(1), b"junk"], None), on_error="fail")


def test_failing_names_the_first_of_several() -> None:
    with pytest.raises(RecordError, match=r"offset 1: step app/decode cannot read .*: no JSON"):
        run(([*at(1), b"junk", b'{"t": "x"}'], None), on_error="fail")


def test_the_messages_of_rows_are_found_in_every_slice() -> None:
    pieces = [piece([b"a", b"b"]), piece([]), piece([b"c", b"d", b"e"]), piece([b"f"])]
    for rows in ([0, 1, 2, 3, 4, 5], [1, 2], [2], [1, 4, 5], [5], []):
        assert [m.value() for m in messages_at(pieces, rows)] == [
            b"abcdef"[row : row + 1] for row in rows
        ]


def test_a_whole_batch_may_be_bad() -> None:
    rows, result = run(([b"x"] * 5, None))
    assert rows == []
    assert (result.counts.dead_lettered, result.event_times_max) == (5, [None])


def test_rows_have_no_mark_of_their_task_where_nobody_needs_it() -> None:
    rows, _ = run((at(1), None), (at(2), None), tagged=False)
    assert rows == [(0, 1), (0, 2)]


def test_late_records_go_to_their_topic_as_they_came() -> None:
    values = [*at(100, 95), b"junk", *at(89, 50)]
    rows, result = run(([], None), (values, 101 * SECOND), late="late")
    assert [t for _, t in rows] == [100, 95]
    (late,) = [output for output in result.outputs if output.topic == "late"]
    assert late.values == [values[3], values[4]]
    assert late.keys == [b"k3", b"k4"]
    headers = [dict(h) for h in late.headers or ()]
    assert [h["processor.offset"] for h in headers] == [b"103", b"104"]
    assert {h["processor.partition"] for h in headers} == {b"1"}
    assert {h["h"] for h in headers} == {b"1"}
    assert {h["processor.stage"] for h in headers} == {b"app/watermark"}
    assert [h["processor.event-time"] for h in headers] == [
        b"1970-01-01T00:01:29.000000",
        b"1970-01-01T00:00:50.000000",
    ]
    assert [h["processor.behind"] for h in headers] == [b"12.0", b"51.0"]


def test_without_late_records_nothing_goes_to_their_topic() -> None:
    _, result = run((at(100, 95), None), late="late")
    assert result.outputs == []


def stage(letter: list[tuple[str, bytes | None]]) -> tuple[bytes | None, bytes]:
    """Which step set a record aside, and what of it the reason says."""
    found = dict(letter)
    return found["processor.stage"], (found["processor.error"] or b"")[:11]


def test_each_record_that_is_set_aside_has_the_reason_of_the_first_step_that_refused_it() -> None:
    """Timestamps are 1 s and a little, so an event time behind 11 s is too far ahead."""
    step = Decode(
        FORM, "t", None, None, Aside("app", "dead_letter", "dlq"), tagged=True,
        ahead_us=10 * SECOND,
    )  # fmt: skip
    slices = [piece([*at(99, 5, 98), b"junk", *at(97)]), piece([], partition=1, start=7)]
    slices.append(piece(at(96, 95, 11, 4, 94), partition=2, start=9))
    context = Context(slices, [{} for _ in slices], Result())
    refused = {2: Refusal("filter", "no"), 6: Refusal("filter", "not this"), 8: Refusal("f", "odd")}
    decoded, _ = step.decode(slices)
    frame = step.admit(decoded, refused, context)
    assert frame[TASK].to_list() == [0, 2]
    assert [int(t) for t in step.times(frame)] == [5 * SECOND, 11 * SECOND]
    (letters,) = context.result.outputs
    assert letters.headers is not None
    offsets = [dict(header)["processor.offset"] for header in letters.headers]
    assert offsets == [b"0", b"2", b"3", b"4", b"9", b"10", b"12", b"13"]
    early = (b"app/watermark", b"column 't':")
    assert [stage(list(header)) for header in letters.headers] == [
        early, (b"app/filter", b"no"), (b"app/decode", b"no JSON: un"), early,
        early, (b"app/filter", b"not this"), (b"app/f", b"odd"), early,
    ]  # fmt: skip
    assert context.result.event_times_max == [5 * SECOND, None, 11 * SECOND]
    assert context.result.log_times == [1_004_000, None, 1_013_000]


@pytest.mark.parametrize(
    ("count", "seconds"),
    [(0, []), (1, [0]), (2, [0]), (3, [0, 2, 4]), (4, [0, 1, 4]), (6, [0, 1, 2, 4, 5])],
)
def test_samples_are_evenly_spread_over_the_good_records(count: int, seconds: list[int]) -> None:
    step = Decode(FORM, "t", None, None, Aside("app", "dead_letter", "dlq"), tagged=False)
    slices = [piece(at(0, 1)), piece([*at(2), b"junk", *at(4, 5)], partition=1, start=7)]
    decoded, _ = step.decode(slices)
    found = step.samples(decoded, slices, "t", count)
    assert [sample.text for sample in found] == [
        f"1970-01-01 00:00:0{second}.000000" for second in seconds
    ]
    places = [(0, 0), (0, 1), (1, 7), (1, 8), (1, 9), (1, 10)]
    assert [(s.message.partition(), s.message.offset()) for s in found] == [
        places[second] for second in seconds
    ]


def test_times_are_numbers_the_least_of_all_where_there_is_none() -> None:
    aside = Aside("app", "dead_letter", "dlq")
    timed = Decode(FORM, "t", None, None, aside, tagged=False)
    untimed = Decode(FORM, None, None, None, aside, tagged=False)
    whole = pl.DataFrame({"t": [dt.datetime(1970, 1, 1, 0, 0, 7), dt.datetime(1969, 12, 31)]})
    holed = pl.DataFrame({"t": [None, dt.datetime(1970, 1, 1, 0, 0, 7)]})
    assert timed.times(whole).tolist() == [7 * SECOND, -86_400 * SECOND]
    assert timed.times(whole.cast(pl.Datetime("ms"))).tolist() == [7 * SECOND, -86_400 * SECOND]
    assert timed.times(whole.cast(pl.Date)).tolist() == [0, -86_400 * SECOND]
    assert timed.times(holed).tolist() == [-(2**63), 7 * SECOND]
    assert untimed.times(whole).tolist() == []


class Quoting:
    """A format whose reasons quote what no UTF-8 can be made of."""

    def decode(self, values):
        frame = FORM.decode([b"{}"] * len(values)).frame
        return Decoded(frame, dict.fromkeys(range(len(values)), "no \udcff here"))


def test_a_reason_of_any_characters_stops_nothing() -> None:
    step = Decode(Quoting(), None, None, None, Aside("app", "dead_letter", "dlq"), tagged=False)  # type: ignore[arg-type]
    result = Result()
    context = Context([piece([b"x"])], [{}], result)
    step.admit(step.decode(context.slices)[0], {}, context)
    assert dict(result.outputs[0].headers[0])["processor.error"] == rb"no \udcff here"  # type: ignore[index]
