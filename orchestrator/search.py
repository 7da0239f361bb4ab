"""Searches in a grid: drawn parameters become levels, so that every trial is an ordinary experiment.

    blocks:
      sft:
        product: {model: all}
        search:
          parameters: {rank: [32, 64, 128], learning_rate: {loguniform: [1e-5, 1e-3]}}
          samples: 27
          seed: 0

Lists alone without `samples` give their full product. What is drawn depends on the block's name and `seed` alone.
"""

import json
import math
import random
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

from pydantic import Field, model_validator

from cluster.search import Search, SearchSettings
from orchestrator.errors import Problems, mistake, unknown
from orchestrator.source import Document, KeyPath
from orchestrator.validation import validate
from workers.recipe import Settings

DIGITS = 3
"""Drawn numbers are rounded to so many significant digits: they stand in names and identities."""
TRIES = 100

Level = str | int | float | bool
Row = tuple[Level, ...]


class Distribution(Settings):
    """Exactly one of these: bounds of what is drawn, or the choices."""

    uniform: tuple[float, float] | None = None
    loguniform: tuple[float, float] | None = None
    randint: tuple[int, int] | None = None
    choice: tuple[Level, ...] | None = None

    @model_validator(mode="after")
    def _one(self) -> "Distribution":
        given = [name for name, value in self if value is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(type(self).model_fields)}")
        bounds = self.uniform or self.loguniform or self.randint
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ValueError("the first bound must be below the second")
        if self.loguniform is not None and self.loguniform[0] <= 0:
            raise ValueError("the bounds of loguniform must be above 0")
        return self

    def draw(self, chance: random.Random) -> Level:
        """One value."""
        if self.uniform is not None:
            return _rounded(chance.uniform(*self.uniform))
        if self.loguniform is not None:
            low, high = map(math.log, self.loguniform)
            return _rounded(math.exp(chance.uniform(low, high)))
        if self.randint is not None:
            return chance.randint(*self.randint)
        assert self.choice is not None
        return chance.choice(self.choice)


class BlockSearch(Settings):
    """What one block searches: parameters by name, each a list of levels or a distribution."""

    parameters: dict[str, tuple[Level, ...] | Distribution] = Field(min_length=1)
    samples: int | None = Field(default=None, ge=1)
    seed: int = 0

    @model_validator(mode="after")
    def _countable(self) -> "BlockSearch":
        drawn = [name for name, one in self.parameters.items() if isinstance(one, Distribution)]
        if drawn and self.samples is None:
            raise ValueError(
                f"`samples` must say how many trials to draw, since {drawn[0]} is a distribution"
            )
        return self

    def rows(self, name: str, most: int | None) -> list[Row]:
        """The trials of block `name`, each once, at most `most`."""
        if self.samples is None:
            lists = [one for one in self.parameters.values() if isinstance(one, tuple)]
            return list(product(*lists))[:most]
        chance = random.Random(f"{self.seed}/{name}")
        rows: dict[Row, None] = {}
        for _ in range(TRIES * self.samples):
            rows.setdefault(tuple(_draw(one, chance) for one in self.parameters.values()))
            if len(rows) >= min(self.samples, most or self.samples):
                break
        return list(rows)


def apply_search(document: Document) -> tuple[SearchSettings, tuple[str, ...]] | None:
    """Turn the blocks' `search:` into levels of factors; return the grid's settings and its parameters.

    Raises:
        GridError: a search that cannot be used, or one half of it without the other.
    """
    settings = _settings(document)
    blocks = {
        name: block
        for name, block in (document.get(("blocks",)) or {}).items()
        if isinstance(block, dict) and "search" in block
    }
    if settings is None:
        if blocks:
            place = document.place(("blocks", next(iter(blocks)), "search"))
            raise mistake(place, "a block searches, but the grid has no `search:` that says by which metric")
        return None
    if not blocks:
        raise mistake(
            document.place(("search",)), "no block says what is searched: give one `search: {parameters: …}`"
        )
    parameters: dict[str, None] = {}
    for name in blocks:
        parameters.update(dict.fromkeys(_apply(document, name, settings.budget.trials)))
    _check_feeds(document, settings, parameters)
    return settings, tuple(parameters)


def search_of(
    settings: SearchSettings,
    parameters: Sequence[str],
    experiments: Iterable[tuple[dict[str, Any], dict[str, str]]],
) -> Search:
    """The search over experiments, given as their levels and their own stages (id by name in the pipeline).

    A stage that several experiments share is one trial of the first one's group.
    """
    trials: dict[str, str] = {}
    for levels, stages in experiments:
        rest = {name: level for name, level in levels.items() if name not in parameters and level is not None}
        for name in settings.stages:
            if name in stages:
                trials.setdefault(stages[name], f"{name} {json.dumps(rest, sort_keys=True)}")
    return Search(settings=settings, parameters=tuple(parameters), trials=trials)


def _settings(document: Document) -> SearchSettings | None:
    content = document.values.get("search")
    if content is None:
        return None

    def place(inner: KeyPath) -> str:
        return document.place(("search", *inner))

    settings = validate(SearchSettings, content, "search", place)
    pipeline = document.get(("pipeline",)) or {}
    problems = Problems()
    for number, stage in enumerate(settings.stages):
        if stage not in pipeline:
            problems.add(place(("stages", number)), unknown("stage", stage, pipeline, " of the pipeline"))
    problems.raise_found()
    return settings


def _apply(document: Document, name: str, most: int | None) -> tuple[str, ...]:
    """Put one block's trials into its `zip` and into the factors' levels; return its parameters."""
    path = ("blocks", name, "search")
    found = validate(
        BlockSearch,
        document.get(path),
        f"the search of block {name!r}",
        lambda inner: document.place((*path, *inner)),
    )
    block = document.get(("blocks", name))
    if "zip" in block:
        raise mistake(document.place(path), f"block {name!r} has a `zip` already; a search brings its own")
    rows = found.rows(name, most)
    del block["search"]
    block["zip"] = {parameter: list(values) for parameter, values in _columns(found, rows)}
    factors = document.values["factors"]
    for parameter, values in block["zip"].items():
        levels = factors.setdefault(parameter, [])
        if not isinstance(levels, list):
            raise mistake(document.place(path), f"{parameter!r} is a factor with a condition; search another")
        levels.extend(value for value in dict.fromkeys(values) if value not in levels)
    return tuple(found.parameters)


def _columns(found: BlockSearch, rows: list[Row]) -> Iterable[tuple[str, Row]]:
    return zip(found.parameters, zip(*rows, strict=True), strict=True)


def _check_feeds(document: Document, settings: SearchSettings, parameters: Iterable[str]) -> None:
    for name in settings.feeds:
        if name not in parameters:
            place = document.place(("search", "feeds", name))
            raise mistake(place, unknown("parameter", name, list(parameters), " of the search"))


def _draw(one: tuple[Level, ...] | Distribution, chance: random.Random) -> Level:
    return one.draw(chance) if isinstance(one, Distribution) else chance.choice(one)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
