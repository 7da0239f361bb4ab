"""The terms of the memory model: what each setting changes, and by how much."""

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.cost.architecture import GPT2_SMALL, LLAMA_7B, MISTRAL_7B, Architecture
from orchestrator.cost.memory.batches import largest_micro_batch, stage_need
from orchestrator.cost.memory.device import CPU, FRAGMENTATION, GPU
from orchestrator.cost.memory.footprint import Footprint, highest
from orchestrator.cost.memory.held import Held
from orchestrator.cost.memory.inference import cache_bytes
from orchestrator.cost.memory.layers import Rows, backward_workspace, keeps_scores, saved
from orchestrator.cost.memory.stages import stage_footprint
from orchestrator.cost.memory.steps import Step
from workers.kinds import find_kind
from workers.recipe import Execution, Resources
from workers.specs.model import LoraRecipe, ModelRecipe, QuantizationRecipe
from workers.specs.quantized import QuantizedTraining

CARD = Resources(gpus=1, gpu_memory_gb=40)
BF16 = ModelRecipe(hub="huggyllama/llama-7b", dtype="bfloat16")
ROWS = Rows(4, 512)
HALF = {"model": {"hub": "huggyllama/llama-7b", "dtype": "bfloat16"}}


def held(shape: Architecture = LLAMA_7B, **others: Any) -> Held:
    return Held.of(shape, BF16, **others)


def footprint(kind: str, recipe: dict[str, Any], shape: Architecture = LLAMA_7B, **others: Any) -> Footprint:
    found = stage_footprint(
        kind, find_kind(kind).recipe.model_validate(recipe), shape, others.pop("resources", CARD), **others
    )
    assert found is not None
    return found


def test_weights_of_seven_billion() -> None:
    assert held().weights == pytest.approx(6.738e9 * 2, rel=1e-3)
    assert Held.of(LLAMA_7B, BF16, trained=True).weights == pytest.approx(6.738e9 * 4, rel=1e-3)
    assert Held.of(GPT2_SMALL, ModelRecipe()).weights == pytest.approx(124.4e6 * 4, rel=1e-3)


@pytest.mark.parametrize(
    ("storage", "bits"),
    [
        (QuantizationRecipe(), 4.5),
        (QuantizationRecipe(double_quantization=True), 4.127),
        (QuantizationRecipe(format="int8"), 8.0),
    ],
)
def test_bits_of_a_stored_weight(storage: QuantizationRecipe, bits: float) -> None:
    """QLoRA, arXiv 2305.14314, section 3: double quantization saves 0.373 bits a weight."""
    model = held(storage=storage)
    assert model.stored_weight * 8 == pytest.approx(bits, abs=1e-3)
    plain = model.plain_weights * 2
    assert (model.weights - plain) * 8 / (LLAMA_7B.layers * LLAMA_7B.layer_weights) == pytest.approx(
        bits, abs=1e-3
    )


def test_weights_that_move_have_gradients_and_two_moments() -> None:
    step = Step(held(trained=True), ROWS, GPU)
    assert step.gradients == step.held.weights
    last = step._in_optimizer()
    assert last.optimizer == 2 * step.held.weights
    assert last.workspace == step.held.weights
    assert replace(step, optimizer="adamw_bnb_8bit")._in_optimizer().optimizer == pytest.approx(
        2.03 * step.held.moved, rel=1e-2
    )
    assert replace(step, optimizer="sgd")._in_optimizer().optimizer == 0


def test_only_the_adapter_moves() -> None:
    adapter = LoraRecipe(rank=16)
    model = held(adapter=adapter)
    assert model.moved == 39_976_960, "PEFT's count for LLaMA-7B, rank 16, all seven projections"
    assert Step(model, ROWS, GPU).gradients == model.moved * 4
    assert held(adapter=adapter, adapter_dtype="bfloat16").moved_bytes == 2


def test_checkpointing_keeps_the_inputs_of_layers_and_one_layer_whole() -> None:
    plain = Step(held(adapter=LoraRecipe()), ROWS, GPU)
    again = replace(plain, checkpointing=True)
    assert again.kept == LLAMA_7B.layers * 2 * 4096 * ROWS.tokens
    assert again.kept < plain.kept / 15
    assert again.footprint.peak < plain.footprint.peak
    assert again._in_last_layer().workspace > saved(plain.held, ROWS, GPU)


def test_gradients_wait_where_a_batch_comes_in_parts() -> None:
    whole = Step(held(trained=True), ROWS, GPU)
    parts = replace(whole, batches=4)
    assert parts._at_loss().gradients >= whole.gradients
    assert whole._at_loss().gradients < whole.gradients / 10


