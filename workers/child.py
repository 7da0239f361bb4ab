"""The warm child: one process that imports the heavy libraries once and runs stage after stage.

It is started by a supervisor as `python -m workers.child WORKSPACE COMMANDS EVENTS RUNNERS…`, where COMMANDS and
EVENTS are two inherited pipes. When the
supervisor is gone the command pipe closes, and the child ends at once: what it would still do has no owner.
"""

import gc
import os
import queue
import re
import resource
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from results.files import WorkspaceError, json_bytes
from results.layout import Workspace
from results.records import Ending
from workers import messages
from workers.attempts import read_commit
from workers.context import BadInput, Parent, StageContext, StageResult, StageStopped, TransientFailure
from workers.kinds import load_object
from workers.outputs import seal
from workers.recipe import Execution
from workers.stage import Stage

PROGRESS_SECONDS = 0.2
WARM_UP = "workers.warmth:warm_up"


FILESYSTEM_TROUBLE = re.compile(r"No space left|os error (28|122|5|116)\b|PytorchStreamWriter failed")


class Child:
    """The state of the process: its pipes, whether it was asked to stop, and what it keeps warm."""

    def __init__(self, workspace: Workspace, commands: int, events: int) -> None:
        self.workspace = workspace
        self.events = events
        self.memory: dict[str, Any] = {}
        self.stopping = False
        self._told = 0.0
        self._inbox: queue.SimpleQueue[messages.Message] = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(commands, self._inbox), daemon=True).start()
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # Slurm sends its warning to every process of the job; the supervisor takes it and asks us to stop.
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)

    def serve(self) -> None:
        """Run the stages that the supervisor names, until it closes the pipe and the listener ends the process."""
        while True:
            self._run(self._inbox.get())

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

    def _run(self, command: messages.Message) -> None:
        _forget_peak_memory()
        started = time.perf_counter()
        try:
            context = self._context(command)
            result = context.stage.kind.load_runner()(context.stage.recipe, context)
            digest = seal(context.output)
            self._finished(context, result, digest, time.perf_counter() - started)
        except StageStopped:
            self._tell_end({"event": "stopped"})
        except BaseException as error:
            self._failed(error)
        finally:
            gc.collect(1)

    def _context(self, command: messages.Message) -> StageContext:
        stage = Stage.read(self.workspace, command["stage"])
        attempt = self.workspace.attempt(stage.id, command["token"])
        (attempt / "output").mkdir(parents=True, exist_ok=True)
        return StageContext(
            workspace=self.workspace,
            stage=stage,
            attempt=attempt,
            parents=[self._parent(role, parent) for role, parent in stage.parents],
            execution=Execution.model_validate(command["execution"]),
            resume_from=Path(command["resume_from"]) if command["resume_from"] else None,
            stop_requested=lambda: self.stopping,
            on_progress=self._progress,
            on_report=self._report if command.get("lockstep") else _unheard,
            hub_map=command["hub_map"],
            memory=self.memory,
        )

    def _parent(self, role: str, identity: str) -> Parent:
        commit = read_commit(self.workspace, identity)
        if commit is None:
            raise TransientFailure(f"parent {identity} in role {role} is not committed")
        output = self.workspace.output(identity, commit["attempt"])
        return Parent(role, Stage.read(self.workspace, identity), output, commit["metrics"])

    def _progress(self, step: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._told >= PROGRESS_SECONDS or step == total:
            self._told = now
            messages.send(self.events, {"event": "progress", "step": step, "total": total})

    def _report(self, step: int, values: dict[str, float]) -> None:
        """Tell the figures and wait for the supervisor's word: go on, or (after a request to stop) stop."""
        messages.send(self.events, {"event": "report", "step": step, "values": values})
        self._inbox.get()

    def _finished(self, context: StageContext, result: StageResult, digest: str, seconds: float) -> None:
        known = sum(context.seconds.values())
        if result.outcome not in ("done", "diverged"):
            raise ValueError(f"a runner's outcome is 'done' or 'diverged', not {result.outcome!r}")
        message = {
            "event": "finished",
            "metrics": result.metrics,
            "outcome": result.outcome,
            "message": result.message,
            "output_digest": digest,
            "seconds": {**context.seconds, "other": max(0.0, seconds - known)},
            "peak_memory_bytes": _peak_memory(),
        }
        json_bytes(message)  # refuses NaN here, where it is this stage's failure
        self._tell_end(message)

    def _failed(self, error: BaseException) -> None:
        ending, message = classify(error)
        text = "".join(traceback.format_exception(error))
        print(text, file=sys.stderr, flush=True)
        self._tell_end({"event": "failed", "ending": ending, "message": message, "traceback": text})

    def _tell_end(self, message: messages.Message) -> None:
        """The last word on a stage. A request to stop counts from here on for the next, also while that loads."""
        self.stopping = False
        messages.send(self.events, message)


def _unheard(step: int, values: dict[str, float]) -> None:
    """Nobody waits for figures on the way; they are in the curves."""


def _listen(commands: int, inbox: "queue.SimpleQueue[messages.Message]") -> None:
    """Put commands into `inbox` until the pipe closes; then end the process, whatever it is doing."""
    reader = messages.MessageReader(commands)
    while not reader.closed:
        for message in reader.receive(3600.0):
            inbox.put(message)
    sys.stderr.flush()
    os._exit(0)


def classify(error: BaseException) -> tuple[Ending, str]:
    """The failure class of an exception and one line for the person (design, section 7)."""
    line = f"{type(error).__name__}: {error}".strip().splitlines()[0][:500]
    match error:
        case BadInput():
            return "bad_input", str(error)
        case WorkspaceError():
            return "bad_input", str(error)
        case TransientFailure() | ConnectionError() | TimeoutError():
            return "transient", str(error) or line
        case MemoryError():
            return "host_out_of_memory", line
        case OSError() if error.errno in (28, 122, 5, 116):
            return "transient", f"{line} (a full, failing or stale filesystem)"
    if FILESYSTEM_TROUBLE.search(str(error)):  # libraries in Rust and C++ raise their own exceptions
        return "transient", f"{line} (a full, failing or stale filesystem)"
    if type(error).__name__ == "OutOfMemoryError":
        return "gpu_out_of_memory", line
    return "bug", line


def _forget_peak_memory() -> None:
    """Have the kernel count this process's peak memory anew, where it can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_memory() -> int:
    """The most memory that the process has held since `_forget_peak_memory`, in bytes."""
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Warm up, say so, and serve."""
    workspace, commands, events = Workspace(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
    started = time.perf_counter()
    child = Child(workspace, commands, events)
    fingerprint = load_object(WARM_UP)(sys.argv[4:])
    messages.send(
        events, {"event": "ready", "seconds": time.perf_counter() - started, "fingerprint": fingerprint}
    )
    child.serve()


if __name__ == "__main__":
    main()
