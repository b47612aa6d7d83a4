from __future__ import annotations

from dataclasses import replace

import pytest

from processor.errors import StateMismatchError
from processor.model.manifest import LENGTH_MAX, Intent, Manifest

FULL = Manifest(7, "a1b2", "ca" * 16, "3:ffee:" + "ca" * 16, -5, "f00d" * 4, 4, "rides.0")


@pytest.mark.parametrize(
    "manifest",
    [
        FULL,
        Manifest(0, "", "", "", None, "stateless", 1, "a.b-c_d.0"),
        Manifest(2**62, "aa", "", "", 0, "stateless", 4096, "x"),
        Manifest(1, "aa", "", "", 0, "stateless", 4, "x", files=("d@1.2.ab",), former=2),
    ],
)
def test_a_manifest_comes_back_as_it_went(manifest: Manifest) -> None:
    assert Manifest.parse(str(manifest)) == manifest


def test_a_manifest_fits_where_kafka_keeps_it() -> None:
    longest = Manifest(2**63, "f" * 64, "f" * 64, "f" * 99, -(2**63), "f" * 16, 10**6, "t" * 300)
    assert len(str(longest)) < LENGTH_MAX


@pytest.mark.parametrize(
    "text", ["", "hello", "2;" + str(FULL)[2:], str(FULL) + ";1;1;x;1;f;1,1,p;y;1;z", "1;2"]
)
def test_what_is_no_manifest_of_this_format_is_refused(text: str) -> None:
    with pytest.raises(StateMismatchError, match="no manifest of format 1") as caught:
        Manifest.parse(text)
    assert caught.value.remedy


@pytest.mark.parametrize("text", [str(FULL).replace("1;7;", "1;seven;"), f"{FULL};x"])
def test_a_damaged_manifest_is_refused(text: str) -> None:
    with pytest.raises(StateMismatchError, match="is damaged"):
        Manifest.parse(text)


def test_that_the_watermark_was_set_back_comes_back_as_it_went_and_is_told_only_then() -> None:
    manifest = Manifest(7, "a1b2", "cafe", "", 5, "f00d", 4, "rides.0")
    assert len(str(manifest).split(";")) == 16
    back = replace(manifest, rewound=7)
    assert str(back) == f"{manifest};7"
    assert Manifest.parse(str(back)) == back
    with pytest.raises(StateMismatchError):
        Manifest.parse(f"{back};1;1;1;1;1;1;1")


def test_the_stages_that_rows_were_handed_on_to_come_back_and_are_told_only_where_there_are_some():
    manifest = Manifest(7, "a1b2", "cafe", "", 5, "f00d", 4, "rides.0")
    handed = replace(manifest, stages=("rides.by-user", "rides.all"))
    assert str(handed) == f"{manifest};0;0;rides.by-user,rides.all"
    assert Manifest.parse(str(handed)) == handed


def test_the_place_of_a_feed_comes_back_as_it_went_whatever_is_in_it() -> None:
    manifest = Manifest(7, "a1b2", "", "", None, "feed-files", 1, "rides.0")
    placed = replace(manifest, place='{"f": "a;b,c -%3B \u00e4\u4e2d.csv", "n": 7}')
    assert str(placed).isascii()
    assert Manifest.parse(str(placed)) == placed
    assert str(replace(placed, place="")) == str(manifest)


def test_that_a_partition_is_idle_comes_back_as_it_went_and_is_told_only_then() -> None:
    manifest = Manifest(7, "a1b2", "cafe", "", 5, "f00d", 4, "rides.0")
    idle = replace(manifest, idle=True)
    assert str(idle) == f"{manifest};0;1"
    assert Manifest.parse(str(idle)) == idle
    assert not Manifest.parse(str(manifest)).idle


def test_what_sinks_outside_rest_on_comes_back_and_is_told_only_where_there_are_some() -> None:
    manifest = Manifest(7, "a1b2", "cafe", "", 5, "f00d", 4, "rides.0")
    for one, tail in (
        (replace(manifest, life=3), ";0;0;-;3"),
        (replace(manifest, files=("aa", "bb")), ";0;0;-;0;aa,bb"),
        (replace(manifest, intent=Intent(9, 4, "ab")), ";0;0;-;0;-;9,4,ab"),
        (replace(manifest, life=3, stages=("x",), rewound=2), ";2;0;x;3"),
    ):
        assert str(one) == f"{manifest}{tail}"
        assert Manifest.parse(str(one)) == one
    assert Manifest.parse(str(manifest)).life == 0
    assert Manifest.parse(str(manifest)).intent is None
