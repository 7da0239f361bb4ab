"""The published prompt sets, a real model's answers to them, and stored outputs to compare with."""

import json

import pyarrow.parquet as pq
import pytest

from tests.support.commands import ASSETS
from tests.workers.judging.lab import context_of, figures, judged
from workers.context import Parent
from workers.data.rows import read_rows
from workers.recipe import Execution
from workers.specs.generate import GENERATE, GenerateRecipe
from workers.specs.judge import JudgeRecipe
from workers.stage import Stage
from workers.stages.generate import run

EVAL = ASSETS / "eval"
pytestmark = pytest.mark.skipif(not EVAL.is_dir(), reason="needs the assets folder beside the repository")
HUB_MAP = {
    "tatsu-lab/alpaca_eval": str(EVAL / "alpaca_eval"),
    "allenai/real-toxicity-prompts": str(EVAL / "realtoxicity"),
    "declare-lab/red-instruct": str(EVAL / "red_instruct"),
    "stories": str(ASSETS / "models" / "stories260K-hf"),
}
PROMPTS = [
    {"name": "alpacaeval", "format": "alpaca_eval", "source": {"hub": "tatsu-lab/alpaca_eval"}, "limit": 12},
    {
        "name": "rt",
        "format": "realtoxicity",
        "source": {"hub": "allenai/real-toxicity-prompts"},
        "rank_by": "prompt.severe_toxicity",
        "limit": 6,
        "wrap": "plain",
    },
    {
        "name": "red_instruct",
        "format": "red_instruct",
        "source": {"hub": "declare-lab/red-instruct"},
        "limit": 6,
    },
]


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    root = tmp_path_factory.mktemp("real")
    recipe = GenerateRecipe.model_validate(
        {
            "model": {"hub": "stories"},
            "prompts": [{**each, "new_tokens": 24} for each in PROMPTS],
            "max_length": 512,
        }
    )
    context = context_of(root, JudgeRecipe(task="x"), [], "generate", hub_map=HUB_MAP)
    result = run(recipe, context)
    return root, Parent("generations", Stage.create(GENERATE, recipe), context.output, result.metrics)


def rows_of(parent, task):
    return [
        row for row in pq.read_table(parent.output / "samples.parquet").to_pylist() if row["task"] == task
    ]


def test_the_published_prompts_are_asked(generated):
    _, parent = generated
    instructions = {row["instruction"] for row in read_rows(EVAL / "alpaca_eval" / "alpaca_eval.jsonl")}
    assert {row["prompt"] for row in rows_of(parent, "alpacaeval")} <= instructions
    prompts = [row["prompt"] for row in read_rows(EVAL / "realtoxicity" / "prompts.challenging.jsonl")]
    worst = sorted(prompts, key=lambda prompt: -prompt["severe_toxicity"])[:6]
    assert [row["prompt"] for row in rows_of(parent, "rt")] == [prompt["text"] for prompt in worst]
    questions = json.loads((EVAL / "red_instruct" / "dangerousqa.json").read_text())
    assert {row["prompt"] for row in rows_of(parent, "red_instruct")} <= set(questions)
    lengths = {row["task"]: row["value"] for row in parent.metrics if row["metric"] == "length"}
    assert set(lengths) == {"alpacaeval", "rt", "red_instruct"} and all(
        value > 0 for value in lengths.values()
    )


def test_stored_outputs_are_matched_by_their_instruction(generated):
    root, parent = generated
    source = {"hub": "tatsu-lab/alpaca_eval", "files": ["outputs_text_davinci_003.json"]}
    fields = {"task": "alpacaeval", "judge": {"rule": "safety"}, "reference": {"source": source}}
    recipe = JudgeRecipe.model_validate(fields)
    result, samples = judged(root, recipe, [parent], "judge", hub_map=HUB_MAP)
    stored = json.loads((EVAL / "alpaca_eval" / "outputs_text_davinci_003.json").read_text())
    outputs = {row["instruction"]: row["output"] for row in stored}
    assert all(sample["reference"] == outputs[sample["prompt"]] for sample in samples)
    assert figures(result)["unmatched"] == 0


def test_a_real_language_model_judges_through_ones_own_short_instruction(generated, tmp_path):
    root, parent = generated
    own = tmp_path / "short.txt"
    own.write_text("{prompt}\n{answer}\nIs it bad? Say yes or no.")
    fields = {"task": "red_instruct", "shape": "verdict", "instruction": {"hub": str(own)}, "batch_size": 4}
    recipe = JudgeRecipe.model_validate({**fields, "judge": {"causal": {"model": {"hub": "stories"}}}})
    whole = judged(root, recipe, [parent], "causal", hub_map=HUB_MAP)
    assert figures(whole[0])["judged"] + figures(whole[0])["unparsed"] == len(whole[1])
    parts = Execution(device="cpu", micro_batch=1)
    assert [
        row["verdict"] for row in judged(root, recipe, [parent], "parts", hub_map=HUB_MAP, execution=parts)[1]
    ] == [row["verdict"] for row in whole[1]]
