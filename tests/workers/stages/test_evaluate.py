import logging
import time

import pyarrow.parquet as pq
import pytest

from tests.workers.evaluation.conftest import model_directory, root  # noqa: F401
from tests.workers.evaluation.examinee import EVERY_BENCHMARK, SOURCE, make_context, make_recipe, values
from workers.checkpoints import newest_of
from workers.context import BadInput, StageStopped, metric
from workers.evaluation.benchmark import Measurement
from workers.recipe import Execution
from workers.specs.evaluate import Benchmark
from workers.stages.evaluate import run

BUILT_IN = [benchmark.task for benchmark in EVERY_BENCHMARK]


def story(benchmark, candidate):
    """A user's own benchmark."""
    [completion] = candidate.complete(candidate.encode(["the river"]), benchmark.new_tokens)
    return Measurement([metric("story", len(completion.tokens), unit="tokens", primary=True)])


@pytest.fixture(scope="module")
def recipe(model_directory):  # noqa: F811
    return make_recipe(model_directory, *EVERY_BENCHMARK, keep_samples="all")


@pytest.fixture(scope="module")
def alone(root, recipe):  # noqa: F811
    """The result of a first stage in a fresh process, and its samples."""
    context = make_context(root, recipe, attempt="alone")
    return run(recipe, context), pq.read_table(context.output / "samples.parquet").to_pylist(), context


def test_every_benchmark_has_one_primary(alone):
    result, _, _ = alone
    assert [row["task"] for row in result.metrics if row["primary"]] == BUILT_IN
    assert result.outcome == "done"
    assert all(row["value"] is not None for row in result.metrics if row["primary"])


def test_computing_is_counted_apart(alone):
    assert set(alone[2].seconds) == {"load", "compute", "save"}


def test_a_warm_process_gives_the_same(root, recipe, alone):  # noqa: F811
    memory: dict[str, object] = {}
    others = make_recipe(recipe.model.hub, *reversed(EVERY_BENCHMARK), max_length=64, batch_size=3)
    for attempt, each in enumerate((others, recipe, recipe)):
        context = make_context(root, each, attempt=f"warm-{attempt}", memory=memory)
        result = run(each, context)
    assert result.metrics == alone[0].metrics
    assert pq.read_table(context.output / "samples.parquet").to_pylist() == alone[1]


@pytest.mark.parametrize("batches", [1, 4, 11, 23])
def test_a_stopped_stage_goes_on_in_the_middle(root, recipe, alone, batches):  # noqa: F811
    told: list[int] = []
    first = make_context(
        root,
        recipe,
        attempt=f"first-{batches}",
        on_progress=lambda step, total: told.append(step),
        stop_requested=lambda: len(told) >= batches,
    )
    with pytest.raises(StageStopped):
        run(recipe, first)
    checkpoint = newest_of(list(first.checkpoints.iterdir()))
    second = make_context(root, recipe, attempt=f"second-{batches}", resume_from=checkpoint)
    result = run(recipe, second)
    assert result.metrics == alone[0].metrics
    assert pq.read_table(second.output / "samples.parquet").to_pylist() == alone[1]


def test_a_smaller_micro_batch_gives_the_same_within_tolerance(root, recipe, alone):  # noqa: F811
    context = make_context(root, recipe, attempt="micro", execution=Execution(micro_batch=2))
    found, expected = values(run(recipe, context).metrics), values(alone[0].metrics)
    assert found.keys() == expected.keys()
    assert list(found.values()) == pytest.approx(list(expected.values()), rel=1e-4, nan_ok=True)


@pytest.mark.parametrize(
    ("keep", "tasks"),
    [("none", None), ("generations", {"bbh", "safety", "helpfulness"})],
)
def test_samples_are_kept_as_asked(root, recipe, keep, tasks):  # noqa: F811
    chosen = recipe.model_copy(update={"keep_samples": keep})
    context = make_context(root, chosen, attempt=f"keep-{keep}")
    run(chosen, context)
    path = context.output / "samples.parquet"
    assert path.exists() == (tasks is not None)
    if tasks is not None:
        assert set(pq.read_table(path)["task"].to_pylist()) == tasks


def test_every_sample_is_kept_with_all(alone):
    counts = {task: sum(sample["task"] == task for sample in alone[1]) for task in BUILT_IN}
    assert counts == {
        "mmlu": 24,
        "bbh": 12,
        "perplexity": 0,
        "safety": 8,
        "helpfulness": 8,
        "preference_accuracy": 24,
    }


def test_a_users_own_benchmark_under_its_own_name(root, recipe):  # noqa: F811
    own = Benchmark(task=f"{__name__}:story", name="tale", new_tokens=3)
    chosen = make_recipe(recipe.model.hub, own)
    result = run(chosen, make_context(root, chosen, attempt="own"))
    [row] = result.metrics
    assert (row["task"], row["metric"], row["primary"]) == ("tale", "value", True)
    assert 0 <= row["value"] <= 3


def test_a_benchmark_listed_twice_needs_a_name(root, recipe):  # noqa: F811
    first = Benchmark(task="mmlu", source=SOURCE, limit=4)
    with pytest.raises(BadInput, match="mmlu; give each a `name`"):
        run(make_recipe(recipe.model.hub, first, first), make_context(root, recipe, attempt="twice"))
    second = first.model_copy(update={"name": "mmlu_2_shot", "shots": 2})
    chosen = make_recipe(recipe.model.hub, first, second)
    result = run(chosen, make_context(root, chosen, attempt="named"))
    assert {row["task"] for row in result.metrics} == {"mmlu", "mmlu_2_shot"}


def test_an_evaluation_of_nothing(root, recipe):  # noqa: F811
    with pytest.raises(BadInput, match="no benchmarks"):
        run(make_recipe(recipe.model.hub), make_context(root, recipe, attempt="nothing"))


def test_text_is_never_logged(root, recipe, alone, caplog, capfd):  # noqa: F811
    caplog.set_level(logging.DEBUG)
    run(recipe, make_context(root, recipe, attempt="logged"))
    printed = capfd.readouterr()
    said = caplog.text + printed.out + printed.err
    assert not any(sample["prompt"] in said for sample in alone[1])


def test_a_limit_bounds_items_and_keeps_the_order(alone):
    numbers = [sample["item"] for sample in alone[1] if sample["task"] == "mmlu"]
    assert numbers == list(range(24))


@pytest.mark.benchmark
def test_a_warm_stage_spends_its_time_computing(root, recipe):  # noqa: F811
    """The second stage of a warm process: at least 70 % of its time is forward passes and generation."""
    memory: dict[str, object] = {}
    shares = []
    for attempt in range(4):
        context = make_context(root, recipe, attempt=f"timed-{attempt}", memory=memory)
        start = time.perf_counter()
        run(recipe, context)
        shares.append(context.seconds["compute"] / (time.perf_counter() - start))
    print(f"share of computing: {max(shares[1:]):.2f} (first stage {shares[0]:.2f})")
    assert max(shares[1:]) >= 0.7
