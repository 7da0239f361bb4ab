"""The work of passes, against the usual rules of thumb; and the time that it takes."""

from dataclasses import replace

import pytest

from orchestrator.cost.accelerators import CPU, GPUS, Accelerator, Work, accelerator_for
from orchestrator.cost.architecture import GPT2_SMALL, LLAMA_7B
from orchestrator.cost.passes import Model, forward, gradient, optimizer
from workers.recipe import Resources
from workers.specs.model import LoraRecipe, ModelRecipe, QuantizationRecipe

FULL = Model(LLAMA_7B)
LORA = Model(LLAMA_7B, adapter=LoraRecipe())
STORED = replace(LORA, quantization=QuantizationRecipe())
ROWS, LENGTH = 4, 128
TOKENS = ROWS * LENGTH


def per_weight(work: Work) -> float:
    """Operations for each weight and token."""
    return work.operations / TOKENS / (LLAMA_7B.parameters - LLAMA_7B.head_weights)


def test_forward_takes_two_operations_for_each_weight_and_backward_four() -> None:
    assert per_weight(forward(FULL, ROWS, LENGTH)) == pytest.approx(2, rel=0.02)
    assert per_weight(gradient(FULL, ROWS, LENGTH, recompute=False)) == pytest.approx(6, rel=0.02)


def test_frozen_weights_have_no_gradient_and_recomputing_is_another_forward_pass() -> None:
    assert per_weight(gradient(LORA, ROWS, LENGTH, recompute=False)) == pytest.approx(4, rel=0.03)
    assert per_weight(gradient(LORA, ROWS, LENGTH, recompute=True)) == pytest.approx(6, rel=0.03)


def test_attention_grows_with_the_square_of_the_length() -> None:
    def beside(length: int) -> float:
        linear = length * (forward(FULL, 1, 2).operations - forward(FULL, 1, 1).operations)
        return forward(FULL, 1, length).operations - linear

    assert beside(2000) / beside(1000) == pytest.approx(4, rel=0.05)
    eager, flash = (forward(Model(LLAMA_7B, flash=one), 1, 2048).operations for one in (False, True))
    scores = 4 * 2048**2 * LLAMA_7B.layers * LLAMA_7B.hidden
    assert eager - flash == pytest.approx(scores / 2)


def test_cached_tokens_cost_attention_and_memory_but_no_products() -> None:
    alone, after = forward(FULL, 1, 1), forward(FULL, 1, 1, past=1000)
    assert after.operations - alone.operations == 4 * 1000 * LLAMA_7B.layers * LLAMA_7B.hidden
    assert after.traffic - alone.traffic == 2 * 2 * 1000 * LLAMA_7B.layers * LLAMA_7B.hidden
    assert after.weights == alone.weights


def test_logits_are_made_only_where_they_are_scored() -> None:
    few, all_ = forward(FULL, ROWS, LENGTH, scored=1), forward(FULL, ROWS, LENGTH)
    assert all_.operations - few.operations == 2 * (TOKENS - ROWS) * LLAMA_7B.head_weights


def test_storage_in_four_bits_is_traffic_in_every_pass() -> None:
    weights = LLAMA_7B.layers * LLAMA_7B.layer_weights
    once = (0.5 + 4 / 64 + 2) * weights
    assert forward(STORED, 1, 1).traffic - forward(LORA, 1, 1).traffic == pytest.approx(once)
    stored, plain = (gradient(one, 1, 1, recompute=True).traffic for one in (STORED, LORA))
    assert stored - plain == pytest.approx(3 * once)


def test_an_adapter_on_more_modules_moves_more() -> None:
    few = replace(LORA, adapter=LoraRecipe(target_modules=("q_proj", "v_proj"), rank=64))
    bare, some, all_ = (forward(one, ROWS, LENGTH) for one in (FULL, few, LORA))
    assert bare.traffic < some.traffic < all_.traffic
    assert bare.kernels < some.kernels < all_.kernels


def test_the_optimizer_moves_what_is_trained() -> None:
    assert optimizer(LORA).traffic == 28 * 39_976_960
    assert optimizer(Model(GPT2_SMALL)).traffic == pytest.approx(28 * 1.244e8, rel=0.01)


def test_autocast_decides_the_type_of_the_products() -> None:
    recipe = ModelRecipe(dtype="float32")
    assert Model.of(LLAMA_7B, recipe).dtype_bytes == 4
    assert Model.of(LLAMA_7B, recipe, autocast="bfloat16").dtype_bytes == 2


GPU = Accelerator("toy", 10, peak=100.0, bandwidth=10.0, utilisation=0.5, kernel_seconds=1.0)


@pytest.mark.parametrize(
    ("work", "seconds"),
    [
        (Work(operations=500), 10),
        (Work(operations=500, weights=50), 10),
        (Work(operations=500, weights=200), 20),
        (Work(traffic=80), 10),
        (Work(operations=500, traffic=80), 20),
        (Work(operations=500, kernels=5), 10),
        (Work(operations=500, kernels=15), 15),
    ],
)
def test_the_roofline(work: Work, seconds: float) -> None:
    assert GPU.seconds(work) == pytest.approx(seconds)


def test_where_the_host_computes_nothing_overlaps() -> None:
    assert replace(GPU, is_host=True).seconds(Work(operations=500, kernels=5)) == 15


def test_several_share_the_work() -> None:
    assert GPU.times(4).seconds(Work(operations=500)) == pytest.approx(2.5)
    assert GPU.times(0.5).seconds(Work(operations=500)) == pytest.approx(20)
    assert GPU.times(1) is GPU


def test_several_gpus_read_their_own_weights_and_threads_the_same() -> None:
    work = Work(weights=800)
    assert GPU.times(4).seconds(work) == pytest.approx(GPU.seconds(work))
    assert CPU.times(4).seconds(work) == pytest.approx(CPU.seconds(work) / 4)


@pytest.mark.parametrize(
    ("memory", "name"),
    [(None, "A100 40GB"), (24, "A10 24GB"), (40, "A100 40GB"), (80, "A100 80GB"), (100, "H200 141GB")],
)
def test_a_stage_computes_on_the_smallest_gpu_that_has_its_memory(memory: float | None, name: str) -> None:
    assert accelerator_for(Resources(gpus=1, gpu_memory_gb=memory), 1).name == name


def test_beyond_the_largest_gpu_it_is_the_largest_and_without_one_a_cpu() -> None:
    assert accelerator_for(Resources(gpus=1, gpu_memory_gb=1000), 1) is GPUS[-1]
    assert accelerator_for(Resources(), 2).peak == 2 * CPU.peak
    assert [gpu.memory for gpu in GPUS] == sorted(gpu.memory for gpu in GPUS)


def test_decoding_is_bound_by_memory_and_a_long_prompt_by_operations() -> None:
    a100 = replace(GPUS[1], kernel_seconds=0.0)
    step = forward(FULL, 1, 1)
    weights = 2 * (LLAMA_7B.parameters - LLAMA_7B.head_weights)
    assert a100.seconds(step) == pytest.approx(weights / a100.bandwidth, rel=0.02)
    prompt = forward(FULL, 16, 512)
    assert a100.seconds(prompt) > prompt.operations / a100.peak / a100.utilisation
