"""What the processes of one stage agree on. With one process each function is the identity."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import distributed

from workers.checkpoints import new_checkpoint
from workers.context import StageContext


def processes() -> int:
    """How many compute this stage together."""
    return int(distributed.get_world_size()) if _together() else 1


def agreed(*wishes: bool) -> tuple[bool, ...]:
    """Each wish, true in every process as soon as it is in one; every process asks at the same step."""
    if not _together():
        return wishes
    import torch

    votes = torch.tensor(wishes, dtype=torch.uint8)
    distributed.all_reduce(votes, distributed.ReduceOp.MAX)
    return tuple(bool(vote) for vote in votes.tolist())


@contextmanager
def common_checkpoint(context: StageContext, step: int) -> Iterator[Path]:
    """A directory that every process fills, and that rank 0 seals when all are through (see `new_checkpoint`)."""
    if not _together():
        with new_checkpoint(context.checkpoints, step) as directory:
            yield directory
    elif context.rank == 0:
        with new_checkpoint(context.checkpoints, step) as directory:
            distributed.broadcast_object_list([str(directory)])
            yield directory
            distributed.barrier()
        distributed.barrier()
    else:
        found: list[Any] = [None]
        distributed.broadcast_object_list(found)
        yield Path(found[0])
        distributed.barrier()
        distributed.barrier()


def _together() -> bool:
    return bool(distributed.is_available() and distributed.is_initialized())
