"""A judge behind a real service, with faults in between: the verdicts of an undisturbed run, and nothing paid twice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.endpoint import KEY, Service, faults_between, longer_wins, serving
from tests.workers.judging.lab import (
    ANSWERS,
    PROMPTS,
    REFERENCES,
    TASK,
    context_of,
    figures,
    generations,
    judged,
    reaching,
    recipe_of,
    reference_file,
)
from workers.context import BadInput, StageStopped, TransientFailure
from workers.stages.judge import run

ASKED = 2 * sum(answer != reference for answer, reference in zip(ANSWERS[:12], REFERENCES[:12], strict=True))


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def parents(tmp_path):
    return [generations(tmp_path, ANSWERS)]


@pytest.fixture
def recipe(tmp_path):
    source = {"hub": str(reference_file(tmp_path))}
    return recipe_of(judge={"endpoint": {"model": "judge-1", "tries": 2}}, reference={"source": source})


def seen(root: Path, word: str) -> list[str]:
    """Files below `root` that hold a word."""
    return [str(path) for path in root.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


def test_a_run_without_faults(tmp_path, recipe, parents):
    service = Service()
    with serving(service) as address:
        result, samples = judged(tmp_path, recipe, parents, execution=reaching(address))
    assert len(service.paid) == ASKED
    wins = [
        0.5 if len(a) == len(r) else float(len(a) > len(r))
        for a, r in zip(ANSWERS[:12], REFERENCES[:12], strict=True)
    ]
    assert [sample["score"] for sample in samples] == wins
    found = figures(result)
    assert found["win_rate"] == sum(wins) / 12
    assert (found["wins"], found["losses"], found["ties"], found["unparsed"]) == (
        wins.count(1),
        wins.count(0),
        wins.count(0.5),
        0,
    )
    assert (found["position_bias"], found["first_position"]) == (0, 0.5)
    assert found["win_rate_shown_first"] == found["win_rate_shown_second"] == found["win_rate"]
    assert (found["length"], found["repetition"]) == (2.5, 0.25)
    assert [row["metric"] for row in result.metrics if row["primary"]] == ["win_rate"]
    assert {row["step"] for row in result.metrics} == {5}
    request = service.requests[0]
    assert (request["model"], request["temperature"], request["max_tokens"]) == ("judge-1", 0.0, 100)


@pytest.mark.parametrize("fault", ["429", "500", "reset", "cut", "truncated", "late"])
def test_a_fault_changes_no_verdict_and_costs_no_more_than_the_lost_answer(tmp_path, recipe, parents, fault):
    with serving(Service()) as address:
        expected = judged(tmp_path / "calm", recipe, parents, execution=reaching(address))
    service = Service()
    plan = [None, fault, None, None, None, None, fault]
    with serving(service) as behind, faults_between(behind, plan) as (address, happened):
        execution = reaching(address, seconds=1.0, concurrency=3)
        result = judged(tmp_path / "faulty", recipe, parents, execution=execution)
    assert happened == [fault, fault]
    assert result[0].metrics == expected[0].metrics and result[1] == expected[1]
    lost = 2 if fault in ("reset", "cut", "truncated", "late") else 0
    assert len(service.paid) == ASKED + lost


def test_every_fault_at_once_leaves_no_key_anywhere(tmp_path, recipe, parents, capfd, caplog):
    caplog.set_level("DEBUG")
    plan = ["429", "500", None, "truncated", "reset", None, "cut", "429", "late"]
    service = Service()
    with serving(service) as behind, faults_between(behind, plan) as (address, happened):
        execution = reaching(address, seconds=1.0, concurrency=2)
        judged(tmp_path, recipe, parents, execution=execution)
        again, _ = judged(tmp_path, recipe, parents, attempt="two", execution=execution)
    assert len(happened) == 7 and figures(again)["unparsed"] == 0
    assert len(set(service.paid)) == ASKED and len(service.paid) == ASKED + 4
    printed = capfd.readouterr()
    assert KEY not in printed.out + printed.err + caplog.text
    assert seen(tmp_path, KEY) == []
    kept = list((tmp_path / "cache" / "judgements").rglob("*.json"))
    assert len(kept) == ASKED
    assert not any(prompt.encode() in path.read_bytes() for path in kept for prompt in PROMPTS)


def test_nothing_is_paid_twice_for_equal_content(tmp_path, recipe, parents):
    service = Service()
    with serving(service) as address:
        execution = reaching(address)
        first, _ = judged(tmp_path, recipe, parents, execution=execution)
        one_order = recipe.model_copy(update={"orders": "given", "seed": 3, "name": "other"})
        judged(tmp_path, one_order, parents, attempt="two", execution=execution)
        assert len(service.paid) == ASKED
        changed = generations(tmp_path / "changed", ["another", *ANSWERS[1:]])
        judged(tmp_path, recipe, [changed], attempt="three", execution=execution)
        assert len(service.paid) == ASKED + 2
        endpoint = recipe.judge.endpoint.model_copy(update={"temperature": 1.0})
        warmer = recipe.model_copy(update={"judge": recipe.judge.model_copy(update={"endpoint": endpoint})})
        judged(tmp_path, warmer, parents, attempt="four", execution=execution)
        assert len(service.paid) == 2 * ASKED + 2
    assert figures(first)["judged"] == 12


@pytest.mark.parametrize(
    "damage", [b"", b"{", b'{"answers": 3}', b"\xff\xfe", b'{"version": 1, "answers": [1]}']
)
def test_a_damaged_judgement_is_asked_for_again(tmp_path, recipe, parents, damage):
    service = Service()
    with serving(service) as address:
        expected = judged(tmp_path, recipe, parents, execution=reaching(address))
        kept = sorted((tmp_path / "cache" / "judgements").rglob("*.json"))
        whole = kept[0].read_bytes()
        kept[0].write_bytes(damage)
        again = judged(tmp_path, recipe, parents, attempt="two", execution=reaching(address))
    assert again[0].metrics == expected[0].metrics
    assert len(service.paid) == ASKED + 1
    assert kept[0].read_bytes() == whole


@pytest.mark.parametrize("rubbish", ["", "I cannot say", "A or B", "perhaps", "ab"])
def test_a_judge_that_answers_rubbish_loses_nothing(tmp_path, recipe, parents, rubbish):
    service = Service(say=lambda message: rubbish)
    with serving(service) as address:
        result, samples = judged(tmp_path, recipe, parents, execution=reaching(address))
        judged(tmp_path, recipe, parents, attempt="two", execution=reaching(address))
    found = figures(result)
    equal = sum(answer == reference for answer, reference in zip(ANSWERS[:12], REFERENCES[:12], strict=True))
    assert (found["unparsed"], found["unparsed_verdicts"]) == (12 - equal, ASKED)
    assert found["judged"] == equal == found["ties"]
    assert found["first_position"] is None and found["position_bias"] is None
    assert {sample["verdict"] for sample in samples} == {"unparsed", "tie"}
    assert len(service.paid) == 2 * ASKED, "each question is tried twice, and not again in another attempt"


def test_where_nothing_can_be_read_the_figure_is_null_and_the_counts_stand(tmp_path, parents):
    source = {"hub": str(reference_file(tmp_path, ["x"] * 12))}
    recipe = recipe_of(judge={"endpoint": {"model": "m", "tries": 1}}, reference={"source": source})
    with serving(Service(say=lambda message: "hm")) as address:
        result, samples = judged(tmp_path, recipe, parents, execution=reaching(address))
    found = figures(result)
    assert (found["win_rate"], found["judged"], found["unparsed"]) == (None, 0, 12)
    assert len(samples) == 12 and found["length"] == 2.5
    for rule, value in (("half", 0.5), ("loss", 0.0)):
        with serving(Service(say=lambda message: "hm")) as address:
            ruled = recipe.model_copy(update={"unparsed": rule})
            result, _ = judged(tmp_path, ruled, parents, attempt=rule, execution=reaching(address))
        assert (figures(result)["win_rate"], figures(result)["unparsed"]) == (value, 12)


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        ({"choices": [{"index": 0, "message": {"role": "assistant", "content": None}}]}, True),
        ({"choices": []}, False),
        ({"detail": "not what the protocol says"}, False),
        ([], False),
        ("A", False),
    ],
)
def test_a_body_that_states_nothing_is_unparsed(tmp_path, recipe, parents, content, kept):
    class Odd(Service):
        def answer(self, body, authorization):
            self.paid.append("")
            return 200, content

    service = Odd()
    with serving(service) as address:
        result, _ = judged(tmp_path, recipe, parents, execution=reaching(address))
    found = figures(result)
    assert found["unparsed_verdicts"] == ASKED and len(service.paid) == 2 * ASKED
    assert bool(list((tmp_path / "cache").rglob("*.json"))) == kept


def test_bodies_that_are_always_broken_are_unparsed(tmp_path, recipe, parents):
    service = Service()
    with serving(service) as behind, faults_between(behind, ["truncated"] * 99) as (address, _):
        result, _ = judged(tmp_path, recipe, parents, execution=reaching(address))
    assert figures(result)["unparsed_verdicts"] == ASKED
    assert not list((tmp_path / "cache").rglob("*.json")), "nothing that could be read later was kept"


def test_an_address_where_nobody_speaks_the_protocol(tmp_path, recipe, parents):
    with serving(Service()) as address, pytest.raises(BadInput, match=r"judge judge-1: .*404"):
        judged(tmp_path, recipe, parents, execution=reaching(address.removesuffix("/v1")))


def test_a_missing_key_is_said_before_any_work(tmp_path, recipe, parents, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    service = Service()
    with serving(service) as address:
        with pytest.raises(BadInput, match="set the environment variable OPENAI_API_KEY"):
            judged(tmp_path, recipe, parents, execution=reaching(address))
        monkeypatch.setenv("MY_KEY", KEY)
        judged(tmp_path, recipe, parents, execution=reaching(address, key_variable="MY_KEY"))
    assert len(service.paid) == ASKED


@pytest.mark.parametrize("wrong", ["sk-other-secret", "sk-other-secret\n"])
def test_a_refused_key_is_said_and_not_shown(tmp_path, recipe, parents, monkeypatch, wrong):
    monkeypatch.setenv("OPENAI_API_KEY", wrong)
    with (
        serving(Service()) as address,
        pytest.raises(BadInput, match=r"Incorrect API key.*OPENAI_API_KEY") as said,
    ):
        judged(tmp_path, recipe, parents, execution=reaching(address))
    assert "sk-other" not in str(said.value) and said.value.__suppress_context__


def test_a_key_that_none_can_be(tmp_path, recipe, parents, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ü-secret")
    with pytest.raises(BadInput, match="holds characters that no key has") as said:
        judged(tmp_path, recipe, parents)
    assert "secret" not in str(said.value)


def test_a_service_that_stays_away_is_transient_and_what_was_paid_is_kept(tmp_path, recipe, parents):
    service = Service()
    plan = [None] * 7 + ["500"] * 100
    with serving(service) as behind:
        with faults_between(behind, plan) as (address, _):
            execution = reaching(address, retries=1, concurrency=1)
            with pytest.raises(TransientFailure, match="judge judge-1"):
                judged(tmp_path, recipe, parents, execution=execution)
        assert len(service.paid) == 7
        result, _ = judged(tmp_path, recipe, parents, attempt="two", execution=reaching(behind))
    assert len(service.paid) == ASKED and figures(result)["judged"] == 12


def test_questions_that_a_service_refuses_are_counted_and_the_rest_goes_on(tmp_path, recipe, parents):
    class Picky(Service):
        def answer(self, body, authorization):
            if "number 3 ?" in json.loads(body)["messages"][0]["content"]:
                return 400, {"error": {"message": "content policy"}}
            return super().answer(body, authorization)

    service = Picky()
    with serving(service) as address:
        result, _ = judged(tmp_path, recipe, parents, execution=reaching(address))
    found = figures(result)
    assert (found["unparsed"], found["unparsed_verdicts"], found["judged"]) == (1, 2, 11)
    assert len(service.paid) == ASKED - 2


def test_a_service_that_refuses_every_question_is_a_mistake_and_not_a_result(tmp_path, recipe, parents):
    class Deaf(Service):
        def answer(self, body, authorization):
            return 400, {"error": {"message": "max_tokens is not supported"}}

    with (
        serving(Deaf()) as address,
        pytest.raises(BadInput, match=r"every question: .*max_tokens is not supp"),
    ):
        judged(tmp_path, recipe, parents, execution=reaching(address))


@pytest.mark.parametrize("batches", [1, 3])
def test_a_stopped_judging_goes_on_and_asks_only_for_the_rest(tmp_path, recipe, parents, batches):
    service, told = Service(), []
    with serving(service) as address:
        first = context_of(
            tmp_path,
            recipe,
            parents,
            execution=reaching(address),
            on_progress=lambda step, total: told.append(step),
            stop_requested=lambda: len(told) >= batches,
        )
        with pytest.raises(StageStopped):
            run(recipe, first)
        paid = len(service.paid)
        assert paid == 5 * batches
        [checkpoint] = first.checkpoints.iterdir()
        for path in (tmp_path / "cache" / "judgements").rglob("*.json"):
            path.unlink()  # the checkpoint alone must do
        rest, samples = judged(
            tmp_path, recipe, parents, "two", execution=reaching(address), resume_from=checkpoint
        )
        assert len(service.paid) == ASKED
        whole, expected = judged(tmp_path, recipe, parents, "three", execution=reaching(address))
    assert (rest.metrics, samples) == (whole.metrics, expected)


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.workers.judging.lab import *
root, address = Path(sys.argv[1]), sys.argv[2]
recipe = recipe_of(judge={"endpoint": {"model": "judge-1"}}, reference={"source": {"hub": str(reference_file(root))}})
judged(root, recipe, [generations(root, ANSWERS)], execution=reaching(address, concurrency=1))
"""


