"""Pre-training with quantizers: exact resume, tokens from shards, divergence as a result, what is refused."""

import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForCausalLM

from tests.support.training import PRETRAIN, WORLD, Lab, Ran, pretrain_recipe, run_fresh, short
from workers.context import BadInput, Parent
from workers.models.sources import parent_source
from workers.recipe import Execution
from workers.specs.model import ModelRecipe, ModelShape
from workers.specs.pretrain import DivergenceRule, PretrainRecipe
from workers.specs.quantized import (
    GradientQuantizer,
    MomentQuantizer,
    QuantizedTraining,
    Quantizer,
    granularity,
    obstacles,
)
from workers.specs.tokenize import TOKENIZE, Corpus, TokenizeRecipe
from workers.training.divergence import LossWatch

W8A8 = {"weights": Quantizer(), "activations": Quantizer()}
EVERYTHING = QuantizedTraining(
    **W8A8,
    gradients=GradientQuantizer(rounding="stochastic", split_projection=True),
    gradient_products="both",
    backward_operands="quantized",
    first_moment=MomentQuantizer(rounding="stochastic"),
    second_moment=MomentQuantizer(code="nonzero"),
    head=True,
    tying="broken",
)
GPT2 = ModelShape(
    architecture="gpt2",
    hidden_size=32,
    layers=2,
    heads=2,
    intermediate_size=64,
    context=64,
    tie_embeddings=True,
)


def recipe(quantization: QuantizedTraining | None = None, **others) -> PretrainRecipe:
    settings = {"model": ModelRecipe(shape=GPT2), "quantization": quantization}
    return pretrain_recipe(**settings | others)


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Lab:
    return Lab(tmp_path_factory.mktemp("quantized"))


@pytest.fixture(scope="module")
def tokens(lab: Lab) -> Parent:
    corpora = {
        "corpus": Corpus(source=WORLD),
        "validation": Corpus(source=WORLD, split="validation"),
    }
    return lab.run(TOKENIZE, TokenizeRecipe(tokenizer=WORLD, **corpora, shard_tokens=700)).parent("tokens")


def final_weights(ran: Ran) -> dict[str, torch.Tensor]:
    return AutoModelForCausalLM.from_pretrained(parent_source(ran.parent("base")).directory).state_dict()


def test_everything_quantized_resumes_exactly(lab: Lab, tokens: Parent) -> None:
    execution = Execution(device="cpu", micro_batch=2)
    wanted = recipe(
        EVERYTHING, training=short(12, validation_steps=4, validation_rows=8), divergence=DivergenceRule()
    )
    whole = lab.run(PRETRAIN, wanted, (tokens,), execution=execution)
    checkpoint = lab.interrupt(PRETRAIN, wanted, (tokens,), 7, execution=execution, memory={})
    resumed = lab.run(PRETRAIN, wanted, (tokens,), resume_from=checkpoint, execution=execution, memory={})
    assert resumed.bytes() == whole.bytes()
    assert resumed.result.metrics == whole.result.metrics


def tensors_of(state: dict) -> list[torch.Tensor]:
    """The tensors of a state, however deep."""
    inner = [tensors_of(value) for value in state.values() if isinstance(value, dict)]
    return sum(inner, [value for value in state.values() if isinstance(value, torch.Tensor)])


def test_bitsandbytes_8_bit_adam_resumes_exactly(lab: Lab, tokens: Parent) -> None:
    """Its states are of 8 bits for tensors of at least 4,096 entries, so the model is wide enough to have some."""
    wide = ModelRecipe(shape=GPT2.model_copy(update={"hidden_size": 64, "layers": 1}))
    wanted = recipe(model=wide, training=short(6, optimizer="adamw_bnb_8bit"))
    whole = lab.run(PRETRAIN, wanted, (tokens,))
    checkpoint = lab.interrupt(PRETRAIN, wanted, (tokens,), 3, memory={})
    states = torch.load(checkpoint / "optimizer.pt", weights_only=True)["state"].values()
    assert "torch.uint8" in str([value.dtype for state in states for value in tensors_of(state)])
    resumed = lab.run(PRETRAIN, wanted, (tokens,), resume_from=checkpoint, memory={})
    assert resumed.bytes() == whole.bytes()


@pytest.mark.slow
def test_a_killed_training_goes_on_in_a_fresh_process(lab: Lab, tokens: Parent) -> None:
    whole = lab.run(PRETRAIN, recipe(EVERYTHING, seed=5), (tokens,))
    assert run_fresh(lab, whole, "killed", kill=7) == -9
    assert run_fresh(lab, whole, "rest") == 0
    rest = lab.workspace.attempt(whole.stage.id, "rest")
    assert Ran(whole.stage, rest / "output", whole.result, {}).bytes() == whole.bytes()


