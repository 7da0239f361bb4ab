"""The memory of a training step that two processes share, measured in the first of them.

    python -m tests.orchestrator.cost.memory.divided NAME PLACE STORE

is one process of a case: PLACE is its rank, STORE a file by which the two meet; it prints the peak in bytes.
"""

import gc
import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from tests.orchestrator.cost.memory import measured
from tests.orchestrator.cost.memory.cases import DOUBLE, GPT2, MISTRAL, MIXED, NARROW, SMALL_GPT2, TIED, lora
from tests.orchestrator.cost.memory.measured import STEP, Case
from tests.support.commands import ROOT
from tests.support.live_bytes import LiveBytes
from tests.support.training import Lab
from workers.context import StageContext
from workers.recipe import Execution, Strategy
from workers.specs.model import ModelShape
from workers.training import deepspeed

PROCESSES = 2
SMALL = {"BUCKET": 300_000, "PREFETCHED": 300_000, "LIVE": 1_000_000}
"""Buffers that are small beside these models, as DeepSpeed's own are beside large ones."""


@dataclass(frozen=True)
class Divided(Case):
    """A case for two processes; `small`: with small buffers."""

    strategy: Strategy = "ddp"
    small: bool = False

    @property
    def execution(self) -> Execution:
        """How it is run."""
        return super().execution.model_copy(update={"strategy": self.strategy, "processes": PROCESSES})

    def predicted(self) -> float:
        """Bytes of live tensors in one process, as a plan predicts them."""
        with buffers(self):
            return super().predicted()

    def measured(self) -> float:
        """The same, measured in the first of two processes."""
        with TemporaryDirectory() as scratch:
            command = [sys.executable, "-m", "tests.orchestrator.cost.memory.divided", NAMES[self]]
            processes = [
                subprocess.Popen(
                    [*command, str(place), f"{scratch}/store"], cwd=ROOT, stdout=subprocess.PIPE, text=True
                )
                for place in range(PROCESSES)
            ]
            said = [process.communicate()[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * PROCESSES
        return float(said[0].splitlines()[-1])


def buffers(case: Divided) -> ExitStack:
    """Within it DeepSpeed's buffers, and a plan's idea of them, are those of a case."""
    stack = ExitStack()
    for name, size in SMALL.items() if case.small else ():
        stack.enter_context(patch.object(deepspeed, name, size))
    return stack


LARGE = ModelShape(
    hidden_size=256, layers=6, heads=8, key_value_heads=2, intermediate_size=704, vocabulary_multiple=2048
)
OTHER = ModelShape(
    hidden_size=320, layers=4, heads=5, key_value_heads=5, intermediate_size=900, vocabulary_multiple=1280
)


def three(name: str, case: Divided) -> dict[str, Divided]:
    """A case under each strategy."""
    found: tuple[Strategy, ...] = ("ddp", "deepspeed-zero2", "deepspeed-zero3")
    return {f"{name}, {each}": replace(case, strategy=each) for each in found}


READ_OFF = {
    **three("pretrain large", Divided("pretrain", LARGE, micro=1, batch=4, length=32)),
    **three(
        "pretrain large, small buffers", Divided("pretrain", LARGE, micro=1, batch=4, length=32, small=True)
    ),
    **three("dpo large", Divided("dpo", LARGE, micro=1, batch=2, length=32, adapter=lora(rank=16))),
    **three("dpo large, small buffers", Divided("dpo", LARGE, 1, 2, 32, adapter=lora(rank=16), small=True)),
    **three("reward tied", Divided("reward", TIED, micro=2, batch=4, length=136, checkpointing=True)),
    **three("pretrain gpt2", Divided("pretrain", GPT2, micro=4, batch=8, autocast="bfloat16")),
}
"""Those of the kinds in sight while the terms were written."""
HELD_OUT = {
    **three("sft other", Divided("sft", OTHER, micro=1, batch=2, length=64)),
    **three(
        "sft other in parts, small buffers", Divided("sft", OTHER, 1, 6, 48, checkpointing=True, small=True)
    ),
    **three("sft mistral adapter", Divided("sft", MISTRAL, 2, 4, 96, adapter=lora(rank=8), **MIXED)),
    **three(
        "dpo narrow", Divided("dpo", NARROW, micro=1, batch=4, length=80, adapter=lora(rank=32), small=True)
    ),
    **three("pretrain small gpt2", Divided("pretrain", SMALL_GPT2, 2, 4, 40, optimizer="sgd", small=True)),
    **three("pretrain mistral", Divided("pretrain", MISTRAL, 1, 2, 48, autocast="bfloat16")),
    **three("reward other", Divided("reward", OTHER, micro=1, batch=2, length=40, small=True)),
    "sft double quantization, ddp": Divided("sft", MISTRAL, 1, 2, 64, adapter=lora(storage=DOUBLE), **MIXED),
}
"""Those measured once it was finished."""
NAMES = {case: name for name, case in (READ_OFF | HELD_OUT).items()}


def step_of(trainer: Any, callback: Any) -> float:
    """The peak of one training step; everything that lives is counted from before DeepSpeed or DDP wraps the model."""
    import torch

    from workers.training.run import run_steps

    peaks: list[int] = []
    begin, end = callback.on_step_begin, callback.on_step_end
    live = LiveBytes([each for each in gc.get_objects() if isinstance(each, torch.Tensor)])

    def on_step_begin(args: Any, state: Any, control: Any, **others: Any) -> Any:
        found = begin(args, state, control, **others)
        gc.collect()
        live.peak = live.now
        return found

    def on_step_end(args: Any, state: Any, control: Any, **others: Any) -> Any:
        peaks.append(live.peak)
        return end(args, state, control, **others)

    with patch.multiple(callback, on_step_begin=on_step_begin, on_step_end=on_step_end), live:
        run_steps(trainer.context, trainer, callback)
    return float(peaks[STEP])


def one_process(name: str, place: int, store: str) -> float:
    """The peak in process `place`. The model is made before the processes know each other: only one would write it."""
    case = (READ_OFF | HELD_OUT)[name]
    with TemporaryDirectory() as scratch, buffers(case):
        made = None if case.kind == "pretrain" else measured._made(case, Lab(Path(scratch)))
        _join(place, store)
        context = measured._context

        def context_of_place(*arguments: Any) -> StageContext:
            found = context(*arguments)
            found.rank = place
            return found

        with patch.multiple(measured, _step_of=step_of, _made=lambda *_: made, _context=context_of_place):
            return Case.measured(case)


def _join(place: int, store: str) -> None:
    known = {"RANK": place, "LOCAL_RANK": place, "WORLD_SIZE": PROCESSES, "LOCAL_WORLD_SIZE": PROCESSES}
    os.environ |= {name: str(value) for name, value in known.items()}
    os.environ |= {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": "", "MASTER_ADDR": "127.0.0.1"}
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=place, world_size=PROCESSES)


if __name__ == "__main__":
    peak = one_process(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    print(peak, flush=True)
    from torch import distributed

    distributed.barrier()
    os._exit(0)
