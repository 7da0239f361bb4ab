"""FActScore: its formulas against plain Python, exact in the embedded world, and through judges of every kind."""

import math
import re
import sqlite3

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tests.support.endpoint import KEY, Service, serving
from tests.workers.evaluation.conftest import model_directory, root  # noqa: F401
from tests.workers.evaluation.examinee import SOURCE, WORLD
from tests.workers.judging.lab import TASK, context_of, generations, reaching
from workers.checkpoints import newest_of
from workers.context import BadInput, StageStopped
from workers.data.rows import read_rows
from workers.judging.factuality import Checked, Fact, factuality_rows, length_penalty
from workers.judging.factuality_extraction import sentences
from workers.judging.factuality_knowledge import SEPARATOR, bm25, passages_of, read_knowledge
from workers.judging.items import Item
from workers.specs.factuality import FactualityRecipe, Knowledge
from workers.stages.factuality import run
from workers.world import world_directory

BIOGRAPHIES = {"source": SOURCE.model_copy(update={"files": ("biographies.jsonl",)})}
EXACT = {"extractor": {"rule": "claims"}, "judge": {"rule": "truth"}, "knowledge": BIOGRAPHIES}
YES, NO, UNREAD = True, False, None


def recipe_of(**others) -> FactualityRecipe:
    return FactualityRecipe.model_validate({"task": TASK, "batch_size": 3, **others})


def measured(tmp_path, recipe, parents, attempt="one", **others):
    """Metric to value, and samples by task."""
    context = context_of(tmp_path, recipe, parents, attempt, **others)
    result = run(recipe, context)
    samples: dict[str, list] = {}
    for row in pq.read_table(context.output / "samples.parquet").to_pylist():
        samples.setdefault(row["task"], []).append(row)
    return {row["metric"]: row["value"] for row in result.metrics}, samples, result


def checked(number: int, *verdicts: bool | None) -> Checked:
    facts = tuple(Fact(f"fact {place}", verdict) for place, verdict in enumerate(verdicts))
    return Checked(Item(number, f"topic {number}", "text", 4, True), facts)


# ---- formulas -------------------------------------------------------------------------------------------------------

FOUND = [checked(0, YES, YES, NO, YES), checked(1), checked(2, NO, NO), checked(3, YES, UNREAD)]


@pytest.mark.parametrize("rule", ["excluded", "unsupported"])
@pytest.mark.parametrize("gamma", [0.0, 3.0, 10.0])
def test_the_figures_equal_a_reference_in_numpy(rule, gamma):
    rows = {row["metric"]: row for row in factuality_rows(FOUND, recipe_of(unparsed=rule, gamma=gamma))}
    decisions = [[1, 1, 0, 1], [0, 0], [1] if rule == "excluded" else [1, 0]]
    scores = [np.mean(each) for each in decisions]
    penalties = [1.0 if len(each) > gamma else np.exp(1 - gamma / len(each)) for each in decisions]
    penalised = np.array(scores) * penalties
    wanted = {
        "factscore": np.mean(scores),
        "factscore_length_penalized": penalised.mean(),
        "facts": np.mean([len(each) for each in decisions]),
        "responded": 3 / 4,
        "supported": np.concatenate(decisions).mean(),
        "judged": 7,
        "unparsed_facts": 1,
        "unparsed": 0,
        "unmatched": 0,
    }
    assert {name: row["value"] for name, row in rows.items()} == pytest.approx(wanted)
    assert rows["factscore"]["stderr"] == pytest.approx(np.std(scores, ddof=1) / np.sqrt(3))
    assert [name for name, row in rows.items() if row["primary"]] == ["factscore"]
    assert rows["factscore"]["n"] == 3 and rows["responded"]["n"] == 4


def test_the_penalty_of_length():
    assert length_penalty(5, 10) == pytest.approx(math.exp(-1))
    assert length_penalty(10, 10) == length_penalty(11, 10) == length_penalty(1, 0) == 1.0


def test_unreadable_lists_and_unknown_topics_are_left_out_and_counted():
    item = Item(9, "topic 9", "text", 4, True)
    others = [Checked(item, None), Checked(item, None, known=False), checked(8, UNREAD)]
    rows = {row["metric"]: row["value"] for row in factuality_rows([*FOUND, *others], recipe_of())}
    alone = {row["metric"]: row["value"] for row in factuality_rows(FOUND, recipe_of())}
    assert rows["factscore"] == alone["factscore"]
    assert (rows["unparsed"], rows["unmatched"], rows["unparsed_facts"]) == (1, 1, 2)
    assert rows["responded"] == 4 / 5
    verdicts = [one.verdict("excluded") for one in [*FOUND[:2], *others]]
    assert verdicts == ["3 of 4", "no facts", "unparsed", "unknown topic", "unparsed"]


def test_nothing_said_is_no_score():
    rows = {row["metric"]: row["value"] for row in factuality_rows([checked(0)], recipe_of())}
    assert (rows["factscore"], rows["facts"], rows["supported"], rows["responded"]) == (None, None, None, 0.0)