def test_the_first_layer_s_backward_pass_has_all_gradients() -> None:
    step = Step(held(trained=True), ROWS, GPU, checkpointing=True)
    assert step._in_first_layer().gradients > 0.9 * step.gradients
    assert step._in_first_layer().activations < step._in_last_layer().activations


@pytest.mark.parametrize(
    ("longer", "shorter"),
    [
        (Rows(8, 512), Rows(4, 512)),
        (Rows(4, 1024), Rows(4, 512)),
        (Rows(4, 512, padded=True), Rows(4, 512)),
    ],
)
def test_more_positions_and_masks_keep_more(longer: Rows, shorter: Rows) -> None:
    model = held(MISTRAL_7B, adapter=LoraRecipe())
    assert saved(model, longer, GPU) > saved(model, shorter, GPU)


def test_eager_attention_keeps_scores_which_grow_with_the_square_of_the_length() -> None:
    eager = Held.of(LLAMA_7B, ModelRecipe(dtype="bfloat16", attention="eager"), adapter=LoraRecipe())
    fused = held(adapter=LoraRecipe())
    extra = [saved(eager, Rows(1, size), GPU) - saved(fused, Rows(1, size), GPU) for size in (512, 1024)]
    assert extra[1] == pytest.approx(4 * extra[0], rel=0.01)
    assert extra[0] == pytest.approx(32 * 512 * 512 * (4 + 2), rel=0.01)
    assert backward_workspace(eager, Rows(1, 4096), GPU) > backward_workspace(fused, Rows(1, 4096), GPU)


def test_dropout_in_attention_keeps_scores_on_a_cpu_only() -> None:
    model = Held.of(GPT2_SMALL, ModelRecipe(), trained=True, dropout=0.1)
    assert keeps_scores(model, CPU)
    assert not keeps_scores(model, GPU)
    assert not keeps_scores(replace(model, dropout=0.0), CPU)


def test_dropout_of_an_adapter_keeps_a_mask_and_every_input() -> None:
    dropped, plain = (held(adapter=LoraRecipe(dropout=rate), autocast="bfloat16") for rate in (0.1, 0.0))
    assert saved(dropped, ROWS, GPU) > saved(plain, ROWS, GPU)
    assert saved(dropped, ROWS, CPU) > saved(dropped, ROWS, GPU), "a mask is a byte on a GPU"


def test_autocast_keeps_the_cast_weights_and_inputs() -> None:
    plain = Step(Held.of(GPT2_SMALL, ModelRecipe(), trained=True), ROWS, GPU)
    cast = replace(plain, held=Held.of(GPT2_SMALL, ModelRecipe(), trained=True, autocast="bfloat16"))
    assert cast.kept < plain.kept, "activations of two bytes"
    assert cast.kept > plain.kept / 2, "float32 norms, and copies of the weights"


def test_the_cache_of_grouped_queries_is_a_quarter() -> None:
    assert cache_bytes(held(), 1000) == 4 * cache_bytes(held(MISTRAL_7B), 1000) == 524_288_000


def test_a_quantized_base_makes_one_weight_whole() -> None:
    plain, stored = (held(storage=one) for one in (None, QuantizationRecipe()))
    assert backward_workspace(stored, ROWS, GPU) - backward_workspace(plain, ROWS, GPU) == 2 * 4096 * 11_008


PAIRS = {**HALF, "preferences": {"max_length": 512}, "training": {"autocast": "bfloat16"}}


def test_dpo_has_twice_the_sequences_of_sft() -> None:
    run = Execution(micro_batch=4)
    recipe = {**PAIRS, "adapter": {}}
    sft = footprint("sft", {**recipe, "max_length": 512}, execution=run)
    dpo = footprint("dpo", recipe, execution=run)
    assert dpo.activations == pytest.approx(2 * sft.activations)
    assert dpo.weights == sft.weights


def test_a_reward_model_has_no_output_layer() -> None:
    run = Execution(micro_batch=1)
    reward = footprint("reward", {**PAIRS, "adapter": {}}, execution=run)
    dpo = footprint("dpo", {**PAIRS, "adapter": {}}, execution=run)
    assert dpo.weights - reward.weights == 2 * LLAMA_7B.head_weights
    assert reward.logits == 0


PPO: dict[str, Any] = {
    **HALF,
    "preferences": {},
    "rollout": {"batch_size": 16},
    "training": {"batch_size": 16, "autocast": "bfloat16"},
}


