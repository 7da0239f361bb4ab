import pytest

from tests.workers.evaluation.examinee import EVERY_BENCHMARK, make_context, make_recipe
from workers.checkpoints import newest_of, verify_checkpoint
from workers.context import StageStopped, metric
from workers.evaluation import progress as module
from workers.evaluation.benchmark import Measurement
from workers.evaluation.progress import Progress
from workers.recipe import Execution


@pytest.fixture
def recipe(tmp_path):
    return make_recipe(tmp_path, *EVERY_BENCHMARK)


def checkpoints(context):
    return sorted(context.checkpoints.iterdir()) if context.checkpoints.is_dir() else []


def test_nothing_is_saved_before_its_time(tmp_path, recipe):
    context = make_context(tmp_path, recipe)
    progress = Progress(context)
    progress.answers().ask(3, lambda: [1.5])
    progress.finish(Measurement([metric("a", 1.0, primary=True)]))
    assert checkpoints(context) == []


def test_a_stop_is_saved_in_the_middle(tmp_path, recipe):
    stop: list[bool] = []
    context = make_context(tmp_path, recipe, stop_requested=lambda: bool(stop))
    progress = Progress(context)
    progress.answers().ask(3, lambda: [1.5])
    progress.finish(Measurement([metric("a", 1.0, primary=True)]))
    answers = progress.answers()
    stop.append(True)
    with pytest.raises(StageStopped):
        answers.ask(2, lambda: [2.5])
    checkpoint = newest_of(checkpoints(context))
    assert checkpoint.name == "000005"
    assert verify_checkpoint(checkpoint) is None
    again = Progress(make_context(tmp_path, recipe, attempt="second", resume_from=checkpoint))
    assert again.finished == progress.finished
    assert again.items == 3
    assert again.answers().ask(2, lambda: "computed") == [2.5]
    assert again.items == 5


def test_batches_between_checkpoints(tmp_path, recipe):
    context = make_context(tmp_path, recipe, execution=Execution(checkpoint_steps=2))
    answers = Progress(context).answers()
    for _ in range(5):
        answers.ask(1, lambda: [0.5])
    assert [path.name for path in checkpoints(context)] == ["000002", "000004"]


def test_seconds_between_checkpoints(tmp_path, recipe):
    context = make_context(tmp_path, recipe, execution=Execution(checkpoint_seconds=1e-9))
    Progress(context).answers().ask(1, lambda: [0.5])
    assert [path.name for path in checkpoints(context)] == ["000001"]
    assert context.seconds["save"] > 0


def test_a_damaged_loss_survives(tmp_path, recipe):
    context = make_context(tmp_path, recipe, execution=Execution(checkpoint_steps=1))
    Progress(context).answers().ask(1, lambda: [[float("-inf"), 0.0]])
    again = Progress(make_context(tmp_path, recipe, attempt="second", resume_from=checkpoints(context)[0]))
    assert again.answers().ask(1, lambda: None) == [[float("-inf"), 0.0]]


def test_answers_to_other_batches_are_asked_again(tmp_path, recipe, monkeypatch):
    """What is finished stays; the answers of the running benchmark belong to batches that are no more."""
    context = make_context(tmp_path, recipe, execution=Execution(checkpoint_steps=1))
    progress = Progress(context)
    progress.finish(Measurement([metric("a", 1.0, primary=True)]))
    progress.answers().ask(4, lambda: [0.5])
    monkeypatch.setattr(module, "ORDER", module.ORDER + 1)
    newest = checkpoints(context)[-1]
    again = Progress(make_context(tmp_path, recipe, attempt="second", resume_from=newest))
    assert again.finished == progress.finished
    assert again.answers().ask(2, lambda: "computed") == "computed"


def test_progress_counts_items(tmp_path, recipe):
    told: list[int] = []
    context = make_context(tmp_path, recipe, on_progress=lambda step, total: told.append(step))
    answers = Progress(context).answers()
    answers.ask(3, lambda: [1])
    answers.ask(2, lambda: [1])
    assert told == [3, 5]