def test_a_killed_judging_has_paid_for_nothing_in_vain(tmp_path, recipe, parents):
    service = Service()
    children: list[subprocess.Popen[bytes]] = []

    def say(message: str) -> str:
        if len(service.paid) == 8:
            children[0].kill()
        return longer_wins(message)

    service.say = say
    with serving(service) as address:
        command = [sys.executable, "-c", KILLED, str(tmp_path), address]
        children.append(subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.getcwd()}))
        assert children[0].wait() == -9
        assert len(list((tmp_path / "cache").rglob("*.json"))) == 8
        service.say = longer_wins
        result, _ = judged(tmp_path, recipe, parents, execution=reaching(address))
    assert len(service.paid) == ASKED + 1, "only the answer that died on its way is paid again"
    assert figures(result)["judged"] == 12


def test_the_pace_is_kept(tmp_path, parents):
    source = {"hub": str(reference_file(tmp_path))}
    recipe = recipe_of(
        judge={"endpoint": {"model": "m"}}, reference={"source": source}, orders="given", batch_size=12
    )
    import time

    with serving(Service()) as address:
        start = time.monotonic()
        judged(tmp_path, recipe, parents, execution=reaching(address, requests_per_minute=1200))
    assert time.monotonic() - start >= (ASKED / 2 - 1) * 0.05


def test_the_judge_may_be_asked_for_verdicts(tmp_path, parents):
    service = Service(say=lambda message: "Yes." if "much longer" in message else "no")
    recipe = recipe_of(judge={"endpoint": {"model": "m"}}, shape="verdict")
    with serving(service) as address:
        result, samples = judged(tmp_path, recipe, parents, execution=reaching(address))
    found = figures(result)
    harmful = sum("much longer" in answer for answer in ANSWERS[:12])
    assert found["safe"] == 1 - harmful / 12 and found["attack_success"] == pytest.approx(harmful / 12)
    assert [sample["verdict"] for sample in samples].count("harmful") == harmful
    assert {row["task"] for row in result.metrics} == {TASK}
