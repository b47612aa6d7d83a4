"""Faults planted in what stages compute, one at a time: the cases of `tests.staged` find each."""

from __future__ import annotations

import polars as pl
import pytest

from processor.errors import ProcessorError
from processor.operators.hopping import Hopping
from processor.operators.ordered import Newest
from processor.operators.windows import Panes
from tests.property.test_stages import check, started
from tests.staged import CASES, input_of


def a_pane_begins_a_microsecond_late(m):
    right = Panes.pane
    m.setattr(Panes, "pane", lambda self: right(self) + self.pane_us * (_time(self) % 600 == 0))


def _time(panes):
    return pl.col(panes.window.column).cast(pl.Datetime("us")).to_physical() // 1_000_000


def a_pane_is_in_one_window_too_many(m):
    right = Panes.first
    m.setattr(Panes, "first", lambda self, pane: right(self, pane) - self.slide_us)


def a_pane_is_in_one_window_too_few(m):
    right = Panes.first
    m.setattr(
        Panes, "first", lambda self, pane: right(self, pane + (self.slide_us > self.pane_us))
        + self.slide_us * (self.slide_us == self.pane_us),
    )  # fmt: skip


def a_pane_is_freed_with_its_first_window(m):
    right = Hopping._through

    def wrong(self, slab, *more):
        over, rows = right(self, slab, *more)
        if len(over):
            number, context = more[-2:]
            live = slab.live()
            panes = slab.key_numbers("window_start", live)
            now = self._watermark(context.result.event_times_max[number])
            over = live[self._of.first(panes) + self._size_us <= now]
        return over, rows

    m.setattr(Hopping, "_through", wrong)


def a_window_that_was_over_comes_out_again(m):
    right = Panes.open_at
    m.setattr(Panes, "open_at", lambda self, watermark: right(self, watermark) - self.slide_us)


def a_row_that_is_older_stays(m):
    right = Newest._fold

    def wrong(self, slab, rows):
        old = slab.keys(slab.live())
        right(self, slab, rows.join(old, on=list(self._keys), how="anti", nulls_equal=True))

    m.setattr(Newest, "_fold", wrong)


def a_gather_forgets_with_a_batch(m):
    right = Newest._whole

    def wrong(self, slab):
        rows = right(self, slab)
        slab.free(slab.live())
        return rows

    m.setattr(Newest, "_whole", wrong)


def a_list_is_of_the_batch_alone(m):
    right = Newest.process

    def wrong(self, frame, context):
        whole = right(self, frame, context)
        return whole.join(
            frame.select(self._keys), on=list(self._keys), how="semi", nulls_equal=True
        )

    m.setattr(Newest, "process", wrong)


SLIDES = ("windows that slide", "windows that slide, updated", "windows that slide, then tumble")
ORDERED = ("the first in order",)
FAULTS = {
    a_pane_begins_a_microsecond_late: SLIDES,
    a_pane_is_in_one_window_too_many: SLIDES,
    a_pane_is_in_one_window_too_few: SLIDES,
    a_pane_is_freed_with_its_first_window: SLIDES,
    a_window_that_was_over_comes_out_again: SLIDES,
    a_row_that_is_older_stays: ORDERED,
    a_gather_forgets_with_a_batch: ORDERED,
    a_list_is_of_the_batch_alone: ORDERED,
}


def fails(name: str) -> bool:
    case = CASES[name]
    topics = input_of(1, case.topics, 2, 60)
    try:
        driver = started(case, topics, partitions=2, batch_records_max=9)
        for _ in range(20):  # so that stages behind have much in one batch
            driver.turn(0)
        driver.run()
        check(case, driver, topics)
    except (AssertionError, ProcessorError):
        return True
    return False


@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
def test_a_fault_is_found(plant, monkeypatch):
    plant(monkeypatch)
    assert any(fails(name) for name in FAULTS[plant])


def test_without_a_fault_none_is_found():
    assert not any(fails(name) for name in dict.fromkeys(sum(FAULTS.values(), ())))
