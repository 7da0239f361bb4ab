"""`evaluate`: run benchmarks on a trained model, an adapter or a merge."""

import torch

import workers.evaluation.harness  # noqa: F401  (so that a child's warm-up pays for lm-eval, not its first stage)
from results.records import MetricRow
from workers.context import BadInput, StageContext, StageResult
from workers.evaluation.benchmark import Measurement, Sample, checked, find_benchmark
from workers.evaluation.candidate import Candidate
from workers.evaluation.progress import Progress, result_at, write_finished
from workers.identity import derive_seed
from workers.models.loading import trained_model
from workers.quantization.trained import quantizers_of
from workers.specs.evaluate import Benchmark, EvaluateRecipe


def run(recipe: EvaluateRecipe, context: StageContext) -> StageResult:
    """Measure every benchmark of the recipe, in order, and write `samples.parquet` as `keep_samples` says.

    Raises:
        BadInput: the model or a benchmark's data is missing or malformed, or two benchmarks share a name.
        StageStopped: a stop was asked for; what was measured is in a checkpoint.
    """
    _check_names(recipe)
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(derive_seed(recipe.seed, "evaluation"))
    progress = Progress(context)
    with (
        trained_model(context, recipe.model, recipe.quantization, step=recipe.step) as (model, tokenizer),
        quantizers_of(recipe, context, model),
    ):
        candidate = Candidate(model.eval(), tokenizer, recipe, context)
        for benchmark in recipe.benchmarks[len(progress.finished) :]:
            candidate.answers = progress.answers()
            progress.finish(_measure(benchmark, candidate))
    samples = [sample for finished in progress.finished for sample in finished["samples"]]
    _write(recipe, context, samples)
    return result_at(recipe.step, progress.finished)


def _measure(benchmark: Benchmark, candidate: Candidate) -> Measurement:
    """A benchmark's measurement under the name that the recipe gives it."""
    measurement = checked(benchmark.task, find_benchmark(benchmark.task)(benchmark, candidate))
    if benchmark.name is None:
        return measurement
    rows = [MetricRow(**{**row, "task": benchmark.name}) for row in measurement.metrics]
    samples = [Sample(**{**sample, "task": benchmark.name}) for sample in measurement.samples]
    return checked(benchmark.name, Measurement(rows, samples))


def _check_names(recipe: EvaluateRecipe) -> None:
    names = [benchmark.name or benchmark.task for benchmark in recipe.benchmarks]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if not names:
        raise BadInput("the evaluation lists no benchmarks")
    if repeated:
        raise BadInput(f"benchmark listed twice: {', '.join(repeated)}; give each a `name` of its own")


def _write(recipe: EvaluateRecipe, context: StageContext, samples: list[Sample]) -> None:
    """Write the samples that are kept: none, generations, or every item."""
    kept = [sample for sample in samples if sample["generated"] or recipe.keep_samples == "all"]
    if kept and recipe.keep_samples != "none":
        write_finished(context, kept)
