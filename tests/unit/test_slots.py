from __future__ import annotations

import fcntl
import os
import threading

import pytest

from processor import slots
from processor.errors import SettingsError
from processor.slots import Slot
from tests.unit.others import anothers, mode


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    monkeypatch.setattr(slots.tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path / f"processor-{os.geteuid()}"


def test_a_slot_is_a_workers_own_and_is_taken_over():
    first, second = Slot("rides", "host"), Slot("rides", "host")
    assert (first.instance, second.instance) == ("rides.host-0", "rides.host-1")
    other = Slot("other", "host")
    assert other.instance == "other.host-0"
    first.close()
    first.close()
    again = Slot("rides", "host")
    assert again.instance == "rides.host-0"
    for slot in (second, other, again):
        slot.close()


def test_slots_of_many_threads_differ():
    found, barrier = [], threading.Barrier(8)

    def take():
        barrier.wait()
        found.append(Slot("rides", "host"))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(slot.instance for slot in found) == [f"rides.host-{i}" for i in range(8)]
    for slot in found:
        slot.close()


def test_its_files_are_for_its_user_alone(directory):
    slot = Slot("rides", None)
    slot.close()
    (file,) = directory.iterdir()
    assert file.name == f"{slot.instance}.slot"
    assert (mode(directory), mode(file)) == (0o700, 0o600)


def test_a_link_in_a_slots_place_is_refused_and_empties_nothing(directory, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("dear")
    directory.mkdir(mode=0o700)
    (directory / "rides.host-0.slot").symlink_to(victim)
    with pytest.raises(SettingsError, match=r"rides.host-0.slot cannot be used: it is a link"):
        Slot("rides", "host")
    assert victim.read_text() == "dear"


def test_a_directory_that_others_have_rights_in_is_refused_with_a_remedy(directory):
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(SettingsError, match="other users have rights in it") as raised:
        Slot("rides", "host")
    assert "chmod 700" in raised.value.remedy
    assert "TMPDIR" in raised.value.remedy


def test_a_directory_that_another_user_made_or_linked_is_refused(directory, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    directory.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match="it is a link"):
        Slot("rides", "host")
    assert not list((tmp_path / "elsewhere").iterdir())
    directory.unlink()
    directory.mkdir(mode=0o700)
    anothers(directory, monkeypatch)
    monkeypatch.setattr(slots.tempfile, "gettempdir", lambda: str(tmp_path))
    if os.geteuid() == 4242:
        directory.rename(tmp_path / "processor-4242")
    with pytest.raises(SettingsError, match="it is of another user"):
        Slot("rides", "host")


@pytest.mark.parametrize("app", ["../../out", "a/b", "/abs", "..", "a\0b", "ä" * 300, "x" * 5000])
def test_no_application_id_leads_elsewhere(directory, tmp_path, app):
    slot = Slot(app, "host")
    assert slot.instance == f"{app}.host-0"
    assert [path.name for path in tmp_path.iterdir()] == [directory.name]
    assert len(list(directory.iterdir())) == 1
    other = Slot(app, "host")
    assert other.instance == f"{app}.host-1"
    for each in (slot, other):
        each.close()


def test_a_worker_of_an_earlier_version_has_the_same_slot(directory):
    directory.mkdir(mode=0o700)
    with (directory / "rides.host-0.slot").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        slot = Slot("rides", "host")
        assert slot.instance == "rides.host-1"
        slot.close()
