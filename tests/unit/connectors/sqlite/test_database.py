"""What goes wrong with the directory or its file is told by name, with what to do."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from processor.connectors.memory.group import MemberToken
from processor.connectors.sqlite.database import FILE, VERSION, holds_log
from processor.connectors.sqlite.log import SqliteLog
from processor.errors import LogError, SettingsError
from processor.model.log import Committed, Membership, Output, TopicPartition
from tests.unit.others import anothers, mode

TP0 = TopicPartition("t", 0)
ROOT = Path(__file__).parents[4]


@pytest.fixture
def place(tmp_path):
    """A directory with a log of ten records."""
    log = SqliteLog(tmp_path / "data")
    log.create({"t": 1})
    log.feed("t", [b"%d" % n * 50 for n in range(10)])
    log.close()
    return tmp_path / "data"


def values(log):
    return [message.value() for message in log.read("t")]


def test_the_directory_and_its_files_are_for_its_user_alone(tmp_path):
    before = os.umask(0)
    try:
        log = SqliteLog(tmp_path / "a" / "data")
        log.create({"t": 1})
        found = {path.name: mode(path) for path in (tmp_path / "a" / "data").iterdir()}
        assert found == {"lock": 0o600, FILE: 0o600, f"{FILE}-wal": 0o600}
        assert [mode(tmp_path / "a" / "data"), mode(tmp_path / "a")] == [0o700, 0o700]
        log.close()
    finally:
        os.umask(before)


def test_an_empty_directory_is_made_private_and_one_with_others_files_is_not_touched(tmp_path):
    empty, used = tmp_path / "empty", tmp_path / "used"
    for path in (empty, used):
        path.mkdir()
        path.chmod(0o755)
    (used / "notes").touch()
    SqliteLog(empty).close()
    assert mode(empty) == 0o700
    with pytest.raises(SettingsError, match="other users have rights in it") as caught:
        SqliteLog(used)
    assert "--data-dir" in caught.value.remedy
    assert mode(used) == 0o755
    assert [path.name for path in used.iterdir()] == ["notes"]
    empty.chmod(0o777)
    SqliteLog(empty).close()
    assert mode(empty) == 0o700


def test_a_second_process_is_refused_and_told_who_has_it(place):
    log = SqliteLog(place)
    script = (
        "import sys; from pathlib import Path\n"
        "from processor.connectors.sqlite.log import SqliteLog\n"
        "from processor.errors import LogError\n"
        "try: SqliteLog(Path(sys.argv[1]))\n"
        "except LogError as error: print(error.message, '|', error.remedy)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(place)], cwd=ROOT, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert f"{place} is in use by process {os.getpid()}" in done.stdout
    assert "stop that process" in done.stdout
    assert len(values(log)) == 10
    log.close()
    SqliteLog(place).close()


@pytest.mark.parametrize("path", ["file/data", "/proc/none"])
def test_a_directory_that_cannot_be_made_is_told(tmp_path, path):
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot be used") as caught:
        SqliteLog(tmp_path / path)
    assert "--data-dir" in caught.value.remedy


def test_a_log_of_another_version_and_of_another_program_are_refused_as_they_are(place, tmp_path):
    with sqlite3.connect(place / FILE) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()
    with pytest.raises(LogError, match=f"version {VERSION + 1}.* reads version {VERSION}"):
        SqliteLog(place)
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    with sqlite3.connect(other / FILE) as db:
        db.execute("CREATE TABLE mine (a)")
    db.close()
    before = (other / FILE).read_bytes()
    with pytest.raises(SettingsError, match="another program"):
        SqliteLog(other)
    assert (other / FILE).read_bytes() == before


@pytest.mark.parametrize("damage", ["no database", "cut", "a page"])
def test_a_file_that_is_damaged_is_told(place, damage):
    path = place / FILE
    data = bytearray(path.read_bytes())
    if damage == "no database":
        data[:] = b"no database at all" * 100
    elif damage == "cut":
        del data[len(data) // 2 :]
    else:
        for page in range(4096, len(data), 4096):
            data[page : page + 100] = os.urandom(100)
    path.write_bytes(data)
    with pytest.raises(LogError, match=r"log\.sqlite failed: ") as caught:
        values(SqliteLog(place))
    assert "put a copy of the whole directory back" in caught.value.remedy


def test_a_bit_of_a_record_that_the_disk_has_changed_is_told_and_never_read(place):
    path = place / FILE
    data = path.read_bytes()
    at = data.index(b"7" * 50)
    path.write_bytes(data[:at] + b"8" + data[at + 1 :])
    log = SqliteLog(place)
    with pytest.raises(LogError, match=r"damaged: t\[0\] offset 0 is not what was written"):
        values(log)
    log.close()


def test_a_full_disk_ends_it_and_what_was_committed_is_there_afterwards(place):
    log = SqliteLog(place)
    pages = log._database.execute("PRAGMA page_count").fetchone()[0]
    log._database.execute(f"PRAGMA max_page_count = {pages + 5}")
    producer = log.producer("p")
    producer.start(0)
    producer.begin()
    producer.produce(Output("t", [os.urandom(500_000)]))
    producer.send_offsets(
        {TP0: Committed(3, "")}, Membership(-1, frozenset(), MemberToken("g", "", 0)), 0
    )
    with pytest.raises(LogError, match="database or disk is full") as caught:
        producer.commit(0)
    assert "make room" in caught.value.remedy
    # Memory is ahead of the disk now: nothing is told of it, nor built on it.
    for call in (
        lambda: log.read("t"), lambda: log.feed("t", [b"x"]),
        lambda: log.create({"u": 1}), lambda: log.trim(TP0, 2),
        lambda: log.reset("g", {TP0: Committed(5, "")}),
    ):  # fmt: skip
        with pytest.raises(LogError, match="database or disk is full"):
            call()
    assert log.committed("g", "t", stable=False) == {}
    log.close()
    again = SqliteLog(place)
    assert len(values(again)) == 10
    assert again.committed("g", "t") == {}
    again.feed("t", [b"room"])
    again.close()


def test_a_change_that_is_given_up_in_its_midst_ends_it_too(place):
    log = SqliteLog(place)
    with pytest.raises(LogError, match="failed"):
        log.reset("g", {TP0: Committed(object(), "no number")})
    with pytest.raises(LogError, match="failed"):
        values(log)
    log.close()


def test_a_log_that_is_closed_says_so_and_closes_twice(place):
    log = SqliteLog(place)
    log.close()
    log.close()
    with pytest.raises(LogError, match="is closed"):
        log.read("t")


def test_another_program_that_has_the_file_open_is_told(place):
    other = sqlite3.connect(place / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LogError, match="database is locked") as caught:
        SqliteLog(place)
    assert "end the program" in caught.value.remedy
    other.close()
    SqliteLog(place).close()


def test_a_link_of_ones_own_is_followed_and_one_of_anothers_is_not(place, tmp_path, monkeypatch):
    link = tmp_path / "link"
    link.symlink_to(place)
    log = SqliteLog(link)
    assert len(values(log)) == 10
    log.close()
    anothers(link, monkeypatch)
    with pytest.raises(SettingsError, match="a link of another user"):
        SqliteLog(link)


def test_whether_a_directory_holds_a_log_is_seen_without_opening_it(place, tmp_path):
    assert holds_log(place)
    assert not holds_log(tmp_path)
    assert not (tmp_path / FILE).exists()


CHILD = """
import sys
from pathlib import Path
from processor.connectors.memory.group import MemberToken
from processor.connectors.sqlite.log import SqliteLog
from processor.model.log import Committed, Membership, Output, TopicPartition