@pytest.mark.parametrize(
    "quantization",
    [
        QuantizedTraining(weights=Quantizer(bits=4)),
        QuantizedTraining(activations=Quantizer(bits=4)),
        QuantizedTraining(gradients=GradientQuantizer(bits=4)),
        QuantizedTraining(first_moment=MomentQuantizer(bits=4)),
        QuantizedTraining(second_moment=MomentQuantizer()),
        QuantizedTraining(**W8A8, backward_operands="quantized"),
    ],
)
def test_each_quantizer_changes_the_training(
    lab: Lab, tokens: Parent, quantization: QuantizedTraining
) -> None:
    plain, changed = (lab.run(PRETRAIN, recipe(one), (tokens,)) for one in (None, quantization))
    ours, theirs = final_weights(changed), final_weights(plain)
    assert ours.keys() == theirs.keys()
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)
    assert plain.value("loss") == pytest.approx(changed.value("loss"), abs=0.5)


def test_a_recipe_that_quantizes_nothing_is_the_plain_training(lab: Lab, tokens: Parent) -> None:
    plain, empty = (lab.run(PRETRAIN, recipe(one), (tokens,)) for one in (None, QuantizedTraining()))
    assert plain.stage.id != empty.stage.id or plain.bytes() == empty.bytes()
    assert plain.bytes() == empty.bytes()


def test_validation_with_the_quantizers_on_and_off(lab: Lab, tokens: Parent) -> None:
    settings = QuantizedTraining(weights=Quantizer(bits=2, axis="tensor"))
    ran = lab.run(
        PRETRAIN, recipe(settings, training=short(10, validation_steps=5, validation_rows=16)), (tokens,)
    )
    on, off = ran.value("validation_loss"), ran.value("validation_loss_unquantized")
    assert on is not None and off is not None and on != off
    curve = pq.read_table(ran.output / "curves.parquet").to_pylist()
    assert [row["step"] for row in curve if row["name"] == "validation_loss"] == [5, 10]


def test_without_shards_text_is_read_as_before_and_validated(lab: Lab) -> None:
    ran = lab.run(PRETRAIN, recipe(training=short(4, validation_steps=2, validation_rows=8)))
    assert 0 < ran.value("validation_loss") < 6
    assert ran.value("trained_tokens") == 4 * 4 * 32


def test_a_broken_tie_leaves_two_matrices(lab: Lab, tokens: Parent) -> None:
    kept, broken = (
        lab.run(PRETRAIN, recipe(QuantizedTraining(tying=how)), (tokens,)) for how in ("kept", "broken")
    )
    embedding = final_weights(broken)["transformer.wte.weight"]
    assert not torch.equal(embedding, final_weights(broken)["lm_head.weight"])
    assert torch.equal(final_weights(kept)["transformer.wte.weight"], final_weights(kept)["lm_head.weight"])
    assert broken.value("trainable_parameters") == kept.value("trainable_parameters") + embedding.numel()


def test_shapes_pad_the_vocabulary_and_set_dropout(lab: Lab, tokens: Parent) -> None:
    shape = GPT2.model_copy(update={"vocabulary_multiple": 64, "dropout": 0.0})
    ran = lab.run(PRETRAIN, recipe(model=ModelRecipe(shape=shape), training=short(2)), (tokens,))
    model = AutoModelForCausalLM.from_pretrained(parent_source(ran.parent("base")).directory)
    assert model.config.vocab_size % 64 == 0
    assert model.config.resid_pdrop == model.config.embd_pdrop == model.config.attn_pdrop == 0


def test_divergence_is_a_result_with_its_step(lab: Lab, tokens: Parent) -> None:
    rule = DivergenceRule(window=2, excess=0.5, patience=0.05)
    wild = short(40, 3.0, max_gradient_norm=100.0)
    ran = lab.run(PRETRAIN, recipe(training=wild, divergence=rule), (tokens,))
    assert ran.result.outcome == "diverged"
    assert f"diverged at step {ran.value('divergence_step'):.0f}" in ran.result.message
    assert ran.value("last_good_loss") == pytest.approx(5, abs=1.5)


def history(*losses: float) -> list[dict[str, float]]:
    return [{"loss": loss, "step": step} for step, loss in enumerate(losses, start=1)]


