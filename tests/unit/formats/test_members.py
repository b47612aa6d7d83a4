from __future__ import annotations

import json
import re

import pytest

from processor.formats.members import REWRITTEN, as_text, members, never_rewritten, rewritten

TEXT = """ {"a" : 1.10,
 "b":{"c": [1, 2.0, "}"]} ,"a":2,"\\u0064":"x\\"y", "e":null,"f":-0,"g":[ ]}"""


def test_members_are_what_stands_in_the_text_the_first_of_a_name() -> None:
    assert members(TEXT) == {
        "a": "1.10", "b": '{"c": [1, 2.0, "}"]}', "d": '"x\\"y"', "e": "null", "f": "-0",
        "g": "[ ]",
    }  # fmt: skip
    assert members("{}") == members(" { } ") == {}


def test_text_is_unquoted_and_all_else_is_as_it_stands() -> None:
    texts = {name: as_text(member) for name, member in members(TEXT).items()}
    assert texts == {
        "a": "1.10", "b": '{"c": [1, 2.0, "}"]}', "d": 'x"y', "e": None, "f": "-0", "g": "[ ]",
    }  # fmt: skip


@pytest.mark.parametrize("raw", ["1.10", "2.0", "1E5", "-0", "1e400", "[1.0]", '{"a": 1}'])
def test_a_member_that_the_parser_rewrites_is_found(raw: str) -> None:
    assert re.search(rewritten("s"), f'{{"x":1,"s" : {raw}}}')


@pytest.mark.parametrize("raw", ["1", "-12", "123456789012345678901234567890", '"1.10"', "true"])
def test_a_member_that_stays_as_it_is_costs_no_look(raw: str) -> None:
    assert not re.search(rewritten("s"), f'{{"x":1.5,"s":{raw},"y":[1]}}')


@pytest.mark.parametrize("name", ["a b", 'say "n"', "größe", "a.b*", "tab\t"])
def test_names_that_need_an_escape_are_found(name: str) -> None:
    for ascii_ in (True, False):
        assert re.search(rewritten(name), json.dumps({name: 1.5}, ensure_ascii=ascii_))


@pytest.mark.parametrize("text", ["1.1", "-0", "100000", "1e-07", "[1, 2]", '{"a": 1.1}'])
def test_what_the_parser_has_made_is_looked_at_again(text: str) -> None:
    assert re.search(REWRITTEN, text)
    assert not never_rewritten(text, text)
    assert not never_rewritten("A", text) or text < "A"


@pytest.mark.parametrize(("low", "high"), [("A1", "Z9"), ("a1", "z9"), ("_", "true")])
def test_words_are_not(low: str, high: str) -> None:
    assert never_rewritten(low, high)
