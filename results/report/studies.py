"""The published tables, figures and findings of the studies in a workspace, made again for the page."""

import importlib
import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from results.files import WorkspaceError
from results.layout import Workspace
from results.report.charts import chart
from results.report.source import Source
from results.studies import STUDIES
from results.studies.memory import remembering
from results.studies.rendering import Table

Made = TypeVar("Made")

VERDICTS = ("holds", "leans", "undecided", "fails")
"""The order in which verdicts are counted; others follow."""


@dataclass
class Part:
    """What a study's paper shows, from the experiments of one scale and preset.

    `findings` has an item a statement, with its tests; `left_out` says what could not be made, and why. `number` is
    the part's place on the page.
    """

    study: str
    workspace: str
    scale: str
    preset: str
    tables: list[tuple[str, Table]] = field(default_factory=list)
    figures: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    findings: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    number: int = 0

    @property
    def tally(self) -> list[tuple[str, int]]:
        """How many findings have each verdict on these experiments."""
        found = [one["store"]["verdict"] for one in self.findings if "store" in one]
        order = [*VERDICTS, *sorted(set(found) - set(VERDICTS))]
        return [(verdict, found.count(verdict)) for verdict in order if verdict in found]


def parts_of(source: Source) -> Iterator[Part]:
    """A part for each scale and preset of the studies that Yates knows, with the published values beside.

    Where a scale has several presets, one part more has what compares them.
    """
    for study in source.studies:
        if study in STUDIES:
            module = importlib.import_module(STUDIES[study])
            scales = _by_preset(source, study)
            for scale, presets in scales.items():
                for preset, chosen in presets.items():
                    yield _part(module, Part(study, source.name, scale, preset), source, chosen)
                if len(presets) > 1:
                    everything = [one for chosen in presets.values() for one in chosen]
                    part = Part(study, source.name, scale, " and ".join(presets))
                    part = _part(module, part, source, everything)
                    part.left_out.clear()  # most of a study is of one preset
                    if part.tables or part.figures or part.findings:
                        yield part


def _by_preset(source: Source, study: str) -> dict[str, dict[str, list[str]]]:
    """The experiments of a study by scale and preset, both in the order of their names."""
    table = source.of_study(study).select(["scale", "preset", "experiment"])
    found: dict[str, dict[str, list[str]]] = {}
    for row in sorted(table.to_pylist(), key=lambda row: (row["scale"], row["preset"])):
        found.setdefault(row["scale"], {}).setdefault(row["preset"], []).append(row["experiment"])
    return found


def _part(module: Any, part: Part, source: Source, chosen: Collection[str]) -> Part:
    with remembering():
        return _filled(module, part, source, chosen)


def _filled(module: Any, part: Part, source: Source, chosen: Collection[str]) -> Part:
    place = source.workspace
    for name in module.TABLES:
        table = _made(part, name, partial(module.table, name, place, chosen, True))
        if table is not None:
            part.tables.append((name, table))
    for name in module.FIGURES:
        figure = _made(part, name, partial(_chart, module, name, place, chosen))
        if figure is not None:
            part.figures.append((name, figure))
    found = _made(part, "findings", lambda: module.findings(place, chosen, True)[1])
    part.findings = [] if found is None else findings_by_statement(json.loads(found))
    return part


def _chart(module: Any, name: str, place: Workspace, chosen: Collection[str]) -> dict[str, Any]:
    return chart(module.figure(name, place, chosen, True))


def _made(part: Part, name: str, make: Callable[[], Made]) -> Made | None:
    """What `make` gives; where it cannot, the reason goes to the page and the rest of the report goes on."""
    try:
        return make()
    except WorkspaceError as error:
        part.left_out.append(str(error) if str(error).startswith(name) else f"{name}: {error}")
    except (KeyError, ValueError, TypeError, IndexError) as error:
        part.left_out.append(f"{name}: these experiments lack what it shows ({error!r})")
    return None


def findings_by_statement(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A finding a statement: the verdict of the store with its tests, and the verdict on the published figures."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        one = found.setdefault(
            record["finding"], {"name": record["finding"], "statement": record.get("statement", "")}
        )
        one[record.get("source", "store")] = {
            "verdict": record.get("verdict", "no data"),
            "tests": record.get("tests", []),
        }
    return list(found.values())