def test_ppo_has_two_backbones_and_a_reference_of_its_own_a_third() -> None:
    run = Execution(micro_batch=4, gradient_checkpointing=True)
    shared = footprint("ppo", PPO, execution=run)
    apart = footprint("ppo", {**PPO, "reference_dtype": "float32"}, execution=run)
    assert shared.others == pytest.approx(shared.weights, rel=0.05)
    assert apart.others - shared.others == pytest.approx(6.738e9 * 4, rel=1e-3)


def test_a_divergence_over_the_vocabulary_costs_logits() -> None:
    run = Execution(micro_batch=16, gradient_checkpointing=True)
    plain = footprint("ppo", PPO, execution=run)
    full = footprint(
        "ppo", {**PPO, "regularizer": {"penalty": "kl_full", "placement": "loss"}}, execution=run
    )
    assert full.logits > plain.logits


def test_what_only_reads_has_neither_gradients_nor_optimizer() -> None:
    recipes: dict[str, dict[str, Any]] = {
        "evaluate": {"benchmarks": [{"task": "mmlu"}, {"task": "bbh"}]},
        "generate": {"prompts": [{"name": "any"}]},
        "reference": {"preferences": {}},
    }
    for kind, recipe in recipes.items():
        found = footprint(kind, {**HALF, **recipe})
        assert found.gradients == found.optimizer == found.activations == 0
        assert found.peak > found.weights


def test_a_chooser_among_answers_is_one_more_model() -> None:
    recipe = {**HALF, "prompts": [{"name": "any"}], "temperature": 1.0}
    one, best = (footprint("generate", {**recipe, "best_of": count}) for count in (1, 4))
    assert best.others - one.others == held(head="score").weights


@pytest.mark.parametrize("kind", ["evaluate", "generate"])
def test_nothing_to_ask_is_the_model_alone(kind: str) -> None:
    assert footprint(kind, HALF) == Footprint(weights=held().weights)


def test_a_judge_at_a_service_needs_nothing_and_unknown_kinds_are_left_out() -> None:
    judge = find_kind("judge").recipe.model_validate({"judge": {"endpoint": {"model": "any"}}})
    assert stage_footprint("judge", judge, LLAMA_7B, CARD) is None
    assert stage_need("merge", find_kind("merge").recipe(), LLAMA_7B, CARD) is None


def test_the_highest_moment_and_sums() -> None:
    one, other = Footprint(weights=1, logits=2), Footprint(weights=1, workspace=5)
    assert highest(one, other) is other
    assert (one + other) == Footprint(weights=2, logits=2, workspace=5)
    assert (one + other).peak == 9


def need(kind: str, recipe: dict[str, Any], resources: Resources, **execution: Any) -> Any:
    made = find_kind(kind).recipe.model_validate(recipe)
    return stage_need(kind, made, LLAMA_7B, resources, Execution(**execution))


def test_the_largest_micro_batch_that_fits() -> None:
    recipe = {**PAIRS, "adapter": {}, "training": {"batch_size": 12, "autocast": "bfloat16"}}
    found = need("dpo", recipe, CARD, gradient_checkpointing=True, micro_batch=1)
    assert found.fits
    assert found.micro_batch in (1, 2, 3, 4, 6, 12)
    at = [
        need("dpo", recipe, CARD, gradient_checkpointing=True, micro_batch=size).gigabytes for size in (1, 12)
    ]
    assert at[0] < at[1]
    larger = need("dpo", recipe, Resources(gpus=1, gpu_memory_gb=80), gradient_checkpointing=True)
    assert larger.micro_batch >= found.micro_batch


@pytest.mark.parametrize(("limit", "size"), [(100.0, 12), (7.0, 6), (5.9, 4), (1.0, 1), (0.5, 0)])
def test_micro_batches_divide_the_batch(limit: float, size: int) -> None:
    assert largest_micro_batch(12, limit, float) == size


def test_a_share_of_a_gpu_has_a_share_of_its_memory() -> None:
    recipe = {**HALF, "preferences": {}}
    half = need("reference", recipe, Resources(gpus=0.5, gpu_memory_gb=40))
    whole = need("reference", recipe, CARD)
    assert (half.has, whole.has) == (20, 40)
    assert half.gigabytes == whole.gigabytes == pytest.approx(whole.footprint.peak * FRAGMENTATION / 1e9)
    assert need("reference", recipe, Resources(gpus=1)).fits, "a card without a figure suffices"


def test_a_cpu_stage_counts_its_process() -> None:
    found = need("reference", {**HALF, "preferences": {}}, Resources(memory_gb=64))
    assert found.has == 64
    assert found.gigabytes == pytest.approx(found.footprint.peak / 1e9 + 0.7)


FULL = HALF | {"training": {"batch_size": 128}, "adapter": None}


