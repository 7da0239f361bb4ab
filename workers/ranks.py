"""The processes that compute one stage together: started by the warm child, ended together.

They meet at a store that the child keeps on 127.0.0.1, on a port that the kernel chose and that is never given up in
between. On the CPU they are forked from a server that has imported the libraries once and computed nothing, so that
two processes start as fast as one; on GPUs, which do not survive a fork, each is a fresh process.
"""

import gc
import importlib
import multiprocessing
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import reduce
from multiprocessing import connection, resource_tracker
from multiprocessing.util import get_temp_dir
from pathlib import Path
from typing import Any

from results.records import Ending
from workers.assignment import SHARES
from workers.context import BadInput, StageContext, StageResult, StageStopped
from workers.endings import ProcessesFailed
from workers.failures import CHILD_KILLED
from workers.memory import Peak
from workers.messages import Message
from workers.nursery import out_of_memory_kills
from workers.rank import LOOPBACK, work
from workers.strategies import lacking

LOOK_SECONDS = 0.1
LONGEST_DIRECTORY = 70
"""Beside it a socket's name has about 35 characters more."""
SHORT_DIRECTORY = "/tmp"
PATIENCE_SECONDS = 5.0
"""How long the failure that began it may be later than one that followed from it."""
FOLLOWED = re.compile(
    r"closed by peer|reset by peer|[Bb]roken pipe|DistBackendError|DistNetworkError|NCCL|[Gg]loo"
)
"""What a process says whose neighbour has gone."""


@dataclass
class Member:
    """One process as its launcher sees it; `last` is the message that ended it."""

    process: Any
    pipe: connection.Connection
    last: Message | None = None


@dataclass(frozen=True)
class Together:
    """What the first process left: its result, its seconds by phase, and the peak memory of all of them."""

    result: StageResult
    seconds: dict[str, float]
    peak: Peak


@dataclass
class Ranks:
    """The processes of one attempt, from their start to their end; see `run`."""

    context: StageContext
    assignment: Message
    members: list[Member] = field(default_factory=list)
    _kills: int = field(default_factory=out_of_memory_kills)
    _told_to_stop: bool = False

    def run(self) -> Together:
        """Compute the stage.

        Raises:
            BadInput: a library that the strategy needs is not installed here.
            StageStopped: all processes stopped when they were asked to.
            ProcessesFailed: one of them failed or died; all are ended by then.
        """
        missing = lacking(self.context.execution.strategy)
        if missing is not None:
            raise BadInput(missing)
        _free_memory(self.context)
        try:
            with _store(self.context.execution.processes) as port:
                self._start(port)
                return self._follow()
        finally:
            self._end()

    def _start(self, port: int) -> None:
        start = _starter(self.context)
        count = self.context.execution.processes
        for number in range(count):
            ours, theirs = start.Pipe()
            arguments = (
                number,
                str(self.context.workspace.root),
                self.assignment,
                environment(number, count, port, self.context),
                theirs,
            )
            process = start.Process(target=work, args=arguments, daemon=True)
            with _cluster_signals_held():
                process.start()
            theirs.close()
            self.members.append(Member(process, ours))

    def _follow(self) -> Together:
        trouble: float | None = None
        while any(member.last is None for member in self.members):
            self._pass_on_stop()
            self._hear()
            cause = self._cause(patient=trouble is None or time.monotonic() - trouble < PATIENCE_SECONDS)
            if cause is not None:
                raise cause
            if trouble is None and any(_failed(member) for member in self.members):
                trouble = time.monotonic()
        cause = self._cause(patient=False)
        if cause is not None:
            raise cause
        return self._outcome()

    def _outcome(self) -> Together:
        last = [member.last for member in self.members if member.last is not None]
        if any(one["event"] == "stopped" for one in last):
            raise StageStopped
        peak = reduce(Peak.beside, [one["peak"] for one in last])
        return Together(last[0]["result"], last[0]["seconds"], peak)

    def _pass_on_stop(self) -> None:
        if self.context.stop_requested() and not self._told_to_stop:
            self._told_to_stop = True
            self._say("stop", self.members)

    def _hear(self) -> None:
        open_members = {member.pipe: member for member in self.members if member.last is None}
        for pipe in connection.wait(list(open_members), LOOK_SECONDS):
            member = open_members[pipe]  # type: ignore[index]
            try:
                self._take(member, member.pipe.recv())
            except (EOFError, OSError):
                member.process.join(PATIENCE_SECONDS)
                member.last = {"event": "died", "code": member.process.exitcode}

    def _take(self, member: Member, message: Message) -> None:
        match message["event"]:
            case "progress":
                self.context.progress(message["step"], message["total"])
            case "report":
                self.context.report(message["step"], message["values"])
                self._pass_on_stop()
                self._say("go on", [member])
            case _:
                member.last = message

    def _cause(self, *, patient: bool) -> ProcessesFailed | None:
        """The failure that began it, once it is known; the first of any when `patient` no longer."""
        failed = [(number, member.last) for number, member in enumerate(self.members) if _failed(member)]
        began = [(number, last) for number, last in failed if last and not _followed(last)]
        if not began and (patient or not failed):
            return None
        number, last = (began or failed)[0]
        assert last is not None
        return self._failure(number, last)

    def _failure(self, number: int, last: Message) -> ProcessesFailed:
        which = f"process {number} of {len(self.members)}"
        if last["event"] == "failed":
            return ProcessesFailed(last["ending"], last["message"], f"{which}:\n{last['traceback']}")
        ending, message = _death(last["code"], which, out_of_memory_kills() > self._kills)
        return ProcessesFailed(ending, message)

    def _say(self, word: str, members: list[Member]) -> None:
        for member in members:
            with suppress(OSError):
                member.pipe.send(word)

    def _end(self) -> None:
        """No process is left afterwards, nor what the others than the first wrote."""
        for member in self.members:
            member.process.kill()
        for member in self.members:
            member.process.join()
            member.pipe.close()
        shutil.rmtree(self.context.attempt / SHARES, ignore_errors=True)


