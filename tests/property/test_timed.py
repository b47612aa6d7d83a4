"""Rows by key and time do what a list of rows does, through checkpoints, restarts and rollbacks."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import polars as pl
import pytest

from processor.state import codec, timed
from processor.state.base import Saved
from processor.state.timed import FIRST, Timed

KEYS = {"u": pl.String(), "k": pl.Int64()}
COLUMNS = {"v": pl.List(pl.Int64()), "s": pl.Struct({"a": pl.String(), "b": pl.Boolean()})}
HEADER = codec.Header(1, "a", "", "", 0, 0)
STEPS = 60


class Script:
    """A state and a list of rows, to which the same happens; what that is, a seed says."""

    def __init__(self, seed: int) -> None:
        self.made = random.Random(seed)
        self.rows = Timed(KEYS, COLUMNS)
        self.base: list[dict[str, Any]] = []
        self.now: list[dict[str, Any]] = []
        self.before = self.base_before = FIRST
        self.blobs: list[bytes] = []
        self.clock = 0

    def play(self) -> None:
        """All steps, looking at the rows after each."""
        actions = {
            self.append: 5, self.find: 5, self.free: 3, self.commit: 4, self.rollback: 2,
            self.snapshot: 1, self.restart: 2,
        }  # fmt: skip
        for action in self.made.choices(list(actions), list(actions.values()), k=STEPS):
            self.clock += self.made.randrange(2)
            action()
            self.check()

    def key(self) -> dict[str, Any]:
        return {"u": self.made.choice(["ann", "", "x" * 70]), "k": self.made.randrange(2)}

    def append(self) -> None:
        new = []
        for _ in range(self.made.randrange(5)):
            key, at = self.key(), self.clock + self.made.randrange(-3, 4)
            values = {"v": [at] * self.made.randrange(3), "s": {"a": key["u"], "b": None}}
            new.append({**key, **values, "at": at, "mark": False})
        frame = pl.DataFrame([bare(row) for row in new], schema={**KEYS, **COLUMNS})
        self.rows.append(frame, np.array([row["at"] for row in new], np.int64))
        if new and self.made.random() < 0.3:
            self.rows.mark_new(np.array([0]))
            new[0]["mark"] = True
        self.now += new

    def find(self) -> None:
        asked = [(self.key(), self.clock + self.made.randrange(-4, 3)) for _ in range(3)]
        length = self.made.randrange(4)
        keys = pl.DataFrame([key for key, _ in asked], schema=KEYS)
        low = np.array([at for _, at in asked], np.int64)
        found = self.rows.find(keys, low, low + length)
        got = zip(found.asked.tolist(), self.rows.take(found).iter_rows(named=True), strict=True)
        wanted = [
            (i, row)
            for i, (key, at) in enumerate(asked)
            for row in self.now
            if key.items() <= row.items() and max(at, self.before) <= row["at"] <= at + length
        ]
        assert in_order(got) == in_order((i, bare(row)) for i, row in wanted)
        if self.made.random() < 0.5:
            self.rows.mark(found)
            for _, row in wanted:
                row["mark"] = True

    def free(self, behind: int | None = None) -> None:
        before = self.clock - (self.made.randrange(6) if behind is None else behind)
        self.before = max(self.before, before)
        gone = [row for row in self.now if row["at"] < self.before]
        found = self.rows.free(before).to_dicts()
        assert in_order(found) == in_order(bare(row) for row in gone if not row["mark"])
        self.now = [row for row in self.now if row["at"] >= self.before]

    def commit(self) -> None:
        self.free(100)  # as after every append: what came behind is gone
        saved = self.rows.changed()
        self.blobs.append(blob(saved))
        self.rows.commit(saved)
        self.base, self.base_before = [dict(row) for row in self.now], self.before

    def rollback(self) -> None:
        self.rows.rollback()
        self.now, self.before = [dict(row) for row in self.base], self.base_before

    def snapshot(self) -> None:
        self.rollback()
        self.rows.prune()
        size = self.made.choice([1, 300, 10**6])
        self.blobs = [blob(chunk) for chunk in self.rows.frozen()().split(size)]

    def restart(self) -> None:
        self.rollback()
        self.rows = Timed(KEYS, COLUMNS)
        for data in self.blobs:
            saved = codec.decode(data)[1]["op"]
            for piece in reversed([*saved.split(200)]):
                self.rows.restore(piece)

    def check(self) -> None:
        held = [
            {**{n: row[n] for n in (*KEYS, *COLUMNS)}, "at": row["__at"], "mark": row["__mark"]}
            for row in self.rows.dump()
        ]
        assert held == self.now
        assert self.rows.rows() == len(self.now)
        assert self.rows.memory_bytes() >= 8 * len(self.now)


def bare(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in (*KEYS, *COLUMNS)}


def in_order(rows: Any) -> list[str]:
    return sorted(map(repr, rows))


def blob(saved: Saved) -> bytes:
    return codec.encode(HEADER, {"op": saved})


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_it_holds_and_finds_what_a_list_does(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timed, "_BLOCK", 2)
    for seed in range(first, first + 10):
        Script(seed).play()
