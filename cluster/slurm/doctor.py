"""Whether a grid would run on this cluster: the whole chain, from the profile to a small job's own report."""

import json
import secrets
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.code import code_environment, freeze_code
from cluster.profile import Partition, Profile
from cluster.slurm.commands import SlurmError, run
from cluster.slurm.executor import make_executor
from cluster.slurm.first import last_words, log_of
from cluster.slurm.limits import read_limits
from cluster.slurm.queue import Queue, read_accounting
from results.layout import Workspace
from workers.recipe import Resources

COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
WAIT_SECONDS = 120.0


@dataclass(frozen=True)
class Finding:
    """One link of the chain. `problem` says what is wrong and what would mend it; empty when all is well."""

    check: str
    problem: str = ""
    note: str = ""
    fatal: bool = True


def examine(workspace: Workspace, profile: Profile, seconds: float = WAIT_SECONDS) -> Iterator[Finding]:
    """Every check in order; it ends at the first that makes the next ones meaningless."""
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        yield Finding("commands", f"not installed here: {', '.join(missing)}")
        return
    yield Finding("commands")
    try:
        limits = read_limits(profile)
    except SlurmError as error:
        yield Finding("controller", str(error))
        return
    submitted = f", {limits.submitted} jobs at once" if limits.submitted else ""
    yield Finding("limits", note=f"arrays of up to {limits.array_size}{submitted}")
    yield _check_accounting()
    for partition in profile.partitions:
        finding = _check_partition(workspace, profile, partition)
        yield finding
        if finding.problem:
            return
    yield from _check_job(workspace, profile, seconds)


def _check_accounting() -> Finding:
    try:
        run(["sacct", "--noheader", "--allocations", "--format=JobID"])
    except SlurmError as error:
        return Finding(
            "accounting",
            f"sacct does not answer ({error}); how dead jobs ended will not be known",
            fatal=False,
        )
    return Finding("accounting")


def _check_partition(workspace: Workspace, profile: Profile, partition: Partition) -> Finding:
    """Whether sbatch would take the smallest job, with this account and QOS."""
    command = [
        "sbatch",
        "--test-only",
        f"--partition={partition.name}",
        "--ntasks=1",
        "--time=1",
        "--wrap=true",
    ]
    options = {"account": profile.account, "qos": profile.qos, "constraint": profile.constraint}
    command[2:2] = [f"--{name}={value}" for name, value in options.items() if value]
    try:
        run(command)
    except SlurmError as error:
        return Finding(f"partition {partition.name}", str(error))
    return Finding(f"partition {partition.name}")


def _check_job(workspace: Workspace, profile: Profile, seconds: float) -> Iterator[Finding]:
    """One small job on the first partition that reports what it sees from its node."""
    report = workspace.cache / f"doctor-{secrets.token_hex(4)}.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    gpus = min(1, max(one.gpus for one in profile.partitions))
    try:
        job = _submit(workspace, profile, report, gpus)
    except SlurmError as error:
        yield Finding("a small job", str(error))
        return
    state = _wait(job, report, seconds)
    seen = _read(report)
    report.unlink(missing_ok=True)
    if seen is None:
        yield Finding("a small job", _why_silent(workspace, job, state, seconds))
        return
    yield Finding("a small job", note=f"ran on {seen['host']} with Python {seen['python']}")
    yield from _judge(seen, gpus, job)


def _judge(seen: dict[str, Any], gpus: int, job: str) -> Iterator[Finding]:
    """What the report of the job says of the node."""
    if gpus and not seen["gpus"]:
        yield Finding("GPU", "the job asked for a GPU and CUDA_VISIBLE_DEVICES is empty on the node")
    elif gpus:
        torch = seen["cuda"] if seen["cuda"] else "torch does not see it"
        yield Finding("GPU", note=f"CUDA_VISIBLE_DEVICES={seen['gpus']}, {torch}")
    if seen["sbatch"]:
        yield Finding("sbatch on nodes")
    else:
        problem = "nodes cannot call sbatch, so no tail job resumes the grid: run `yates resume` yourself"
        yield Finding("sbatch on nodes", f"{problem}, and set `tail: false` in the profile", fatal=False)
    time.sleep(0.5)
    if not any(read_accounting([job])):
        yield Finding("accounting of the job", "sacct does not list it (yet)", fatal=False)


def _submit(workspace: Workspace, profile: Profile, report: Path, gpus: int) -> str:
    needs = Resources(memory_gb=1.0, gpus=gpus, hours=0.1)
    allocation = profile.allocation(needs.model_dump())
    code = freeze_code(workspace)
    exports = [
        f"export {name}={shlex.quote(value)}" for name, value in code_environment(workspace, code).items()
    ]
    extra = {key: value for key, value in profile.sbatch.items() if value is not False}
    parameters: dict[str, Any] = {
        "job_name": "yates-doctor",
        "partition": allocation.partition,
        "time": 5,
        "nodes": 1,
        "ntasks_per_node": 1,
        "cpus_per_task": 1,
        "mem": "1024MB",
        "gpus_per_node": allocation.gpus,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "stderr_to_stdout": True,
        "setup": [*profile.setup, *exports],
        "additional_parameters": extra,
    }
    executor = make_executor(
        workspace.logs.resolve() / "slurm",
        {key: value for key, value in parameters.items() if value is not None},
    )
    import sys

    python = shlex.quote(profile.python or sys.executable)
    container = f"{profile.container} " if profile.container else ""
    place = shlex.quote(str(report.resolve()))
    return executor.submit_array(f"{container}{python} -m cluster.slurm.probe {place}", None)


def _wait(job: str, report: Path, seconds: float) -> str:
    """Wait for the report; return the state in which the job was last seen."""
    deadline, state = time.monotonic() + seconds, "unknown"
    while time.monotonic() < deadline and not report.exists():
        rows = [one for one in Queue.read().elements if one.job == job]
        state = f"{rows[0].state} ({rows[0].reason})" if rows else "gone"
        if not rows or not rows[0].alive:
            time.sleep(1.0)  # the report may be on its way through the filesystem
            break
        time.sleep(0.2)
    return state


def _why_silent(workspace: Workspace, job: str, state: str, seconds: float) -> str:
    """What can be said of a job that left no report."""
    if state.startswith("PENDING"):
        subprocess.run(["scancel", job], check=False)
        return f"job {job} was still {state} after {seconds:.0f} s and was cancelled; is the partition busy?"
    log = log_of(workspace, job)
    said = last_words(log)
    if said:
        return f"job {job} failed on its node: {said} ({log})"
    return (
        f"job {job} ended ({state}) without a word: the workspace {workspace.root.resolve()} is not visible on the "
        "node, or not writable there; it must be on a filesystem that all nodes share"
    )


def _read(report: Path) -> dict[str, Any] | None:
    try:
        seen: dict[str, Any] = json.loads(report.read_text())
    except (OSError, ValueError):
        return None
    return seen
