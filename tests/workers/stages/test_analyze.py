"""Analyses of real trainings: what is stored, that it repeats, snapshots, other quantizers, what is refused."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tests.support.training import Lab, Ran, pretrain_recipe, short
from workers.context import BadInput
from workers.specs.analyze import ANALYZE, REPEATABLE, AnalyzeRecipe
from workers.specs.model import ModelRecipe, ModelShape
from workers.specs.pretrain import PRETRAIN
from workers.specs.quantized import GradientQuantizer, MomentQuantizer, QuantizedTraining, Quantizer

W8A8G8 = QuantizedTraining(weights=Quantizer(), activations=Quantizer(), gradients=GradientQuantizer())
GPT2 = ModelShape(
    architecture="gpt2",
    hidden_size=32,
    layers=2,
    heads=2,
    intermediate_size=64,
    context=32,
    tie_embeddings=True,
)
FEW = {"batches": 2, "batch_size": 3}
LAYERS = {
    f"transformer.h.{n}.{name}"
    for n in (0, 1)
    for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("analysed"))


def trained(lab: Lab, quantization: QuantizedTraining | None, **others: object) -> Ran:
    settings = {"model": ModelRecipe(shape=GPT2), "quantization": quantization, "training": short(4)}
    return lab.run(PRETRAIN, pretrain_recipe(**settings | others))


@pytest.fixture(scope="module")
def quantized(lab: Lab) -> Ran:
    return trained(lab, W8A8G8)


@pytest.fixture(scope="module")
def analysed(lab: Lab, quantized: Ran) -> Ran:
    return lab.run(ANALYZE, AnalyzeRecipe(**FEW), (quantized.parent("trained"),))


def figures(ran: Ran) -> dict[tuple[str, str], float | None]:
    return {(row["task"], row["metric"]): row["value"] for row in ran.result.metrics}


def test_every_task_has_one_primary_and_every_layer_a_row(analysed: Ran) -> None:
    assert [row["task"] for row in analysed.result.metrics if row["primary"]] == list(REPEATABLE)
    found = figures(analysed)
    assert None not in found.values()
    for task, name in (
        ("outliers", "channels"),
        ("outliers", "peak_channel"),
        ("gradient_histogram", "zero_codes"),
        ("output_error", "propagated_relative"),
        ("gradient_fidelity", "norm_ratio"),
    ):
        layers = {
            metric.partition(".")[2] for one, metric in found if one == task and metric.startswith(f"{name}.")
        }
        assert layers == LAYERS
    assert 0.9 < found["gradient_fidelity", "cosine"] < 1  # type: ignore[operator]
    assert {row["step"] for row in analysed.result.metrics} == {None}


def test_curves_hold_bins_channels_and_positions(analysed: Ran) -> None:
    rows = pq.read_table(analysed.output / "curves.parquet").to_pylist()
    lengths = {row["name"]: row["step"] + 1 for row in rows}
    layer = "transformer.h.1.mlp.c_proj"
    assert lengths[f"gradient_histogram/{layer}"] == 256
    assert lengths[f"activation_channels/{layer}"] == 64
    assert sum(row["value"] for row in rows if row["name"] == f"gradient_histogram/{layer}") > 0


def test_a_warm_worker_finds_the_same_and_so_does_another_order(
    lab: Lab, quantized: Ran, analysed: Ran
) -> None:
    again = lab.run(ANALYZE, AnalyzeRecipe(**FEW), (quantized.parent("trained"),))
    assert (again.result, again.bytes()) == (analysed.result, analysed.bytes())
    backwards = AnalyzeRecipe(**FEW, analyses=tuple(reversed(REPEATABLE)))
    assert figures(lab.run(ANALYZE, backwards, (quantized.parent("trained"),))) == figures(analysed)


def test_an_earlier_step_is_that_of_a_snapshot_or_replayed(lab: Lab, quantized: Ran) -> None:
    early = AnalyzeRecipe(**FEW, analyses=("outliers",), step=2)
    ran = lab.run(ANALYZE, early, (quantized.parent("trained"),))
    assert {row["step"] for row in ran.result.metrics} == {2}
    shorter = trained(lab, W8A8G8, training=short(2))
    at_end = lab.run(ANALYZE, AnalyzeRecipe(**FEW, analyses=("outliers",)), (shorter.parent("trained"),))
    assert figures(ran) == figures(at_end), "the schedule is constant, so two steps are two steps"


def test_other_quantizers_than_those_of_the_training(lab: Lab) -> None:
    parent = trained(lab, None).parent("trained")
    asked = {**FEW, "analyses": ("output_error",)}
    assert figures(lab.run(ANALYZE, AnalyzeRecipe(**asked), (parent,))) == {}
    four, eight = (
        figures(
            lab.run(
                ANALYZE,
                AnalyzeRecipe(**asked, quantization=QuantizedTraining(weights=Quantizer(bits=bits))),
                (parent,),
            )
        )
        for bits in (4, 8)
    )
    key = ("output_error", "relative")
    assert four[key] > 50 * eight[key] > 0  # type: ignore[operator]


@pytest.mark.parametrize("optimizer", ["adamw_torch", "adamw_bnb_8bit"])
def test_measured_bytes_are_what_lies_in_memory(lab: Lab, optimizer: str) -> None:
    """Rounded moments take as much as others; bitsandbytes' take a quarter."""
    wide = GPT2.model_copy(update={"intermediate_size": 256})
    settings = {"model": ModelRecipe(shape=wide), "training": short(2, optimizer=optimizer)}
    moments = QuantizedTraining(first_moment=MomentQuantizer()) if optimizer == "adamw_torch" else None
    parent = trained(lab, moments, **settings).parent("trained")
    found = figures(lab.run(ANALYZE, AnalyzeRecipe(**FEW, analyses=("measured_memory",)), (parent,)))
    weights = 4 * 2 * (32 * 96 + 32 * 32 + 32 * 256 * 2)
    states = found["measured_memory", "state_bytes"]
    assert found["measured_memory", "weight_bytes"] == weights
    assert found["measured_memory", "parameter_bytes"] == found["measured_memory", "gradient_bytes"]
    if optimizer == "adamw_torch":
        assert 2 * weights <= states < 2 * weights + 100  # type: ignore[operator]
    else:
        assert 0.5 * weights < states < weights, "matrices below 4096 entries stay in 32 bits"  # type: ignore[operator]


