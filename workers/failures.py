"""Failure classes and what follows from them: again, failed, or held (design, section 7).

Every rule reads only the records of the attempts at a stage, so a supervisor, `status` and `resume` agree.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from results.records import AttemptRecord, Ending

Verdict = Literal["again", "failed", "stopped"]

FREE: frozenset[Ending] = frozenset({"preempted", "lost", "superseded", "cancelled"})
BOUNDED: dict[Ending, int] = {"hung": 2, "transient": 4, "host_out_of_memory": 3}
ALIKE_TO_HOLD = 3
LOSSES_WITHOUT_PROGRESS = 5
CHILD_KILLED = "the worker process was killed"


def verdict(attempts: list[AttemptRecord], code: str | None = None) -> Verdict:
    """Whether a stage with these ended attempts (oldest first) is tried again.

    A bug is tried again by other code than the one it failed under (`code` is the current code's hash).
    """
    if not attempts:
        return "again"
    last = attempts[-1]
    match last["ending"]:
        case "bug" | "bad_input":
            changed = code is not None and last["fingerprint"].get("code") not in (None, code)
            return "again" if changed and last["ending"] == "bug" else "failed"
        case "gpu_out_of_memory":
            return "failed" if last["execution"].get("micro_batch") == 1 else "again"
        case "timeout":
            return "again" if _advanced(attempts) else "failed"
        case "early_stopped":
            return "stopped"
        case "lost":
            return "failed" if _keeps_dying(attempts) else "again"
    limit = BOUNDED.get(last["ending"] or "lost")
    return "failed" if limit is not None and _count(attempts, last["ending"]) >= limit else "again"


def next_micro_batch(attempts: list[AttemptRecord], batch_size: int) -> int | None:
    """The micro-batch of the next try: halved after memory ran out where it computes, else as planned (None).

    A micro-batch that was planned larger than the batch counts as the batch, so that every halving makes a difference.
    """
    sizes = [
        min(record["execution"].get("micro_batch") or batch_size, batch_size)
        for record in attempts
        if record["ending"] == "gpu_out_of_memory"
    ]
    return max(1, min(sizes) // 2) if sizes else None


def whole_batch(recipe: Any) -> int:
    """The rows that a stage computes together when nothing divides them: what a micro-batch is a part of."""
    for holder in (getattr(recipe, "rollout", None), getattr(recipe, "training", None), recipe):
        size = getattr(holder, "batch_size", None)
        if size is not None:
            return int(size)
    return 1


def signature(record: AttemptRecord) -> str:
    """What makes two failures alike: the kind of stage, the class, and the error without its numbers."""
    text = re.sub(r"[0-9a-f]{8,}|\d+", "#", record["message"] or "")
    return f"{record['kind']}: {record['ending']}: {text[:200]}"


def held_kinds(endings: Mapping[str, list[AttemptRecord]], code: str | None = None) -> dict[str, str]:
    """Kinds whose remaining stages are held, with the one reason: too many stages failed alike."""
    alike: dict[tuple[str, str], set[str]] = defaultdict(set)
    for stage, attempts in endings.items():
        if attempts[-1]["ending"] in ("bug", "bad_input") and verdict(attempts, code) == "failed":
            alike[(attempts[-1]["kind"], signature(attempts[-1]))].add(stage)
    return {
        kind: f"{len(stages)} stages failed alike ({reason}); mend it, then `yates resume --release`"
        for (kind, reason), stages in alike.items()
        if len(stages) >= ALIKE_TO_HOLD
    }


def _advanced(attempts: list[AttemptRecord]) -> bool:
    """Whether the last attempt got further than the best one before it."""
    before = max((record["step"] for record in attempts[:-1]), default=-1)
    return attempts[-1]["step"] > before


def _keeps_dying(attempts: list[AttemptRecord]) -> bool:
    """Whether the worker died at the same step each time while its supervisor lived: the stage kills it."""
    recent = attempts[-LOSSES_WITHOUT_PROGRESS:]
    same_step = len({record["step"] for record in recent}) == 1
    killed = all((record["message"] or "").startswith(CHILD_KILLED) for record in recent)
    return len(recent) == LOSSES_WITHOUT_PROGRESS and same_step and killed


def _count(attempts: Iterable[AttemptRecord], ending: Ending | None) -> int:
    return sum(record["ending"] == ending for record in attempts)
