from __future__ import annotations

from dataclasses import replace
from typing import Any

from processor.plan.compare import Comparison, Finding, Verdict, compare, table
from processor.plan.fingerprint import WATERMARKS, Cell, Description, Operator

HOUR = 3_600_000_000
SUM = Cell("total", "sum", "n", "Int64", "<i8")
COUNT = Cell("n", "count", None, "", "<i8")
TOTALS = Operator(
    "aggregate-0", ("out",), ("t", HOUR), (("k", "String"), ("c", "String")), (SUM, COUNT),
    frees=True, steps="steps",
)  # fmt: skip
OLD = Description(("t", "Datetime"), HOUR, ("k",), (TOTALS,))


def changed(**change: Any) -> Comparison:
    return compare(OLD, replace(OLD, operators=(replace(TOTALS, **change),)))


def only(comparison: Comparison) -> Finding:
    (finding,) = comparison.findings[1:]
    return finding


def test_an_equal_description_is_kept_and_can_be_run_again():
    found = compare(OLD, OLD)
    assert [finding.verdict for finding in found.findings] == [Verdict.KEPT, Verdict.KEPT]
    assert found.replayable
    assert found.watermark_us == 0
    assert only(found).cells == {"total": "total", "n": "n"}


def test_a_dropped_aggregation_is_left_out():
    found = changed(cells=(COUNT,))
    assert only(found).verdict is Verdict.MIGRATED
    assert only(found).cells == {"n": "n"}
    assert "left out" in only(found).differences[0]
    assert found.replayable
    assert not found.refused(allow_dropped=False)


def test_aggregations_may_be_renamed_and_reordered():
    found = only(changed(cells=(replace(COUNT, name="rides"), SUM)))
    assert found.verdict is Verdict.MIGRATED
    assert found.cells == {"rides": "n", "total": "total"}


def test_two_aggregations_that_swap_their_names_swap_their_state():
    found = only(changed(cells=(replace(SUM, name="n"), replace(COUNT, name="total"))))
    assert found.cells == {"n": "total", "total": "n"}


def test_an_order_alone_changes_nothing():
    assert only(changed(cells=(COUNT, SUM))).verdict is Verdict.KEPT


def test_an_added_aggregation_has_no_history():
    found = only(changed(cells=(SUM, COUNT, Cell("low", "min", "n", "Int64", "<i8"))))
    assert found.unknown == ["low"]
    assert "low=min(n: Int64) has no history" in found.differences


def test_an_added_aggregation_that_is_stored_already_has_its_history():
    again = Cell("again", "sum", "n", "Int64", "<i8")
    found = only(changed(cells=(SUM, COUNT, again)))
    assert found.unknown == []
    assert found.cells["again"] == "total"


def test_keys_in_another_order_are_migrated():
    found = only(changed(keys=TOTALS.keys[::-1]))
    assert found.verdict is Verdict.MIGRATED
    assert found.keys == (1, 0)


def test_other_keys_or_another_window_are_incompatible():
    for change in (
        {"window": ("t", 2 * HOUR)},
        {"window": None},
        {"keys": (("k", "String"),)},
        {"keys": (("k", "String"), ("c", "Int64"))},
    ):
        found = changed(**change)
        assert only(found).verdict is Verdict.INCOMPATIBLE, change
        assert found.refused(allow_dropped=True)


def test_windows_that_were_freed_cannot_be_shown_again():
    assert only(changed(frees=False)).verdict is Verdict.INCOMPATIBLE


def test_windows_that_were_kept_may_be_freed():
    kept = replace(OLD, operators=(replace(TOTALS, frees=False),))
    assert only(compare(kept, OLD)).verdict is Verdict.MIGRATED


def test_other_steps_before_it_keep_the_state_but_not_the_way_to_it():
    found = changed(steps="others")
    assert only(found).verdict is Verdict.KEPT
    assert "have changed" in only(found).differences[0]
    assert not found.replayable


def test_an_operator_beside_it_is_new():
    other = replace(TOTALS, name="aggregate-1", sinks=("more",), keys=(("k", "String"),))
    found = compare(OLD, replace(OLD, operators=(TOTALS, other)))
    assert [finding.verdict for finding in found.findings[1:]] == [Verdict.KEPT, Verdict.NEW]
    assert not found.replayable
    assert not found.refused(allow_dropped=False)


