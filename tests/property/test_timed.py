"""Rows by key and time do what a list of rows does, through checkpoints, restarts and rollbacks."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from processor.state import codec, timed
from processor.state.base import Saved
from processor.state.timed import FIRST, Timed
from tests.property.profile import QUICK

KEYS = {"u": pl.String(), "k": pl.Int64()}
COLUMNS = {"v": pl.List(pl.Int64()), "s": pl.Struct({"a": pl.String(), "b": pl.Boolean()})}
HEADER = codec.Header(1, "a", "", "", 0, 0)

row = st.tuples(
    st.sampled_from(["ann", "x" * 70]), st.integers(0, 1), st.integers(-3, 3),
    st.lists(st.integers(0, 3), max_size=2),
)  # fmt: skip


class TimedMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        timed._BLOCK = 2
        self.rows = Timed(KEYS, COLUMNS)
        self.base: list[dict[str, Any]] = []
        self.now: list[dict[str, Any]] = []
        self.before = self.base_before = FIRST
        self.blobs: list[bytes] = []

    def teardown(self) -> None:
        timed._BLOCK = 1024

    def blob(self, saved: Saved) -> bytes:
        return codec.encode(HEADER, {"op": saved})

    def frame(self, of: list[dict[str, Any]]) -> pl.DataFrame:
        return pl.DataFrame(of, schema={**KEYS, **COLUMNS})

    @rule(batch=st.lists(row, min_size=1, max_size=6), marked=st.booleans())
    def append(self, batch: list[Any], marked: bool) -> None:
        new = [
            {"u": u, "k": k, "v": v, "s": {"a": u, "b": None}, "at": at, "mark": False}
            for u, k, at, v in batch
        ]
        self.rows.append(
            self.frame([{n: r[n] for n in (*KEYS, *COLUMNS)} for r in new]),
            np.array([r["at"] for r in new], np.int64),
        )
        if marked and new:
            self.rows.mark_new(np.array([0]))
            new[0]["mark"] = True
        self.now += new

    @rule(asked=st.lists(row, max_size=5), length=st.integers(0, 6), marks=st.booleans())
    def find(self, asked: list[Any], length: int, marks: bool) -> None:
        keys = pl.DataFrame([(u, k) for u, k, _, _ in asked], schema=KEYS, orient="row")
        low = np.array([at for _, _, at, _ in asked], np.int64)
        found = self.rows.find(keys, low, low + length)
        got = zip(found.asked.tolist(), self.rows.take(found).iter_rows(named=True), strict=True)
        wanted = [
            (i, one)
            for i, (u, k, at, _) in enumerate(asked)
            for one in self.now
            if (one["u"], one["k"]) == (u, k) and max(at, self.before) <= one["at"] <= at + length
        ]
        plain = [(i, {n: r[n] for n in (*KEYS, *COLUMNS)}) for i, r in wanted]
        assert sorted(map(repr, got)) == sorted(map(repr, plain))
        if marks:
            self.rows.mark(found)
            for _, one in wanted:
                one["mark"] = True

    @rule(before=st.integers(-4, 4))
    def free(self, before: int) -> None:
        self.before = max(self.before, before)
        gone = [r for r in self.now if r["at"] < self.before]
        alone = [{n: r[n] for n in (*KEYS, *COLUMNS)} for r in gone if not r["mark"]]
        found = self.rows.free(before).to_dicts()
        assert sorted(map(repr, found)) == sorted(map(repr, alone))
        self.now = [r for r in self.now if r["at"] >= self.before]

    @rule()
    def commit(self) -> None:
        self.free(-7)  # as after every append: what came behind is gone
        saved = self.rows.changed()
        self.blobs.append(self.blob(saved))
        self.rows.commit(saved)
        self.base = [dict(r) for r in self.now]
        self.base_before = self.before

    @rule()
    def rollback(self) -> None:
        self.rows.rollback()
        self.now = [dict(r) for r in self.base]
        self.before = self.base_before

    @rule(size=st.sampled_from([1, 300, 10**6]))
    def snapshot(self, size: int) -> None:
        self.rollback()
        self.rows.prune()
        self.blobs = [self.blob(chunk) for chunk in self.rows.frozen()().split(size)]

    @rule(pieces=st.booleans())
    def restart(self, pieces: bool) -> None:
        self.rollback()
        self.rows = Timed(KEYS, COLUMNS)
        for blob in self.blobs:
            saved = codec.decode(blob)[1]["op"]
            for one in reversed([*saved.split(200)]) if pieces else [saved]:
                self.rows.restore(one)

    @invariant()
    def same(self) -> None:
        held = [
            {n: one[n] for n in (*KEYS, *COLUMNS)} | {"at": one["__at"], "mark": one["__mark"]}
            for one in self.rows.dump()
        ]
        assert held == self.now
        assert self.rows.rows() == len(self.now)
        assert self.rows.memory_bytes() >= 0


TestTimed = TimedMachine.TestCase
TestTimed.settings = QUICK
