import gzip
import json

import pytest

from tests.support.training import WORLD
from workers.context import BadInput
from workers.data.beavertails import harmless_pair, helpful_pair, paired_answers
from workers.data.dialogues import Pair, Turn, Unusable
from workers.data.hh import hh_pair
from workers.data.preferences import in_held_out, load_pairs
from workers.specs.data import DataSource, PreferenceData

FIRST = "\n\nHuman: hi\n\nAssistant: hello\n\nHuman: why?\n\nAssistant:"


def hh(chosen: str, rejected: str) -> dict[str, str]:
    return {"chosen": chosen, "rejected": rejected}


def pku(**others) -> dict:
    return {
        "prompt": "why?",
        "response_0": "a",
        "response_1": "b",
        "is_response_0_safe": True,
        "is_response_1_safe": False,
        "better_response_id": 1,
        "safer_response_id": 0,
    } | others


def jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_hh_splits_at_the_last_assistant_turn():
    pair = hh_pair(hh(FIRST + " because", FIRST + " no"))
    assert pair == Pair("why?", "because", "no", (Turn("hi", "hello"),))


def test_hh_as_a_list_of_two_texts():
    assert hh_pair({"text": [FIRST + " because", FIRST + " no"]}).chosen == "because"


def test_hh_joins_neighbouring_speeches_of_one_speaker():
    text = "\n\nHuman: one\n\nHuman: two\n\nAssistant:"
    assert hh_pair(hh(text + " a", text + " b")).prompt == "one\n\ntwo"


def test_a_speaker_inside_a_sentence_is_text():
    text = "\n\nHuman: say Assistant: hello\n\nAssistant:"
    assert hh_pair(hh(text + " a", text + " b")).prompt == "say Assistant: hello"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (hh(FIRST + " a", FIRST.replace("hi", "ho") + " b"), "prefix differs"),
        (hh(FIRST + " a", FIRST + " a"), "equal"),
        (hh(FIRST + " a", FIRST), "empty"),
        (hh(FIRST + " a", FIRST + " b\n\nHuman: c"), "malformed"),
        (hh("no speakers", "none"), "malformed"),
        ({"chosen": 1}, "malformed"),
        (hh("\n\nAssistant: a", "\n\nAssistant: b"), "malformed"),
    ],
)
def test_hh_drop_rules(row, reason):
    with pytest.raises(Unusable, match=reason):
        hh_pair(row)


def test_harmless_is_safe_against_unsafe_whatever_is_better():
    assert harmless_pair(pku()) == Pair("why?", "a", "b")
    swapped = pku(is_response_0_safe=False, is_response_1_safe=True)
    assert harmless_pair(swapped) == Pair("why?", "b", "a")
    with pytest.raises(Unusable, match="not exactly one safe"):
        harmless_pair(pku(is_response_1_safe=True))


def test_helpful_is_the_better_answer():
    assert helpful_pair(pku()) == Pair("why?", "b", "a")
    with pytest.raises(Unusable, match="equal"):
        helpful_pair(pku(response_0="b"))
    with pytest.raises(Unusable, match="malformed"):
        helpful_pair(pku(better_response_id=-1))


def test_every_safe_answer_meets_every_unsafe_one():
    rows = [
        {"question": question, "answer": answer, "label": label}
        for question, answer, label in [
            ("q", "bad1", "1"),
            ("q", "good1", "0"),
            ("q", "bad2", "1"),
            ("r", "x", "0"),
        ]
    ]
    pairs = [Pair("q", "good1", "bad1"), Pair("q", "good1", "bad2")]
    assert paired_answers(rows, "harmless") == (pairs, 1)
    with pytest.raises(BadInput, match="no helpful preference"):
        paired_answers(rows, "helpful")


@pytest.mark.parametrize("dataset", ["hh-rlhf", "beavertails"])
@pytest.mark.parametrize("preference", ["harmless", "helpful"])
def test_the_world_has_both_splits(context, dataset, preference):
    data = PreferenceData(dataset=dataset, preference=preference, source=WORLD)
    train, test = load_pairs(context, data, "train"), load_pairs(context, data, "test")
    assert train.read == len(train.pairs) + sum(train.dropped.values())
    assert len(train.pairs) > len(test.pairs) > 0
    assert {pair.preference for pair in train.pairs} == {preference}


def test_a_source_without_test_rows_is_split_by_prompt(context, tmp_path):
    jsonl(
        tmp_path / "train.jsonl",
        [pku(prompt=f"prompt {place % 200}", response_1=f"b{place}") for place in range(400)],
    )
    data = PreferenceData(dataset="beavertails", source=DataSource(hub=str(tmp_path)), held_out=0.2)
    train, test = (load_pairs(context, data, split) for split in ("train", "test"))
    prompts = [{pair.prompt for pair in found.pairs} for found in (train, test)]
    assert not prompts[0] & prompts[1]
    assert len(train.pairs) + len(test.pairs) == 400
    assert 40 <= len(test.pairs) <= 120
    assert train.dropped["other split"] == len(test.pairs)


