"""Judging in a grid: what it costs, who is asked before anybody is paid, and the whole way from model to verdict."""

import json
from pathlib import Path

import pytest

import results
from orchestrator.grid import load_grid
from orchestrator.judging import judging_cost
from orchestrator.plan import Plan, plan_grid
from results.files import WorkspaceError
from tests.orchestrator.cli.conftest import yates  # noqa: F401
from tests.orchestrator.grids import write
from tests.support import commands
from tests.support.endpoint import KEY, Service, serving

GRID = """\
study: judged
name: "{seed}"
factors: {seed: [0, 1]}
blocks: {all: {product: [seed]}}
price: {input: 2.0, output: 10.0}
service: {}
judges:
  paid: {endpoint: {model: judge-1, max_tokens: 5, price: "${price}"}}
pipeline:
  pretrain:
    show: false
    recipe:
      seed: 0
      model: {shape: {hidden_size: 32, layers: 1}}
      tokenizer: {world: {}}
      data: {source: {world: {}}, block: 32, packed: false}
      training: {steps: 12, batch_size: 8, learning_rate: 5e-3}
  sft:
    parents: {base: pretrain}
    recipe:
      adapter: {rank: 4}
      preferences: {dataset: beavertails, source: {world: {}}, samples: 40, max_prompt_length: 40, max_length: 64}
      max_length: 64
      training: {steps: 4, batch_size: 4, learning_rate: 1e-2}
  original:
    kind: generate
    parents: {base: pretrain}
    show: false
    recipe: &asked
      seed: 0
      prompts:
        - {name: helpful, source: {world: {}, files: [helpful/test.jsonl]}, limit: 6, new_tokens: 8}
        - {name: toxic, source: {world: {}, files: [toxic/test.jsonl]}, limit: 5, new_tokens: 8}
      max_length: 128
  generate:
    parents: {base: pretrain, trained: sft}
    recipe: *asked
  safety:
    kind: judge
    parents: {generations: generate}
    recipe: {seed: 0, task: toxic, shape: verdict, judge: {rule: safety}}
  helpfulness:
    kind: judge
    parents: {generations: generate}
    recipe:
      seed: 0
      task: helpful
      judge: {rule: helpfulness}
      reference: {source: {world: {}, files: [helpful/test.jsonl]}}
  paid:
    kind: judge
    parents: {generations: generate, opponent: original}
    recipe: {seed: 0, task: helpful, name: duel, judge: "${judges.paid}"}
    resources: {network: true}
    execution: {service: "${service}"}
"""


@pytest.fixture
def path(tmp_path) -> Path:
    return write(tmp_path, GRID)


def planned(path: Path, *overrides: str) -> Plan:
    return plan_grid(load_grid(path, overrides=list(overrides)))


def stage_ids(plan: Plan, name: str) -> list[str]:
    return [stage.id for stage in plan.stages if stage.name == name]


def test_the_cost_is_counted_from_prompts_orders_and_prices(path) -> None:
    cost = judging_cost(planned(path))
    assert cost is not None
    assert (cost.stages, cost.calls, cost.models) == (2, 24, {"judge-1": 24})
    assert cost.written_tokens == 24 * 5
    assert cost.read_tokens == 24 * (300 + 100 + 2 * 8)
    assert cost.money == pytest.approx((cost.read_tokens * 2 + cost.written_tokens * 10) / 1e6)
    assert "at most 24 calls of judges (24 of judge-1; 9,984 tokens to read" in cost.text


FACTS = """\
  facts:
    kind: factuality
    parents: {generations: generate}
    recipe:
      seed: 0
      task: helpful
      knowledge: {passages: 2}
      extractor: {endpoint: {model: lister, max_tokens: 50, price: "${price}"}}
      judge: {endpoint: {model: lister, max_tokens: 50, price: "${price}"}}
"""


def test_services_that_list_and_judge_facts_are_counted(path, tmp_path) -> None:
    plain = judging_cost(planned(path))
    listing = write(tmp_path, GRID + FACTS)
    both = judging_cost(planned(listing))
    one = judging_cost(planned(listing, "pipeline.facts.recipe.judge={rule: truth}"))
    assert plain is not None and both is not None and one is not None
    assert one.models == plain.models | {"lister": 2 * 2}, "6 answers of 8 tokens: 2 sentences, for each seed"
    assert both.models == plain.models | {"lister": 2 * (2 + 4)}
    assert both.stages == plain.stages + 2
    assert both.read_tokens - one.read_tokens == 2 * 4 * (300 + 2 * 256)


def test_one_order_costs_half_and_an_unknown_price_is_said(path) -> None:
    overrides = ("pipeline.paid.recipe.orders=given", "price=null")
    cost = judging_cost(planned(path, *overrides))
    assert cost is not None and cost.calls == 12
    assert cost.money is None and cost.text.endswith("at an unknown price")


def test_what_is_done_is_not_counted(path) -> None:
    plan = planned(path)
    first, second = stage_ids(plan, "paid")
    cost = judging_cost(plan, {first}.__contains__)
    assert cost is not None and (cost.stages, cost.calls) == (1, 12)
    assert judging_cost(plan, {first, second}.__contains__) is None


@pytest.mark.parametrize(
    "override",
    [
        "price={input: 9, output: 9}",
        "service={base_url: 'http://elsewhere/v1', concurrency: 1}",
        "service={requests_per_minute: 3, key_variable: OTHER}",
    ],
)
def test_how_a_service_is_reached_and_what_it_takes_is_in_no_identity(path, override) -> None:
    assert stage_ids(planned(path), "paid") == stage_ids(planned(path, override), "paid")