def test_the_rule_smooths_and_waits() -> None:
    rule = DivergenceRule(window=2, excess=1.0, patience=0.03)
    assert LossWatch(rule, 100).reason(history(5, 3, 9, 3, 3, 3)) is None, "a spike is no divergence"
    assert LossWatch(rule, 100).reason(history(5, 3, 3, 5, 5, 5)) is None, "two steps are not three"
    assert LossWatch(rule, 100).reason(history(5, 3, 3, 5, 5, 5, 5)) == (
        "diverged at step 7: the smoothed loss 5.000 has been more than 1 nats above its least, 3.000, for 3 steps; "
        "last good loss 4.000"
    )


def test_the_rule_judges_alike_after_a_resume() -> None:
    rule = DivergenceRule(window=3, patience=0.02)
    losses = [5.0, 4.0, 3.0, 3.5, 4.6, 4.9, 5.2, 5.2, 5.2]
    whole = LossWatch(rule, 100)
    steps = [whole.reason(history(*losses[:count])) for count in range(1, len(losses) + 1)]
    first = next(count for count, found in enumerate(steps, start=1) if found)
    assert LossWatch(rule, 100).reason(history(*losses[:first])) == steps[first - 1]
    assert LossWatch(rule, 100).reason(history(*losses[: first - 1])) is None


def test_a_validation_loss_counts_after_a_tenth_of_the_run() -> None:
    watch = LossWatch(DivergenceRule(), 100)
    watch.validated(10, 6.0)
    assert watch.reason(history(5)) is None
    watch.validated(20, 6.0)
    assert watch.reason(history(5, 5)) == "diverged at step 20: validation loss 6 above 5.5"


def test_a_loss_that_is_no_number_diverges_at_once() -> None:
    found = LossWatch(DivergenceRule(), 100).reason(history(3.0, float("nan")))
    assert found == "diverged at step 2: the loss is nan; last good loss 3.000"


def test_what_cannot_be_exact_is_refused(lab: Lab, tokens: Parent) -> None:
    stochastic = QuantizedTraining(activations=Quantizer(rounding="stochastic"))
    with pytest.raises(BadInput, match="stochastic rounding"):
        lab.run(
            PRETRAIN,
            recipe(stochastic),
            (tokens,),
            execution=Execution(device="cpu", gradient_checkpointing=True),
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quantization": {"weights": {"axis": "rows"}}}, "'tensor', 'row', 'column' or groups"),
        ({"quantization": {"weights": {"bits": 1}}}, "greater than or equal to 2"),
        ({"quantization": {"weights": {"bits": 16}}}, "less than or equal to 8"),
        ({"quantization": {"first_moment": {"code": "nonzero"}}}, "both signs"),
        ({"quantization": {"tying": "broken"}}, "tie_embeddings"),
        (
            {"quantization": {"second_moment": {}}, "training": {"optimizer": "adamw_bnb_8bit"}},
            "'adamw_torch', not 'adamw_bnb_8bit'",
        ),
        (
            {"model": {"shape": {"architecture": "gpt2", "context": 32}}, "data": {"block": 64}},
            "context of 32",
        ),
        (
            {
                "quantization": {
                    "weights": {"axis": "row"},
                    "activations": {"axis": "row"},
                    "gradients": {"axis": "row"},
                    "backward_operands": "quantized",
                    "gradient_products": "weight",
                    "arithmetic": "integer",
                }
            },
            "gradients per token change their scale within the sum of the weight gradient product",
        ),
    ],
)
def test_unsupported_combinations_are_refused_with_the_reason(settings, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PretrainRecipe.model_validate(settings)


def test_which_products_integers_could_compute() -> None:
    """Section 4.4: a scale can leave an integer product if it is constant along the summed axis."""
    published = QuantizedTraining(**W8A8, gradients=GradientQuantizer(), backward_operands="quantized")
    found = obstacles(published)
    assert found["forward"] == []
    assert any("per token" in reason for reason in found["weight gradient"])
    tensors = {name: {"axis": "tensor"} for name in ("weights", "activations", "gradients")}
    whole = QuantizedTraining.model_validate(
        {**tensors, "gradient_products": "both", "backward_operands": "quantized", "arithmetic": "integer"}
    )
    assert obstacles(whole) == {"forward": [], "input gradient": [], "weight gradient": []}
    assert obstacles(QuantizedTraining()) == {}


def test_scale_axes_have_the_studys_names() -> None:
    assert granularity("weights", "row") == "per channel"
    assert granularity("activations", "row") == granularity("gradients", "row") == "per token"
    assert granularity("activations", "column") == "per channel"
    assert granularity("weights", "tensor") == "per tensor"
    assert granularity("moments", "group:128") == "groups of 128"
