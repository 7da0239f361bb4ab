"""A real service that speaks the protocol of chat completions, and a proxy that puts faults in between."""

import http.client
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-test-0123456789-never-to-be-seen"
SHOWN = re.compile(
    r"\[Answer A\]\n(.*?)\n\[End of answer A\].*\[Answer B\]\n(.*?)\n\[End of answer B\]", re.DOTALL
)


def longer_wins(message: str) -> str:
    """A judge of pairs by length; of equal lengths it names a tie."""
    found = SHOWN.search(message)
    assert found is not None, "the message shows no pair"
    first, second = map(len, found.groups())
    return "tie" if first == second else "A" if first > second else "The better answer is B."


class Service:
    """A model behind HTTP: `say` answers a message. `paid` are the messages that it answered, in order."""

    def __init__(self, say: Callable[[str], str] = longer_wins, key: str = KEY) -> None:
        self.say, self.key = say, key
        self.paid: list[str] = []
        self.requests: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def answer(self, body: bytes, authorization: str) -> tuple[int, dict[str, Any]]:
        """Status and content for one request."""
        if authorization != f"Bearer {self.key}":
            return 401, {"error": {"message": f"Incorrect API key provided: {authorization[7:]}"}}
        request = json.loads(body)
        message = request["messages"][0]["content"]
        text = self.say(message)
        with self._lock:
            self.paid.append(message)
            self.requests.append(request)
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
        reply = {"id": "x", "object": "chat.completion", "created": 0, "model": request["model"]}
        return 200, {**reply, "choices": [choice], "usage": usage}


class Quiet(BaseHTTPRequestHandler):
    """Speaks HTTP/1.1 and prints nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Print nothing."""

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def reply(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serving(service: Service) -> Iterator[str]:
    """The address of a running service."""

    class Handler(Quiet):
        def do_POST(self) -> None:
            body = self.body()
            if self.path != "/v1/chat/completions":
                return self.reply(404, b'{"error": {"message": "no such path"}}')
            status, content = service.answer(body, self.headers.get("Authorization", ""))
            return self.reply(status, json.dumps(content).encode())

    with _running(Handler) as port:
        yield f"http://127.0.0.1:{port}/v1"


@contextmanager
def faults_between(address: str, plan: list[str | None]) -> Iterator[tuple[str, list[str]]]:
    """The address of a proxy that meets the n-th request with the n-th fault of `plan`, and later ones with none.

    `429` and `500` never reach the service; `truncated`, `cut` and `reset` lose its answer on the way back, and
    `late` brings it after the client has gone. The list holds the faults that happened.
    """
    host, port = re.fullmatch(r"http://([^:]+):(\d+)/v1", address).groups()  # type: ignore[union-attr]
    happened: list[str] = []
    lock, number = threading.Lock(), [0]

    class Handler(Quiet):
        def do_POST(self) -> None:
            body = self.body()
            with lock:
                fault = plan[number[0]] if number[0] < len(plan) else None
                number[0] += 1
                if fault:
                    happened.append(fault)
            if fault == "429":
                return self.reply(429, b'{"error": {"message": "slow down"}}', Retry_After="0.05")
            if fault == "500":
                return self.reply(500, b'{"error": {"message": "oops"}}', Retry_After="0.05")
            status, content = self.forward(body)
            return self.back(fault, status, content)

        def forward(self, body: bytes) -> tuple[int, bytes]:
            upstream = http.client.HTTPConnection(host, int(port), timeout=30)
            kept = {name: self.headers[name] for name in ("Authorization", "Content-Type")}
            upstream.request("POST", self.path, body, kept)
            response = upstream.getresponse()
            return response.status, response.read()

        def back(self, fault: str | None, status: int, content: bytes) -> None:
            if fault == "late":
                time.sleep(1.5)
            if fault == "truncated":
                return self.reply(status, content[: len(content) // 2])
            if fault == "cut":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
                self.wfile.write(f"Content-Length: {len(content)}\r\n\r\n".encode() + content[:20])
            if fault in ("cut", "reset"):
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                return self.connection.close()
            return self.reply(status, content)

    with _running(Handler) as own:
        yield f"http://127.0.0.1:{own}/v1", happened


@contextmanager
def _running(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that went away is part of the play."""

    server = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
