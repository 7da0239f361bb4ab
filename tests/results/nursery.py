"""Writers and a compactor that are killed all at once, again and again: `python -m tests.results.nursery ROOT WRITERS`.

Each line `ROUND SEED` on standard input is a round: the processes are forked from this one, which has imported
everything and started no thread, work until some commits are acknowledged, and get SIGKILL together. The answer is
how many commits were acknowledged: each by a line in `ROOT/acknowledged/WRITER`, written after the commit.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from results.generation import next_number
from results.layout import Workspace
from results.store import compact, rebuild
from tests.results.lab import Lab, attempt, metric

STAGES = 400
"""Stages that the writers of a round compete for."""
LONGEST_ROUND = 60.0


def stage_name(round_: int, number: int) -> str:
    return f"{number % 256:02x}-round{round_}-{number}"


def write(root: Path, name: str, round_: int, chance: random.Random) -> None:
    """Claim, commit and note stages in an order of one's own; another writer may be at the same stage."""
    lab = Lab(Workspace(root), f"{name}-{round_}")
    acknowledged = os.open(root / "acknowledged" / lab.writer, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in chance.sample(range(STAGES), STAGES):
        stage = stage_name(round_, number)
        if lab.workspace.done_file(stage).exists():
            continue
        token = lab.claim(stage)
        if chance.random() < 0.2:
            lab.outputs(stage, token)
        values = [metric(f"task{n}", chance.random()) for n in range(chance.randrange(4))]
        won = lab.publish(stage, token, values)
        if won:
            os.write(acknowledged, f"{stage} {token}\n".encode())
        lab.journal.ended(attempt(stage, token, "done" if won else "superseded"))
    time.sleep(LONGEST_ROUND)


def keep_compacting(root: Path, chance: random.Random) -> None:
    while True:
        (rebuild if chance.random() < 0.1 else compact)(Workspace(root))


def child(work: Callable[[], None]) -> int:
    """Fork a process that does `work` until it is killed."""
    process = os.fork()
    if process:
        return process
    try:
        work()
    except BaseException as error:
        os.write(2, f"{error!r}\n".encode())
        os._exit(3)
    os._exit(0)


def acknowledgements(root: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in (root / "acknowledged").iterdir())


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST_ROUND
    while not true() and time.monotonic() < deadline:
        time.sleep(0.002)


def play(root: Path, writers: int, round_: int, seed: int) -> int:
    """One round; returns how many commits were acknowledged in it.

    Raises:
        RuntimeError: a process ended by itself.
    """
    chance = random.Random(seed)
    before = acknowledgements(root)
    tasks = [
        child(partial(write, root, f"w{n}", round_, random.Random(f"{seed} {n}"))) for n in range(writers)
    ]
    tasks.append(child(partial(keep_compacting, root, random.Random(seed))))
    more = chance.randrange(1, 80)
    generation = next_number(Workspace(root)) + (
        chance.random() < 0.5
    )  # every second round lets one be published
    wait_until(lambda: acknowledgements(root) >= before + more and next_number(Workspace(root)) >= generation)
    time.sleep(chance.uniform(0, 0.03))
    for process in tasks:
        os.kill(process, signal.SIGKILL)
    endings = [os.waitpid(process, 0)[1] for process in tasks]
    if any(not os.WIFSIGNALED(ending) for ending in endings):
        raise RuntimeError(f"a process ended by itself: {endings}")
    return acknowledgements(root) - before


def main() -> None:
    root, writers = Path(sys.argv[1]), int(sys.argv[2])
    (root / "acknowledged").mkdir(parents=True, exist_ok=True)
    for line in sys.stdin:
        round_, seed = map(int, line.split())
        print(play(root, writers, round_, seed), flush=True)


if __name__ == "__main__":
    main()
