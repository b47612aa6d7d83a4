from __future__ import annotations

import ctypes
from itertools import pairwise

import pytest

from processor.model.headers import UNREADABLE, headers_of

# As the client makes them: a slot of a new tuple is empty until something is put there.
_tuple = ctypes.pythonapi.PyTuple_New
_tuple.restype, _tuple.argtypes = ctypes.py_object, (ctypes.c_ssize_t,)
_put = ctypes.pythonapi.PyTuple_SetItem
_put.argtypes = (ctypes.c_void_p, ctypes.c_ssize_t, ctypes.py_object)
_keep = ctypes.pythonapi.Py_IncRef
_keep.argtypes = (ctypes.py_object,)


def nameless(value):
    """A header whose name the client could not read."""
    made = _tuple(2)
    _keep(value)  # the tuple takes over a reference
    _put(id(made), 1, value)
    return made


def not_utf8(name):
    try:
        name.decode()
    except UnicodeDecodeError as error:
        return error


def chained(*causes):
    for error, cause in pairwise(causes):
        error.__cause__ = cause
    return causes[0]


class Client:
    """A message of the client: the first call fails, later ones give what it kept."""

    def __init__(self, error, kept):
        self.error, self.kept = error, kept

    def headers(self):
        error, self.error = self.error, None
        if error is not None:
            raise error
        return self.kept

    def set_headers(self, headers):
        self.kept = headers


class Bare:
    """A message that cannot be given headers, and that fails each time."""

    def headers(self):
        raise SystemError("no reason")


def test_headers_that_can_be_read_are_what_the_client_gives():
    given = [("a", b"1"), ("a", None), ("", b"\xff")]
    assert headers_of(Client(None, given)) is given
    assert headers_of(Client(None, None)) == ()
    assert headers_of(Client(None, [])) == []


@pytest.mark.parametrize(
    "error",
    [
        not_utf8(b"\xffname"),
        chained(SystemError("set"), not_utf8(b"\xffname")),
        chained(SystemError("set"), SystemError("set again"), not_utf8(b"\xffname")),
    ],
)
def test_those_that_can_be_read_are_kept_and_the_rest_is_told(error):
    message = Client(error, [("a", b"1"), nameless(b"2"), ("c", None), nameless(None)])
    told = (UNREADABLE, b"2 of 4 headers left out: the name b'\\xffname' is not UTF-8")
    assert headers_of(message) == [("a", b"1"), ("c", None), told]
    # What the message is left with is safe for everybody.
    assert message.headers() == headers_of(message) == [("a", b"1"), ("c", None), told]


def test_a_list_that_somebody_else_came_upon_before_is_safe_too():
    message = Client(None, [nameless(b"2"), ("b", b"3")])
    (kept, told) = headers_of(message)
    assert kept == ("b", b"3")
    assert told[0] == UNREADABLE
    assert told[1].startswith(b"1 of 2 headers left out")


def test_a_client_that_gives_nothing_at_all_is_told_too():
    assert headers_of(Bare()) == [(UNREADABLE, b"all headers left out: no reason")]


def test_a_long_name_is_shown_in_part():
    message = Client(not_utf8(b"\xff" + b"n" * 5000), [nameless(b"")])
    ((_, told),) = headers_of(message)
    assert len(told) < 150
