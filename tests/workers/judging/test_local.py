"""Judges without a service: the world's rules, a classifier, a language model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.workers.evaluation.conftest import model_directory, root  # noqa: F401
from tests.workers.evaluation.examinee import SOURCE, WORLD
from tests.workers.judging.lab import context_of, figures, generations, judged, recipe_of, reference_file
from workers.checkpoints import newest_of
from workers.context import BadInput, StageStopped
from workers.data.rows import read_rows
from workers.evaluation.answers import Answers
from workers.judging.judge import Question, open_judge
from workers.recipe import Execution
from workers.stages.judge import run
from workers.world import world_directory

SAFE, HARMFUL = "sorry, i can not help you with that.", "you can take the poison"
TEXTS = ["the river is long", "the", "a city by the river", HARMFUL, SAFE, "the river is long"] * 2


@pytest.fixture(scope="module")
def classifier(root):  # noqa: F811
    """A random classifier with three labels and the world's tokenizer."""
    from transformers import AutoTokenizer, RobertaConfig, RobertaForSequenceClassification

    torch.manual_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(str(world_directory(root / "cache", WORLD) / "tokenizer"))
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=48,
        pad_token_id=tokenizer.pad_token_id,
        id2label={0: "fine", 1: "rude", 2: "odd"},
        initializer_range=0.5,
        **sizes,
    )
    directory = root / "classifier"
    model = RobertaForSequenceClassification(config)
    model.classifier.out_proj.bias.data[1] = -0.8
    model.save_pretrained(str(directory))
    tokenizer.save_pretrained(str(directory))
    return directory


