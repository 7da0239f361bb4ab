"""What a grid leaves to the plan: micro-batches, numbers of GPUs and their memory, chosen as the models say."""

from pathlib import Path

import pytest

from cluster.profile import Partition, Profile
from orchestrator.choices import SIZES
from orchestrator.cost.calibration import Calibration, Likeness, Sample
from orchestrator.cost.memory import stage_need
from orchestrator.errors import GridError
from orchestrator.fitting import fits
from orchestrator.grid import load_grid
from orchestrator.hub import Hub
from orchestrator.plan import Plan, PlannedStage, plan_grid
from orchestrator.planner import Planner
from orchestrator.summary import plan_summary, print_plan
from tests.orchestrator.grids import replaced, write

ALIGNMENT = Path(__file__).parents[2] / "grids" / "alignment.yaml"
RLHF = Path(__file__).parents[2] / "grids" / "rlhf.yaml"
WHERE = 'seed == 0 and dataset == "beavertails" and preference == "harmless" and model == "mistral-7b"'


def alignment(*overrides: str) -> Plan:
    return plan_grid(load_grid(ALIGNMENT, scale="paper", where=WHERE, overrides=list(overrides)))


def rlhf(*overrides: str) -> Plan:
    """The study that trains every weight of a 7B model."""
    return plan_grid(load_grid(RLHF, scale="paper", where="seed == 0", overrides=list(overrides)))


def stages(plan: Plan, name: str) -> list[PlannedStage]:
    found = [stage for stage in plan.stages if stage.name == name]
    assert found
    return found


def seconds(plan: Plan, name: str) -> float:
    return sum(stage.cost for stage in stages(plan, name))


def test_ids_do_not_know_what_was_chosen() -> None:
    given, left = alignment(), alignment("machine.train.gpus=auto", "machine.execution.micro_batch=auto")
    assert [stage.id for stage in given.stages] == [stage.id for stage in left.stages]


@pytest.mark.parametrize("memory", [24, 40, 80])
def test_the_micro_batch_fits_and_no_other_is_expected_to_be_faster(memory: int) -> None:
    card = f"machine.train.gpu_memory_gb={memory}"
    chosen = alignment(card, "machine.execution.micro_batch=auto")
    assert not any(fit.warning for fit in fits(chosen) if fit.stage in ("sft", "dpo"))
    for stage in stages(chosen, "dpo"):
        assert stage.execution.micro_batch is not None and 16 % stage.execution.micro_batch == 0
    for size in (1, 2, 4, 8, 16):
        other = alignment(card, f"machine.execution.micro_batch={size}")
        if not any(fit.warning for fit in fits(other) if fit.stage == "dpo"):
            assert seconds(chosen, "dpo") <= seconds(other, "dpo") * (1 + 1e-9)


def test_each_arm_gets_its_own_micro_batch() -> None:
    """QLoRA leaves room that LoRA needs: one card, two sizes."""
    plan = alignment("machine.train.gpu_memory_gb=24", "machine.execution.micro_batch=auto")
    sizes = {
        stage.recipe.adapter.quantization is not None: stage.execution.micro_batch  # type: ignore[attr-defined]
        for stage in stages(plan, "sft")
    }
    assert sizes[True] is not None and sizes[False] is not None
    assert sizes[True] > sizes[False]


def test_one_gpu_where_one_is_enough() -> None:
    for stage in stages(alignment("machine.train.gpus=auto"), "sft"):
        assert (stage.resources.gpus, stage.execution.strategy, stage.execution.processes) == (1, "single", 1)
        assert (stage.resources.cpus, stage.resources.memory_gb) == (8, 64)


LEFT = ("machine.base.gpus=auto", "machine.base.cpus=8", "machine.base_execution.strategy=single")
"""Every weight of 7B on as many cards as the plan chooses."""


def test_every_weight_of_7b_is_divided_among_the_fewest_that_hold_it() -> None:
    plan = rlhf(*LEFT)
    [train] = stages(plan, "sft")
    assert (train.execution.strategy, train.execution.processes) == ("deepspeed-zero2", 4)
    assert (train.resources.gpus, train.resources.cpus) == (4, 32), "cores are given for each GPU"
    shape = plan.architectures[plan.stages.index(train)]
    for strategy, count in (("single", 1), ("deepspeed-zero2", 2), ("deepspeed-zero3", 2)):
        fewer = train.execution.model_copy(
            update={"strategy": strategy, "processes": count, "micro_batch": 1}
        )
        found = stage_need("sft", train.recipe, shape, train.resources, fewer)
        assert found is not None and not found.fits
    assert not plan_summary(plan)["warnings"]


def test_weights_too_are_divided_where_cards_are_small() -> None:
    [train] = stages(rlhf(*LEFT, "machine.base.gpu_memory_gb=40"), "sft")
    assert (train.execution.strategy, train.execution.processes) == ("deepspeed-zero3", 8)


