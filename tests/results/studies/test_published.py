"""The published figures, and the counts, means and correlations that the paper's evidence states of them."""

import pytest

from results.studies.alignment.cells import Cell
from results.studies.alignment.pairs import BASELINES, paired
from results.studies.alignment.scores import published_scores
from results.studies.alignment.statements import read_statements
from results.studies.findings import Result, assessed
from results.studies.published import published_rows

FINDINGS = assessed(published_scores(), read_statements(), BASELINES)


def result(finding: str, benchmark: str, part: str = "") -> Result:
    (found,) = [one for one in FINDINGS[finding].results if one.benchmark == benchmark and one.part == part]
    return found


def test_every_printed_figure_is_there_once() -> None:
    rows = published_rows("alignment")
    assert len(rows) == 240
    assert len({(Cell.of(row), row["metric"]) for row in rows}) == 240
    assert {row["source_table"] for row in rows} == {"T2", "T3", "T4", "T5"}
    scores = published_scores()
    assert sum(len(cells) for cells in scores.last.values()) == 240
    assert len(scores.planned) == 64


SLICES = [
    ("qlora", "beavertails", "pretrained", ".368/.359 .467/.463 5.31/2.95 1.84/-1.90"),
    ("qlora", "beavertails", "instruct", ".357/.372 .485/.499 8.58/12.56 1.81/3.23"),
    ("qlora", "hh-rlhf", "pretrained", ".362/.262 .441/.427 .97/1.52 1.10/2.54"),
    ("qlora", "hh-rlhf", "instruct", ".339/.356 .466/.493 2.67/7.93 .69/2.78"),
    ("lora", "beavertails", "pretrained", ".363/.364 .466/.458 6.27/3.95 1.56/-.98"),
    ("lora", "beavertails", "instruct", ".355/.358 .483/.490 11.56/16.61 1.64/3.98"),
]


@pytest.mark.parametrize(("adapter", "dataset", "start", "stated"), SLICES)
def test_means_of_slices_are_those_stated(adapter: str, dataset: str, start: str, stated: str) -> None:
    scores = published_scores()
    for benchmark, pair in zip(("bbh", "mmlu", "alpacaeval", "rt"), stated.split(), strict=True):
        for method, wanted in zip(("sft", "dpo"), pair.split("/"), strict=True):
            levels = {"adapter": (adapter,), "dataset": (dataset,), "start_type": (start,)}
            levels |= {"method": (method,), "variant": ("single",)}
            cells = [cell for cell in scores.cells if cell.fits(levels)]
            mean = sum(scores.runs(benchmark, cell)[0].value for cell in cells) / len(cells)
            assert len(cells) == 4
            half = 0.0005 if "." in wanted and len(wanted.partition(".")[2]) == 3 else 0.005
            assert mean == pytest.approx(float(wanted), abs=half + 1e-9)


HH, BT, LORA = "QLoRA, HH-RLHF", "QLoRA, BeaverTails", "LoRA, BeaverTails"
COUNTS = [
    ("F1", "", "BBH", "16/16"),
    ("F1", "", "MMLU", "16/16"),
    ("F1", "", "AlpacaEval", "16/16"),
    ("F1", "", "RT", "14/16"),
    *(("F4", part, name, "4/4") for part in (HH, BT) for name in ("BBH", "MMLU", "AlpacaEval", "RT")),
    *(("F4", LORA, name, "4/4") for name in ("MMLU", "AlpacaEval", "RT")),
    ("F4", LORA, "BBH", "2/4"),
    ("F5", BT, "AlpacaEval", "4/4"),
    ("F5", BT, "BBH", "3/4"),
    ("F5", BT, "MMLU", "2/4"),
    ("F5", BT, "RT", "2/4"),
    ("F5", HH, "RT", "0/4"),
    ("F6", "QLoRA", "MMLU", "4/4"),
    ("F6", "QLoRA", "BBH", "4/4"),
    ("F7", "instruction-tuned", "RT", "6/6"),
    ("F7", "pre-trained, QLoRA", "RT", "3/4"),
    ("F8", "", "RT", "4/4"),
    ("F8", "", "MMLU", "1/4"),
    ("F8", "", "BBH", "2/4"),
    ("F9", BT, "AlpacaEval", "3/8"),
    ("F9", HH, "AlpacaEval", "1/8"),
    ("F9", LORA, "AlpacaEval", "0/8"),
    ("F11", "Mistral-7b", "BBH", "2/2"),
    ("F12", "Mistral-7b", "BBH", "1/1"),
    ("F12", "Mistral-7b-Instruct", "MMLU", "1/1"),
    *(
        ("F12", model, name, "0/1")
        for model in ("Mistral-7b", "Mistral-7b-Instruct")
        for name in ("AlpacaEval", "RT")
    ),
    ("F13", "", "RT", "1/1"),
]