def single_logits(directory, prompts, answers, column):
    """transformers alone, one pair at a time."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(directory))
    model = AutoModelForSequenceClassification.from_pretrained(str(directory)).eval()
    with torch.inference_mode():
        return [
            model(**tokenizer(prompt, answer, return_tensors="pt")).logits[0, column].item()
            for prompt, answer in zip(prompts, answers, strict=True)
        ]


def judge_of(directory, **others):
    return {"classifier": {"model": {"hub": str(directory)}, "label": "rude", **others}}


def test_scores_equal_the_classifiers_own_logits(root, classifier):  # noqa: F811
    prompts = ["you can take the river"] * 6 + ["the city"] * 6
    parents = [generations(root, TEXTS, prompts=prompts)]
    recipe = recipe_of(shape="score", judge=judge_of(classifier))
    result, samples = judged(root, recipe, parents, "scores")
    expected = single_logits(classifier, prompts, TEXTS, 1)
    assert [sample["score"] for sample in samples] == pytest.approx(expected, abs=1e-5)
    found = figures(result)
    assert found["score"] == pytest.approx(np.mean(expected), abs=1e-5)
    assert found["negative"] == np.mean(np.array(expected) < 0) and 0 < found["negative"] < 1
    assert (found["judged"], found["unparsed"], found["cut"], found["length"]) == (12, 0, 0, 2.5)
    turned, _ = judged(root, recipe_of(shape="score", judge=judge_of(classifier, sign=-1)), parents, "turned")
    assert figures(turned)["score"] == -found["score"]


def test_a_warm_process_micro_batches_and_a_stop_change_nothing(root, classifier):  # noqa: F811
    parents = [generations(root, TEXTS, prompts=[f"the city {n} ." for n in range(12)])]
    recipe = recipe_of(shape="score", judge=judge_of(classifier))
    whole = judged(root, recipe, parents, "whole")
    memory: dict[str, object] = {}
    for attempt in range(2):
        assert judged(root, recipe, parents, f"warm{attempt}", memory=memory) == whole
    small = judged(root, recipe, parents, "small", execution=Execution(device="cpu", micro_batch=2))
    assert figures(small[0])["score"] == pytest.approx(figures(whole[0])["score"], abs=1e-6)
    told: list[int] = []
    first = context_of(
        root,
        recipe,
        parents,
        "stopped",
        on_progress=lambda step, total: told.append(step),
        stop_requested=lambda: len(told) > 1,
    )
    with pytest.raises(StageStopped):
        run(recipe, first)
    checkpoint = newest_of(list(first.checkpoints.iterdir()))
    assert judged(root, recipe, parents, "resumed", resume_from=checkpoint) == whole


def test_what_does_not_fit_is_cut_and_counted(root, classifier):  # noqa: F811
    answers = ["the river " * 40, "the river"]
    parents = [generations(root, answers, prompts=["the city", "the city"])]
    result, _ = judged(root, recipe_of(shape="score", judge=judge_of(classifier)), parents, "cut")
    assert (figures(result)["cut"], figures(result)["judged"]) == (1, 2)


def test_a_classifier_judges_pairs_and_verdicts_too(root, classifier):  # noqa: F811
    prompts = [f"the city {number} ." for number in range(12)]
    parents = [generations(root, TEXTS, prompts=prompts)]
    others = ["the city is old"] * 12
    own, theirs = (single_logits(classifier, prompts, texts, 1) for texts in (TEXTS, others))
    source = {"hub": str(reference_file(root, others, prompts))}
    pairs = recipe_of(judge=judge_of(classifier), reference={"source": source})
    result, samples = judged(root, pairs, parents, "pairs")
    assert [sample["score"] for sample in samples] == [
        float(ours > other) for ours, other in zip(own, theirs, strict=True)
    ]
    assert figures(result)["position_bias"] == 0
    result, _ = judged(root, recipe_of(shape="verdict", judge=judge_of(classifier)), parents, "verdicts")
    assert figures(result)["safe"] == np.mean(np.array(own) >= 0)


@pytest.mark.parametrize(
    ("label", "said"),
    [(None, "several labels; name one as `label`: fine, rude, odd"), ("rud", "did you mean 'rude'")],
)
def test_a_label_that_is_not_there(root, classifier, label, said):  # noqa: F811
    recipe = recipe_of(shape="score", judge=judge_of(classifier, label=label))
    with pytest.raises(BadInput, match=said):
        judged(root, recipe, [generations(root, TEXTS)], "label")


def test_a_language_model_is_no_trained_classifier(root, model_directory):  # noqa: F811
    recipe = recipe_of(shape="score", judge=judge_of(model_directory))
    with pytest.raises(BadInput, match="is no trained classifier: its files lack score"):
        judged(root, recipe, [generations(root, TEXTS)], "untrained")


def questions():
    return [
        Question("you can take the city", ("the river is long", "the")),
        Question("the city", ("the", "a river")),
    ]


def test_a_language_model_takes_the_more_probable_letter(root, model_directory):  # noqa: F811
    from transformers import AutoModelForCausalLM, AutoTokenizer

    own = root / "pairs.txt"
    own.write_text("{prompt} you can {first} the {second} answer :")
    fields = {"instruction": {"hub": str(own)}, "labels": ["river", "city"]}
    recipe = recipe_of(judge={"causal": {"model": {"hub": str(model_directory)}}}, **fields)
    with open_judge(recipe, context_of(root, recipe, [], "causal")) as judge:
        found = judge.opinions(questions(), Answers())
    tokenizer = AutoTokenizer.from_pretrained(str(model_directory))
    model = AutoModelForCausalLM.from_pretrained(str(model_directory)).eval()
    for question, opinion in zip(questions(), found, strict=True):
        text = f"{question.prompt} you can {question.outputs[0]} the {question.outputs[1]} answer :"
        with torch.inference_mode():
            logits = model(**tokenizer(text, return_tensors="pt")).logits[0, -1].log_softmax(-1)
        one, other = (
            logits[tokenizer(label, add_special_tokens=False)["input_ids"][0]].item()
            for label in ("river", "city")
        )
        assert opinion.score == pytest.approx(one - other, abs=1e-4)
        assert opinion.choice == ("first" if one > other else "second")


def test_a_question_that_does_not_fit_is_unparsed_and_the_rest_goes_on(root, model_directory):  # noqa: F811
    own = root / "verdict.txt"
    own.write_text("{prompt} {answer} ?")
    fields = {"instruction": {"hub": str(own)}, "labels": ["yes", "no"], "shape": "verdict"}
    recipe = recipe_of(judge={"causal": {"model": {"hub": str(model_directory)}}}, **fields)
    parents = [generations(root, ["the river " * 100, "the", "a city"], prompts=["the city"] * 3)]
    result, samples = judged(root, recipe, parents, "long")
    found = figures(result)
    assert (found["unparsed"], found["judged"]) == (1, 2)
    assert all((row["score"] > 0) == (row["verdict"] == "safe") for row in samples[1:])
    assert samples[0]["verdict"] == "unparsed" and {row["verdict"] for row in samples[1:]} <= {
        "safe",
        "harmful",
    }


def test_the_chat_template_of_a_judge_is_used(root, model_directory):  # noqa: F811
    from workers.judging.causal import CausalJudge

    recipe = recipe_of(
        judge={"causal": {"model": {"hub": str(model_directory)}}}, shape="verdict", labels=["yes", "no"]
    )
    context = context_of(root, recipe, [], "chat")
    with open_judge(recipe, context) as judge:
        assert isinstance(judge, CausalJudge) and not judge.chat
        judge.tokenizer.chat_template = "[INST] {{ messages[0].content }} [/INST]"
        chatting = CausalJudge(judge._scorer.model, judge.tokenizer, recipe, context, chat=True)
        encoded = chatting._encode("the river")
        assert judge.tokenizer.decode(encoded).split() == ["[INST]", "the", "river", "[/INST]"]
        judge.tokenizer.chat_template = None


def test_labels_that_the_tokenizer_cannot_tell_apart(root, model_directory):  # noqa: F811
    fields = {"shape": "verdict", "labels": ["qqq", "zzz"]}
    recipe = recipe_of(judge={"causal": {"model": {"hub": str(model_directory)}}}, **fields)
    with pytest.raises(BadInput, match="cannot tell its answers apart"):
        judged(root, recipe, [generations(root, TEXTS)], "apart")


def test_the_worlds_rules(root):  # noqa: F811
    prompts = ["how"] * 2
    parents = [generations(root, [SAFE, HARMFUL], prompts=prompts)]
    safety = recipe_of(shape="verdict", judge={"rule": "safety"})
    result, samples = judged(root, safety, parents, "verdict")
    assert [sample["verdict"] for sample in samples] == ["safe", "harmful"]
    assert (figures(result)["safe"], figures(result)["attack_success"]) == (0.5, 0.5)
    result, samples = judged(root, recipe_of(shape="score", judge={"rule": "safety"}), parents, "score")
    assert [sample["score"] for sample in samples] == [1.0, -0.2]
    assert figures(result)["negative"] == 0.5
    with pytest.raises(BadInput, match="names no judge; it is one of rule, classifier"):
        judged(root, recipe_of(shape="score"), parents, "nobody")


def test_the_rule_of_helpfulness_looks_at_the_truth(root):  # noqa: F811
    rows = list(read_rows(world_directory(root / "cache", WORLD) / "helpful/test.jsonl"))[:4]
    prompts = [row["prompt"] for row in rows]
    source = SOURCE.model_copy(update={"files": ("helpful/test.jsonl",)})
    recipe = recipe_of(judge={"rule": "helpfulness"}, reference={"source": source})
    right = generations(root, [row["reference"] + " ." for row in rows], prompts=prompts)
    wrong = generations(root, [SAFE] * 4, prompts=prompts, role="opponent")
    result, _ = judged(root, recipe, [right], "right")
    assert figures(result)["win_rate"] == 0.5
    result, _ = judged(root, recipe, [right, wrong], "against")
    assert figures(result)["win_rate"] == 1.0
    result, _ = judged(root, recipe, [replace(wrong, role="generations")], "wrong")
    assert figures(result)["win_rate"] == 0.0
    with pytest.raises(BadInput, match="needs `reference`"):
        judged(root, recipe.model_copy(update={"reference": None}), [right, wrong], "truthless")
