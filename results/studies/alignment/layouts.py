"""The layouts of the paper's tables T2 to T5: which cell stands where."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from results.studies.alignment.cells import MODELS, Cell, title

Part = Mapping[str, str]


@dataclass(frozen=True)
class Line:
    """A row of a table: its labels, and the levels that it fixes."""

    labels: tuple[str, ...]
    levels: Part


@dataclass(frozen=True)
class Column:
    """A column of a table: the benchmark that it shows, what follows that in the heading, and the levels fixed."""

    benchmark: str
    suffix: str
    levels: Part


@dataclass(frozen=True)
class Layout:
    """A table of the paper."""

    title: str
    labels: tuple[str, ...]
    lines: tuple[Line, ...]
    columns: tuple[Column, ...]

    def places(self) -> Iterator[tuple[Line, Column, Cell]]:
        """Every place of the table with its cell, row by row."""
        for line, column in product(self.lines, self.columns):
            yield line, column, Cell.of({**line.levels, **column.levels})


PAIR = ("mistral-7b", "mistral-7b-instruct")
ORDER = ("bbh", "mmlu", "alpacaeval", "rt")
BEAVERTAILS = {"dataset": "beavertails", "adapter": "qlora"}


def _pairs(adapter: str, datasets: tuple[str, ...], heading: str) -> Layout:
    """T4 and T5: SFT and DPO side by side for each benchmark."""
    lines = tuple(
        Line(
            (title(dataset), title(model), preference),
            {
                "dataset": dataset,
                "model": model,
                "preference": preference,
                "adapter": adapter,
                "variant": "single",
            },
        )
        for dataset, model, preference in product(datasets, MODELS, ("harmless", "helpful"))
    )
    columns = tuple(
        Column(name, title(method), {"method": method}) for name, method in product(ORDER, ("sft", "dpo"))
    )
    return Layout(heading, ("data", "model", "preference"), lines, columns)


def _mixtures() -> Layout:
    """T2: the original, and for each method the single preferences above their mixture."""
    lines = [
        Line((title(model), "–", "original"), {"model": model, "method": "none", "variant": "original"})
        for model in PAIR
    ]
    for model, method in product(PAIR, ("sft", "dpo")):
        for preference in ("harmless", "helpful", "harmless+helpful"):
            variant = "mixture" if "+" in preference else "single"
            levels = {"model": model, "method": method, "preference": preference, "variant": variant}
            lines.append(Line((title(model), title(method), preference), {**levels, **BEAVERTAILS}))
    lines.sort(key=lambda line: PAIR.index(line.levels["model"]))
    columns = tuple(Column(name, "", {}) for name in ("mmlu", "bbh", "rt"))
    heading = "T2: mixture of both preferences against single ones, BeaverTails, QLoRA"
    return Layout(heading, ("model", "method", "preference"), tuple(lines), columns)


def _merges() -> Layout:
    """T3: merges of harmless- and helpful-aligned models; each start model with the benchmarks that are printed."""
    arms = (
        ("merge-slerp", "sft"),
        ("merge-slerp", "dpo"),
        ("merge-dare-ties", "sft"),
        ("merge-dare-ties", "dpo"),
        ("merge-dare-ties", "sft+dpo"),
    )
    lines = tuple(
        Line(
            (f"{title(variant)}-{title(method)}",),
            {"variant": variant, "method": method, "preference": "harmless+helpful", **BEAVERTAILS},
        )
        for variant, method in arms
    )
    printed = {PAIR[0]: ("bbh", "alpacaeval", "rt"), PAIR[1]: ("mmlu", "alpacaeval", "rt")}
    columns = tuple(Column(name, title(model), {"model": model}) for model in PAIR for name in printed[model])
    heading = "T3: merges of harmless- and helpful-aligned models, BeaverTails, QLoRA"
    return Layout(heading, ("merge",), lines, columns)


LAYOUTS = {
    "T2": _mixtures(),
    "T3": _merges(),
    "T4": _pairs("qlora", ("hh-rlhf", "beavertails"), "T4: SFT and DPO with QLoRA, both data sets"),
    "T5": _pairs("lora", ("beavertails",), "T5: SFT and DPO with LoRA, BeaverTails"),
}
"""The tables of results by name."""
