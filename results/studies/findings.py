"""The findings of a study, each statement as tests on a store or on the published figures."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import isfinite, nan
from typing import Any

import numpy as np

from results.statistics import Interval, holm
from results.studies.cells import Cell
from results.studies.claims import Conclusion, Setting, conclude, replicates, text
from results.studies.estimates import interval_fields
from results.studies.pairs import Baseline, Pairs, paired
from results.studies.rendering import Table
from results.studies.scores import Scores
from results.studies.statements import Comparison, Statement
from results.studies.verdicts import Verdict, overall

NOTHING = Conclusion(Interval(nan, nan, nan, 0), nan, "no data", 0, 0)


@dataclass(frozen=True)
class Result:
    """One test of a finding. `left` and `right` are the means of the two sides."""

    finding: str
    source: str
    part: str
    benchmark: str
    unit: str
    comparison: str
    claim: str
    conclusion: Conclusion
    left: float
    right: float
    replicates: str
    note: str = ""
    p_holm: float = nan


@dataclass(frozen=True)
class Finding:
    """A statement, the results of its tests, and the verdict that follows from them."""

    name: str
    statement: str
    source: str
    results: tuple[Result, ...]
    verdict: Verdict


Statements = Mapping[str, Statement[Any]]
Baselines = Mapping[str, Baseline[Cell]]


def assessed(
    scores: Scores[Cell], statements: Statements, baselines: "Baselines[Cell]"
) -> dict[str, Finding]:
    """Every statement tested on `scores`; p-values are corrected by Holm within a statement."""
    found: dict[str, Finding] = {}
    for name, one in statements.items():
        results = [each for test in one.tests for each in _results(scores, name, test, baselines)]
        verdict = overall([each.conclusion.verdict for each in results])
        found[name] = Finding(name, one.statement, scores.source, tuple(_corrected(results)), verdict)
    for name, one in statements.items():
        if one.follows_from:
            verdict = overall([found[other].verdict for other in one.follows_from])
            found[name] = replace(found[name], verdict=verdict)
    return found


def _corrected(results: list[Result]) -> list[Result]:
    corrected = holm([each.conclusion.p for each in results])
    return [replace(each, p_holm=p) for each, p in zip(results, corrected, strict=True)]


def _results(
    scores: Scores[Cell], finding: str, test: Comparison, baselines: "Baselines[Cell]"
) -> Iterable[Result]:
    for (part, levels), at in product(test.slices.items(), test.at or (None,)):
        for benchmark in test.benchmarks:
            measured = scores.measured[benchmark]
            margin = test.margins.get(benchmark, measured.measure.margin)
            setting = Setting(test.claim, test.threshold, margin, scores.source == "store")
            pairs = paired(scores, test, levels, benchmark, baselines, at)
            conclusion = conclude(pairs, setting) if pairs.cells else NOTHING
            short = _too_small(scores, test, conclusion)
            yield Result(
                finding=finding,
                source=scores.source,
                part=", ".join(text for text in (part, "" if at is None else f"step {at:g}") if text),
                benchmark=measured.heading,
                unit="%" if test.relative else measured.measure.unit,
                comparison=f"{test.text}, %" if test.relative else test.text,
                claim=text(setting),
                conclusion=replace(conclusion, verdict="not testable") if short else conclusion,
                left=float(pairs.left.mean()) if pairs.cells else nan,
                right=float(pairs.right.mean()) if pairs.cells else nan,
                replicates=_replicates(pairs, setting),
                note="; ".join(note for note in (short, _note(scores, test, pairs, benchmark)) if note),
            )


def _too_small(scores: Scores[Any], test: Comparison, found: Conclusion) -> str:
    """Why a store says nothing of the claim: of another scale, or too short to refute it; "" where it does."""
    if scores.source != "store" or found.verdict == "no data":
        return ""
    if test.scales and scores.scale not in test.scales:
        return f"said of scale {' or '.join(test.scales)}, not of {scores.scale}"
    if found.verdict == "holds" or test.least_steps is None or scores.steps is None:
        return ""
    if scores.steps < test.least_steps:
        return f"{scores.steps:g} steps are too few: published runs failed after {test.least_steps} and more"
    return ""


def _replicates(pairs: Pairs[Any], setting: Setting) -> str:
    by_seed = setting.by_seed and setting.claim not in ("correlated", "anticorrelated")
    count, what = (len(pairs.seeds), "seed") if by_seed else (len(pairs.cells), "cell")
    return f"{count} {what}{'' if count == 1 else 's'}"


def _note(scores: Scores[Any], test: Comparison, pairs: Pairs[Any], benchmark: str) -> str:
    """What a test lacks."""
    one = scores.measured[benchmark]
    if not scores.has(benchmark):
        return f"no figures of `{one.measure.task}`"
    found = list(_lacking(pairs))
    values = replicates(pairs.differences, by_seed=scores.source == "store") if pairs.cells else []
    if len(values) > 1 and all(isfinite(one) and one == values[0] for one in values):
        found.append("all replicates alike: no spread to judge by")
    if test.claim == "equal" and pairs.cells:
        above = sum(value > 0 for value in replicates(pairs.differences, by_seed=False))
        found.append(f"{above} of {len(pairs.cells)} cells are above 0")
    found += dict.fromkeys(
        remark for cell in pairs.cells if (remark := scores.remarks.get((benchmark, cell)))
    )
    if not (found or pairs.cells):
        curve = test.against == "first_snapshot"
        return "no snapshots along the training" if curve else "no cell has both sides of the comparison"
    return "; ".join(found)


def _lacking(pairs: Pairs[Any]) -> Iterator[str]:
    diverged = int(np.isinf(pairs.left).sum())
    if diverged:
        yield f"{diverged} of {pairs.left.size} runs diverged"
    if pairs.missing:
        rest = len(pairs.missing) - 1
        more = f" and {rest} other cell{'s' if rest > 1 else ''}" if rest else ""
        yield f"without {pairs.missing[0]}{more}, where a score is missing"
    if pairs.dropped_seeds and pairs.cells:
        yield f"without the seeds {', '.join(map(str, pairs.dropped_seeds))}, which are not complete"


def tested(
    study: str,
    store: Scores[Cell] | None,
    printed: Scores[Cell] | None,
    statements: Statements,
    baselines: "Baselines[Cell]",
) -> tuple[Table, str]:
    """The findings of a store, of the printed figures or of both, as a table and as JSON."""
    found = None if store is None else assessed(store, statements, baselines)
    beside = None if printed is None else assessed(printed, statements, baselines)
    title = "published figures" if store is None else store.title
    return findings_table(found, beside, f"Findings of the {study} study ({title})"), as_json(found, beside)


HEADER = ("finding", "test", "effect", "95 % interval", "cells", "replicates", "p", "Holm p", "verdict")

LEGEND = (
    "Verdicts: a sign holds when the 95 % interval excludes the claimed bound, leans when only the mean is on the "
    "right side, fails when the mean is on the wrong side and the interval excludes the bound (or there is one figure "
    "only), else is undecided. Equality holds by two one-sided tests at 5 %, fails when the mean is outside the margin "
    "and the interval excludes 0, leans when the mean is inside, else is undecided. A statement of several tests "
    "holds or fails when all do, leans when all hold or lean, else is undecided.",
    "cells: how many agree of those compared. p: two-sided t (equality: two one-sided tests; correlation: "
    "one-sided; somewhere and best: corrected for the choice); Holm p: corrected over the tests of the statement.",
)
TOO_SMALL = "Not testable: the runs are too short to refute the claim, or of another scale than it is about."
STORE = "Store: paired over shared cells and seeds; the replicates are seeds, each the mean over cells."
PUBLISHED = "Published: one figure a cell, so the cells are the replicates; a single cell has no interval."


def findings_table(
    store: Mapping[str, Finding] | None, published: Mapping[str, Finding] | None, title: str
) -> Table:
    """All findings, a row for the verdict of each and one for each test; both sources side by side if given.

    Both must come of the same statements: their tests are matched by their order.
    """
    first = store or published or {}
    other = published if store else None
    rows: list[list[str]] = []
    left_out = 0
    for name, one in first.items():
        beside = None if other is None else other[name]
        rows.append(_heading(one, beside))
        others = [None] * len(one.results) if beside is None else list(beside.results)
        tests = [pair for pair in zip(one.results, others, strict=True) if any(map(_has_data, pair))]
        left_out += len(one.results) - len(tests)
        rows += [_row(*pair) for pair in tests]
    sources = [each for each in (store, published) if each]
    legend = [*LEGEND, *([STORE] if store else []), *([PUBLISHED] if published else [])]
    verdicts = {
        each.conclusion.verdict for source in sources for one in source.values() for each in one.results
    }
    legend += [TOO_SMALL] if "not testable" in verdicts else []
    legend += (
        [f"Left out: {left_out} tests without data; --format csv says of each what is missing."]
        if left_out
        else []
    )
    records = [record for source in sources for one in source.values() for record in _records(one)]
    header = [
        *HEADER,
        *(("published effect", "published cells", "published verdict") if other is not None else ()),
    ]
    return Table(title, header, rows, [*legend, *_stand_ins(first), *_remarks(first)], records)


def _has_data(result: Result | None) -> bool:
    return result is not None and result.conclusion.verdict != "no data"


def as_json(store: Mapping[str, Finding] | None, published: Mapping[str, Finding] | None) -> str:
    """All findings as a list of objects, each with its tests; unknown figures are null."""
    found = [one for source in (store, published) if source for one in source.values()]
    content = [
        {"finding": one.name, "statement": one.statement, "source": one.source, "verdict": one.verdict}
        | {"tests": [_known(_test(each)) for each in one.results]}
        for one in found
    ]
    return json.dumps(content, indent=2, ensure_ascii=False)


def _heading(one: Finding, beside: Finding | None) -> list[str]:
    blank = [""] * (len(HEADER) - 3)
    other = [] if beside is None else ["", "", beside.verdict]
    return [one.name, one.statement, *blank, one.verdict, *other]


def _row(each: Result, beside: Result | None) -> list[str]:
    found = each.conclusion
    compared = ", ".join(text for text in (each.benchmark, each.comparison) if text)
    part = ": ".join(text for text in (each.part, f"{compared} {each.claim}") if text)
    interval = f"[{found.effect.low:+.4f}, {found.effect.high:+.4f}]" if found.effect.known else "–"
    own = ["", part, _number(found.effect.mean), interval, _cells(found), each.replicates]
    own += [_p(found.p), _p(each.p_holm), found.verdict]
    if beside is not None:
        own += [_number(beside.conclusion.effect.mean), _cells(beside.conclusion), beside.conclusion.verdict]
    return own


def _cells(found: Conclusion) -> str:
    return f"{found.agree}/{found.compared}" if found.compared else "–"


def _number(value: float) -> str:
    return f"{value:+.4f}" if isfinite(value) else "–"


def _p(value: float) -> str:
    return "–" if not isfinite(value) else "<0.0001" if value < 1e-4 else f"{value:.4f}"


def _stand_ins(first: Mapping[str, Finding]) -> list[str]:
    named = {
        each.benchmark: each.unit
        for one in first.values()
        for each in one.results
        if "(for " in each.benchmark
    }
    return [
        f"{name}: a stand-in, {unit}; not comparable with published values." for name, unit in named.items()
    ]


def _remarks(found: Mapping[str, Finding]) -> list[str]:
    """What tests with data lack, each remark once a finding with the tests that it concerns."""
    remarks: dict[tuple[str, str], list[str]] = {}
    for one in found.values():
        for each in one.results:
            if each.note and _has_data(each):
                tests = remarks.setdefault((one.name, each.note), [])
                tests.append(" ".join(text for text in (each.part, each.benchmark) if text))
    return [f"{name} ({'; '.join(tests)}): {note}." for (name, note), tests in remarks.items()]


def _records(one: Finding) -> list[dict[str, Any]]:
    return [
        {"finding": one.name, "statement": one.statement, "source": one.source} | _test(each)
        for each in one.results
    ]


def _test(each: Result) -> dict[str, Any]:
    found = each.conclusion
    return {
        "part": each.part,
        "benchmark": each.benchmark,
        "unit": each.unit,
        "comparison": each.comparison,
        "claim": each.claim,
        "left": each.left,
        "right": each.right,
        **interval_fields(found.effect),
        "agree": found.agree,
        "compared": found.compared,
        "replicates": each.replicates,
        "p": found.p,
        "p_holm": each.p_holm,
        "verdict": found.verdict,
        "note": each.note,
    }


def _known(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not isfinite(value) else value
        for name, value in record.items()
    }