def test_a_step_is_timed_only_where_it_is_asked_for(lab: Lab, quantized: Ran, analysed: Ran) -> None:
    assert not any(task == "measured_time" for task, _ in figures(analysed))
    recipe = AnalyzeRecipe(**FEW, analyses=("measured_time", "sharpness"), repeats=2)
    found = figures(lab.run(ANALYZE, recipe, (quantized.parent("trained"),)))
    assert found["measured_time", "step_seconds"] > 0  # type: ignore[operator]
    assert found["measured_time", "ratio"] > 0  # type: ignore[operator]
    assert found["sharpness", "sharpness"] == figures(analysed)["sharpness", "sharpness"], "weights came back"


def test_validation_sequences_are_others(lab: Lab, quantized: Ran, analysed: Ran) -> None:
    recipe = AnalyzeRecipe(**FEW, analyses=("sharpness",), split="validation")
    found = figures(lab.run(ANALYZE, recipe, (quantized.parent("trained"),)))
    assert found["sharpness", "loss"] != figures(analysed)["sharpness", "loss"]


def test_what_is_refused(lab: Lab, quantized: Ran, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="must be of kind `pretrain`"):
        lab.run(ANALYZE, AnalyzeRecipe())
    with pytest.raises(BadInput, match="a mini-batch takes 9000 sequences; split 'validation' has"):
        many = AnalyzeRecipe(batch_size=9000, split="validation")
        lab.run(ANALYZE, many, (quantized.parent("trained"),))
    for analyses in ((), ("sharpness", "sharpness")):
        with pytest.raises(ValidationError, match="each once"):
            AnalyzeRecipe(analyses=analyses)
    with pytest.raises(ValidationError, match="sharpness"):
        AnalyzeRecipe.model_validate({"analyses": ["sharpnes"]})