def test_a_strategy_that_is_given_is_kept() -> None:
    given = "machine.base_execution.strategy=deepspeed-zero3"
    [train] = stages(rlhf("machine.base.gpus=auto", given), "sft")
    assert (train.execution.strategy, train.execution.processes) == ("deepspeed-zero3", 4)


def test_what_is_kept_in_the_host_s_memory_takes_fewer_gpus() -> None:
    """27 GB of weights stay on the card; their gradients, copies and moments go to the host."""
    given = ["machine.base_execution.strategy=deepspeed-zero2", "machine.base_execution.offload=optimizer"]
    [train] = stages(rlhf("machine.base.gpus=auto", *given), "sft")
    assert (train.execution.strategy, train.execution.offload) == ("deepspeed-zero2", "optimizer")
    assert train.execution.processes == 1


def test_offloading_without_a_strategy_gets_one() -> None:
    left = [*LEFT, "machine.base_execution.offload=optimizer"]
    [train] = stages(rlhf(*left), "sft")
    assert (train.execution.strategy, train.execution.processes) == ("deepspeed-zero2", 1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (LEFT, "8 GPUs of 10 GB cannot hold it, with a micro-batch of 1 it needs 26.2 GB of each"),
        ((*LEFT[:2], "machine.base_execution.strategy=ddp"), "8 GPUs of 10 GB cannot hold it"),
        (("machine.ppo.gpus=auto", "machine.ppo.gpu_memory_gb=10"), "one GPU of 10 GB cannot hold it"),
        (("machine.base.gpus=auto", "machine.base_execution.processes=4"), "exclude each other"),
        (("machine.base.gpu_memory_gb=-4",), "greater than 0"),
    ],
)
def test_what_cannot_be_chosen_is_refused(settings: tuple[str, ...], words: str) -> None:
    """Eight GPUs that run out of memory help nobody."""
    small = () if words == "greater than 0" else ("machine.base.gpu_memory_gb=10",)
    with pytest.raises(GridError) as raised:
        rlhf(*small, *settings)
    assert words in str(raised.value)
    assert "--set machine." in str(raised.value), "where it was asked for"


def test_a_smaller_micro_batch_comes_before_another_gpu() -> None:
    """So arms that need a little more are not trained by another engine than the others."""
    plan = alignment(
        "machine.train.gpus=auto", "machine.train.gpu_memory_gb=24", "machine.execution.micro_batch=16"
    )
    trained = [*stages(plan, "sft"), *stages(plan, "dpo")]
    assert {stage.execution.strategy for stage in trained} == {"single"}
    assert {stage.execution.micro_batch for stage in trained} == {2, 4, 8}
    assert not any(fit.warning for fit in fits(plan) if fit.stage in ("sft", "dpo"))


def test_on_a_cpu_no_gpu_is_chosen() -> None:
    left = ["machine.base.gpus=auto", "machine.base.gpu_memory_gb=auto"]
    plan = plan_grid(load_grid(RLHF, scale="tiny", where="seed == 0", overrides=left))
    for name in ("sft", "reward"):  # of which the grid says `device: cpu`
        assert {stage.resources.gpus for stage in stages(plan, name)} == {0}
        assert not any(choice.startswith(name) for choice in plan.choices)


def test_a_small_stage_asks_for_little_of_a_gpu() -> None:
    plan = alignment("machine.evaluate.gpu_memory_gb=auto", "machine.judge.gpu_memory_gb=auto")
    for fit in fits(plan):
        if fit.stage in ("evaluate", "answers", "toxicity", "reference"):
            assert fit.need.has in SIZES
            assert fit.need.fits
            below = [size for size in SIZES if size < fit.need.has]
            assert not below or fit.need.gigabytes > below[-1]
    assert {stage.resources.gpu_memory_gb for stage in stages(plan, "toxicity")} == {2.0}
    assert len({stage.shape for stage in plan.stages}) <= 8, "stages share workers"


def test_half_a_gpu_asks_for_one_twice_as_large() -> None:
    whole = alignment("machine.judge.gpu_memory_gb=auto", "machine.judge.gpus=1")
    half = alignment("machine.judge.gpu_memory_gb=auto", "machine.judge.gpus=0.25")
    needs = [next(fit for fit in fits(plan) if fit.stage == "toxicity") for plan in (whole, half)]
    assert all(one.need.fits for one in needs)
    assert needs[1].need.has is not None and needs[1].need.has <= 2.0


