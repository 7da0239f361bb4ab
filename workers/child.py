"""The warm child: one process that imports the heavy libraries once and runs stage after stage.

It is started by a supervisor as `python -m workers.child WORKSPACE COMMANDS EVENTS RUNNERS…`, where COMMANDS and
EVENTS are two inherited pipes. When the
supervisor is gone the command pipe closes, and the child ends at once: what it would still do has no owner.
"""

import gc
import os
import queue
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

from results.files import json_bytes
from results.layout import Workspace
from workers import messages
from workers.assignment import context_of
from workers.context import StageContext, StageResult, StageStopped
from workers.endings import ProcessesFailed, classify
from workers.kinds import load_object
from workers.memory import Peak, forget_peak_memory
from workers.outputs import seal

PROGRESS_SECONDS = 0.2
WARM_UP = "workers.warmth:warm_up"


class Child:
    """The state of the process: its pipes, whether it was asked to stop, and what it keeps warm."""

    def __init__(self, workspace: Workspace, commands: int, events: int) -> None:
        self.workspace = workspace
        self.events = events
        self.memory: dict[str, Any] = {}
        self.stopping = False
        self._told = 0.0
        self._reached: int | None = None
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
        forget_peak_memory()
        self._reached = None
        started = time.perf_counter()
        try:
            context = self._context(command)
            result, peak = _compute(context, command)
            digest = seal(context.output)
            self._finished(context, result, digest, time.perf_counter() - started, peak)
        except StageStopped:
            self._tell_end({"event": "stopped"})
        except BaseException as error:
            self._failed(error)
        finally:
            gc.collect(1)

    def _context(self, command: messages.Message) -> StageContext:
        return context_of(
            self.workspace,
            command,
            stop_requested=lambda: self.stopping,
            on_progress=self._progress,
            on_report=self._report if command.get("lockstep") else _unheard,
            memory=self.memory,
        )

    def _progress(self, step: int, total: int | None) -> None:
        self._reached = step
        now = time.monotonic()
        if now - self._told >= PROGRESS_SECONDS or step == total:
            self._told = now
            messages.send(self.events, {"event": "progress", "step": step, "total": total})

    def _report(self, step: int, values: dict[str, float]) -> None:
        """Tell the figures and wait for the supervisor's word: go on, or (after a request to stop) stop."""
        messages.send(self.events, {"event": "report", "step": step, "values": values})
        self._inbox.get()

    def _finished(
        self, context: StageContext, result: StageResult, digest: str, seconds: float, peak: Peak
    ) -> None:
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
            "peak_memory_bytes": peak.host,
            "peak_gpu_memory_bytes": peak.gpu,
        }
        json_bytes(message)  # refuses NaN here, where it is this stage's failure
        self._tell_end(message)

    def _failed(self, error: BaseException) -> None:
        ending, message = classify(error)
        told = error.traceback if isinstance(error, ProcessesFailed) else ""
        text = told or "".join(traceback.format_exception(error))
        print(text, file=sys.stderr, flush=True)
        self._tell_end({"event": "failed", "ending": ending, "message": message, "traceback": text})

    def _tell_end(self, message: messages.Message) -> None:
        """The last word on a stage, with the step it reached: not every step was told.

        A request to stop counts from here on for the next stage, also while that loads.
        """
        self.stopping = False
        messages.send(self.events, {**message, "step": self._reached})


def _compute(context: StageContext, command: messages.Message) -> tuple[StageResult, Peak]:
    """The stage's result and the peak memory: by this process, or by several that it starts."""
    if context.execution.strategy == "single":
        return context.stage.kind.load_runner()(context.stage.recipe, context), Peak.of_this_process()
    from workers.ranks import Ranks

    together = Ranks(context, command).run()
    context.seconds.update(together.seconds)
    return together.result, together.peak


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