def environment(number: int, count: int, port: int, context: StageContext) -> dict[str, str]:
    """The variables by which torch, accelerate and DeepSpeed know a process's place."""
    found = {
        "RANK": str(number),
        "LOCAL_RANK": str(number),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": LOOPBACK,
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the store is there; no process opens one on the port
    }
    if Path("/sys/class/net/lo").exists():
        found["GLOO_SOCKET_IFNAME"] = "lo"
    if context.execution.device == "cpu" and context.execution.strategy.startswith("deepspeed"):
        found |= {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    return found


def _failed(member: Member) -> bool:
    return member.last is not None and member.last["event"] in ("failed", "died")


def _followed(last: Message) -> bool:
    """Whether a process failed only because another one had."""
    return last["event"] == "failed" and FOLLOWED.search(last["message"] + last["traceback"]) is not None


def _death(code: int | None, which: str, out_of_memory: bool) -> tuple[Ending, str]:
    """How a process that said nothing ended: its class and the words for it. Only proof makes it out of memory."""
    if code == -signal.SIGKILL and out_of_memory:
        return "host_out_of_memory", f"the kernel killed {which}: out of memory"
    if code == -signal.SIGKILL:
        return "lost", f"{CHILD_KILLED} ({which}, signal 9), by whom is not known"
    return "bug", f"{which} died ({f'exit code {code}' if (code or 0) >= 0 else f'signal {-(code or 0)}'})"


def _free_memory(context: StageContext) -> None:
    """Give up what this process keeps warm: the memory is the others' now, on the GPU above all."""
    context.memory.clear()
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


@contextmanager
def _store(count: int) -> Iterator[int]:
    """The port of a rendezvous store that lives within the body."""
    from torch import distributed

    store = distributed.TCPStore(LOOPBACK, 0, count, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    yield int(store.port)
    del store


def _starter(context: StageContext) -> Any:
    """How processes are started: forked from a server on the CPU, afresh for GPUs."""
    if _on_gpu(context):
        return multiprocessing.get_context("spawn")
    start = multiprocessing.get_context("forkserver")
    _shorten_names()
    start.set_forkserver_preload(
        [context.stage.kind.runner.partition(":")[0], "torch.distributed", "workers.rank"]
    )
    return start


def _shorten_names() -> None:
    """See that the server's socket has a name that fits: 108 characters are all that Linux takes.

    Some clusters give each job a TMPDIR whose name is too long for that.
    """
    if len(tempfile.gettempdir()) > LONGEST_DIRECTORY:
        with _temporary_files_in(SHORT_DIRECTORY):
            get_temp_dir()  # where all sockets of this process will be


@contextmanager
def _temporary_files_in(directory: str) -> Iterator[None]:
    before, tempfile.tempdir = tempfile.tempdir, directory
    try:
        yield
    finally:
        tempfile.tempdir = before


def _on_gpu(context: StageContext) -> bool:
    if context.execution.device == "cpu":
        return False
    return bool(importlib.import_module("torch").cuda.is_available())


@contextmanager
def _cluster_signals_held() -> Iterator[None]:
    """Processes started within never see SIGTERM: a cluster sends it to every process of a job.

    A signal mask is inherited by what is started; one that comes meanwhile is delivered here afterwards. What
    tracks multiprocessing's resources is started first: to start it lifts such a mask.
    """
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