def test_state_that_nothing_needs_is_refused_unless_it_may_go():
    found = compare(OLD, replace(OLD, operators=()))
    assert only(found).verdict is Verdict.DROPPED
    assert found.refused(allow_dropped=False)
    assert not found.refused(allow_dropped=True)


def test_an_operator_is_known_again_in_another_place_and_under_another_topic():
    other = replace(TOTALS, sinks=("more",), cells=(COUNT,), steps="others")
    old = replace(OLD, operators=(TOTALS, replace(other, name="aggregate-1")))
    moved = replace(TOTALS, name="aggregate-1", sinks=("elsewhere",))
    found = compare(old, replace(OLD, operators=(other, moved)))
    assert {(f.old, f.new) for f in found.findings[1:]} == {
        ("aggregate-1", "aggregate-0"),
        ("aggregate-0", "aggregate-1"),
    }
    assert {f.verdict for f in found.findings} == {Verdict.KEPT}


def test_operators_that_cannot_be_told_apart_are_not_guessed_at():
    second = replace(TOTALS, name="aggregate-1", steps="second")
    old = replace(OLD, operators=(TOTALS, second))
    new = replace(
        OLD, operators=(replace(TOTALS, steps="third"), replace(second, steps="fourth"))
    )  # fmt: skip
    found = compare(old, new)
    verdicts = sorted(finding.verdict for finding in found.findings[1:])
    assert verdicts == [Verdict.DROPPED, Verdict.DROPPED, Verdict.NEW, Verdict.NEW]
    assert found.refused(allow_dropped=False)


def test_a_longer_delay_does_not_take_the_watermark_back():
    found = compare(OLD, replace(OLD, delay_us=3 * HOUR))
    assert found.findings[0].verdict is Verdict.MIGRATED
    assert found.watermark_us == 2 * HOUR
    assert not found.replayable
    assert compare(OLD, replace(OLD, delay_us=0)).watermark_us == 0


def test_a_watermark_that_is_carried_from_here_on_stays_where_it_is():
    heard = Operator(WATERMARKS, (), None, (), (), frees=False, steps="")
    own = replace(OLD, delay_us=300)
    carried = replace(OLD, delay_us=0, operators=(*OLD.operators, heard))
    there, back = compare(own, carried), compare(carried, own)
    assert (there.watermark_us, back.watermark_us) == (-300, 300)
    assert not there.refused(allow_dropped=False)
    assert not back.refused(allow_dropped=False)
    assert not there.replayable
    assert not back.replayable
    assert [f.verdict for f in compare(carried, carried).findings] == [Verdict.KEPT] * 3


def test_other_partitioning_or_another_event_time_is_incompatible():
    for change in ({"partitioned_by": ("k", "c")}, {"event_time": ("u", "Datetime")}):
        found = compare(OLD, replace(OLD, **change))
        assert found.findings[0].verdict is Verdict.INCOMPATIBLE, change
        assert found.refused(allow_dropped=True)


def test_a_description_of_another_format_is_incompatible():
    found = compare(Description.parse('{"format": 2, "what": "ever"}'), OLD)
    assert found.refused(allow_dropped=True)
    assert "format 2" in found.findings[0].differences[0]


def test_the_table_has_a_line_for_each_operator():
    text = table(changed(cells=(COUNT,)).findings)
    assert text.splitlines() == [
        "  source              kept",
        "  aggregate-0 to out  migrated      total=sum(n: Int64) is left out",
    ]


def test_another_slide_or_start_is_another_state():
    slides = ("t", HOUR, HOUR // 6, 0)
    found = only(changed(window=slides))
    assert found.verdict is Verdict.INCOMPATIBLE
    assert found.differences == (
        "window 1:00:00 of t -> 1:00:00 of t every 0:10:00 from 0:00:00 on",
    )
    old = replace(OLD, operators=(replace(TOTALS, window=slides),))
    for window in (("t", HOUR, HOUR // 3, 0), ("t", HOUR, HOUR // 6, 5), ("t", HOUR)):
        new = replace(OLD, operators=(replace(TOTALS, window=window),))
        assert only(compare(old, new)).verdict is Verdict.INCOMPATIBLE
    assert only(compare(old, Description.parse(str(old)))).verdict is Verdict.KEPT
