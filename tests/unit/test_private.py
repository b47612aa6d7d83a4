from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from processor.errors import SettingsError
from processor.private import PrivateDirectory
from tests.unit.others import anothers, mode


def opened(path, **options):
    return PrivateDirectory(path, remedy="what to do", **options)


@pytest.fixture
def place(tmp_path):
    with opened(tmp_path / "place") as made:
        yield made


@pytest.fixture
def open_to_all():
    """Makes files and directories that everybody may read and write, as without a umask."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_it_is_made_with_its_parents_for_its_user_alone(tmp_path, open_to_all):
    path = tmp_path / "a" / "b" / "c"
    with opened(path) as directory:
        assert not directory.tightened
        os.close(directory.file("f"))
    assert [mode(each) for each in (path, path.parent, path.parent.parent)] == [0o700] * 3
    assert mode(path / "f") == 0o600
    opened(path).close()  # it is there by now


@pytest.mark.parametrize("rights", [0o777, 0o755, 0o710, 0o701])
def test_one_that_others_have_rights_in_is_refused_or_tightened(tmp_path, rights):
    path = tmp_path / "place"
    path.mkdir()
    path.chmod(rights)
    with pytest.raises(SettingsError, match=f"other users have rights in it .mode 0{rights:o}"):
        opened(path)
    assert mode(path) == rights
    with opened(path, tighten=True) as directory:
        assert directory.tightened
    assert mode(path) == 0o700


@pytest.mark.parametrize("tighten", [False, True])
def test_one_of_another_user_is_refused(tmp_path, monkeypatch, tighten):
    path = tmp_path / "place"
    path.mkdir(mode=0o700)
    anothers(path, monkeypatch)
    with pytest.raises(SettingsError, match=r"place cannot be used: it is of another user") as why:
        opened(path, tighten=tighten)
    assert why.value.remedy == "what to do"


def test_a_link_is_refused_wherever_it_leads(tmp_path):
    (tmp_path / "mine").mkdir(mode=0o700)
    for name, target in (("good", "mine"), ("nowhere", "none")):
        (tmp_path / name).symlink_to(target)
        with pytest.raises(SettingsError, match=f"{name} cannot be used: it is a link"):
            opened(tmp_path / name)
    assert not (tmp_path / "none").exists()


def test_what_is_no_directory_or_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SettingsError, match="Not a directory"):
            opened(path)


def test_a_file_keeps_what_it_holds_unless_it_is_to_be_empty(place):
    path = place.path / "f"
    path.write_text("held")
    path.chmod(0o666)
    os.close(place.file("f"))
    assert (path.read_text(), mode(path)) == ("held", 0o600)
    os.close(place.file("f", empty=True))
    assert path.read_text() == ""


def test_a_link_to_a_file_is_not_followed(place, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("dear")
    (place.path / "soft").symlink_to(victim)
    (place.path / "hard").hardlink_to(victim)
    (place.path / "dangling").symlink_to(tmp_path / "none")
    for name, why in (("soft", "a link"), ("hard", "a hard link"), ("dangling", "a link")):
        with pytest.raises(SettingsError, match=f"{name} cannot be used: .*{why}"):
            place.file(name, empty=True)
    assert victim.read_text() == "dear"
    assert not (tmp_path / "none").exists()


def test_what_is_no_file_of_ours_is_refused_without_a_wait(place, monkeypatch):
    os.mkfifo(place.path / "pipe")
    (place.path / "directory").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(place.path / "socket"))
    (place.path / "theirs").touch()
    for name in ("pipe", "directory", "socket"):
        with pytest.raises(SettingsError, match=f"{name} cannot be used"):
            place.file(name)
    anothers(place.path / "theirs", monkeypatch)
    with pytest.raises(SettingsError, match="theirs cannot be used: it is of another user"):
        place.file("theirs")


def test_what_is_put_in_its_place_afterwards_is_not_reached(place, tmp_path):
    victim = tmp_path / "theirs"
    victim.mkdir()
    (victim / "f").write_text("dear")
    place.path.rename(tmp_path / "away")
    place.path.symlink_to(victim)
    os.close(place.file("f", empty=True))
    assert (victim / "f").read_text() == "dear"
    assert (tmp_path / "away" / "f").read_text() == ""


def test_files_of_an_earlier_run_are_tightened_and_only_those_that_are_named(place, open_to_all):
    inside = place.path / "kept" / "deep" / "file"
    inside.parent.mkdir(parents=True)
    inside.touch()
    (place.path / "other").touch()
    outside = place.path.parent / "outside"
    outside.touch()
    (place.path / "kept" / "link").symlink_to(outside)
    assert place.tighten(["none", "kept"])
    assert [mode(p) for p in (inside, inside.parent, inside.parent.parent)] == [0o600, 0o700, 0o700]
    assert (mode(place.path / "other"), mode(outside)) == (0o666, 0o666)
    assert not place.tighten(["none", "kept"])


def test_what_is_another_users_is_not_tightened(place, monkeypatch, open_to_all):
    (place.path / "theirs").touch()
    anothers(place.path / "theirs", monkeypatch)
    assert not place.tighten(["theirs"])
    assert mode(place.path / "theirs") == 0o666


def test_nothing_stays_open(tmp_path):
    now_open = Path("/proc/self/fd")
    if not now_open.is_dir():
        pytest.skip("open files cannot be counted here")
    before = len(list(now_open.iterdir()))
    path = tmp_path / "place"
    for _ in range(3):
        with opened(path) as directory:
            os.close(directory.file("f"))
            (path / "link").symlink_to("f")
            with pytest.raises(SettingsError):
                directory.file("link")
            directory.tighten(["f", "link"])
            (path / "link").unlink()
        path.chmod(0o755)
        with pytest.raises(SettingsError):
            opened(path)
        path.chmod(0o700)
    assert len(list(now_open.iterdir())) == before
