from __future__ import annotations

import gzip
import os
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from processor import Arrow, Csv, Parquet
from processor.errors import FeedError, RetriableError
from processor.feeds.files import Files
from processor.feeds.listing import Folder, share
from tests.feeding import put
from tests.unit.feeds.reading import Turned

HEADED = Csv({"user": pl.String, "n": pl.Int64}, header=True)


def turned(folder: Path, form: Any = None, *, options: Any = None, **more: Any) -> Turned:
    given = dict(options or {})
    where = Folder(folder, given.pop("pattern", "*"), given.pop("recursive", False))
    return Turned(Files(where, **given), form, **more)


def test_files_come_in_the_order_of_their_times_then_of_their_names(tmp_path):
    for name, at in (("c", 1), ("a", 2), ("b", 1)):
        put(tmp_path, name, name.encode(), at)
    assert turned(tmp_path).all() == [b"b", b"c", b"a"]
    assert turned(tmp_path, options={"latest_first": True}).all() == [b"a", b"c", b"b"]


def test_hidden_unfinished_and_other_names_are_passed_over_and_a_rename_brings_them_in(tmp_path):
    for name in ("_x", "a.tmp", "b.part", "c~", "d.csv", "e.txt"):
        put(tmp_path, name, name.encode())
    (tmp_path / "below").mkdir()
    for hidden in ("_hidden", ".hidden", "day.tmp", "day.part"):
        (tmp_path / hidden).mkdir()
        put(tmp_path / hidden, "g.csv", b"g")
    put(tmp_path / "below", "f.csv", b"f")
    (tmp_path / "nowhere.csv").symlink_to(tmp_path / "gone")
    assert turned(tmp_path, options={"pattern": "*.csv"}).all() == [b"d.csv"]
    both = turned(tmp_path, options={"pattern": "*.csv", "recursive": True})
    assert sorted(both.all()) == [b"d.csv", b"f"]
    (tmp_path / "a.tmp").rename(tmp_path / "a.csv")
    assert both.all() == [b"a.tmp"]


def test_a_file_by_itself_can_be_read(tmp_path):
    assert turned(put(tmp_path, "one.csv", b"a\nb\n")).all() == [b"a", b"b"]


@pytest.mark.parametrize("records", [1, 2, 3, 100])
def test_a_piece_holds_so_many_records_and_the_place_goes_on_in_the_file(tmp_path, records):
    put(tmp_path, "a", b"1\n2\n3\n4\n5")
    put(tmp_path, "b", b"6\n7\n", 1)
    found = []
    one = turned(tmp_path)
    while (piece := one.read(records)) is not None:
        assert len(piece.values) <= records
        found += piece.values
        one.commit(piece)
        one.open()  # a new process goes on
    assert found == [b"1", b"2", b"3", b"4", b"5", b"6", b"7"]
    one.reading.close()


def test_a_piece_that_was_not_committed_is_read_again(tmp_path):
    put(tmp_path, "a", b"1\n2\n3")
    one = turned(tmp_path)
    assert one.read(2).values == one.read(2).values == [b"1", b"2"]
    one.reading.close()


def test_records_carry_their_file_and_row(tmp_path):
    put(tmp_path, "a.csv", b"user,n\nann,1\nbob,2\n")
    piece = turned(tmp_path, HEADED).read()
    assert piece.headers == [
        [("file", b"a.csv"), ("row", b"0")], [("file", b"a.csv"), ("row", b"1")],
    ]  # fmt: skip


def test_only_so_many_files_begin_in_a_piece(tmp_path):
    for number in range(3):
        put(tmp_path, f"{number}", b"x\ny\n", number)
    one = turned(tmp_path, options={"max_files_per_trigger": 1})
    sizes = []
    while (piece := one.read(3)) is not None:
        sizes.append(len(piece.values))
        one.commit(piece)
    assert sizes == [2, 2, 2]


def test_an_empty_file_and_one_with_a_header_alone_are_read_once_without_a_row(tmp_path):
    put(tmp_path, "a.csv", b"")
    put(tmp_path, "b.csv", b"user,n\n")
    one = turned(tmp_path, HEADED)
    piece = one.read()
    assert (piece.values, [note["f"] for note in piece.notes]) == ([], ["a.csv", "b.csv"])
    one.commit(piece)
    assert one.read() is None
    assert not one.told


