"""One of the processes that compute a stage together: it joins the others, runs the stage's runner, and tells how.

`workers.ranks` starts it and holds the other end of its pipe; when that closes the process ends at once. Signals
that a cluster sends to every process of a job are not for it: whoever started it says when to stop.
"""

import ctypes
import os
import queue
import signal
import sys
import threading
import traceback
import warnings
from contextlib import suppress
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from results.layout import Workspace
from workers.assignment import context_of
from workers.context import StageContext, StageStopped
from workers.endings import classify
from workers.memory import Peak, forget_peak_memory
from workers.messages import Message

LOOPBACK = "127.0.0.1"
PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


class Rank:
    """Process `number` of `assignment`; `told` is its end of the pipe."""

    def __init__(self, number: int, root: str, assignment: Message, told: Connection) -> None:
        self.number, self.told = number, told
        self.stopping = False
        self._answers: queue.SimpleQueue[None] = queue.SimpleQueue()
        first = number == 0
        self.context = context_of(
            Workspace(Path(root)),
            assignment,
            number,
            stop_requested=lambda: self.stopping,
            **({"on_progress": self._progress} if first else {}),
            **({"on_report": self._report} if first and assignment.get("lockstep") else {}),
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def run(self) -> None:
        """Compute the stage and say how it went, in one last message."""
        forget_peak_memory()
        try:
            stage = self.context.stage
            result = stage.kind.load_runner()(stage.recipe, self.context)
            self._tell("finished", result=result, seconds=self.context.seconds, peak=Peak.of_this_process())
        except StageStopped:
            self._tell("stopped")

    def _listen(self) -> None:
        """Take the words `stop` and `go on` until the other end is gone."""
        with suppress(EOFError, OSError):
            while True:
                if self.told.recv() == "stop":
                    self.stopping = True
                else:
                    self._answers.put(None)
        os._exit(1)

    def _progress(self, step: int, total: int | None) -> None:
        self._tell("progress", step=step, total=total)

    def _report(self, step: int, values: dict[str, float]) -> None:
        self._tell("report", step=step, values=values)
        self._answers.get()

    def _tell(self, event: str, **content: Any) -> None:
        self.told.send({"event": event, **content})


def work(number: int, root: str, assignment: Message, environment: dict[str, str], told: Connection) -> None:
    """The body of the process; it never returns."""
    _die_with_parent()
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
        signal.signal(name, signal.SIG_IGN)
    os.environ.update(environment)
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        rank = Rank(number, root, assignment, told)
        join(rank.context)
        rank.run()
    except BaseException as error:
        text = "".join(traceback.format_exception(error))
        print(text, file=sys.stderr, flush=True)
        ending, message = classify(error)
        told.send({"event": "failed", "ending": ending, "message": message, "traceback": text})
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def join(context: StageContext) -> None:
    """Join the group: gloo for tensors on the CPU, NCCL for those on the GPU that this process then uses.

    The store of the rendezvous is the one that `workers.ranks` keeps on this machine.
    """
    import torch
    from torch import distributed

    from workers.models.loading import device_of

    count, backend = context.execution.processes, "gloo"
    if device_of(context) == "cuda":
        torch.cuda.set_device(context.rank)
        backend = "cpu:gloo,cuda:nccl"
    wait = timedelta(seconds=context.execution.hang_seconds)
    port = int(os.environ["MASTER_PORT"])
    store = distributed.TCPStore(LOOPBACK, port, count, is_master=False, timeout=wait)  # type: ignore[attr-defined]
    distributed.init_process_group(backend, store=store, rank=context.rank, world_size=count, timeout=wait)


def _die_with_parent() -> None:
    """Have the kernel kill this process when the one that started it is gone (Linux)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
