from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from processor.errors import StateMismatchError
from processor.state.keys import KeyCodec, Layout


def encode(codec: KeyCodec, *rows: tuple) -> np.ndarray:
    return codec.encode(pl.DataFrame(rows, schema=dict(codec.columns), orient="row"))


def test_every_kind_of_key_comes_back_as_it_went() -> None:
    kinds = {
        "s": pl.String(), "n": pl.Int64(), "u": pl.UInt64(), "i": pl.Int8(), "b": pl.Boolean(),
        "d": pl.Date(), "t": pl.Datetime("us"), "m": pl.Datetime("ms", "UTC"),
    }  # fmt: skip
    frame = pl.DataFrame(
        {
            "s": ["a", "", None], "n": [-1, 2**63 - 1, None], "u": [0, 2**64 - 1, None],
            "i": [-128, 127, None], "b": [True, False, None],
            "d": [dt.date(1969, 1, 1), dt.date(2014, 8, 1), None],
            "t": [dt.datetime(1, 1, 1), dt.datetime(2014, 8, 1), None],
            "m": [dt.datetime(1969, 1, 1, tzinfo=dt.UTC), None, None],
        },
        schema=kinds,
    )  # fmt: skip
    codec = KeyCodec(kinds)
    assert codec.decode(codec.encode(frame)).equals(frame)


@pytest.mark.parametrize(
    "text", ["", "\0", "a\0", "a\0\0", "é" * 23, "x" * 46, "x" * 47, "x" * 48, "é" * 24, "y" * 9999]
)
def test_texts_of_every_length_come_back(text: str) -> None:
    codec = KeyCodec({"s": pl.String()})
    words = encode(codec, (text,), ("other",))
    assert codec.decode(words)["s"].to_list() == [text, "other"]


def test_texts_that_differ_in_trailing_nuls_only_are_different_keys() -> None:
    words = encode(KeyCodec({"s": pl.String()}), ("a",), ("a\0",), ("a\0\0",), ("",), ("\0",))
    assert len({word.tobytes() for word in words}) == 5


def test_null_is_neither_zero_nor_empty() -> None:
    codec = KeyCodec({"s": pl.String(), "n": pl.Int64()})
    words = encode(codec, ("", 0), (None, 0), ("", None), (None, None))
    assert len({word.tobytes() for word in words}) == 4
    assert codec.decode(words).rows() == [("", 0), (None, 0), ("", None), (None, None)]


def test_the_word_of_nulls_comes_with_the_first_null_and_stays() -> None:
    codec = KeyCodec({"n": pl.Int64()})
    assert encode(codec, (1,)).shape == (1, 1)
    assert encode(codec, (None,)).shape == (1, 2)
    assert encode(codec, (1,)).shape == (1, 2)


def test_a_long_text_is_kept_once() -> None:
    codec = KeyCodec({"s": pl.String()})
    first, second = encode(codec, ("x" * 48,)), encode(codec, ("x" * 48,))
    assert first.tobytes() == second.tobytes()
    assert codec.texts(first) == codec.unsaved() == {1: b"x" * 48}
    codec.saved({1: b""})
    assert codec.unsaved() == {}
    assert codec.memory_bytes() > 48


def test_a_long_text_without_a_row_is_forgotten_but_not_before_it_is_saved() -> None:
    codec = KeyCodec({"s": pl.String()})
    encode(codec, ("x" * 48,))
    codec.prune({})
    assert codec.unsaved() == {1: b"x" * 48}
    codec.saved({1: b""})
    codec.prune({})
    assert codec.memory_bytes() == 0
    assert encode(codec, ("x" * 48,))[0, 0] >> np.uint64(8) == 2


def test_restored_long_texts_keep_their_numbers() -> None:
    codec = KeyCodec({"s": pl.String()})
    words = encode(codec, ("x" * 48,), ("y" * 60,))
    other = KeyCodec({"s": pl.String()})
    other.restore(codec.texts(words))
    other.widen(codec.layout)
    assert encode(other, ("z" * 50,), ("y" * 60,))[1].tobytes() == words[1].tobytes()
    assert other.decode(words)["s"].to_list() == ["x" * 48, "y" * 60]


