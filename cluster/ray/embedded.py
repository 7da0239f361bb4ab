"""Ray on this machine, for a workspace that names no cluster: started when needed, gone when no driver needs it.

    python -m cluster.ray.embedded WORKSPACE

is the keeper: it starts a head node on the loopback interface with a token of its own, notes its address in
`ray.json` of the workspace, and ends it when no driver of the workspace has lived for a while.
"""

import argparse
import fcntl
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.local import LocalBackend
from cluster.ray.records import read_drivers
from cluster.ray.service import MISSING, RayError
from results.files import WorkspaceError, json_bytes, publish_once, read_json_or_none, write_atomic
from results.layout import Workspace
from workers.processes import ProcessIdentity

NAME = "embedded"
"""What a submission records as its address when Ray was started for it."""
NEEDED = ("ray", "aiohttp_cors")
"""What `ray[default]` brings: Ray, and what its job submission stands on."""
START_SECONDS = 60.0
IDLE_SECONDS = float(os.environ.get("YATES_RAY_IDLE_SECONDS", "30"))
"""How long Ray stays when no driver needs it."""
BEGIN_SECONDS = 120.0
"""How long a driver may take to begin."""
GRACE_SECONDS = 20.0
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Embedded:
    """A Ray head node that a keeper holds for a workspace: its dashboard's address and its token's file."""

    address: str
    token: str
    process: dict[str, Any]

    @classmethod
    def read(cls, workspace: Workspace) -> "Embedded | None":
        """The one of this workspace, if its keeper may be alive."""
        try:
            content = read_json_or_none(_file(workspace))
        except WorkspaceError:
            return None
        if content is None or ProcessIdentity.from_record(content["process"]).lives() is False:
            return None
        return cls(**content)

    def use(self) -> str:
        """Have this process show the token; return the address."""
        os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN_PATH"] = "token", self.token
        return self.address


def embedded_ray(workspace: Workspace) -> Embedded:
    """The Ray of this workspace, started if there is none.

    Raises:
        RayError: Ray is missing, or does not start.
    """
    _require_ray()
    workspace.logs.mkdir(parents=True, exist_ok=True)
    with open(workspace.logs / "ray.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return Embedded.read(workspace) or _start_keeper(workspace)


def _start_keeper(workspace: Workspace) -> Embedded:
    log = workspace.logs / "ray.log"
    with open(log, "ab") as stream:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "cluster.ray.embedded", str(workspace.root.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([*_source(), *_paths()])},
        )
    deadline = time.monotonic() + START_SECONDS
    while (known := Embedded.read(workspace)) is None:
        if keeper.poll() is not None or time.monotonic() > deadline:
            raise RayError(f"Ray did not start on this machine; {log} says why")
        time.sleep(POLL_SECONDS)
    return known


def _source() -> list[str]:
    return [str(Path(__file__).parents[2])]


def _paths() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def _require_ray() -> None:
    """See that Ray is there without importing it: it reads how to show its token when it is imported."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise RayError(f"--on ray: {MISSING} (no module named {missing[0]})")


class Keeper:
    """Holds one head node for one workspace, and ends it with everything that it started."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        # Ray's sockets lie below it, and their paths may not be long.
        self._directory = Path(tempfile.mkdtemp(prefix="yates-ray-"))
        self._token = self._directory / "token"
        self._stopped = False

    def run(self) -> None:
        """Start Ray, stay while it is needed, end it."""
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        publish_once(self._token, secrets.token_hex(32).encode())
        self._token.chmod(0o600)
        head = self._start()
        try:
            self._announce(head)
            self._stay(head)
        finally:
            self._unannounce()
            self._end(head)
            shutil.rmtree(self._directory, ignore_errors=True)

    def _start(self) -> subprocess.Popen[bytes]:
        port, dashboard, client, agent = free_ports(4)
        self._address = f"http://127.0.0.1:{dashboard}"
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
        command += ["--node-ip-address=127.0.0.1", f"--port={port}", f"--dashboard-port={dashboard}"]
        command += [f"--num-cpus={LocalBackend().cores}", f"--temp-dir={self._directory}"]
        command += ["--disable-usage-stats", f"--ray-client-server-port={client}"]
        # Ray gives every agent of a machine the same port, and without its port one takes no jobs.
        command += [f"--dashboard-agent-listen-port={agent}"]
        environment = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self._token),
            "RAY_worker_niceness": "0",
        }
        outer = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, env={**outer, **environment}, start_new_session=True
        )

    def _announce(self, head: subprocess.Popen[bytes]) -> None:
        """Write `ray.json` once the dashboard answers.

        Raises:
            SystemExit: Ray ended before.
        """
        deadline = time.monotonic() + START_SECONDS
        while not _listens(self._address):
            if head.poll() is not None or time.monotonic() > deadline or self._stopped:
                sys.exit(1)
            time.sleep(0.1)
        content = {
            "address": self._address,
            "token": str(self._token),
            "process": ProcessIdentity.own().as_record(),
        }
        write_atomic(_file(self._workspace), json_bytes(content))

    def _unannounce(self) -> None:
        """Take `ray.json` back, unless it is another keeper's by now."""
        with suppress(WorkspaceError, KeyError):
            content = read_json_or_none(_file(self._workspace))
            if content is not None and content["address"] == self._address:
                _file(self._workspace).unlink(missing_ok=True)

    def _stay(self, head: subprocess.Popen[bytes]) -> None:
        needed = time.monotonic()
        while head.poll() is None and not self._stopped:
            if any(_needs(one) for one in read_drivers(self._workspace)):
                needed = time.monotonic()
            elif time.monotonic() - needed > IDLE_SECONDS:
                return
            time.sleep(POLL_SECONDS)

    def _end(self, head: subprocess.Popen[bytes]) -> None:
        """End Ray's own way first, then all that its session still holds."""
        head.terminate()
        with suppress(subprocess.TimeoutExpired):
            head.wait(GRACE_SECONDS)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(head.pid, signal.SIGKILL)
        head.wait()

    def _on_stop(self, number: int, frame: Any) -> None:
        self._stopped = True


def _needs(driver: Any) -> bool:
    """Whether a driver may need this Ray: its process lives, with the tail that follows it, or has still to begin."""
    if driver.address != NAME:
        return False
    if driver.runs_here is None:
        return not driver.over and time.time() - driver.created < BEGIN_SECONDS
    return bool(driver.runs_here)


def _file(workspace: Workspace) -> Path:
    return workspace.root / "ray.json"


def free_ports(count: int) -> list[int]:
    """So many ports of the loopback interface on which nothing listens now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _listens(address: str) -> bool:
    host, _, port = address.removeprefix("http://").partition(":")
    try:
        socket.create_connection((host, int(port)), 1.0).close()
    except OSError:
        return False
    return True


def main() -> None:
    """Keep Ray for one workspace."""
    parser = argparse.ArgumentParser(prog="python -m cluster.ray.embedded")
    parser.add_argument("workspace", type=Path)
    Keeper(Workspace(parser.parse_args().workspace)).run()


if __name__ == "__main__":
    main()