def test_the_held_out_share_grows_and_keeps_its_prompts():
    prompts = [str(number) for number in range(500)]
    small = {prompt for prompt in prompts if in_held_out(prompt, 0.1)}
    large = {prompt for prompt in prompts if in_held_out(prompt, 0.3)}
    assert small < large
    assert 25 < len(small) < 75


def test_named_files_and_the_csv_of_single_answers(context, tmp_path):
    lines = [
        "question,answer,label",
        *(f"q{number},{text},{label}" for number in range(9) for text, label in (("good", 0), ("bad", 1))),
    ]
    (tmp_path / "mini.csv").write_text("\n".join(lines))
    source = DataSource(hub=str(tmp_path), files=("mini.csv",))
    found = load_pairs(context, PreferenceData(dataset="beavertails", source=source, held_out=0.0), "train")
    assert len(found.pairs) == 9
    assert found.pairs[0].chosen == "good"


def test_hh_in_a_mirror_of_its_own_layout(context, tmp_path):
    path = tmp_path / "helpful-base" / "train.jsonl.gz"
    path.parent.mkdir()
    path.write_bytes(gzip.compress(json.dumps(hh(FIRST + " a", FIRST + " b")).encode()))
    source = DataSource(hub="org/hh")
    context.hub_map["org/hh"] = str(tmp_path)
    data = PreferenceData(dataset="hh-rlhf", preference="helpful", source=source, held_out=0.0)
    assert load_pairs(context, data, "train").pairs[0].chosen == "a"


@pytest.mark.parametrize(("rule", "kept"), [("drop", 1), ("keep", 3)])
def test_mixtures_settle_conflicts_and_repetitions(context, tmp_path, rule, kept):
    rows = [
        pku(),  # harmless a > b, helpful b > a: a conflict
        pku(prompt="who?", better_response_id=0),  # the same pair in both sets
    ]
    jsonl(tmp_path / "train.jsonl", rows)
    data = PreferenceData(
        dataset="beavertails",
        preference="harmless+helpful",
        source=DataSource(hub=str(tmp_path)),
        held_out=0.0,
        mixture_conflicts=rule,
    )
    found = load_pairs(context, data, "train")
    assert len(found.pairs) == kept
    assert found.dropped["repeated"] == 1
    assert found.dropped["conflict"] == 3 - kept


def own_loader(context, data, preference, split):
    return [Pair("p", split, "other")]


def test_a_loader_of_the_users_own(context):
    data = PreferenceData(dataset=f"{__name__}:own_loader", source=WORLD)
    assert load_pairs(context, data, "test").pairs == [Pair("p", "test", "other", (), "harmless")]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (PreferenceData(dataset="hh-rlfh", source=WORLD), "did you mean 'hh-rlhf'"),
        (PreferenceData(), "neither a `world` nor a `hub`"),
        (PreferenceData(source=DataSource(hub="/")), "found none of"),
    ],
)
def test_mistakes_are_explained(context, data, message):
    with pytest.raises(BadInput, match=message):
        load_pairs(context, data, "train")


def test_a_broken_line_is_named(context, tmp_path):
    (tmp_path / "train.jsonl").write_text('{"prompt": "a"}\n{"prompt": \n')
    with pytest.raises(BadInput, match="line 2"):
        load_pairs(
            context, PreferenceData(dataset="beavertails", source=DataSource(hub=str(tmp_path))), "train"
        )


def test_nothing_usable_is_an_error(context, tmp_path):
    jsonl(tmp_path / "train.jsonl", [pku(is_response_1_safe=True)])
    with pytest.raises(BadInput, match="not exactly one safe"):
        load_pairs(
            context, PreferenceData(dataset="beavertails", source=DataSource(hub=str(tmp_path))), "train"
        )


@pytest.mark.parametrize(
    ("preference", "name", "expected"),
    [
        ("harmless", "hh-rlhf.harmless-base.test.jsonl.gz", 2312),
        ("helpful", "hh-rlhf.helpful-base.test.json", 2352),
    ],
)
def test_the_real_hh_rows_parse(context, assets, preference, name, expected):
    source = DataSource(hub=str(assets / "preference"), files=(name,))
    data = PreferenceData(dataset="hh-rlhf", preference=preference, source=source, held_out=0.0)
    found = load_pairs(context, data, "train")
    assert found.read == expected
    assert +found.dropped == {"empty": 4}
    assert len(found.pairs) == expected - 4


def test_the_real_single_answers_pair_up(context, assets):
    source = DataSource(hub=str(assets / "preference" / "pku-saferlhf.mini.csv"))
    data = PreferenceData(dataset="beavertails", source=source, held_out=0.0)
    found = load_pairs(context, data, "train")
    assert (found.read, len(found.pairs)) == (4000, 530)
    assert 0 < found.dropped["answer alone"] < 4000