def test_chosen_sizes_send_stages_to_small_and_to_large_gpus() -> None:
    plan = alignment(
        *[f"machine.{name}.gpu_memory_gb=auto" for name in ("evaluate", "train", "judge")],
        "machine.execution.micro_batch=8",
    )
    node = {"gpus": 4, "cpus": 64, "memory_gb": 512}
    small = Partition.model_validate({"name": "small", "gpu_memory_gb": 24, **node})
    large = Partition.model_validate({"name": "large", "gpu_memory_gb": 80, **node})
    profile = Profile(partitions=(large, small))

    def partitions(name: str) -> set[str]:
        return {profile.partition_for(stage.resources).name for stage in stages(plan, name)}

    assert partitions("toxicity") == {"small"}
    assert partitions("sft") == {"small", "large"}, "with the quantized base, and with the whole one"
    assert partitions("evaluate") == {"large"}


def test_gpus_of_unknown_size_cannot_be_chosen_for(tmp_path: Path) -> None:
    for resources, execution, names, line in (
        ("{gpus: 1}", "{micro_batch: auto}", "`micro_batch: auto`", 31),
        ("{gpus: auto}", "{}", "`gpus: auto`", 30),
    ):
        text = replaced("resources: {cpus: 1}", f"resources: {resources}\n    execution: {execution}")
        with pytest.raises(GridError) as raised:
            plan_grid(load_grid(write(tmp_path, text)))
        assert f"{names} can be chosen only where `gpu_memory_gb` is known" in str(raised.value)
        assert f"grid.yaml:{line}: " in str(raised.value)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("resources: {cpus: auto}", "cpus in resources of stage 'train'"),
        ("resources: {gpus: many}", "gpus in resources of stage 'train'"),
        ("execution: {processes: auto}", "processes in execution of stage 'train'"),
    ],
)
def test_other_settings_are_not_left_to_the_plan(tmp_path: Path, setting: str, words: str) -> None:
    with pytest.raises(GridError) as raised:
        plan_grid(load_grid(write(tmp_path, replaced("resources: {cpus: 1}", setting))))
    assert words in str(raised.value)


def test_on_a_cpu_the_memory_of_the_node_counts(tmp_path: Path) -> None:
    def chosen(memory: float) -> int | None:
        text = replaced(
            "resources: {cpus: 1}",
            f"resources: {{cpus: 1, memory_gb: {memory}}}\n    execution: {{micro_batch: auto}}",
            replaced("steps: 20,", "steps: 20, group_by_length: true,"),
        )
        plan = plan_grid(load_grid(write(tmp_path, text)))
        return stages(plan, "train")[0].execution.micro_batch

    assert chosen(1000.0) == 16, "sorted rows need no padding: the fewest passes are fastest"
    assert 1 < (chosen(1.5) or 0) < 16
    assert chosen(0.1) == 1, "nothing fits"


def test_a_kind_that_is_not_counted_gets_one_gpu() -> None:
    left = ["machine.merge.gpus=auto", "machine.merge.gpu_memory_gb=auto"]
    plan = plan_grid(load_grid(ALIGNMENT, scale="paper", where="seed == 0", overrides=left))
    asked = {
        (one.resources.gpus, one.resources.gpu_memory_gb) for one in plan.stages if one.kind.name == "merge"
    }
    assert asked == {(1.0, None)}


def test_measured_memory_makes_micro_batches_smaller() -> None:
    settings = ("machine.train.gpu_memory_gb=40", "machine.execution.micro_batch=auto")
    grid = load_grid(ALIGNMENT, scale="paper", where=WHERE, overrides=list(settings))
    stage = next(one for one in stages(plan_grid(grid), "dpo") if one.recipe.adapter.quantization is None)  # type: ignore[attr-defined]

    def chosen(factor: float) -> int:
        shape = plan_grid(grid).architectures[0]
        likeness = Likeness("dpo", "A100 40GB", ("adapter",), shape)
        planner = Planner(grid, Hub(), Calibration([Sample(likeness, 1.0, 1.0, 20.0, 20.0 * factor)]))
        found, _ = planner.run()
        return next(one.execution.micro_batch or 0 for one in found if one.id == stage.id)

    assert chosen(1.0) == stage.execution.micro_batch == 2
    assert chosen(1.5) == 2
    assert chosen(2.0) == 1


def test_choices_are_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    summary = plan_summary(rlhf(*LEFT, "machine.base_execution.micro_batch=auto"))
    assert summary["choices"] == [
        "sft: 4 GPUs (deepspeed-zero2), micro-batch 32",
        "reward: 4 GPUs (deepspeed-zero2), micro-batch 4",
    ]
    print_plan(summary)
    assert f"left to the plan: {'; '.join(summary['choices'])}" in capsys.readouterr().out
    assert plan_summary(rlhf())["choices"] == []


def test_it_is_said_how_many_stages_got_which() -> None:
    plan = alignment("machine.train.gpu_memory_gb=24", "machine.execution.micro_batch=auto")
    words = [choice for choice in plan.choices if choice.startswith("sft")]
    assert len(words) > 1
    assert sum(int(one.split("(")[1].split()[0]) for one in words) == len(stages(plan, "sft"))