def divided(strategy: str, processes: int) -> Footprint:
    execution = Execution.model_validate(
        {"strategy": strategy, "processes": processes, "micro_batch": 1, "gradient_checkpointing": True}
    )
    return footprint("sft", FULL, execution=execution)


def test_zero_divides_what_the_paper_says() -> None:
    """Rajbhandari et al., figure 1: stage 2 divides optimizer states and gradients, stage 3 the weights too.

    DeepSpeed has its share of the gradients twice while it moves the weights.
    """
    alone, second, third = divided("single", 1), divided("deepspeed-zero2", 4), divided("deepspeed-zero3", 4)
    moved = 6.738e9
    assert alone.weights == second.weights == pytest.approx(4 * moved, rel=1e-3)
    assert third.weights == pytest.approx(moved, rel=1e-3)
    assert alone.optimizer == pytest.approx(8 * moved, rel=1e-3)
    for shared in (second, third):
        assert shared.optimizer == pytest.approx(12 * moved / 4, rel=1e-3)
        assert shared.gradients == pytest.approx(2 * 4 * moved / 4, rel=1e-3)


@pytest.mark.parametrize(
    ("strategy", "fits"), [("ddp", False), ("deepspeed-zero2", True), ("deepspeed-zero3", True)]
)
def test_training_every_weight_of_seven_billion_on_four_cards(strategy: str, fits: bool) -> None:
    assert (GPU.needs(divided(strategy, 4).peak) < 80e9) is fits


def test_processes_without_gpus_share_what_the_stage_asks_for() -> None:
    recipe = find_kind("sft").recipe.model_validate(
        HALF | {"adapter": {"rank": 8}, "training": {"batch_size": 8}}
    )
    one, two = (
        stage_need(
            "sft",
            recipe,
            GPT2_SMALL,
            Resources(memory_gb=100),
            Execution(strategy=strategy, processes=processes, micro_batch=4),  # type: ignore[arg-type]
        )
        for strategy, processes in (("single", 1), ("ddp", 2))
    )
    assert one is not None and two is not None
    assert two.gigabytes == pytest.approx(2 * one.gigabytes, rel=0.05)
    assert (one.micro_batch, two.micro_batch) == (8, 4)


ONLINE: dict[str, Any] = {
    **HALF,
    "adapter": {"target_modules": ["q_proj"]},
    "preferences": {},
    "num_generations": 4,
    "training": {"steps": 1, "batch_size": 16, "autocast": "bfloat16"},
}


@pytest.mark.parametrize("kind", ["rloo", "grpo"])
def test_online_methods_hold_two_backbones(kind: str) -> None:
    """Policy and reference share one, the reward model is the other; micro-batches make the rest smaller."""
    large, small = (footprint(kind, ONLINE, execution=Execution(micro_batch=size)) for size in (16, 1))
    rest = 2 * held().weights - 2 * 32_000 * 4096  # the reward model has no output layer
    for found in (large, small):
        assert found.weights + found.others == pytest.approx(rest, rel=0.01)
    assert large.peak > small.peak > rest


def test_online_methods_have_a_largest_micro_batch() -> None:
    recipe = find_kind("grpo").recipe.model_validate(ONLINE)
    found = stage_need("grpo", recipe, LLAMA_7B, CARD)
    assert found is not None and found.micro_batch in (1, 2, 4, 8, 16)


def rounded(**scheme: Any) -> Held:
    bits = {"weights": {"bits": 8}, "activations": {"bits": 8}}
    return Held.of(
        GPT2_SMALL, ModelRecipe(), trained=True, rounding=QuantizedTraining.model_validate(bits | scheme)
    )


def test_what_quantized_pretraining_keeps_of_a_layer() -> None:
    """GPT-2 small: inputs of 768, 768, 768 and 3,072 values a token, and 7.08 million weights."""
    plain = saved(Held.of(GPT2_SMALL, ModelRecipe(), trained=True), ROWS, GPU)
    inputs, weights = ROWS.tokens * (3 * 768 + 3072), 12 * 768 * 768
    assert saved(rounded(), ROWS, GPU) == plain, (
        "rounded values are not kept unless backward products take them"
    )
    assert saved(rounded(clamp_mask=True), ROWS, GPU) == plain + inputs + weights
    shared = ROWS.tokens * (2 * 768 + 3072)
    operands = saved(rounded(backward_operands="quantized"), ROWS, GPU)
    assert operands == pytest.approx(plain + 4 * (inputs - shared + weights))
    only_weights = rounded(backward_operands="quantized", activations=None)
    assert saved(only_weights, ROWS, GPU) == pytest.approx(plain + 4 * weights)
