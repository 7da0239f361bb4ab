"""What the simulation of quantized training costs: a step with quantizers against one without.

python -m pytest tests/benchmarks/test_quantization.py -m benchmark -s
"""

import statistics
import time
from collections.abc import Callable

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config

from workers.quantization.layers import put_quantizers
from workers.quantization.optimizer import quantized_adamw
from workers.quantization.rounding import Dice
from workers.specs.quantized import GradientQuantizer, MomentQuantizer, QuantizedTraining, Quantizer

pytestmark = pytest.mark.benchmark

SAMPLES = 5
W8A8 = QuantizedTraining(weights=Quantizer(), activations=Quantizer())
W8A8G8 = W8A8.model_copy(update={"gradients": GradientQuantizer()})
MOMENTS = QuantizedTraining(first_moment=MomentQuantizer(), second_moment=MomentQuantizer(code="nonzero"))
SIZES = {"tiny": (64, 2, 4, 64, 16, 210, 20), "small": (256, 6, 8, 256, 4, 4096, 1)}
"""Width, layers, heads, length, rows, vocabulary; steps a sample."""
ARMS = {"W8A8": W8A8, "W8A8G8": W8A8G8, "m8 v8": MOMENTS}


def trainer(size: str, recipe: QuantizedTraining, device: str = "cpu") -> Callable[[], None]:
    """A function that takes one optimizer step."""
    width, layers, heads, length, rows, vocabulary, _ = SIZES[size]
    torch.manual_seed(0)
    configuration = GPT2Config(
        vocab_size=vocabulary, n_embd=width, n_layer=layers, n_head=heads, n_positions=length, use_cache=False
    )
    model = AutoModelForCausalLM.from_config(configuration).to(device)
    put_quantizers(model, recipe, Dice(0))
    kind, arguments = quantized_adamw(model, recipe, Dice(0), {"lr": 1e-3})
    optimizer = kind(model.parameters(), **arguments)
    ids = torch.randint(vocabulary, (rows, length), device=device)

    def step() -> None:
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()

    return step


def seconds(step: Callable[[], None], count: int) -> float:
    """CPU seconds of one thread, which other work on the machine does not lengthen much."""
    start = time.process_time()
    for _ in range(count):
        step()
    return (time.process_time() - start) / count


@pytest.mark.parametrize("size", SIZES)
def test_a_simulated_step_costs_little_more(size: str) -> None:
    """Alternated samples; the ratio of medians. Bar: W8A8 at most 1.25 times the plain step on a CPU."""
    torch.set_num_threads(1)
    count = SIZES[size][-1]
    steps = {name: trainer(size, recipe) for name, recipe in {"plain": QuantizedTraining(), **ARMS}.items()}
    for step in steps.values():
        seconds(step, 2)
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(SAMPLES):
        for name, step in steps.items():
            taken[name].append(seconds(step, count))
    plain = statistics.median(taken["plain"])
    ratios = {name: statistics.median(taken[name]) / plain for name in ARMS}
    shown = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
    print(f"\n{size}: plain {1000 * plain:.1f} ms a step; times the plain step: {shown}")
    assert ratios["W8A8"] <= 1.25
