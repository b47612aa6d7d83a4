from __future__ import annotations

import io

import numpy as np
import orjson
import polars as pl
import pytest

from processor.errors import StateMismatchError
from processor.state import codec
from processor.state.cells import Cell, Rows
from processor.state.slab import Slab

HEADER = codec.Header(7, "a1", "d:6:b2", "cafe", 100, 200, {"event_time_max": None})
CELLS = [Cell("n", "<i8", "add"), Cell("low", "<f8", "min")]


def slab(*names: str | None) -> Slab:
    made = Slab({"s": pl.String()}, CELLS)
    counts = np.arange(len(names))
    made.fold(
        pl.DataFrame({"s": names}, schema={"s": pl.String}), {"n": counts, "low": counts * 1.5}
    )
    return made


def same(a: Rows, b: Rows) -> None:
    assert a.layout == b.layout
    assert a.words.tolist() == b.words.tolist()
    assert a.gone.tolist() == b.gone.tolist()
    assert a.words.shape == b.words.shape
    assert a.gone.shape[1] == b.gone.shape[1]
    assert {n: (c.dtype.str, c.tolist()) for n, c in a.cells.items()} == {
        n: (c.dtype.str, c.tolist()) for n, c in b.cells.items()
    }
    assert a.texts == b.texts


@pytest.mark.parametrize("names", [(), ("a",), (None, "", "a\0"), ("x" * 99, "y" * 40)])
def test_rows_come_back_as_they_went(names: tuple) -> None:
    rows = slab(*names).changed()
    header, state = codec.decode(codec.encode(HEADER, {"one": rows, "two": rows}))
    assert header == HEADER
    assert list(state) == ["one", "two"]
    same(state["one"], rows)
    same(state["two"], rows)


@pytest.mark.parametrize("many", [1_999, 2_000, 2_001])
def test_few_rows_and_many_come_back_as_they_went(many: int) -> None:
    rows = slab(*(f"key {number}" for number in range(many))).changed()
    data = codec.encode(HEADER, {"one": rows})
    assert (b"ARROW1" in data) == (many > 2_000)
    same(codec.decode(data)[1]["one"], rows)


def test_keys_that_are_gone_come_back_without_rows_beside_them() -> None:
    made = slab("a", "b")
    made.commit()
    made.free(made.live())
    rows = made.changed()
    back = codec.decode(codec.encode(HEADER, {"one": rows}))[1]["one"]
    same(back, rows)
    assert len(back.gone) == 2


def test_no_state_is_a_header_alone() -> None:
    assert codec.decode(codec.encode(HEADER, {})) == (HEADER, {})


def test_what_was_read_can_be_restored_and_changed() -> None:
    rows = codec.decode(codec.encode(HEADER, {"one": slab("a").all()}))[1]["one"]
    other = slab()
    other.restore(rows)
    slots = other.fold(pl.DataFrame({"s": ["a"]}), {"n": np.array([5]), "low": np.array([-1.0])})
    assert other.gather("low", slots).tolist() == [-1.0]


def test_the_same_rows_have_the_same_digest_and_others_another() -> None:
    one, two = (codec.encode(HEADER, {"x": slab("a", name).all()}) for name in ("b", "b"))
    other = codec.encode(HEADER, {"x": slab("a", "c").all()})
    assert codec.digest(one) == codec.digest(two) != codec.digest(other)
    assert len(codec.digest(one)) == 32


def test_another_format_is_refused() -> None:
    with pytest.raises(StateMismatchError, match="begins with b'XXXX'"):
        codec.decode(b"XXXX" + codec.encode(HEADER, {})[4:])
    with pytest.raises(StateMismatchError):
        codec.decode(b"")


@pytest.mark.parametrize("size", [1, 100, 10**9])
def test_chunks_together_are_the_whole_in_any_order(size: int) -> None:
    whole = slab(*(f"name {i}" for i in range(20)), "x" * 99)
    chunks = list(whole.all().split(size))
    assert (len(chunks) > 1) == (size < 10**9)
    for ordered in (chunks, chunks[::-1]):
        other = slab()
        for chunk in ordered:
            other.restore(chunk)
        assert sorted(map(str, other.dump())) == sorted(map(str, whole.dump()))