# ---- the embedded world ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def people(root):  # noqa: F811
    directory = world_directory(root / "cache", WORLD)
    return list(read_rows(directory / "biographies.jsonl"))[:4]


def test_it_is_exact_in_the_embedded_world(tmp_path, people):
    wrong = people[0]["facts"][0]["statement"].replace(people[0]["facts"][0]["value"], "nobody")
    answers = [
        people[0]["biography"],
        f"{people[1]['facts'][0]['statement']} {wrong}</s>",
        "sorry, i can not help with that.",
        wrong,
    ]
    parents = [generations(tmp_path, answers, prompts=[row["name"] for row in people])]
    found, samples, result = measured(tmp_path, recipe_of(**EXACT, gamma=2.0), parents)
    assert found["factscore"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert found["factscore_length_penalized"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert (found["facts"], found["responded"], found["judged"]) == (pytest.approx(7 / 3), 0.75, 7)
    assert found["length"] == 2.5
    assert {row["step"] for row in result.metrics} == {5}
    assert [row["verdict"] for row in samples["factscore"]] == ["4 of 4", "1 of 2", "no facts", "0 of 1"]
    assert [row["score"] for row in samples["factscore"]] == [1.0, 0.5, None, 0.0]
    assert len(samples["factscore_facts"]) == 7
    assert samples["factscore_facts"][-1]["verdict"] == "unsupported"


# ---- judges ---------------------------------------------------------------------------------------------------------

TOPICS = ["ada", "bob", "eve", "dan"]
TEXTS = ["Ada was born in Rome. She liked tea.", "Bob sang.", "Eve left. Mumble.", "Dan ran."]
KNOWN = {"ada": "ada was born in rome", "bob": "bob never danced", "eve": "eve left"}


def say(message: str) -> str:
    """Lists two facts a sentence but of mumbling; a statement is supported when its last word is in the text."""
    if "[Sentence]" in message:
        sentence = re.search(r"\[Sentence\]\n(.*?)\n", message).group(1)
        return "I cannot." if sentence == "Mumble." else f"- {sentence}\n- it said {sentence}"
    text, fact = (
        re.search(rf"\[{name}\]\n(.*?)\n\[End", message, re.DOTALL).group(1) for name in ("Text", "Statement")
    )
    if "it said" in fact and "tea" in fact:
        return "true or false"
    return "true" if fact.rstrip(".").split()[-1].lower() in text else "false"


@pytest.fixture
def asked(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    lines = [f'{{"title": "{topic}", "text": "{text}"}}' for topic, text in KNOWN.items()]
    (tmp_path / "knowledge.jsonl").write_text("\n".join(lines))
    service = {"endpoint": {"model": "judge-1", "tries": 2}}
    knowledge = {"source": {"hub": str(tmp_path / "knowledge.jsonl")}}
    recipe = recipe_of(extractor=service, judge=service, knowledge=knowledge)
    return recipe, [generations(tmp_path, TEXTS, prompts=TOPICS)]


def test_a_service_lists_the_facts_and_judges_them(tmp_path, asked):
    service = Service(say)
    with serving(service) as address:
        found, samples, _ = measured(tmp_path, *asked, execution=reaching(address))
        paid = len(service.paid)
        again, _, _ = measured(tmp_path, *asked, attempt="two", execution=reaching(address))
    verdicts = [row["verdict"] for row in samples["factscore"]]
    assert verdicts == ["2 of 3", "0 of 2", "unparsed", "unknown topic"]
    assert (found["unparsed"], found["unparsed_facts"], found["unmatched"]) == (1, 1, 1)
    assert found["factscore"] == pytest.approx((2 / 3 + 0) / 2)
    assert [row["verdict"] for row in samples["factscore_facts"]].count("unparsed") == 1
    assert again == found
    assert len(service.paid) == paid, "what was said before is kept"
    assert not [path for path in tmp_path.rglob("*.json") if KEY in path.read_text()]


def test_a_stop_in_the_middle_changes_nothing(tmp_path, asked):
    recipe, parents = asked
    told: list[int] = []
    with serving(Service(say)) as address:
        whole = measured(tmp_path / "whole", recipe, parents, execution=reaching(address))
        first = context_of(
            tmp_path / "cut",
            recipe,
            parents,
            execution=reaching(address),
            on_progress=lambda step, total: told.append(step),
            stop_requested=lambda: len(told) >= 2,
        )
        with pytest.raises(StageStopped):
            run(recipe, first)
        checkpoint = newest_of(list(first.checkpoints.iterdir()))
        again = measured(
            tmp_path / "cut", recipe, parents, "two", execution=reaching(address), resume_from=checkpoint
        )
    assert again[:2] == whole[:2]


def test_a_language_model_lists_and_judges(tmp_path, model_directory, people):  # noqa: F811
    model = {"model": {"hub": str(model_directory)}}
    parents = [
        generations(tmp_path, [row["biography"] for row in people], prompts=[row["name"] for row in people])
    ]
    own = tmp_path / "own.txt"
    own.write_text("{prompt} {answer}")
    given = {
        "knowledge": BIOGRAPHIES,
        "extraction": {"hub": str(own)},
        "instruction": {"hub": str(own)},
        "labels": ["yes", "no"],
        "max_length": 120,
    }
    listed, _, _ = measured(
        tmp_path,
        recipe_of(extractor={"causal": {**model, "new_tokens": 4}}, judge={"rule": "truth"}, **given),
        parents,
    )
    assert listed["unparsed"] == 4, "a random model writes no list"
    judged, samples, _ = measured(
        tmp_path, recipe_of(extractor={"rule": "claims"}, judge={"causal": model}, **given), parents, "judge"
    )
    assert judged["judged"] == 16 and judged["unparsed_facts"] == 0
    assert {row["verdict"] for row in samples["factscore_facts"]} <= {"supported", "unsupported"}


# ---- sentences, knowledge -------------------------------------------------------------------------------------------


def test_sentences_end_where_a_reader_ends_them():
    text = "J. R. Smith met Dr. Jones. He paid 3.5 pounds!  Was it much? yes.\nA new line"
    assert sentences(text) == [
        "J. R. Smith met Dr. Jones.",
        "He paid 3.5 pounds!",
        "Was it much? yes.",
        "A new line",
    ]
    assert sentences(" \n ") == []


def test_bm25_equals_its_formula_and_finds_the_passage():
    passages = ["the cat sat on the mat", "a dog ran", "the dog and the cat"]
    words = [passage.split() for passage in passages]
    average = np.mean([len(each) for each in words])

    def score(query, each):
        total = 0.0
        for word in set(query):
            held = sum(word in other for other in words)
            norm = 1.5 * (1 - 0.75 + 0.75 * len(each) / average)
            total += (
                np.log(1 + (3 - held + 0.5) / (held + 0.5))
                * each.count(word)
                * 2.5
                / (each.count(word) + norm)
            )
        return total

    wanted = [score(["cat", "mat"], each) for each in words]
    assert bm25("cat mat", passages) == pytest.approx(wanted)
    assert max(range(3), key=wanted.__getitem__) == 0


def test_the_nearest_passages_are_read_the_nearest_last(tmp_path):
    text = " ".join(["north"] * 4 + ["south"] * 4 + ["east"] * 4)
    (tmp_path / "k.jsonl").write_text(f'{{"name": "x", "biography": "{text}"}}')
    knowledge = Knowledge(source={"hub": str(tmp_path / "k.jsonl")}, passages=2, passage_words=4)
    base = read_knowledge(knowledge, context_of(tmp_path, recipe_of(), []), ["x", "y"])
    assert base.nearest("x", "it lies south").split("\n\n")[-1] == "x: south south south south"
    assert len(base.nearest("x", "south").split("\n\n")) == 2
    assert "y" not in base


def test_the_published_database_is_read(tmp_path):
    with sqlite3.connect(tmp_path / "enwiki-20230401.db") as database:
        database.execute("CREATE TABLE documents (title PRIMARY KEY, text)")
        database.execute("INSERT INTO documents VALUES ('x', ?)", (f"<s>one</s>{SEPARATOR}<s>two</s>",))
    database.close()
    context = context_of(tmp_path, recipe_of(), [])
    base = read_knowledge(Knowledge(source={"hub": str(tmp_path)}), context, ["x"])
    assert base.nearest("x", "two") == "x: one\n\nx: two"
    assert passages_of("a b c", 2) == ["a b", "c"]
    (tmp_path / "broken.db").write_text("no database")
    broken = Knowledge(source={"hub": str(tmp_path), "files": ("broken.db",)})
    with pytest.raises(BadInput, match="cannot be read as a database of documents"):
        read_knowledge(broken, context, ["x"])


# ---- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"judge": {"rule": "truth"}, "knowledge": BIOGRAPHIES}, "names no `extractor`"),
        ({"extractor": {"rule": "claims"}, "knowledge": BIOGRAPHIES}, "names no `judge`"),
        (EXACT | {"task": "other"}, "unknown prompt set 'other'"),
        (
            {
                "extractor": {"rule": "sentences"},
                "judge": {"endpoint": {"model": "m"}},
                "knowledge": BIOGRAPHIES,
            },
            "holds none of the 12 topics",
        ),
        (
            EXACT | {"knowledge": {"source": SOURCE.model_copy(update={"files": ("toxic/test.jsonl",)})}},
            "needs the embedded world's facts",
        ),
    ],
)
def test_what_cannot_be_measured_is_one_clear_sentence(tmp_path, others, said):
    with pytest.raises(BadInput, match=said):
        measured(tmp_path, recipe_of(**others), [generations(tmp_path, ["a"] * 12)])


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"judge": {"rule": "truth", "endpoint": {"model": "m"}}}, "given are rule, endpoint"),
        ({"labels": ["true"]}, "two words"),
    ],
)
def test_settings_that_do_not_go_together(others, said):
    with pytest.raises(ValidationError, match=said):
        recipe_of(**others)