log = SqliteLog(Path(sys.argv[1]))
log.create({"t": 2})
producer = log.producer("p")
producer.start(0)
nobody = Membership(-1, frozenset(), MemberToken("g", "", 0))
at = {TopicPartition("t", 0): Committed(0, "")} | log.committed("g", "t")
number = at[TopicPartition("t", 0)].offset
while True:
    number += 1
    producer.begin()
    for partition in (0, 1):
        producer.produce(Output("t", [b"%d" % number] * 20, partition=partition))
    producer.send_offsets({TopicPartition("t", 0): Committed(number, "m")}, nobody, 0)
    producer.commit(0)
    print(number, flush=True)
"""


def test_sigkill_at_any_moment_leaves_whole_transactions_and_all_that_were_told(tmp_path):
    place, pick = tmp_path / "data", random.Random(17)
    told = 0
    for _ in range(8):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(place)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for _ in range(pick.randrange(1, 60)):
            told = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().split()
        told = int(rest[-1]) if rest else told
        child.wait()
        child.stdout.close()
        log = SqliteLog(place)
        last = log.committed("g", "t")[TP0].offset
        assert last >= told
        for partition in (0, 1):
            found = [int(m.value()) for m in log.read("t") if m.partition() == partition]
            assert found == [n for n in range(1, last + 1) for _ in range(20)]
        log.close()