def test_a_file_that_is_written_to_after_it_was_read_is_told_by_name_and_not_read_again(tmp_path):
    path = put(tmp_path, "a", b"1\n")
    one = turned(tmp_path)
    assert one.all() == [b"1"]
    path.write_bytes(b"1\n2\n")
    assert one.all() == []
    assert one.all() == []
    (told,) = one.told
    assert "a: it was written to after it was read" in told


def test_a_file_that_grows_while_it_is_read_is_read_up_to_where_it_was(tmp_path):
    path = put(tmp_path, "a", b"1\n2\n")
    one = turned(tmp_path)
    one.commit(one.read(1))
    with path.open("ab") as file:
        file.write(b"3\n")
    assert one.all() == [b"2"]
    assert "written to after" in one.told[0]


def test_a_file_that_vanished_before_it_was_read_is_passed_over(tmp_path):
    put(tmp_path, "a", b"1\n")
    put(tmp_path, "b", b"2\n", 1)
    one = turned(tmp_path)
    (tmp_path / "a").unlink()
    one.reading._looks = lambda: False  # it was listed before
    assert one.all() == [b"2"]
    assert one.told == [f"{tmp_path / 'a'}: it vanished before it was read"]


def test_a_file_that_vanished_or_shrank_in_the_middle_is_given_up_and_the_others_go_on(tmp_path):
    for change in (lambda path: path.unlink(), lambda path: path.write_bytes(b"1")):
        path = put(tmp_path, "a", b"1\n2\n3\n")
        one = turned(tmp_path)
        one.commit(one.read(1))
        change(path)
        put(tmp_path, "z", b"9\n", 5)
        one.open()
        assert one.all() == [b"9"]
        assert "given up, behind 1 rows" in one.told[0]
        assert one.notes[0]["p"]
        (tmp_path / "z").unlink()


