"""A hub on this machine: the part of the Hugging Face protocol that downloads of repositories use."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" * 6 + "c0ff"


@dataclass
class Repository:
    """Files of a repository at one commit, and the names (`main`, `v0`) that lead to it.

    A gated one tells its files to everybody, and gives them to bearers of `token` alone.
    """

    files: dict[str, bytes]
    names: tuple[str, ...] = ("main",)
    commit: str = COMMIT
    gated: bool = False
    token: str = "hf_let_me_in"


@dataclass
class FakeHub:
    """The repositories, by `models/owner/name` and `datasets/owner/name`, and the paths that were asked for.

    With `broken` it answers everything with status 500.
    """

    repositories: dict[str, Repository]
    asked: list[str] = field(default_factory=list)
    broken: bool = False
    endpoint: str = ""

    def downloaded(self) -> set[str]:
        """The files that were asked for, by repository and path."""
        found = (path.partition("/resolve/") for path in self.asked if "/resolve/" in path)
        return {f"{name.strip('/')}/{rest.partition('/')[2]}" for name, _, rest in found}


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve `hub` on a free port of 127.0.0.1; `hub.endpoint` is its address."""

    class Handler(_Handler):
        content = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    content: FakeHub

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, *arguments: object) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.content.asked.append(path)
        if self.content.broken:
            self._send(500, b"{}")
        elif path.startswith("/api/"):
            self._information(path.removeprefix("/api/"))
        else:
            self._file(path.strip("/"))

    def _information(self, path: str) -> None:
        """`models/owner/name/revision/R` and `models/owner/name/tree/R`."""
        name, verb, revision = _split(path, ("revision", "tree"))
        repository = self._repository(name, revision)
        if repository is None:
            return
        if verb == "tree":
            self._send(200, json.dumps([_entry(*one) for one in repository.files.items()]).encode())
            return
        siblings = [{"rfilename": file} for file in repository.files]
        owner_name = name.partition("/")[2]
        content = {"id": owner_name, "sha": repository.commit, "private": False, "siblings": siblings}
        self._send(200, json.dumps({**content, "gated": repository.gated, "tags": []}).encode())

    def _file(self, path: str) -> None:
        """`owner/name/resolve/R/file` of models, `datasets/owner/name/resolve/R/file` of data sets."""
        name, _, rest = _split(path, ("resolve",))
        revision, _, file = rest.partition("/")
        repository = self._repository(name if name.startswith("datasets/") else f"models/{name}", revision)
        if repository is None:
            return
        if repository.gated and self.headers.get("authorization") != f"Bearer {repository.token}":
            self._send(401, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "restricted"})
        elif file not in repository.files:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        else:
            content = repository.files[file]
            etag = hashlib.sha1(content).hexdigest()
            self._send(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": repository.commit})

    def _repository(self, name: str, revision: str) -> Repository | None:
        """The repository at a revision; None after an answer that there is none."""
        repository = self.content.repositories.get(name)
        if repository is None:
            self._send(401, b"", {"X-Error-Code": "RepoNotFound"})
        elif revision not in (*repository.names, repository.commit):
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        else:
            return repository
        return None

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _split(path: str, verbs: tuple[str, ...]) -> tuple[str, str, str]:
    for verb in verbs:
        name, found, rest = path.partition(f"/{verb}/")
        if found:
            return name, verb, rest
    return path, "", "main"


def _entry(path: str, content: bytes) -> dict[str, object]:
    oid = hashlib.sha1(content).hexdigest()
    return {"type": "file", "path": path, "size": len(content), "oid": oid}