def test_rows_of_a_narrow_layout_are_those_of_a_wide_one_after_relayout() -> None:
    codec = KeyCodec({"s": pl.String(), "n": pl.Int64()})
    narrow = encode(codec, ("ann", 1))
    old = Layout([*codec.layout.widths], codec.layout.nulls)
    wide = encode(codec, ("a" * 20, None), ("ann", 1))
    assert codec.relayout(narrow, old).tobytes() == wide[1].tobytes()
    assert codec.relayout(narrow[:0], old).shape == (0, codec.layout.words())


def test_a_layout_of_another_number_of_keys_is_refused() -> None:
    with pytest.raises(StateMismatchError, match="has 2 key columns, not 1"):
        KeyCodec({"n": pl.Int64()}).widen(Layout([1, 1]))


@pytest.mark.parametrize("kinds", [{"s": pl.String()}, {"n": pl.Int64()}, {}])
def test_no_rows_are_no_words(kinds: dict) -> None:
    codec = KeyCodec(kinds)
    words = codec.encode(pl.DataFrame(schema=kinds))
    assert words.shape == (0, len(kinds))
    assert codec.decode(words).schema == pl.Schema(kinds)


def test_no_keys_are_one_key() -> None:
    codec = KeyCodec({})
    words = codec.encode(pl.DataFrame({"x": [1, 2]}))
    assert words.shape == (2, 0)
    assert codec.relayout(words, Layout([])).shape == (2, 0)


def test_the_bytes_of_long_texts_are_known_without_a_look_at_each():
    codec = KeyCodec({"k": pl.String()})
    long = [letter * 300 for letter in "abc"]
    words = codec.encode(pl.DataFrame({"k": [*long, *long, "short"]}))
    assert codec.memory_bytes() == 3 * 500
    other = KeyCodec({"k": pl.String()})
    for _ in range(2):
        other.restore(codec.texts(words))
    assert other.memory_bytes() == 3 * 500
    other.prune(dict(list(codec.texts(words).items())[:1]))
    assert other.memory_bytes() == 500


def test_words_are_what_checkpoints_hold_to_the_byte() -> None:
    codec = KeyCodec({"s": pl.String(), "u": pl.UInt64(), "n": pl.Int32()})
    first = encode(codec, ("ann", 2**64 - 1, -1), ("", 0, 1))
    ann = int.from_bytes(b"\x03ann\0\0\0\0", "little")
    assert first.tolist() == [[ann, 2**64 - 1, 2**64 - 1], [0, 0, 1]]
    most, over, nul = "x" * 47, "y" * 300, None
    rows = encode(codec, (most, 1, 2), (over, 3, nul), (nul, nul, 4), ("ann", 5, 6), (over, 7, 8))
    inline = np.frombuffer(bytes([47]) + most.encode(), "<u8").tolist()
    long = [1 << 8 | 255, 0, 0, 0, 0, 0]
    assert rows.tolist() == [
        [0, *inline, 1, 2], [0b100, *long, 3, 0], [0b011, 0, 0, 0, 0, 0, 0, 0, 4],
        [0, ann, 0, 0, 0, 0, 0, 5, 6], [0, *long, 7, 8],
    ]  # fmt: skip
    assert codec.texts(rows) == codec.unsaved() == {1: over.encode()}


def test_long_texts_are_found_in_every_column_of_texts_and_in_no_other() -> None:
    codec = KeyCodec({"a": pl.String(), "n": pl.Int64(), "b": pl.String()})
    words = encode(codec, ("x" * 48, 255, "short"), ("short", 2 << 8 | 255, "y" * 49))
    assert codec.texts(words) == {1: b"x" * 48, 2: b"y" * 49}
    assert codec.texts(words[1:]) == {2: b"y" * 49}


def test_a_long_text_after_a_restore_has_the_next_number() -> None:
    codec = KeyCodec({"s": pl.String()})
    codec.restore({4: b"x" * 48, 2: b"y" * 48})
    assert encode(codec, ("z" * 48,))[0, 0] == 5 << 8 | 255