def test_a_file_without_rights_is_told_once_and_read_when_it_has_them(tmp_path, monkeypatch):
    secret = put(tmp_path, "a", b"1\n")
    put(tmp_path, "b", b"2\n", 1)
    real = Path.open

    def opened(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path == secret:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", opened)
    one = turned(tmp_path)
    assert one.all() == [b"2"]
    assert one.read() is None
    assert one.told == [f"{secret}: Permission denied: it is passed over for now, and tried again"]
    assert one.reading.at_end()
    with pytest.raises(FeedError, match="a: Permission denied"):
        turned(tmp_path, on_error="fail").read()
    monkeypatch.undo()
    assert one.all() == [b"1"]


def test_packed_files_are_unpacked_and_a_torn_one_is_given_up(tmp_path):
    lines = b"".join(b"%d\n" % n for n in range(5_000))
    put(tmp_path, "a.gz", gzip.compress(lines))
    assert turned(tmp_path).all(7_00) == lines.split()
    put(tmp_path, "b.gz", gzip.compress(lines)[:-40], 1)
    put(tmp_path, "c", b"9\n", 2)
    one = turned(tmp_path)
    assert one.all()[-1] == b"9"
    assert "b.gz: it is packed by gzip, and broken" in one.told[0]
    with pytest.raises(FeedError, match=r"b.gz: it is packed by gzip, and broken"):
        turned(tmp_path, on_error="fail").all()


def test_another_header_is_told_and_none_of_the_file_is_read(tmp_path):
    put(tmp_path, "a.csv", b"name,n\nann,1\n")
    one = turned(tmp_path, HEADED)
    assert one.all() == []
    assert "it begins with" in one.told[0]


def test_a_record_that_has_no_room_in_a_topic_is_left_out_and_told_with_its_row(tmp_path):
    put(tmp_path, "a", b"1\n" + b"x" * 1_000_001 + b"\n3\n")
    one = turned(tmp_path)
    piece = one.read()
    assert (piece.values, piece.skipped) == ([b"1", b"3"], 1)
    assert "row 1 has 1000001 bytes" in one.told[0]
    quoted = b'"' + b"x\ny,1\n" * 200_000 + b'",2\n'
    put(tmp_path / "..", "b.csv", b"user,n\nann,1\n" + quoted + b"bob,2\n")
    piece = turned(tmp_path / ".." / "b.csv", HEADED).read()
    assert (piece.values, piece.skipped) == ([b"ann,1", b"bob,2"], 1)
    strict = turned(tmp_path, on_error="fail")
    with pytest.raises(FeedError, match="row 1 has 1000001 bytes"):
        strict.read()
    strict.reading.close()


@pytest.mark.parametrize("archived", [True, False])
@pytest.mark.parametrize("killed", [True, False])
def test_files_are_cleared_away_once_they_are_committed_and_not_before(tmp_path, archived, killed):
    folder, archive = tmp_path / "in", tmp_path / "read"
    folder.mkdir()
    path = put(folder, "a", b"1\n")
    options = {"clean_source": "archive" if archived else "delete"}
    one = turned(folder, options={**options, "archive": archive if archived else None})
    piece = one.read()
    assert path.exists()
    one.commit(piece, kept=not killed)
    assert path.exists()
    if killed:
        one.open()
    (gone,) = one.read().notes
    assert gone == {"g": "a"}
    assert not path.exists()
    assert [p.read_bytes() for p in archive.glob("*")] == ([b"1\n"] if archived else [])
    # A name that is free again is a new file's.
    put(folder, "a", b"2\n", 9)
    assert one.all() == [b"2"]
    one.open()
    assert one.read() is None
    assert len(list(archive.glob("*"))) == 2 * archived


@pytest.mark.parametrize("at", [0, 9], ids=["of the same time", "of another time"])
def test_a_file_of_a_name_that_was_cleared_away_is_new_to_the_next_process(tmp_path, at):
    one = turned(tmp_path, options={"clean_source": "delete"})
    for number in range(3):
        put(tmp_path, "latest", b"%d\n" % number, number and at)
        one.open()
        assert one.all() == [b"%d" % number]
        assert (list(tmp_path.iterdir()), one.told) == ([], [])


def test_archived_files_of_one_name_and_one_time_are_all_kept(tmp_path):
    folder, archive = tmp_path / "in", tmp_path / "read"
    folder.mkdir()
    one = turned(folder, options={"clean_source": "archive", "archive": archive})
    for number in range(4):
        put(folder, "a", b"%d\n" % number)
        one.all()
    assert sorted(path.read_bytes() for path in archive.iterdir()) == [
        b"0\n",
        b"1\n",
        b"2\n",
        b"3\n",
    ]


def test_a_file_that_came_in_the_place_of_one_that_was_not_noted_as_gone_is_never_lost(tmp_path):
    folder, archive = tmp_path / "in", tmp_path / "read"
    folder.mkdir()
    options = {"clean_source": "archive", "archive": archive}
    for at, found, told in ((9, [b"2"], ""), (0, [], "may be another one")):
        put(folder, "a", b"1\n")
        one = turned(folder, options=options)
        one.commit(one.read())
        one.read()  # it is cleared away, and killed before that is committed
        path = put(folder, "a", b"2\n", at)
        one.open()
        assert one.all() == found
        assert path.exists() is not bool(found)
        assert told in "".join(one.told)
    assert path.read_bytes() == b"2\n"


def test_a_file_that_was_replaced_before_it_was_cleared_away_is_read(tmp_path):
    path = put(tmp_path, "a", b"1\n")
    one = turned(tmp_path, options={"clean_source": "delete"})
    one.commit(one.read())
    put(tmp_path, "a", b"2\n3\n", 9)
    assert one.all() == [b"2", b"3"]
    assert not path.exists()


@pytest.mark.parametrize("packed", [False, True])
def test_a_half_read_file_that_was_replaced_is_given_up_and_one_that_has_grown_goes_on(
    tmp_path, packed
):
    wrap = gzip.compress if packed else bytes
    for new, found in ((b"x\ny\n3\n4\n", []), (b"1\n2\n3\n4\n", [b"3"]), (b"9\n", [])):
        put(tmp_path, "a", wrap(b"1\n2\n3\n"))
        one = turned(tmp_path)
        one.commit(one.read(2))
        put(tmp_path, "a", wrap(new), 9)
        one.open()
        assert one.all()[:1] == found
        given_up = "it was replaced while it was read: it is given up, behind 2 rows"
        assert (given_up in one.told[0]) is not bool(found)


def test_a_file_that_was_changed_is_not_cleared_away(tmp_path):
    path = put(tmp_path, "a", b"1\n")
    one = turned(tmp_path, options={"clean_source": "delete"})
    piece = one.read()
    path.write_bytes(b"1\n2\n")
    one.commit(piece)
    one.read()
    assert path.read_bytes() == b"1\n2\n"
    assert "written to after" in one.told[0]


def test_a_file_that_was_given_up_stays(tmp_path):
    path = put(tmp_path, "a.csv", b"other\n")
    one = turned(tmp_path, HEADED, options={"clean_source": "delete"})
    one.all()
    one.open()
    assert path.exists()


def test_a_folder_that_is_not_there_is_waited_for_and_in_a_bounded_run_an_error(tmp_path):
    with pytest.raises(RetriableError, match="No such file"):
        turned(tmp_path / "gone")
    with pytest.raises(FeedError, match="No such file"):
        turned(tmp_path / "gone", bounded=True)


def test_a_bounded_reading_tells_that_no_file_matches_and_one_that_goes_on_waits(tmp_path):
    put(tmp_path, "a.csv", b"1\n")
    one = turned(tmp_path, bounded=True, options={"pattern": "*.cvs"})
    assert one.all() == []
    assert one.told == [f"{tmp_path}: there is no file that matches '*.cvs'"]
    assert turned(tmp_path, options={"pattern": "*.cvs"}).told == []


def test_a_bounded_reading_ends_with_what_was_there_when_it_began(tmp_path):
    put(tmp_path, "a", b"1\n")
    one = turned(tmp_path, bounded=True)
    assert not one.reading.at_end()
    put(tmp_path, "b", b"2\n")
    assert one.all() == [b"1"]
    assert one.reading.at_end()


def test_names_that_cannot_be_kept_are_told(tmp_path):
    (tmp_path / os.fsdecode(b"\xff")).write_bytes(b"1\n")
    one = turned(tmp_path)
    assert one.all() == []
    assert "no text of UTF-8" in one.told[0]


def test_each_file_is_of_one_partition(tmp_path):
    for number in range(20):
        put(tmp_path, f"{number}", b"%d\n" % number)
    parts = [turned(tmp_path, partition=n, partitions=3).all() for n in range(3)]
    assert all(parts)
    assert sorted(chain(*parts)) == sorted(b"%d" % n for n in range(20))
    assert b"7" in parts[share("7", 3)]


def test_files_of_a_format_are_read_by_their_records(tmp_path):
    form = Arrow({"n": pl.Int64}, rows_max=2)
    pl.DataFrame({"n": range(5)}).write_ipc(tmp_path / "a.arrow")
    put(tmp_path, "b.arrow", b"nothing", 1)
    one = turned(tmp_path, form)
    values = one.all(1)
    assert form.decode(values).frame["n"].to_list() == [0, 1, 2, 3, 4]
    assert "b.arrow" in one.told[0]


def test_parquet_comes_in_blocks_and_what_does_not_fit_is_told(tmp_path):
    form = Parquet({"n": pl.Int64, "at": pl.Datetime("us"), "s": pl.String}, optional={"s"})
    at = pl.Series("at", [0] * 5).cast(pl.Datetime("ms"))
    fine = pl.DataFrame({"x": 1, "n": pl.Series(range(5), dtype=pl.Int32), "at": at})
    fine.write_parquet(tmp_path / "a")
    one = turned(tmp_path, form.blocks(), options={"parquet": form})
    first = one.read(2)
    assert [dict(headers)["row"] for headers in first.headers] == [b"0"]
    values = one.all(2)
    frame = form.blocks().decode(values).frame
    assert (frame["n"].to_list(), frame["s"].null_count()) == ([0, 1, 2, 3, 4], 5)
    for name, other, why in (
        ("b", fine.drop("n"), "no column 'n'"),
        ("c", fine.with_columns(n=pl.lit(1.5)), "column 'n' is Float64, not Int64"),
        ("d", fine.with_columns(n=pl.lit(None, pl.Int64)), "column 'n' is null in row 0"),
    ):
        other.write_parquet(tmp_path / name)
        one.told.clear()
        assert one.all() == []
        assert why in one.told[0], one.told
    put(tmp_path, "e", b"PAR1torn")
    one.all()
    assert "no file of Parquet" in one.told[-1]
