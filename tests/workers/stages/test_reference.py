"""The reference stage: rows, figures and refusals. That it resumes is told in tests/workers/training."""

import math

import pyarrow.parquet as pq
import pytest

from tests.support.training import NF4, PREFERENCES, REFERENCE, Lab, Ran, base_of, reference_recipe
from workers.context import BadInput, Parent


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Lab:
    return Lab(tmp_path_factory.mktemp("reference"))


@pytest.fixture(scope="module")
def base(lab: Lab) -> Parent:
    return base_of(lab)


@pytest.fixture(scope="module")
def ran(lab: Lab, base: Parent) -> Ran:
    return lab.run(REFERENCE, reference_recipe(), (base,))


def rows(ran: Ran) -> dict[str, tuple[float, float]]:
    table = pq.read_table(ran.output / "logprobs.parquet").to_pylist()
    return {row["key"]: (row["chosen"], row["rejected"]) for row in table}


def test_every_drawn_pair_has_one_row_of_log_probabilities(ran: Ran) -> None:
    found = rows(ran)
    assert len(found) == ran.value("pairs") <= PREFERENCES.samples
    assert list(found) == sorted(found)
    assert all(value < 0 and math.isfinite(value) for pair in found.values() for value in pair)
    assert all(chosen != rejected for chosen, rejected in found.values())


def test_the_account_of_rows_adds_up(ran: Ran) -> None:
    names = {row["metric"]: row["value"] for row in ran.result.metrics}
    dropped = sum(value for name, value in names.items() if name.startswith("dropped_"))
    assert names["pairs"] <= names["rows_used"] <= names["rows_read"]
    assert names["rows_used"] == PREFERENCES.samples
    assert names["rows_read"] - dropped >= names["rows_used"]
    assert [row["metric"] for row in ran.result.metrics if row["primary"]] == ["pairs"]


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_the_batch_size_changes_last_bits_at_most(lab: Lab, base: Parent, ran: Ran, batch_size: int) -> None:
    other = rows(lab.run(REFERENCE, reference_recipe(batch_size=batch_size), (base,)))
    assert other.keys() == rows(ran).keys()
    for key, values in rows(ran).items():
        assert other[key] == pytest.approx(values, rel=1e-4, abs=1e-4)


def test_progress_counts_pairs_up_to_all_of_them(lab: Lab, base: Parent, ran: Ran) -> None:
    told: list[tuple[int, int | None]] = []
    lab.run(
        REFERENCE, reference_recipe(), (base,), on_progress=lambda step, total: told.append((step, total))
    )
    total = int(ran.value("pairs") or 0)
    assert told == [(min(step, total), total) for step in range(8, total + 8, 8)]


def test_quantized_rows_say_so_and_differ(lab: Lab, base: Parent, ran: Ran) -> None:
    quantized = lab.run(REFERENCE, reference_recipe(quantization=NF4), (base,))
    metadata = pq.read_schema(quantized.output / "logprobs.parquet").metadata
    assert metadata[b"precision"] == b"nf4-float32+float32"
    assert metadata[b"base"] == f"stage:{base.stage.id}".encode()
    assert rows(quantized).keys() == rows(ran).keys()
    assert rows(quantized) != rows(ran)


def test_fewer_samples_are_rows_of_the_many(lab: Lab, base: Parent, ran: Ran) -> None:
    """One fixed subset: a row's value does not depend on what else is in the batch, but for last bits."""
    few = rows(
        lab.run(
            REFERENCE, reference_recipe(preferences=PREFERENCES.model_copy(update={"samples": 12})), (base,)
        )
    )
    assert 0 < len(few) <= 12
    for key in few.keys() & rows(ran).keys():
        assert few[key] == pytest.approx(rows(ran)[key], rel=1e-4, abs=1e-4)


def test_another_template_makes_other_rows(lab: Lab, base: Parent, ran: Ran) -> None:
    from tests.support.training import MISTRAL

    other = lab.run(REFERENCE, reference_recipe(template=MISTRAL), (base,))
    assert not rows(other).keys() & rows(ran).keys()


def test_without_a_model_it_says_what_to_name(lab: Lab) -> None:
    with pytest.raises(BadInput, match=r"no parent in role `base`, and its recipe names no `model\.hub`"):
        lab.run(REFERENCE, reference_recipe())


def test_when_no_answer_fits_it_says_so(lab: Lab, base: Parent) -> None:
    tiny = PREFERENCES.model_copy(update={"max_length": 2, "max_prompt_length": 1})
    with pytest.raises(BadInput, match="no row is left"):
        lab.run(REFERENCE, reference_recipe(preferences=tiny), (base,))
