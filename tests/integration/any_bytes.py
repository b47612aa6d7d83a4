"""Sends records whose headers have names of any bytes, which the Python client does not.

The C library that the Python client brings along does: it is called in the client's place.
"""

from __future__ import annotations

import ctypes

from confluent_kafka import cimpl

LIMIT_MS = 30_000
# Kinds of arguments, as the library's header file numbers them.
TOPIC, PARTITION, VALUE, KEY, FLAGS, HEADERS = 1, 3, 4, 5, 7, 10
COPY = 2
PRODUCER = 0


class _Memory(ctypes.Structure):
    _fields_ = (("at", ctypes.c_char_p), ("size", ctypes.c_size_t))


class _Any(ctypes.Union):
    _fields_ = (
        ("text", ctypes.c_char_p),
        ("number", ctypes.c_int32),
        ("memory", _Memory),
        ("pointer", ctypes.c_void_p),
        ("room", ctypes.c_char * 64),
    )


class _Argument(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_int), ("value", _Any))


def _library():
    # Names are looked up in what the extension is linked with too.
    library = ctypes.CDLL(cimpl.__file__)
    pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
    for name, answer, *arguments in (
        ("conf_new", pointer),
        ("conf_set", ctypes.c_int, pointer, text, text, text, size),
        ("new", pointer, ctypes.c_int, pointer, text, size),
        ("headers_new", pointer, size),
        ("header_add", ctypes.c_int, pointer, text, ctypes.c_ssize_t, text, ctypes.c_ssize_t),
        ("produceva", pointer, pointer, ctypes.POINTER(_Argument), size),
        ("flush", ctypes.c_int, pointer, ctypes.c_int),
        ("outq_len", ctypes.c_int, pointer),
        ("destroy", None, pointer),
    ):  # fmt: skip
        function = getattr(library, f"rd_kafka_{name}")
        function.restype, function.argtypes = answer, arguments
    return library


class Sender:
    """Sends records one by one, until the ``with`` block ends; they are on the broker then."""

    def __init__(self, bootstrap_servers):
        self._library = _library()
        problem = ctypes.create_string_buffer(512)
        settings = self._library.rd_kafka_conf_new()
        for name, value in (("bootstrap.servers", bootstrap_servers), ("log_level", "2")):
            assert not self._library.rd_kafka_conf_set(
                settings, name.encode(), value.encode(), problem, len(problem)
            ), problem.value
        self._client = self._library.rd_kafka_new(PRODUCER, settings, problem, len(problem))
        assert self._client, problem.value

    def send(self, topic, value, *, key=None, partition=0, headers=()):
        """One record; names and values of headers are bytes."""
        added = self._library.rd_kafka_headers_new(len(headers))
        for name, content in headers:
            size = -1 if content is None else len(content)
            assert not self._library.rd_kafka_header_add(added, name, len(name), content, size)
        arguments = (_Argument * 6)()
        for i, kind in enumerate((TOPIC, PARTITION, FLAGS, HEADERS, VALUE, KEY)):
            arguments[i].kind = kind
        arguments[0].value.text = topic.encode()
        arguments[1].value.number = partition
        arguments[2].value.number = COPY
        arguments[3].value.pointer = added
        for argument, content in ((arguments[4], value), (arguments[5], key)):
            argument.value.memory = _Memory(content, len(content or b""))
        assert self._library.rd_kafka_produceva(self._client, arguments, 6) is None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._library.rd_kafka_flush(self._client, LIMIT_MS)
        left = self._library.rd_kafka_outq_len(self._client)
        self._library.rd_kafka_destroy(self._client)
        assert left == 0
