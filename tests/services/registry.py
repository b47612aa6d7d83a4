"""A schema registry over HTTP, small and in this process: the part of the API that clients use.

It can be stopped and come back with what it had, be slow, answer with an error, and forget.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import uuid
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from tests.services.handle import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

_SUBJECT, _VERSION, _SCHEMA = 40401, 40402, 40403


class Refusal(Exception):  # noqa: N818 - an answer, not a fault of ours
    def __init__(self, status: int, code: int, message: str) -> None:
        self.status, self.body = status, {"error_code": code, "message": message}


class SchemaRegistry:
    """``url`` is where it is; ``asked`` has every request, ``failing`` the status it answers with.

    Args:
        credentials: ``user:password``, which it asks for then; or ``Bearer token``.
    """

    def __init__(self, credentials: str = "") -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.credentials = credentials
        self.schemas: dict[int, dict[str, Any]] = {}
        self.subjects: dict[str, dict[int, int]] = {}
        self.asked: list[str] = []
        self.failing: int | None = None
        self.compatible = True
        self.answer = threading.Event()
        self.answer.set()
        self._server: ThreadingHTTPServer | None = None
        self.start()

    def start(self) -> None:
        """Answer, with what there was before."""
        registry = self

        class Handler(_Handler):
            owner = registry

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Take connections and give no answer, until it is left."""
        self.answer.clear()
        try:
            yield
        finally:
            self.answer.set()

    def register(self, subject: str, text: str, kind: str = "AVRO", references: Any = ()) -> int:
        """A schema's number under a subject."""
        schema = {"schema": text, "schemaType": kind, "references": list(references)}
        number = next((n for n, s in self.schemas.items() if _same(s, schema)), None)
        if number is None:
            number = max(self.schemas, default=0) + 1
            self.schemas[number] = schema | {"guid": str(uuid.UUID(int=number))}
        versions = self.subjects.setdefault(subject, {})
        if number not in versions.values():
            versions[max(versions, default=0) + 1] = number
        return number

    def delete(self, subject: str) -> None:
        """A subject and its schemas are gone for good."""
        for number in self.subjects.pop(subject).values():
            self.schemas.pop(number, None)

    def version(self, subject: str, version: str) -> dict[str, Any]:
        versions = self._versions(subject)
        number = max(versions) if version == "latest" else int(version)
        if number not in versions:
            raise Refusal(404, _VERSION, f"Version {version} not found.")
        return self._told(subject, number)

    def look_up(self, subject: str, body: dict[str, Any]) -> dict[str, Any]:
        for version, number in self._versions(subject).items():
            if _same(self.schemas[number], body):
                return self._told(subject, version)
        raise Refusal(404, _SCHEMA, "Schema not found")

    def schema(self, number: int) -> dict[str, Any]:
        if number not in self.schemas:
            raise Refusal(404, _SCHEMA, f"Schema {number} not found")
        return self.schemas[number]

    def by_guid(self, guid: str) -> dict[str, Any]:
        return next(
            (s | {"id": n} for n, s in self.schemas.items() if s["guid"] == guid), None
        ) or self.schema(-1)

    def _versions(self, subject: str) -> dict[int, int]:
        if subject not in self.subjects:
            raise Refusal(404, _SUBJECT, f"Subject '{subject}' not found.")
        return self.subjects[subject]

    def _told(self, subject: str, version: int) -> dict[str, Any]:
        number = self.subjects[subject][version]
        return self.schemas[number] | {"subject": subject, "version": version, "id": number}


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    def form(schema: dict[str, Any]) -> Any:
        kind, text = schema.get("schemaType") or "AVRO", schema["schema"]
        content = text if kind == "PROTOBUF" else json.loads(text)
        return kind, content, schema.get("references") or []

    return form(one) == form(other)


class _Handler(BaseHTTPRequestHandler):
    owner: SchemaRegistry

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body: Any) -> None:
        owner, path = self.owner, unquote(self.path.partition("?")[0])
        owner.asked.append(f"{self.command} {path}")
        owner.answer.wait()
        try:
            if owner.failing is not None:
                raise Refusal(owner.failing, -1, "on purpose")
            self._check()
            status, found = 200, self._found(path, body)
        except Refusal as refusal:
            status, found = refusal.status, refusal.body
        text = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        with suppress(ConnectionError):  # who was waiting has gone
            self.wfile.write(text)

    def _check(self) -> None:
        wanted = self.owner.credentials
        if not wanted:
            return
        if not wanted.startswith("Bearer "):
            wanted = f"Basic {base64.b64encode(wanted.encode()).decode()}"
        if self.headers.get("Authorization") != wanted:
            raise Refusal(401, 40101, "Unauthorized")

    def _found(self, path: str, body: Any) -> Any:
        owner = self.owner
        if match := re.fullmatch(r"/schemas/ids/(\d+)", path):
            return owner.schema(int(match[1]))
        if match := re.fullmatch(r"/schemas/guids/(.+)", path):
            return owner.by_guid(match[1])
        if match := re.fullmatch(r"/subjects/(.+)/versions", path):
            if body is None:
                return sorted(owner._versions(match[1]))
            if not owner.compatible:
                raise Refusal(409, 409, "Schema being registered is incompatible")
            kind = body.get("schemaType") or "AVRO"
            refs = body.get("references") or ()
            owner.register(match[1], body["schema"], kind, refs)
            return owner.look_up(match[1], body)
        if match := re.fullmatch(r"/subjects/(.+)/versions/(\w+)", path):
            return owner.version(match[1], match[2])
        if match := re.fullmatch(r"/subjects/(.+)", path):
            return owner.look_up(match[1], body)
        if match := re.fullmatch(r"/compatibility/subjects/(.+)/versions/latest", path):
            owner.version(match[1], "latest")
            return {"is_compatible": owner.compatible}
        raise Refusal(404, 404, f"HTTP 404 Not Found: {path}")

    def log_message(self, *args: Any) -> None:
        """Nothing: `asked` has it."""
