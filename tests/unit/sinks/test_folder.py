from __future__ import annotations

import errno
import os
from pathlib import Path

import polars as pl
import pytest

from processor.errors import SinkError
from processor.model.log import TopicPartition
from processor.sinks import folder as module
from processor.sinks.folder import File, Folder, label

FILE = File("app~in~0", 3, 7, "ab", "json")


def named(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.glob("[!.]*"))


def test_a_file_is_seen_when_it_has_its_name_and_not_before(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "out"))
    folder.write(FILE, b"rows\n")
    folder.sync()
    assert named(tmp_path / "out") == []
    assert folder.pending("app~in~0") == [FILE]
    assert folder.pending("app~in~1") == folder.pending("app~in") == []
    folder.name([FILE])
    assert named(tmp_path / "out") == ["app~in~0~3~0000000007~ab.json"]
    assert (tmp_path / "out" / FILE.name).read_bytes() == b"rows\n"
    folder.name([FILE])  # who took over was here before
    assert folder.pending("app~in~0") == []


def test_names_sort_as_epochs_do_and_no_two_tries_have_one() -> None:
    epochs = [File("a", 1, epoch, "x", "json").name for epoch in (2, 10, 9, 1000)]
    assert sorted(epochs) == [epochs[0], epochs[2], epochs[1], epochs[3]]
    assert File("a", 1, 2, "x", "json").name != File("a", 1, 2, "y", "json").name


def test_what_is_pending_and_never_committed_is_cleared(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.write(FILE, b"rows\n")
    folder.clear([FILE])
    folder.clear([FILE])
    assert folder.pending("app~in~0") == []


def test_a_directory_keeps_the_name_that_it_was_given_once(tmp_path: Path) -> None:
    first, second = Folder(str(tmp_path)), Folder(str(tmp_path))
    other = Folder(str(tmp_path / "other"))
    assert first.id == second.id != other.id
    assert not [*tmp_path.glob(".[!p]*")]


def test_a_reader_of_the_whole_directory_sees_rows_alone(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "out"))
    pl.DataFrame({"n": [1]}).write_parquet(tmp_path / "out" / "a.parquet")
    assert pl.read_parquet(tmp_path / "out").height == 1
    folder.write(File("app~in~0", 3, 7, "ab", "parquet"), b"half a file")
    assert pl.read_parquet(tmp_path / "out" / "*.parquet").height == 1


def test_a_directory_is_made_in_one_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="No such file") as caught:
        Folder(str(tmp_path / "a" / "b"))
    assert caught.value.remedy.startswith(f"make {tmp_path / 'a'}")
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError) as caught:
        Folder(str(tmp_path / "file"))
    with pytest.raises(SinkError) as caught:
        Folder(str(tmp_path / "file" / "out"))
    assert "name of a directory" in caught.value.remedy


@pytest.mark.parametrize(
    ("number", "way"),
    [
        (errno.ENOSPC, "make room"), (errno.EROFS, "another directory"),
        (errno.EACCES, "let the user"), (errno.EXDEV, "one file system"), (errno.EIO, "nothing"),
    ],
)  # fmt: skip
def test_what_the_disk_refuses_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, way: str
) -> None:
    folder = Folder(str(tmp_path))

    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as m, pytest.raises(SinkError, match=os.strerror(number)) as caught:
        m.setattr(module.os, "fsync", refused)
        folder.write(FILE, b"rows\n")
    assert way in caught.value.remedy
    assert folder.pending("app~in~0") == []  # it makes room
    folder.write(FILE, b"rows\n")
    with monkeypatch.context() as m, pytest.raises(SinkError, match="is committed"):
        m.setattr(module.Path, "rename", refused)
        folder.name([FILE])
    folder.name([FILE])
    assert named(tmp_path) == [FILE.name]


def test_long_names_stay_apart_and_fit_a_file_system() -> None:
    labels = {label("a" * 200 + end, TopicPartition("t" * 240, 1)) for end in "xy"}
    assert len(labels) == 2
    assert all(len(File(one, 2**31, 2**31, "a" * 8, "parquet").name) < 240 for one in labels)
    assert label("a~b", TopicPartition("c", 0)) == label("a~b", TopicPartition("c", 0))
