"""`yates data show`: what a model will see, without the data's text unless asked."""

from pathlib import Path

import pytest

from orchestrator.data.show import escaped
from results.files import WorkspaceError

ALIGNMENT = Path(__file__).parents[3] / "grids" / "alignment.yaml"
ONE = 'seed == 0 and model == "mistral-7b-instruct" and dataset == "hh-rlhf" and preference == "harmless"'


def test_the_text_of_the_data_is_masked(yates) -> None:
    code, masked = yates("data", "show", ALIGNMENT, "--stage", "sft", "--where", ONE, "--rows", 2)
    assert code == 0
    _, shown = yates("data", "show", ALIGNMENT, "--stage", "sft", "--where", ONE, "--rows", 2, "--show-text")
    assert "[INST] ⟨" in masked and "characters⟩ [/INST] ⟨" in masked
    assert "⟨" not in shown
    texts = [line for line in shown.splitlines() if line.startswith("  [INST]")]
    answer = texts[0].rpartition("[/INST]")[2].removesuffix("</s>").strip()
    assert len(answer) > 5 and answer not in masked
    words = [word for word in answer.replace(".", "").replace(",", "").split() if len(word) > 3]
    assert words and not [word for word in words if f":{word}" in masked]


def test_end_mark_mask_and_account_are_told(yates) -> None:
    _, text = yates("data", "show", ALIGNMENT, "--stage", "dpo", "--where", ONE, "--rows", 1)
    assert "row 1, chosen:" in text and "row 1, rejected:" in text
    assert "800 rows read, 504 used" in text
    assert "prompts cut from the left" in text
    assert "2*:</s>" in text and "the end mark is token" in text


def test_stages_that_an_experiment_stands_on_are_found_by_kind(yates) -> None:
    code, text = yates("data", "show", ALIGNMENT, "--stage", "instruct", "--where", ONE, "--rows", 1)
    assert code == 0 and "stage instruct (sft," in text


@pytest.mark.parametrize(
    ("where", "stage", "message"),
    [(ONE, "evalate", "unknown stage 'evalate'"), ('variant == "original"', "dpo", "unknown stage 'dpo'")],
)
def test_a_stage_without_dialogues_is_refused(yates, where: str, stage: str, message: str) -> None:
    with pytest.raises(WorkspaceError, match=message):
        yates("data", "show", ALIGNMENT, "--stage", stage, "--where", where)


def test_missing_data_is_one_message(yates, grid) -> None:
    with pytest.raises(WorkspaceError, match="org/open' is not on this machine"):
        yates("data", "show", grid, "--stage", "sft", "--where", 'model == "open"')


def test_what_a_terminal_would_act_on_is_written_out() -> None:
    assert escaped("a\x1b[31m\nb…") == "a\\x1b[31m\\nb…"
