import pytest

from results.files import WorkspaceError
from workers.context import BadInput, metric
from workers.evaluation.benchmark import BUILT_IN, Measurement, checked, find_benchmark

NOT_CALLABLE = 3


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_can_be_found(name):
    assert callable(find_benchmark(name))


def test_a_users_own_is_named_by_module_and_object():
    assert find_benchmark("workers.evaluation.mmlu:measure") is find_benchmark("mmlu")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mmlo", "unknown benchmark 'mmlo'; did you mean 'mmlu'"),
        (f"{__name__}:NOT_CALLABLE", "is a int; a benchmark is a function"),
    ],
)
def test_a_mistake_is_explained(name, message):
    with pytest.raises(BadInput, match=message):
        find_benchmark(name)


def test_a_missing_module_is_named():
    with pytest.raises(WorkspaceError, match="no module named"):
        find_benchmark("nowhere_at_all:measure")


def test_each_task_needs_one_primary():
    good = metric("a", 1.0, primary=True)
    assert checked("a", Measurement([good])).metrics == [good]
    for rows in ([metric("a", 1.0)], [good, good], [good, metric("b", 1.0)], []):
        with pytest.raises(BadInput, match=r"primary|no metric"):
            checked("a", Measurement(rows))
