"""The whole page: what was read, rendered by the template, with its scripts, its data and the rules for both."""

import base64
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from results.report.completeness import completeness, totals
from results.report.cost import Cost, cost_of
from results.report.details import Details
from results.report.grouping import Group
from results.report.packing import Chunks, json_text, packed
from results.report.source import Source
from results.report.studies import Part

FOLDER = Path(__file__).parent
SCRIPTS = (
    "data",
    "statistics",
    "elements",
    "charts",
    "selection",
    "explorer",
    "experiments",
    "experiment",
    "main",
)
"""The page's own scripts in `static`, in the order in which they are joined."""

MEGABYTE = 1_000_000
QUANTILES = 200
"""Degrees of freedom up to which the page has Student's quantiles; beyond, they go on as 1 / df."""


@dataclass(frozen=True)
class Reading:
    """What was read of one workspace."""

    name: str
    groups: list[Group]
    complete: list[dict[str, Any]]
    cost: Cost

    @classmethod
    def of(cls, source: Source) -> "Reading":
        """Read the columns of every study, how complete each is, and the cost of all."""
        groups = [Group.of(source, study) for study in source.studies]
        return cls(source.name, groups, [completeness(group) for group in groups], cost_of(source))


@dataclass
class Report:
    """What the page holds: in `groups` one entry a study and workspace, in `costs` one a workspace."""

    groups: list[dict[str, Any]] = field(default_factory=list)
    complete: list[dict[str, Any]] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    costs: list[tuple[str, Cost]] = field(default_factory=list)
    chunks: Chunks = field(default_factory=Chunks)

    def add(self, reading: Reading) -> None:
        """Take in what was read of a workspace."""
        self.groups += [group.as_index(self.chunks) for group in reading.groups]
        self.complete += reading.complete
        self.costs.append((reading.name, reading.cost))

    def add_details(self, place: int, details: Details) -> None:
        """Take in the details of the experiments of group number `place`."""
        self.groups[place]["details"] = details.as_index(self.chunks)

    @property
    def size(self) -> int:
        """Bytes of what is packed so far and of the figures that will be."""
        figures = [json_text(figure) for part in self.parts for _, figure in part.figures]
        return self.chunks.size + sum(len(packed(text.encode())) for text in figures)


def page(report: Report, library: str, limit: int) -> str:
    """The HTML of `report`. `library` is the plotting library's script; equal reports give equal pages."""
    from jinja2 import Environment, FileSystemLoader

    for place, part in enumerate(report.parts):
        part.number = place
    figures = {
        f"figure-{place}-{name}": report.chunks.add_json(figure)
        for place, part in enumerate(report.parts)
        for name, figure in part.figures
    }
    index = {
        "groups": report.groups,
        "figures": figures,
        "quantiles": _quantiles(),
        "limit": limit,
        "cost": [{"workspace": name, "kinds": cost.kinds} for name, cost in report.costs],
    }
    own = "".join((FOLDER / "static" / f"{name}.js").read_text(encoding="utf-8") + "\n" for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{own}\nstart();\n}})();\n'
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(hours=hours, count=count, moment=moment)
    return environment.get_template("report.jinja").render(
        policy=_policy(script, library),
        style=(FOLDER / "static" / "report.css").read_text(encoding="utf-8"),
        script=script,
        library=packed(library.encode()),
        index=json_text(index),
        chunks=report.chunks.texts,
        complete=report.complete,
        totals=totals(report.complete),
        parts=report.parts,
        costs=report.costs,
        several=len(report.costs) > 1,
    )


def _policy(*scripts: str) -> str:
    """Nothing is fetched from anywhere, and no script runs but these."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in scripts
    )
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; script-src {hashes}; "
        "base-uri 'none'; form-action 'none'"
    )


def _quantiles() -> list[float]:
    """Student's two-sided 95 % quantiles for 1, 2, … degrees of freedom, and the normal one last."""
    import numpy as np
    from scipy import special

    found = special.stdtrit(np.arange(1, QUANTILES + 1), 0.975)
    return [round(float(one), 6) for one in (*found, special.ndtri(0.975))]


def hours(value: float) -> str:
    """Hours as a person reads them: `12 min`, `3.4 h`, `1,250 h`."""
    if value < 1 / 40:
        return f"{value * 3600:.0f} s"
    if value < 1.5:
        return f"{value * 60:.0f} min"
    return f"{value:.1f} h" if value < 100 else f"{value:,.0f} h"


def count(value: int) -> str:
    """A number with its thousands apart."""
    return f"{value:,}"


def moment(seconds: float | None) -> str:
    """A time since the epoch as date and minute, UTC."""
    from datetime import UTC, datetime

    return "–" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
