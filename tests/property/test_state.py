from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from processor.state import codec
from processor.state.cells import Cell, Rows
from processor.state.keys import KeyCodec, Layout
from processor.state.slab import Slab
from tests.property.profile import QUICK

KEYS = {"s": pl.String(), "n": pl.Int64()}
CELLS = [Cell("sum", "<i8", "add"), Cell("low", "<i8", "min"), Cell("high", "<f8", "max")]
texts = st.one_of(
    st.none(),
    st.sampled_from(["", "a", "a\0", "\0", "é" * 20, "x" * 47, "x" * 48, "y" * 300]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
)
key = st.tuples(texts, st.one_of(st.none(), st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1)))
KINDS = {
    "s": pl.String(), "n": pl.Int64(), "u": pl.UInt64(), "i": pl.Int8(), "b": pl.Boolean(),
    "d": pl.Date(), "t": pl.Datetime("us"),
}  # fmt: skip
full = st.tuples(
    texts, key.map(lambda k: k[1]), st.one_of(st.none(), st.integers(0, 2**64 - 1)),
    st.one_of(st.none(), st.integers(-128, 127)), st.one_of(st.none(), st.booleans()),
    st.one_of(st.none(), st.dates()), st.one_of(st.none(), st.datetimes()),
)  # fmt: skip


@QUICK
@given(st.lists(st.lists(full, max_size=6), max_size=4))
def test_keys_come_back_and_equal_keys_have_equal_words(batches: list[list[tuple]]) -> None:
    keys = KeyCodec(KINDS)
    seen: dict[tuple, bytes] = {}
    for rows in batches:
        frame = pl.DataFrame(rows, schema=KINDS, orient="row")
        layout = Layout([*keys.layout.widths], keys.layout.nulls)
        words = keys.encode(frame)
        assert keys.decode(words).equals(frame)
        if layout != keys.layout:
            seen.clear()
        for row, word in zip(frame.rows(), words, strict=True):
            assert seen.setdefault(row, word.tobytes()) == word.tobytes()
        assert len(set(seen.values())) == len(seen)


class SlabAgainstDict(RuleBasedStateMachine):
    """The slab does what a dictionary does, through commits, rollbacks and restarts."""

    @initialize()
    def begin(self) -> None:
        self.slab = Slab(KEYS, CELLS)
        self.base: dict[tuple, tuple] = {}
        self.now: dict[tuple, tuple] = {}
        self.freed: set[tuple] = set()
        self.blobs: list[bytes] = []

    def blob(self, rows: Rows) -> bytes:
        return codec.encode(codec.Header(1, "a", "", "", 0, 0), {"op": rows})

    @rule(batch=st.dictionaries(key, st.integers(-5, 5), max_size=8))
    def fold(self, batch: dict[tuple, int]) -> None:
        batch = {k: v for k, v in batch.items() if k not in self.freed}
        frame = pl.DataFrame(list(batch), schema=KEYS, orient="row")
        numbers = np.array(list(batch.values()), np.int64)
        partials = {"sum": numbers, "low": numbers, "high": numbers.astype(np.float64)}
        slots = self.slab.fold(frame, partials)
        assert self.slab.keys(slots).rows() == frame.rows()
        for k, v in batch.items():
            total, low, high = self.now.get(k, (0, v, float(v)))
            self.now[k] = (total + v, min(low, v), max(high, float(v)))

    @precondition(lambda self: self.now)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        slots = self.slab.live()
        rows = self.slab.keys(slots).rows()
        picked = data.draw(st.sets(st.sampled_from(sorted(rows, key=repr)))) - self.freed
        self.slab.free(slots[[i for i, row in enumerate(rows) if row in picked]])
        self.freed |= picked

    @rule()
    def commit(self) -> None:
        rows = self.slab.changed()
        self.blobs.append(self.blob(rows))
        self.slab.commit(rows)
        self.base = self.now = {k: v for k, v in self.now.items() if k not in self.freed}
        self.now = dict(self.now)
        self.freed = set()

    @rule()
    def rollback(self) -> None:
        self.slab.rollback()
        self.now = dict(self.base)
        self.freed = set()

    @rule()
    def snapshot(self) -> None:
        self.rollback()
        self.blobs = [self.blob(self.slab.all())]
        self.slab.prune()

    @rule()
    def restart(self) -> None:
        self.slab = Slab(KEYS, CELLS)
        for blob in self.blobs:
            self.slab.restore(codec.decode(blob)[1]["op"])
        self.now = dict(self.base)
        self.freed = set()

    @invariant()
    def same(self) -> None:
        slots = self.slab.live()
        values = zip(*(self.slab.gather(c.name, slots).tolist() for c in CELLS), strict=True)
        assert dict(zip(self.slab.keys(slots).rows(), values, strict=True)) == self.now
        assert self.slab.rows() == len(self.now)


TestSlabAgainstDict = SlabAgainstDict.TestCase
TestSlabAgainstDict.settings = QUICK
