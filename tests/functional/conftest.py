"""A server on this computer that looks like a Hub and like a plain web server, and misbehaves as it is told."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

COMMIT = "c0ffee" * 6 + "c0ff"


@dataclass
class Asked:
    """A request as it came."""

    method: str
    path: str
    range: str | None
    token: str | None
    body: bytes = b""


@dataclass
class Fault:
    """What happens to one request instead: a ``status``, or a body that is cut ``after`` so many bytes, ``lies`` about its length by so
    many, has ``wrong`` bytes, comes ``slowly``, or leads to ``location``.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    after: int | None = None
    lies: int = 0
    wrong: bool = False
    slowly: bool = False
    location: str | None = None
    ignores_range: bool = False


class HubServer(ThreadingHTTPServer):
    """``files`` by path; ``faults`` by (method, part of the path), each used up by one request unless it stands in ``always``."""

    daemon_threads = True
    Fault = Fault
    COMMIT = COMMIT

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.models: dict[str, dict[str, bytes]] = {}
        self.faults: dict[tuple[str, str], list[Fault]] = {}
        self.always: dict[tuple[str, str], Fault] = {}
        self.asked: list[Asked] = []
        self.redirects_large_files = False
        self.stored: dict[str, bytes] = {}
        self.commits: list[list[dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def ranges(self, part: str) -> list[str | None]:
        """The Range of each GET of a path that holds ``part``."""
        return [one.range for one in self.asked if one.method == "GET" and part in one.path]

    def fault(self, method: str, path: str) -> Fault | None:
        for (kind, part), fault in self.always.items():
            if kind == method and part in path:
                return fault
        for (kind, part), faults in self.faults.items():
            if kind == method and part in path and faults:
                return faults.pop(0)
        return None


class Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        return

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_PUT(self) -> None:
        self.answer()

    def answer(self) -> None:
        body = self.body()
        path = self.path.partition("?")[0]
        if path == "/api/agent-harnesses":
            # Asked for by the client of the Hub, once a day, whatever is wanted from it.
            self.reply(404, b"{}")
            return
        self.server.asked.append(Asked(self.command, path, self.headers.get("Range"), self.headers.get("Authorization"), body))
        fault = self.server.fault(self.command, path)
        if fault is not None and fault.status is not None:
            self.reply(fault.status, b"{}", fault.headers)
        elif fault is not None and fault.location is not None:
            self.reply(302, b"", {"Location": fault.location})
        elif self.command in ("POST", "PUT"):
            self.write(path, body)
        elif path in self.server.files:
            self.give(self.server.files[path], {}, fault)
        elif path.startswith("/cdn/"):
            repo, name = path.removeprefix("/cdn/").rsplit("/", 1)
            self.give(self.server.models[repo][name], {}, fault)
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
            self.describe(match[1], match[2])
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.resolve(match[1], match[3], fault)
        else:
            self.reply(404, b"{}")

    def body(self) -> bytes:
        """What came with the request, in one piece or in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def describe(self, repo: str, revision: str | None) -> None:
        files = self.server.models.get(repo)
        if files is None:
            self.reply(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif revision not in (None, "main", "v2", COMMIT):
            self.reply(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        else:
            siblings = [{"rfilename": name, "size": len(content), **_lfs(name, content)} for name, content in files.items()]
            self.reply(200, json.dumps({"id": repo, "modelId": repo, "sha": COMMIT, "siblings": siblings, "private": False}).encode())

    def resolve(self, repo: str, name: str, fault: Fault | None) -> None:
        content = self.server.models.get(repo, {}).get(name)
        if content is None:
            self.reply(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        etag = hashlib.sha256(content).hexdigest()
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"'}
        if self.server.redirects_large_files and name.endswith(".safetensors"):
            headers |= {
                "X-Linked-Etag": f'"{etag}"',
                "X-Linked-Size": str(len(content)),
                "Location": f"http://localhost:{self.server.server_port}/cdn/{repo}/{name}",
            }
            self.reply(302, b"", headers)
        else:
            self.give(content, headers, fault)

    def give(self, content: bytes, headers: dict[str, str], fault: Fault | None) -> None:
        fault = fault or Fault()
        status, begin = 200, 0
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if asked and not fault.ignores_range:
            begin = int(asked[1])
            if begin >= len(content):
                self.reply(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                return
            status = 206
            headers = {**headers, "Content-Range": f"bytes {begin}-{len(content) - 1}/{len(content)}"}
        body = content[begin:]
        if fault.wrong:
            body = bytes([body[0] ^ 1]) + body[1:]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) + fault.lies))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if self.command == "HEAD":
            return
        with suppress(OSError):
            if fault.slowly:
                for byte in body:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.02)
            self.wfile.write(body[: fault.after])
            self.wfile.flush()
        if fault.after is not None or fault.lies:
            self.close_connection = True

    def write(self, path: str, body: bytes) -> None:
        """What an upload asks for: a repository, what is to be stored apart, the storing itself, and the commit."""
        if path == "/api/repos/create":
            values = json.loads(body)
            name = f"{values.get('organization') or 'me'}/{values['name']}"
            self.server.models.setdefault(name, {})
            self.reply(200, json.dumps({"url": f"{self.server.url}/{name}", "id": name}).encode())
        elif "/preupload/" in path:
            files = json.loads(body)["files"]
            modes = [
                {"path": one["path"], "uploadMode": "lfs" if one["path"].endswith(".safetensors") else "regular", "shouldIgnore": False}
                for one in files
            ]
            self.reply(200, json.dumps({"files": modes}).encode())
        elif path.endswith("/info/lfs/objects/batch"):
            objects = [
                {"oid": one["oid"], "size": one["size"], "actions": {"upload": {"href": f"{self.server.url}/store/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            answer = {"transfer": "basic", "objects": objects}
            self.reply(200, json.dumps(answer).encode(), {"Content-Type": "application/vnd.git-lfs+json"})
        elif path.startswith("/store/"):
            self.server.stored[path.removeprefix("/store/")] = body
            self.reply(200, b"")
        elif "/commit/" in path:
            self.server.commits.append([json.loads(line) for line in body.splitlines()])
            repo = path.removeprefix("/api/models/").partition("/commit/")[0]
            answer = {"success": True, "commitOid": COMMIT, "commitUrl": f"{self.server.url}/{repo}/commit/{COMMIT}"}
            self.reply(200, json.dumps(answer).encode())
        elif path == "/api/validate-yaml":
            self.reply(200, json.dumps({"errors": [], "warnings": []}).encode())
        else:
            self.reply(404, b"{}")

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, home: Any) -> Iterator[HubServer]:
    """A server that runs in a thread until the test ends, and is the Hub for ``huggingface_hub``, which waits for nothing."""
    import huggingface_hub.file_download as downloads
    import huggingface_hub.utils._http as transport
    from huggingface_hub import constants

    server = HubServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # What came of a chunk is lost when the connection drops, and the models here are smaller than one usual chunk.
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100)
    for module in (transport, downloads):
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda seconds: None, time=time.time))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _lfs(name: str, content: bytes) -> dict[str, Any]:
    if not name.endswith(".safetensors"):
        return {}
    return {"lfs": {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "pointerSize": 130}}