@pytest.mark.parametrize(
    "override",
    [
        "judges.paid.endpoint.model=judge-2",
        "judges.paid.endpoint.service=mirror",
        "judges.paid.endpoint.temperature=1.0",
        "judges.paid.endpoint.max_tokens=6",
        "pipeline.paid.recipe.ties=loss",
        "pipeline.paid.recipe.unparsed=loss",
        "pipeline.paid.recipe.orders=given",
    ],
)
def test_what_decides_a_verdict_is(path, override) -> None:
    assert stage_ids(planned(path), "paid") != stage_ids(planned(path, override), "paid")


def test_ones_own_instruction_is_known_by_its_text(path, tmp_path) -> None:
    own = tmp_path / "own.txt"
    override = f"pipeline.paid.recipe.instruction={{hub: '{own}'}}"
    own.write_text("{prompt} {first} {second}")
    before = stage_ids(planned(path, override), "paid")
    own.write_text("{prompt} {first} or {second}")
    assert stage_ids(planned(path, override), "paid") != before


def test_the_plan_prints_calls_and_cost(path, yates) -> None:  # noqa: F811
    _, said = yates("plan", path)
    assert "at most 24 calls of judges (24 of judge-1;" in said and "for about 0.02" in said
    _, said = yates("plan", path, "--json")
    assert json.loads(said)["judging"]["calls"] == 24
    _, said = yates("plan", path, "--json", "--set", "judges.paid={rule: safety}")
    assert json.loads(said)["judging"] is None


@pytest.mark.parametrize("verb", ["run", "submit"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), r"this needs at most 24 calls .* for about 0\.02; --max-judge-cost says how much may be spent"),
        (("--max-judge-cost", "0.001"), r"more than the limit of 0\.001; --max-judge-cost says"),
        (("--set", "price=null"), "at an unknown price; give the judge's `price`"),
        (("--set", "price=null", "--max-judge-cost", "9"), "at an unknown price; give the judge's `price`"),
    ],
)
def test_nobody_is_paid_unasked(path, yates, tmp_path, monkeypatch, verb, options, said) -> None:  # noqa: F811
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(WorkspaceError, match=said):
        yates(verb, path, "-w", tmp_path / "runs", *options)
    assert not (tmp_path / "runs").exists()


def test_a_missing_key_is_said_before_anything_is_planned_on_disk(path, yates, tmp_path, monkeypatch) -> None:  # noqa: F811
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(WorkspaceError, match="set the environment variable OPENAI_API_KEY"):
        yates("run", path, "-w", tmp_path / "runs", "--max-judge-cost", "5")
    assert not (tmp_path / "runs").exists()


def test_the_person_is_asked_at_a_terminal(path, tmp_path, monkeypatch) -> None:
    from orchestrator.cli import paying
    from results.layout import Workspace

    asked: list[str] = []
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(paying.typer, "confirm", lambda text: asked.append(text) or True)
    paying.ask_before_paying(planned(path), Workspace(tmp_path), None, here=True)
    paying.ask_before_paying(planned(path), Workspace(tmp_path), 1.0, here=True)
    paying.ask_before_paying(
        planned(path, "price={input: 0, output: 0}"), Workspace(tmp_path), None, here=True
    )
    assert len(asked) == 1 and asked[0].endswith("Go on?")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("judges.paid={endpont: {}}", "unknown key 'endpont' in judge"),
        ("judges.paid={rule: safety, causal: {}}", "one of rule, classifier, causal, endpoint"),
        ("judges.paid={endpoint: {}}", r"judge\.endpoint\.model is missing"),
        ("pipeline.paid.recipe.shape=scores", "did you mean 'score'"),
        ("service={api_key: sk-1}", "unknown key 'api_key' in service"),
    ],
)
def test_a_mistake_in_a_judge_is_named_with_its_place(path, override, said) -> None:
    with pytest.raises(Exception, match=said) as error:
        planned(path, override)
    assert type(error.value).__name__ == "GridError"


def test_answers_at_a_step_have_the_training_keep_it(path) -> None:
    plan = planned(path, "pipeline.generate.recipe.step=2")
    assert {stage.execution.snapshots for stage in plan.stages if stage.name == "sft"} == {(2,)}


STRICT = """\
  strict:
    kind: judge
    parents: {generations: generate, opponent: original}
    recipe: {seed: 0, task: helpful, name: strict, ties: loss, judge: "${judges.paid}"}
    resources: {network: true}
    execution: {service: "${service}"}
"""


def test_from_model_to_verdict(tmp_path, monkeypatch) -> None:
    """The grid as it is run: answers are kept, rules and a real service judge them, and nothing holds the key."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    service = Service()
    runs = tmp_path / "runs"
    with serving(service) as address:
        given = ["--set", "price={input: 0, output: 0}", "--set", f"service={{base_url: '{address}'}}"]
        path = write(tmp_path, GRID + STRICT)
        done = commands.yates("run", path, "-w", runs, *given, YATES_LOCAL_SLOTS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    frame = results.load(runs)
    assert {"toxic", "helpful", "duel", "duel.position_bias", "duel.length", "toxic.repetition"} <= set(frame)
    assert frame[["toxic", "helpful", "duel", "strict"]].stack().between(0, 1).all()
    assert (frame["strict"] <= frame["duel"]).all()
    kept = results.samples(runs)
    assert kept["tokens"].notna().all() and kept["ended"].notna().all()
    assert service.paid and len(service.paid) == len(set(service.paid)), "no question is paid twice"
    assert KEY not in done.stdout + done.stderr
    assert [path for path in runs.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()] == []
