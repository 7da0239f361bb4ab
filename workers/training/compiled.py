"""The layers of a model through torch.compile (Ansel et al., ASPLOS 2024), for the time of one training.

Each layer is compiled, not the model: equal layers share one compilation, however deep the model is, and what TRL and
this package put around the layers (heads in tiles, batches without padding) stays as it is. The trainers' own switch
is not used: it also turns on TF32 on GPUs, which changes numbers, and leaves variables in the environment.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from workers.context import BadInput

VARIANTS = 64
"""Compilations of one layer before torch would quietly go on without. A layer has one for each combination of: inputs
that need a gradient, a mask, several rows, an adapter that is on, gradients at all; lengths share theirs."""


@contextmanager
def compiled_layers(model: Any, device: str, *, wanted: bool = True) -> Iterator[None]:
    """Within it the layers of `model` run compiled; afterwards model and torch are as they were.

    Names of weights do not change. Dropout draws as it does without (`fallback_random`), no process is left behind
    (`compile_threads`), a length is never a reason to compile anew (`dynamic`), and DDP does not cut a layer at the
    bounds of its buckets (`optimize_ddp`).

    Raises:
        BadInput: the model has no layers of one kind, or this machine has no compiler that works.
    """
    if not wanted:
        yield
        return
    from torch._dynamo import config as tracing
    from torch._dynamo import reset
    from torch._inductor import config as generated

    layers = layers_of(model)
    check_compiler(device)
    reset()
    with (
        tracing.patch(recompile_limit=VARIANTS, optimize_ddp=False),
        generated.patch(fallback_random=True, compile_threads=1),
    ):
        for layer in layers:
            layer.compile(dynamic=True)
        try:
            yield
        except Exception as error:
            told = _for_the_person(error)
            if told is None:
                raise
            raise told from None
        finally:
            for layer in layers:
                del layer._compiled_call_impl
            reset()


def layers_of(model: Any) -> list[Any]:
    """The repeated layers of a transformers model, on whatever it is wrapped in.

    Raises:
        BadInput: there are none.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    found = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not found:
        raise BadInput(f"`compile: true` finds no layers in a {type(model).__name__}; leave it out")
    return found


@contextmanager
def as_written(execution: Any) -> Iterator[None]:
    """Within it a compiled model computes as it is written: what is measured is not compiled for every new shape."""
    if not execution.compile:
        yield
        return
    from torch.compiler import set_stance

    with set_stance("force_eager"):
        yield


def check_compiler(device: str) -> None:
    """See that what torch generates can be compiled here: C++ for a CPU, Triton's language for a GPU.

    Raises:
        BadInput: it cannot; the message says what to install.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler
    from torch.utils._triton import has_triton

    if device == "cpu":
        try:
            get_cpp_compiler()
        except InvalidCxxCompiler:
            raise BadInput(_LACKING) from None
    elif not has_triton():
        raise BadInput("`compile: true` needs Triton for this GPU: install it, or leave the setting out")


_LACKING = (
    "`compile: true` needs a C++ compiler, and there is none here (g++ on the PATH, or another named by CXX): install "
    "one, or leave the setting out"
)


def _for_the_person(error: Exception) -> BadInput | None:
    """What a compiler that does not work means for the person; None for other failures."""
    from torch._inductor.exc import CppCompileError

    cause = getattr(error, "inner_exception", error)
    if not isinstance(cause, CppCompileError):
        return None
    lines = [line for line in cause.output.splitlines() if "error" in line]
    return BadInput(
        f"`compile: true`: the C++ compiler failed ({(lines or ['no reason given'])[0].strip()}); mend it, or leave "
        "the setting out"
    )