@pytest.mark.parametrize("size", [1, 500, 2_000])
def test_a_chunk_has_at_most_so_many_bytes_or_is_a_single_row_or_text(size: int) -> None:
    made = slab(*(f"{i:02}" * (50 + i) for i in range(40)), *(f"n{i}" for i in range(40)))
    made.commit()
    made.free(made.live()[:30])
    for chunk in made.changed().split(size):
        things = len(chunk.words) + len(chunk.gone) + len(chunk.texts)
        assert chunk.size() <= size or things == 1


def test_keys_that_are_gone_are_split_too() -> None:
    made = slab(*(f"name {i}" for i in range(100)))
    made.commit()
    made.free(made.live())
    chunks = list(made.changed().split(200))  # 25 keys of 8 bytes
    assert sum(len(chunk.gone) for chunk in chunks) == 100
    assert len(chunks) == 4


def test_nothing_is_one_empty_chunk() -> None:
    assert len(list(slab().all().split(100))) == 1


def test_blobs_of_the_former_format_are_read() -> None:
    """As they were written before long texts had a table: in the header, in hexadecimal."""
    rows = slab("short", "x" * 99).changed()
    data = codec.encode(HEADER, {"one": rows})
    size = int.from_bytes(data[4:8], "little")
    head = orjson.loads(data[8 : 8 + size])
    texts = head["operators"][0]["sizes"].pop()
    head["operators"][0]["texts"] = [[n, text.hex()] for n, text in rows.texts.items()]
    former = orjson.dumps(head)
    told = b"PCP1" + len(former).to_bytes(4, "little") + former + data[8 + size : len(data) - texts]
    header, state = codec.decode(told)
    assert header == HEADER
    same(state["one"], rows)


def test_blobs_whose_tables_are_arrow_files_are_read() -> None:
    """As they were written before tables were streams."""
    made = slab("short", "x" * 99, "gone")
    made.commit()
    made.free(made.live()[2:])
    rows = made.all()
    rows.gone = made.changed().gone
    data = codec.encode(HEADER, {"one": rows})
    start = 8 + int.from_bytes(data[4:8], "little")
    head = orjson.loads(data[8:start])
    files: list[bytes] = []
    for size in head["operators"][0]["sizes"]:
        file = io.BytesIO()
        pl.read_ipc_stream(data[start : start + size]).write_ipc(file, compression="zstd")
        files.append(file.getvalue())
        start += size
    head["operators"][0]["sizes"] = [len(file) for file in files]
    told = orjson.dumps(head)
    former = b"".join([b"PCP2", len(told).to_bytes(4, "little"), told, *files])
    header, state = codec.decode(former)
    assert len(files) == 3
    assert header == HEADER
    same(state["one"], rows)


def test_the_size_is_that_of_words_cells_keys_that_are_gone_and_texts() -> None:
    made = slab("a", "b" * 60, "c" * 70)
    made.free(made.live()[:1])
    rows = made.changed()
    width = rows.layout.words()
    assert rows.size() == 2 * 8 * (width + 2) + 8 * width + (60 + 16) + (70 + 16)


def test_chunks_are_as_full_as_they_may_be_and_each_is_written_and_read_by_itself() -> None:
    made = slab(*(f"{i}" * 60 for i in range(8)))
    whole = made.all()
    row = whole.size() // 8 - 76
    for limit, texts in ((2 * 76, 2), (2 * 76 - 1, 1), (3 * 76, 3)):
        chunks = list(whole.split(limit))
        held = [len(chunk.texts) for chunk in chunks if chunk.texts]
        assert held[:-1] == [texts] * (len(held) - 1)
        assert sum(held) == 8
        rows = [len(chunk.words) for chunk in chunks if len(chunk.words)]
        assert rows[:-1] == [limit // row] * (len(rows) - 1)
        other = slab()
        for chunk in chunks:
            _, state = codec.decode(codec.encode(HEADER, {"op": chunk}))
            same(state["op"], chunk)
            other.restore(state["op"])
        assert sorted(map(str, other.dump())) == sorted(map(str, made.dump()))
    assert len(list(whole.split(whole.size()))) == 1
    single = whole.split(1)
    assert {len(chunk.words) + len(chunk.texts) for chunk in single} == {1}
