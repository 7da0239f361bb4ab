"""The warm child as its supervisor holds it: a process, two pipes, a log."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from results.layout import Workspace
from workers import messages
from workers.failures import CHILD_KILLED


class ChildProcess:
    """A started `workers.child`. Its standard output and error go to `log`."""

    def __init__(self, workspace: Workspace, log: Path, runners: list[str]) -> None:
        commands_read, self._commands = os.pipe()
        events, events_write = os.pipe()
        self._reader = messages.MessageReader(events)
        self._out_of_memory_kills = out_of_memory_kills()
        self.fingerprint: dict[str, Any] = {}
        self.stages = 0
        self._startup_seconds = 0.0
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "workers.child",
            str(workspace.root),
            str(commands_read),
            str(events_write),
        ]
        with open(log, "ab") as stream:
            self._process = subprocess.Popen(
                [*command, *runners],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                pass_fds=(commands_read, events_write),
                env={**os.environ, **_single_threaded()},
            )
        os.close(commands_read)
        os.close(events_write)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def run(self, command: messages.Message) -> None:
        """Hand the child a stage; a child that cannot take it is found dead by the next look at `alive`."""
        self.stages += 1
        try:
            messages.send(self._commands, command)
        except BrokenPipeError:
            self._process.kill()
            self._process.wait()

    def answer(self) -> None:
        """Let a stage that waits after a report go on."""
        with suppress(BrokenPipeError):
            messages.send(self._commands, {"go_on": True})

    def receive(self, timeout: float) -> list[messages.Message]:
        """The child's messages; `ready` is kept here (it carries the fingerprint) and not returned."""
        if self._reader.closed:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
            return []
        received = []
        for message in self._reader.receive(timeout):
            if message["event"] == "ready":
                self.fingerprint.update(message["fingerprint"])
                self._startup_seconds = message["seconds"]
            else:
                received.append(message)
        return received

    def take_startup_seconds(self) -> float:
        """What the imports took; counted once, with the first stage that waited for them."""
        seconds, self._startup_seconds = self._startup_seconds, 0.0
        return seconds

    def ask_to_stop(self) -> None:
        """Have the running stage save itself and stop."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process now."""
        self._process.kill()

    def death(self) -> dict[str, Any]:
        """How a dead child's stage ended: the class with its message. Only proof makes it out of memory."""
        code = self._process.wait()
        if code in (-signal.SIGKILL, 137):
            if out_of_memory_kills() > self._out_of_memory_kills:
                return {
                    "ending": "host_out_of_memory",
                    "message": "the kernel killed the worker: out of memory",
                }
            return {"ending": "lost", "message": f"{CHILD_KILLED} (signal 9), by whom is not known"}
        if code in (-signal.SIGTERM, 143):
            return {"ending": "preempted", "message": "the worker process was terminated"}
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return {"ending": "bug", "message": f"the worker process died ({how})", "traceback": self._tail()}

    def close(self) -> None:
        """Close the pipes, which ends an idle child, and make sure that it is gone."""
        for descriptor in (self._commands, self._reader.descriptor):
            os.close(descriptor)
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _tail(self) -> str:
        try:
            return self._log.read_text(errors="replace")[-4000:]
        except OSError:
            return ""


def _single_threaded() -> dict[str, str]:
    """Libraries start with one thread; a stage sets the number that its recipe asks for."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {name: "1" for name in names}


def out_of_memory_kills() -> int:
    """How often the kernel has killed a process of this control group for memory, as far as it tells."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        group = next(line.split(":", 2)[2] for line in lines if line.startswith("0::"))
        events = Path(f"/sys/fs/cgroup{group}/memory.events").read_text().splitlines()
    except (OSError, StopIteration):
        return 0
    return next((int(line.split()[1]) for line in events if line.startswith("oom_kill ")), 0)
