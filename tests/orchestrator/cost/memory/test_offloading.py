"""What offloading takes off a GPU and brings to the host, against figures counted by hand."""

import pytest

from orchestrator.cost.memory.device import CPU, GPU
from orchestrator.cost.memory.division import Division
from orchestrator.cost.memory.footprint import Footprint
from orchestrator.cost.memory.held import Held
from orchestrator.cost.memory.offloading import host_bytes
from orchestrator.cost.memory.stages import stage_footprint
from tests.orchestrator.cost.memory.test_terms import FULL, HALF, LLAMA_7B
from workers.kinds import find_kind
from workers.recipe import Execution, Resources

WEIGHTS = 32 * (4 * 4096**2 + 3 * 4096 * 11008) + 2 * 32_000 * 4096 + 65 * 4096
"""LLaMA-7B: four square matrices and three of the feed-forward part a layer, two embeddings, the norms."""
EMBEDDING = 32_000 * 4096
BUFFER = 50_000_000
"""Gradients that DeepSpeed sums together, and weights that it brings in advance; it has at most 10**9 weights whole."""
SFT = find_kind("sft").recipe.model_validate(FULL)


def execution(strategy: str, offload: str, processes: int = 4, **others: object) -> Execution:
    given = {"strategy": strategy, "offload": offload, "processes": processes, "gradient_checkpointing": True}
    return Execution.model_validate(given | {"micro_batch": 1} | others)


def division(strategy: str, offload: str, processes: int = 4) -> Division:
    return Division.of(execution(strategy, offload, processes), GPU)


HELD = Held(LLAMA_7B, 4.0, 4.0, trained=True)
MOMENT = Footprint(
    weights=4.0 * WEIGHTS, gradients=4.0 * WEIGHTS, optimizer=8.0 * WEIGHTS, activations=3e9, workspace=1e9
)


def test_the_shape_has_the_weights_that_were_counted() -> None:
    assert HELD.moved == WEIGHTS == 6_738_415_616


@pytest.mark.parametrize("processes", [1, 4])
def test_stage_two_leaves_the_weights_on_the_card(processes: int) -> None:
    """In the backward pass beside the buffer, which is twice there while it is summed, the largest tensor."""
    found = division("deepspeed-zero2", "optimizer", processes).share(MOMENT, HELD, "backward", adds_up=True)
    beside = 4.0 * (2 * BUFFER + EMBEDDING)
    assert found == Footprint(weights=4.0 * WEIGHTS, activations=3e9, workspace=1e9 + beside)


def test_stage_three_leaves_what_it_has_whole() -> None:
    gathered = 4.0 * (10**9 + BUFFER)
    resting = {"optimizer": WEIGHTS / 4 * 4.0, "weights": 0.0}
    for offload, weights in resting.items():
        found = division("deepspeed-zero3", offload).share(MOMENT, HELD, "forward", adds_up=True)
        assert found == Footprint(weights=weights, activations=3e9, workspace=1e9 + 4.0 * BUFFER + gathered)


def test_a_step_on_the_host_takes_nothing_of_the_card() -> None:
    two = division("deepspeed-zero2", "optimizer")
    assert two.moved(float(WEIGHTS), float(EMBEDDING)) == (0.0, 0.0)
    assert two.step(MOMENT, HELD) == Footprint(weights=4.0 * WEIGHTS, activations=3e9, workspace=1e9)
    three = division("deepspeed-zero3", "weights").step(MOMENT, HELD)
    assert three == Footprint(activations=3e9, workspace=1e9 + 4.0 * BUFFER)


def footprint(run: Execution, gpus: int) -> Footprint:
    found = stage_footprint("sft", SFT, LLAMA_7B, Resources(gpus=gpus, memory_gb=500), run)
    assert found is not None
    return found


def test_every_weight_of_seven_billion_on_one_card() -> None:
    """Without offloading 108 GB, weights alone 27 GB."""
    whole, optimizer, weights = (
        GPU.needs(footprint(run, 1).peak) / 1e9
        for run in (
            Execution(micro_batch=1, gradient_checkpointing=True),
            execution("deepspeed-zero2", "optimizer", 1),
            execution("deepspeed-zero3", "weights", 1),
        )
    )
    print(f"{whole:.1f} {optimizer:.1f} {weights:.1f} GB")
    assert whole > 80
    assert 40 > optimizer > weights
    assert weights < 24


def test_on_a_cpu_nothing_leaves() -> None:
    assert Division.of(execution("deepspeed-zero3", "weights"), CPU).offload == "none"
    with_it, without = (
        footprint(execution("deepspeed-zero3", offload), 0) for offload in ("weights", "none")
    )
    assert with_it == without


@pytest.mark.parametrize(
    ("strategy", "offload", "micro_batch", "bytes_a_weight"),
    [
        ("deepspeed-zero2", "optimizer", 32, 4 + 4 + 8 + 4 + 8),
        ("deepspeed-zero2", "optimizer", 1, 4 + 4 + 8 + 4 + 4 + 8),
        ("deepspeed-zero3", "optimizer", 1, 4 + 4 + 8 + 4 + 8),
        ("deepspeed-zero3", "weights", 1, 4 + 4 + 8 + 4 + 8 + 4),
        ("deepspeed-zero3", "none", 1, 0),
    ],
)
def test_what_the_host_gets(strategy: str, offload: str, micro_batch: int, bytes_a_weight: int) -> None:
    """Copy, its gradient, two moments, what is on its way (summed gradients too), two temporaries, the weights."""
    run = execution(strategy, offload, micro_batch=micro_batch)
    assert host_bytes("sft", SFT, LLAMA_7B, run) == bytes_a_weight * WEIGHTS


def test_the_host_gets_only_what_moves() -> None:
    """An adapter of rank 8 on four square matrices of 32 layers; the base in 16 bits goes with `weights`."""
    adapter = 32 * 4 * 8 * (4096 + 4096)
    given = {"adapter": {"rank": 8, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]}}
    recipe = find_kind("sft").recipe.model_validate(
        HALF | given | {"training": {"batch_size": 4, "optimizer": "sgd"}}
    )
    moved = host_bytes("sft", recipe, LLAMA_7B, execution("deepspeed-zero3", "optimizer"))
    assert moved == (4 + 4 + 4) * adapter
    everything = host_bytes("sft", recipe, LLAMA_7B, execution("deepspeed-zero3", "weights"))
    assert everything == moved + 2 * WEIGHTS + 4 * adapter
