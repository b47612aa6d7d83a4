"""Rows by key and time; `tests/property/test_timed.py` holds them to plain Python."""

from __future__ import annotations

import numpy as np
import polars as pl

from processor.state.timed import Timed


def test_who_looks_on_from_another_thread_changes_nothing():
    """The look-out asks how large the state is, while the worker takes its first batch."""
    source = Timed({"user": pl.String()}, {"n": pl.Int64()})
    source.append(pl.DataFrame({"user": ["ann", "bob"], "n": [1, 2]}), np.array([5, 6]))
    state = Timed({"user": pl.String()}, {"n": pl.Int64()})
    state.restore(source.changed())
    before = {name: id(value) for name, value in vars(state).items()}
    loaded = [*state._loaded]
    assert state.rows() == 2
    assert state.memory_bytes() > 0
    assert {name: id(value) for name, value in vars(state).items()} == before
    assert state._loaded == loaded
    assert len(state.dump()) == state.rows() == 2
