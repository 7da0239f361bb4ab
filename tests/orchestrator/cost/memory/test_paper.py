"""Memory at paper scale: the page's table, and what the studies say of the cards that they used."""

from pathlib import Path

import pytest

from tests.orchestrator.cost.memory import paper

PAGE = Path(__file__).parents[4] / "docs" / "memory.md"


def test_the_page_states_what_the_code_computes() -> None:
    lines = PAGE.read_text().splitlines()
    print("", *paper.table(), sep="\n")
    assert [row for row in paper.table() if row not in lines] == []


def test_the_page_has_four_models_two_adapters_two_methods() -> None:
    assert len(list(paper.alignment())) == 16


@pytest.mark.parametrize("stage", ["sft", "dpo", "reference", "evaluate", "answers"])
def test_one_40_gb_card_suffices_for_the_alignment_study(stage: str) -> None:
    """Alignment study, section 12: one A100 of 40 GB a run; batches of 4 x 4 (section 4.3)."""
    found = paper.fit("alignment", "as-published", stage)
    assert found.need.has == 40
    assert found.need.fits
    assert found.micro_batch in (4, None)


def test_an_80_gb_card_holds_the_published_micro_batch_of_gpt2() -> None:
    """Quantization study, section 3: 32 sequences of 1,024 on each of four A100s of 80 GB."""
    found = paper.fit("quantization", "corrected", "pretrain")
    assert found.micro_batch == 32
    assert found.need.fits


def test_ppo_of_seven_billion_fits_one_80_gb_card() -> None:
    """LoRA PPO study, finding F11: two such cards suffice; four copies in bfloat16 become two backbones of 27 GB."""
    found = paper.fit("rlhf", "corrected", "ppo")
    backbones = found.need.footprint.weights + found.need.footprint.others
    assert backbones == pytest.approx(27e9, rel=0.05)
    assert found.need.fits
    assert paper.fit("rlhf", "as-published", "ppo").need.gigabytes < 160


def test_training_every_weight_of_seven_billion_is_divided() -> None:
    """LoRA PPO study, section 4: AlpacaFarm's own full tuning took eight GPUs."""
    found = paper.fit("rlhf", "corrected", "sft")
    assert found.need.fits
    assert found.shape.startswith("gpu4x80g")
    kept = found.need.footprint
    assert 4 * (kept.weights + kept.gradients + kept.optimizer) > 16 * 6.7e9