@pytest.mark.parametrize(("finding", "part", "benchmark", "stated"), COUNTS)
def test_the_counts_of_the_published_evidence(finding: str, part: str, benchmark: str, stated: str) -> None:
    found = result(finding, benchmark, part).conclusion
    assert f"{found.agree}/{found.compared}" == stated


@pytest.mark.parametrize(
    ("benchmark", "sft", "dpo", "digits"),
    [
        ("AlpacaEval", 5.13, 3.03, 2),
        ("RT", 0.93, -2.00, 2),
        ("MMLU", 0.0224, 0.0209, 4),
        ("BBH", 0.0125, 0.0561, 4),
    ],
)
def test_the_gain_by_data_for_sft_and_for_dpo(benchmark: str, sft: float, dpo: float, digits: int) -> None:
    found = result("F2", benchmark)
    assert (found.left, found.right) == pytest.approx((sft, dpo), abs=0.51 * 10**-digits)
    assert found.conclusion.effect.mean == pytest.approx(found.left - found.right)


def test_the_collapse_on_narrow_data() -> None:
    found = result("F3", "BBH")
    assert (found.left, found.right) == (0.149, 0.395)
    assert found.conclusion.verdict == "leans"


@pytest.mark.parametrize(
    ("benchmark", "stated"), [("MMLU", 0.997), ("BBH", 0.95), ("AlpacaEval", 0.97), ("RT", 0.96)]
)
def test_the_rank_correlations_of_the_adapters(benchmark: str, stated: float) -> None:
    found = result("F15", benchmark, "rank correlation")
    digits = 3 if benchmark == "MMLU" else 2
    assert found.conclusion.effect.mean == pytest.approx(stated, abs=0.51 * 10**-digits)
    assert found.replicates == "16 cells"


def test_the_gaps_between_the_adapters() -> None:
    gaps = {name: result("F15", name, "mean absolute gap").conclusion.effect.mean for name in ("MMLU", "BBH")}
    assert gaps == pytest.approx({"MMLU": 0.005, "BBH": 0.008}, abs=0.00051)
    means = {name: result("F16", name).conclusion.effect.mean for name in ("MMLU", "BBH", "RT", "AlpacaEval")}
    assert means["MMLU"] == pytest.approx(-0.004, abs=0.00051)
    assert means["BBH"] == pytest.approx(-0.004, abs=0.00051)
    assert means["RT"] == pytest.approx(0.31, abs=0.0051)
    assert means["AlpacaEval"] == pytest.approx(2.25, abs=0.0051)
    assert result("F16", "AlpacaEval").note == "14 of 16 cells are above 0"


@pytest.mark.parametrize(
    ("benchmark", "verdict"),
    [("MMLU", "holds"), ("BBH", "holds"), ("AlpacaEval", "fails"), ("RT", "undecided")],
)
def test_equality_in_value_covers_ability_but_not_alpacaeval(benchmark: str, verdict: str) -> None:
    assert result("F16", benchmark).conclusion.verdict == verdict


def test_merges_beside_their_best_parents() -> None:
    """Of the evidence: DARE-SFT and the four-way merge on BBH, the four-way merge on MMLU."""
    assert result("F10", "BBH", "Mistral-7b").conclusion.agree == 4
    assert result("F10", "MMLU", "Mistral-7b-Instruct").conclusion.agree == 3
    assert result("F10", "BBH", "Mistral-7b-Instruct").conclusion.verdict == "no data"


@pytest.mark.parametrize(
    ("swap", "bbh", "rt"),
    [(False, [0.004, 0.003], [10.985, -10.206]), (True, [-0.006, 0.013], [0.266, 0.513])],
)
def test_dare_ties_less_slerp_as_printed_and_with_the_labels_exchanged(
    swap: bool, bbh: list[float], rt: list[float]
) -> None:
    (comparison,) = read_statements()["F11"].tests
    for benchmark, stated in (("bbh", bbh), ("rt", rt)):
        found = paired(published_scores(swap), comparison, {"model": ("mistral-7b",)}, benchmark)
        by_method = {
            cell.method: value for cell, value in zip(found.cells, found.differences[:, 0], strict=True)
        }
        assert [by_method["sft"], by_method["dpo"]] == pytest.approx(stated)


def test_curves_are_not_published() -> None:
    assert FINDINGS["F14"].verdict == "no data"
    assert {one.note for one in FINDINGS["F14"].results} == {"no snapshots along the training"}


def test_a_statement_follows_from_others() -> None:
    verdicts = [FINDINGS[name].verdict for name in ("F4", "F5", "F6")]
    assert verdicts == ["leans", "undecided", "leans"]
    assert FINDINGS["G1"].verdict == "undecided"
    assert FINDINGS["G1"].results == ()
