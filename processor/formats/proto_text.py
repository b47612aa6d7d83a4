r"""The text of a ``.proto`` file, read into the descriptor that the compiler would make of it.

Clients in Java register schemas as text, and some registries give it back as it came. What says how
a message lies in bytes is read: packages, imports, messages, enumerations, fields, choices, maps.
Options, extensions and services say nothing of it and are passed over. Names of types are left as
they are written: the pool of descriptors finds what they mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from processor.formats.needs import needed

_TOKEN: Final = re.compile(
    r"""\s+ | //[^\n]* | /\*.*?\*/
    | (?P<text>"(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*')
    | (?P<word>\.?[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)* | \d[\w.]*(?:(?<=[eE])[+-]\d+)? | \.\d\w*)
    | (?P<sign>[{}\[\]()<>=;,:+\-/])
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_NAME: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_TYPE: Final = re.compile(r"\.?[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
_SCALARS: Final = (
    "double", "float", "int64", "uint64", "int32", "fixed64", "fixed32", "bool", "string", "bytes",
    "uint32", "sfixed32", "sfixed64", "sint32", "sint64",
)  # fmt: skip
_CLOSING: Final = {"{": "}", "[": "]", "(": ")", "<": ">"}
_DEEP_MAX: Final = 32


def file_of(text: str) -> Any:
    """The descriptor of a file, without a name; raises `ValueError` where it is none.

    >>> file = file_of('syntax = "proto3"; package shop; message Line { repeated Sku sku = 1; }')
    >>> file.package, file.message_type[0].field[0].type_name
    ('shop', 'Sku')
    >>> file_of("message Line { string sku = ; }")
    Traceback (most recent call last):
    ValueError: its schema is no .proto file: in line 1 a number is missing before ';'
    """
    return _Reader(text).file()


class _Reader:
    def __init__(self, text: str) -> None:
        self._types = needed("google.protobuf.descriptor_pb2", "Protobuf", "")
        self._labels = self._types.FieldDescriptorProto
        self._text = text
        self._tokens = list(_tokens(text))
        self._at = 0
        self._proto3 = False

    def file(self) -> Any:
        """The whole of it."""
        made = self._types.FileDescriptorProto()
        while (word := self._next()) is not None:
            if word == "syntax":
                self._syntax(made)
            elif word == "edition":
                raise self._wrong("is an edition, of which the meaning is not known here")
            elif word == "package":
                made.package = self._match(_TYPE, "a name")
                self._take(";")
            elif word == "import":
                self._import(made)
            else:
                self._definition(word, made, made.message_type)
        return made

    def _syntax(self, made: Any) -> None:
        self._take("=")
        word = self._string()
        if word not in ("proto2", "proto3"):
            raise self._wrong(f"is {word!r}, of which the meaning is not known here")
        made.syntax = word
        self._proto3 = word == "proto3"
        self._take(";")

    def _import(self, made: Any) -> None:
        if self._peek() in ("public", "weak") and self._next() == "public":
            made.public_dependency.append(len(made.dependency))
        made.dependency.append(self._string())
        self._take(";")

    def _definition(self, word: str, made: Any, messages: Any, deep: int = 0) -> None:
        """What may stand in a file and in a message alike."""
        if word == "message":
            self._message(messages.add(name=self._match(_NAME, "a name")), deep)
        elif word == "enum":
            self._enum(made.enum_type.add(name=self._match(_NAME, "a name")))
        elif word in ("extend", "service"):
            self._past("{")
            self._past_group("{")
        elif word == "option":
            self._option(made)
        elif word != ";":
            raise self._wrong(f"is {word!r}, which has no meaning there")

    def _option(self, made: Any) -> None:
        """Passed over, but for the two that a descriptor is not whole without."""
        name = self._peek()
        start = self._at
        self._past(";")
        if name in ("map_entry", "allow_alias") and self._tokens[start + 2][0] == "true":
            setattr(made.options, name, True)

    def _message(self, made: Any, deep: int) -> None:
        if deep > _DEEP_MAX:
            raise self._wrong("is a message too deep within others")
        self._take("{")
        while (word := self._token()) != "}":
            if word in ("reserved", "extensions"):
                self._past(";")
            elif word in ("message", "enum", "extend", "option", ";"):
                self._definition(word, made, made.nested_type, deep + 1)
            elif word == "oneof":
                self._oneof(made)
            elif word == "map" and self._peek() == "<":
                self._map(made)
            else:
                self._labelled(made, word)
        # A field that may be absent is a choice of its own, behind all that are written.
        for field in made.field:
            if field.proto3_optional:
                field.oneof_index = len(made.oneof_decl)
                made.oneof_decl.add(name=f"_{field.name}")

    def _labelled(self, made: Any, word: str) -> None:
        if word not in ("optional", "required", "repeated"):
            self._field(made, word)
            return
        field = self._field(made, self._token())
        field.label = getattr(self._labels, f"LABEL_{word.upper()}")
        if self._proto3 and word == "optional":
            field.proto3_optional = True

    def _field(self, made: Any, kind: str) -> Any:
        if kind == "group" or not _TYPE.fullmatch(kind):
            raise self._wrong(f"is {kind!r}, which is no type that is known here")
        field = made.field.add(name=self._match(_NAME, "a name"), label=self._labels.LABEL_OPTIONAL)
        self._typed(field, kind)
        self._numbered(field)
        return field

    def _typed(self, field: Any, kind: str) -> None:
        if kind in _SCALARS:
            field.type = getattr(self._labels, f"TYPE_{kind.upper()}")
        else:
            field.type_name = kind

    def _numbered(self, field: Any) -> None:
        self._take("=")
        field.number = self._integer(1, 2**29 - 1)
        self._ended()

    def _oneof(self, made: Any) -> None:
        index = len(made.oneof_decl)
        made.oneof_decl.add(name=self._match(_NAME, "a name"))
        self._take("{")
        while (word := self._token()) != "}":
            if word == "option":
                self._past(";")
            elif word != ";":
                self._field(made, word).oneof_index = index

    def _map(self, made: Any) -> None:
        self._take("<")
        key = self._match(_TYPE, "a type")
        self._take(",")
        value = self._match(_TYPE, "a type")
        self._take(">")
        field = made.field.add(name=self._match(_NAME, "a name"), label=self._labels.LABEL_REPEATED)
        # As the compiler names the message that a map's entries are.
        words = field.name.split("_")
        entry = made.nested_type.add(
            name="".join(word[:1].upper() + word[1:] for word in words) + "Entry"
        )
        entry.options.map_entry = True
        for number, (name, kind) in enumerate((("key", key), ("value", value)), 1):
            part = entry.field.add(name=name, number=number, label=self._labels.LABEL_OPTIONAL)
            self._typed(part, kind)
        field.type_name = entry.name
        self._numbered(field)

    def _enum(self, made: Any) -> None:
        self._take("{")
        while (word := self._token()) != "}":
            if word == "reserved":
                self._past(";")
            elif word == "option":
                self._option(made)
            elif word != ";":
                if not _NAME.fullmatch(word):
                    raise self._wrong(f"is {word!r}, which is no name")
                self._take("=")
                made.value.add(name=word, number=self._integer(-(2**31), 2**31 - 1))
                self._ended()

    def _ended(self) -> None:
        """The end of a field, before which there may be options in brackets."""
        if self._peek() == "[":
            self._past_group(self._token())
        self._take(";")

    # Tokens, and what is expected of them.

    def _peek(self) -> str | None:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else None

    def _next(self) -> str | None:
        word = self._peek()
        self._at += 1
        return word

    def _token(self) -> str:
        word = self._next()
        if word is None:
            raise ValueError("its schema is no .proto file: it ends too early")
        return word

    def _take(self, wanted: str) -> None:
        if (word := self._token()) != wanted:
            raise self._wrong(f"{wanted!r} is missing before {word!r}", "")

    def _match(self, pattern: re.Pattern[str], what: str) -> str:
        word = self._token()
        if not pattern.fullmatch(word):
            raise self._wrong(f"{what} is missing before {word!r}", "")
        return word

    def _string(self) -> str:
        word = self._token()
        if word[0] not in "\"'":
            raise self._wrong(f"a text is missing before {word!r}", "")
        return word[1:-1]

    def _integer(self, least: int, most: int) -> int:
        word = self._token()
        sign = -1 if word == "-" else 1
        digits = self._token() if word == "-" else word
        try:
            octal = len(digits) > 1 and digits.isdigit() and digits[0] == "0"
            number = sign * int(digits, 8 if octal else 0)
        except ValueError:
            raise self._wrong(f"a number is missing before {digits!r}", "") from None
        if not least <= number <= most:
            raise self._wrong(f"is the number {number}, which cannot be there")
        return number

    def _past(self, wanted: str) -> None:
        """Go on behind the next such sign that is in no brackets."""
        while (word := self._token()) != wanted:
            if word in _CLOSING:
                self._past_group(word)

    def _past_group(self, opened: str) -> None:
        waiting = [_CLOSING[opened]]
        while waiting:
            word = self._token()
            if word in ("{", "[", "("):
                waiting.append(_CLOSING[word])
            elif word == waiting[-1]:
                waiting.pop()

    def _wrong(self, what: str, it: str = "there ") -> ValueError:
        line = 1 + self._text.count("\n", 0, self._tokens[min(self._at, len(self._tokens)) - 1][1])
        return ValueError(f"its schema is no .proto file: in line {line} {it}{what}")


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    """Words, texts and signs, each with where it begins."""
    at = 1 if text.startswith("\ufeff") else 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            line = 1 + text.count("\n", 0, at)
            raise ValueError(f"its schema is no .proto file: in line {line} there is {text[at]!r}")
        if found.lastgroup is not None:
            yield found[0], at
        at = found.end()
