"""A real Ray cluster of separate `ray start` processes on this machine, and the counting study on it."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from cluster.ray.embedded import free_ports
from tests.support.counting import CountingStudy

START = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
QUIET = {"RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0", "RAY_health_check_period_ms": "1000"}


@dataclass
class RayNode:
    """One `ray start`: a process group, and what its raylet started."""

    process: "subprocess.Popen[bytes]"

    @property
    def raylet(self) -> psutil.Process:
        """The node's raylet."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return next(one for one in children if one.name() == "raylet")

    def kill(self) -> None:
        """kill -9 of the whole node, in one blow: nothing of it lives on."""
        family = [psutil.Process(self.process.pid)]
        family += family[0].children(recursive=True)
        _kill(family)

    def kill_raylet(self) -> None:
        """kill -9 of the raylet; its workers find out."""
        self.raylet.kill()


@dataclass
class RayCluster:
    """A head without processors, and nodes that have them."""

    directory: Path
    port: int = 0
    dashboard: int = 0
    nodes: list[RayNode] = field(default_factory=list)
    head: RayNode | None = None

    @property
    def address(self) -> str:
        """What `--address` takes."""
        return f"http://127.0.0.1:{self.dashboard}"

    def start_head(self, cpus: int = 0, gpus: int = 0) -> None:
        """Start the head; again on the same ports when it was killed."""
        if not self.port:
            self.port, self.dashboard = free_ports(2)
        arguments = ["--head", f"--port={self.port}", f"--dashboard-port={self.dashboard}"]
        arguments += [f"--temp-dir={self.directory}", f"--ray-client-server-port={free_ports(1)[0]}"]
        self.head = self._start([*arguments, f"--num-cpus={cpus}", f"--num-gpus={gpus}"])
        _wait_for_port(self.dashboard)

    def add_node(self, cpus: int = 2, gpus: int = 0, gpu_type: str = "") -> RayNode:
        """Add a node of so many processors; return once it lives: two that start at once may take one port."""
        before = self._alive()
        arguments = [f"--address=127.0.0.1:{self.port}", f"--num-cpus={cpus}", f"--num-gpus={gpus}"]
        if gpu_type:
            arguments.append("--resources=" + json.dumps({f"accelerator_type:{gpu_type}": 1}))
        node = self._start(arguments)
        self.nodes.append(node)
        deadline = time.monotonic() + 60
        while not self._alive() - before:
            assert time.monotonic() < deadline, "waited in vain for a node"
            time.sleep(0.2)
        return node

    def _alive(self) -> set[str]:
        """The nodes with processors that live, as far as the head has noticed."""
        try:
            listed = self.state("nodes")
        except OSError:
            return set()
        alive = (one for one in listed if one["state"] == "ALIVE" and "CPU" in one["resources_total"])
        return {one["node_id"] for one in alive}

    def state(self, what: str) -> list[dict[str, Any]]:
        """What the head lists: `nodes` or `actors`.

        Raises:
            OSError: the head does not answer.
        """
        with urllib.request.urlopen(f"{self.address}/api/v0/{what}?detail=1", timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]["result"]
        return found

    def stop(self) -> None:
        """End everything."""
        for node in [*self.nodes, *([self.head] if self.head else [])]:
            with suppress(psutil.Error):
                node.kill()
        stray = [one for one in psutil.process_iter() if str(self.directory) in _command(one)]
        _kill(stray)

    def _start(self, arguments: list[str]) -> RayNode:
        outer = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        agent = f"--dashboard-agent-listen-port={free_ports(1)[0]}"
        command = [*START, "--node-ip-address=127.0.0.1", agent, *arguments]
        with open(self.directory / "start.log", "ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**outer, **QUIET},
                start_new_session=True,
            )
        return RayNode(process)


@contextmanager
def ray_cluster(nodes: int = 2, cpus: int = 2, gpus: int = 0) -> Iterator[RayCluster]:
    """A cluster of a head and some nodes, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="yr-", ignore_cleanup_errors=True) as directory:
        cluster = RayCluster(Path(directory))
        try:
            cluster.start_head()
            for _ in range(nodes):
                cluster.add_node(cpus, gpus)
            yield cluster
        finally:
            cluster.stop()


@dataclass
class RayStudy(CountingStudy):
    """The counting study on a Ray cluster; without one, on the Ray that Yates starts."""

    directory: Path
    cluster: RayCluster | None = None
    sizes: int = 2
    seeds: int = 4
    steps: int = 4
    pause: float = 0.2
    resources: dict[str, Any] = field(default_factory=lambda: {"memory_gb": 0.2})

    @property
    def environment(self) -> dict[str, str]:
        ours = {"RAY_AUTH_MODE": "disabled"} if self.cluster else {"YATES_RAY_IDLE_SECONDS": "8"}
        return {**super().environment, **ours}

    def submit(self, *options: object) -> None:
        """Hand the grid to Ray."""
        address = ["--address", self.cluster.address] if self.cluster else []
        done = self.yates("submit", self.write_grid(), "--on", "ray", *address, *options)
        assert done.returncode == 0, done.stdout + done.stderr

    def resume(self) -> None:
        """`yates resume`, to where it was last submitted; again while the cluster does not answer."""
        deadline = time.monotonic() + 60
        while (done := self.yates("resume")).returncode != 0:
            assert time.monotonic() < deadline, done.stdout + done.stderr
            time.sleep(1.0)

    def drivers(self) -> list[dict[str, Any]]:
        """What the driver records say, oldest first."""
        return [json.loads(path.read_text()) for path in sorted(self.workspace.drivers.glob("*.json"))]

    def driver(self) -> psutil.Process:
        """The newest driver's process."""
        return psutil.Process(self.drivers()[-1]["process"]["process"])

    def actors(self) -> list[psutil.Process]:
        """The processes of the actors that have not taken their leave."""
        found = []
        for path in sorted(self.workspace.supervisors.glob("*.json")):
            with suppress(psutil.Error, OSError, ValueError):
                found.append(psutil.Process(json.loads(path.read_text())["process"]))
        return found

    def wait_until_quiet(self, seconds: float = 60.0) -> None:
        """Wait until every driver has ended."""

        def quiet() -> bool:
            return all(
                one["over"] or not psutil.pid_exists(one["process"]["process"]) for one in self.drivers()
            )

        self.wait(quiet, seconds, "the drivers to end")


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _kill(processes: list[psutil.Process]) -> None:
    for one in processes:
        with suppress(psutil.Error):
            one.send_signal(signal.SIGKILL)
    psutil.wait_procs(processes, timeout=10)


def _wait_for_port(port: int, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens at port {port}"
            time.sleep(0.1)
        else:
            return
