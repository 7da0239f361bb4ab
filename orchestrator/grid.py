"""Grids: a YAML file, one of its scales and presets over it, and the experiments that it asks for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.search import SearchSettings
from orchestrator.errors import Problems, mistake, nearest, unknown
from orchestrator.expansion import expand
from orchestrator.factors import Space, Vector, read_factors
from orchestrator.naming import name_factors
from orchestrator.overlays import apply_overlay, apply_override
from orchestrator.pipeline import Pipeline, loop_names, read_pipeline
from orchestrator.references import reference_targets, resolve_constants, trace
from orchestrator.search import apply_search
from orchestrator.seeds import set_seeds
from orchestrator.source import Document, read_document

REQUIRED = ("study", "factors", "blocks", "pipeline")
KEYS = (*REQUIRED, "name", "search", "levels", "cells", "scales", "presets", "defaults")
CHOICES = {"scale": "scales", "preset": "presets", "cells": "cells"}
WORDS = ("study", "name")
SECTIONS = ("search", "factors", "levels", "blocks", "cells", "scales", "presets", "defaults", "pipeline")
NO_CHOICE = "default"
"""The scale, preset or cells of a grid that declares none."""


@dataclass(frozen=True)
class Grid:
    """A grid that is read, overlaid, checked and expanded; `orchestrator.plan` turns it into stages.

    `document` is as written after overlays, with references; `space` and `pipeline` are compiled from it.
    `experiments` are vectors of `space`, each once. `search` says how trials over the factors `searched` are
    compared.
    """

    path: Path
    study: str
    name: str
    scale: str
    preset: str
    cells: str
    document: Document
    space: Space
    pipeline: Pipeline
    experiments: list[Vector]
    search: SearchSettings | None = None
    searched: tuple[str, ...] = ()

    @property
    def factors(self) -> tuple[str, ...]:
        """The names of the factors, in order."""
        return tuple(factor.name for factor in self.space.factors)

    def levels(self, vector: Vector) -> dict[str, Any]:
        """The level of each factor of an experiment; absent factors are None."""
        return dict(zip(self.factors, vector, strict=False))

    def place(self, path: tuple[Any, ...], vector: Vector) -> str:
        """Where the value at `path` was written for the experiment `vector`, references followed."""
        levels = self.levels(vector)
        return self.document.place(trace(self.document, path, levels.get))


def load_grid(
    path: Path | str,
    *,
    scale: str | None = None,
    preset: str | None = None,
    cells: str | None = None,
    where: str | None = None,
    overrides: Iterable[str] = (),
    seeds: int | None = None,
) -> Grid:
    """Read a grid, put scale, preset, overrides and the number of seeds over it, in this order, and expand it.

    `where` selects experiments; parents of a selected one that lie outside the selection are planned all the
    same.

    Raises:
        GridError: with every mistake that could be found in one go.
    """
    path = Path(path)
    document = read_document(path)
    _check_sections(document)
    _check_top(document)
    chosen = {name: _choose(document, name, value) for name, value in _asked(scale, preset, cells).items()}
    declared = _declared(document)
    for name in ("scale", "preset"):
        apply_overlay(document, (CHOICES[name], chosen[name]))
    for override in overrides:
        apply_override(document, override)
    _check_sections(document)
    if seeds is not None:
        set_seeds(document, seeds)
    found = apply_search(document)
    resolved, space = _resolve(document, {name: chosen[name] for name in ("scale", "preset")}, declared)
    problems = Problems()
    experiments: list[Vector] = []
    with problems.collecting():
        experiments = expand(resolved, space, _blocks(resolved, chosen["cells"]), where)
    with problems.collecting():
        pipeline = read_pipeline(resolved, space)
    problems.raise_found()
    study = document.values["study"]
    name = str(document.values.get("name") or "/".join(f"{{{factor}}}" for factor in space.levels))
    _check_name(document, name, space)
    return Grid(
        path,
        study,
        name,
        **chosen,
        document=document,
        space=space,
        pipeline=pipeline,
        experiments=experiments,
        search=None if found is None else found[0],
        searched=() if found is None else found[1],
    )


def _asked(scale: str | None, preset: str | None, cells: str | None) -> dict[str, str | None]:
    return {"scale": scale, "preset": preset, "cells": cells}


def _declared(document: Document) -> dict[str, list[Any]]:
    """The levels of each factor before any overlay."""
    found = {}
    for name, content in document.values["factors"].items():
        levels = content.get("levels") if isinstance(content, dict) else content
        found[name] = list(levels) if isinstance(levels, list) else []
    return found


def _resolve(
    document: Document, constants: dict[str, str], declared: dict[str, list[Any]]
) -> tuple[Document, Space]:
    """The document with its constants put in, and the space of its factors."""
    loops = loop_names(document)
    names = {*(document.get(("factors",)) or {}), *loops}
    resolved = Document(document.name, resolve_constants(document, names), document.places)
    attributes = resolved.get(("levels",)) or {}
    return resolved, Space(read_factors(resolved), attributes, loops, constants, declared)


def _check_top(document: Document) -> None:
    """Every section is one of ours, or a constant that something refers to."""
    problems = Problems()
    used = {target[0] for target in reference_targets(document.values)}
    missing = used - {*document.values, *document.values["factors"], *loop_names(document)}
    for key in document.values:
        if key not in KEYS and key not in used:
            text = unknown("key", key, {*KEYS, *missing}, " at the top")
            problems.add(document.place((key,)), f"{text}, or a constant that a reference names")
    problems.raise_found()


def _check_sections(document: Document) -> None:
    """The sections that must be there are, and each of ours has the right type."""
    problems = Problems()
    for key in REQUIRED:
        if key not in document.values:
            near = nearest(key, map(str, document.values.keys() - set(KEYS)))
            hint = f"; is it the {near!r} on {document.place((near,))}?" if near else ""
            problems.add(document.place(()), f"the grid has no {key!r}; it needs {', '.join(REQUIRED)}{hint}")
    for key in WORDS:
        if not isinstance(document.values.get(key, ""), str):
            problems.add(document.place((key,)), f"{key} must be a word, not {document.values[key]!r}")
    for key in SECTIONS:
        if not isinstance(document.values.get(key, {}), dict):
            problems.add(document.place((key,)), f"{key} must be a mapping, not {document.values[key]!r}")
    problems.raise_found()


def _choose(document: Document, name: str, value: str | None) -> str:
    """The scale, preset or cells: what was asked for, else the grid's default, else its first."""
    declared = document.get((CHOICES[name],)) or {}
    default = document.get(("defaults", name))
    chosen = value if value is not None else default
    if chosen is None:
        return str(next(iter(declared), NO_CHOICE))
    if not isinstance(chosen, str) or chosen not in declared:
        place = f"--{name} {chosen}" if value is not None else document.place(("defaults", name))
        raise mistake(place, unknown(name, chosen, declared, f" in {document.name}"))
    return str(chosen)


def _blocks(document: Document, cells: str) -> Sequence[str]:
    """The blocks that `cells` unites; all of them when the grid declares no cells."""
    blocks = document.get(("blocks",)) or {}
    chosen = document.get(("cells", cells), list(blocks))
    place = document.place(("cells", cells))
    if not isinstance(chosen, list) or not chosen:
        raise mistake(place, f"cells {cells!r} must be a list of blocks")
    for block in chosen:
        if not isinstance(block, str) or block not in blocks:
            raise mistake(place, unknown("block", block, blocks, f" in cells {cells!r}"))
    return chosen


def _check_name(document: Document, name: str, space: Space) -> None:
    for factor in name_factors(name):
        if factor not in space.levels:
            raise mistake(document.place(("name",)), unknown("factor", factor, space.levels, " in name"))
