"""What a plan needs that is not in the project: every model and data set, once, with the files that matter."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.hub import Repository
from workers.data.layouts import INSTRUCTION_LAYOUTS, LAYOUTS, TEXT_LAYOUTS, opened
from workers.models.sources import MODEL_FILES
from workers.recipe import Settings
from workers.specs.data import DataSource, Equalisation, InstructionData, PreferenceData, TextData
from workers.specs.model import ModelRecipe

if TYPE_CHECKING:
    from orchestrator.plan import Plan

TASK_FILES: dict[str, tuple[str, ...]] = {
    "mmlu": ("all/test-*.parquet", "all/dev-*.parquet"),
    "bbh": ("*/test-*.parquet",),
}
"""The files of the hub's own mirrors that a benchmark reads; of other tasks everything is taken."""


@dataclass(frozen=True)
class Identity:
    """A hub id (or local path) at a revision, or an embedded world."""

    repository: Repository
    hub: str
    revision: str | None = None
    embedded: bool = False

    def __str__(self) -> str:
        return f"{self.hub}@{self.revision}" if self.revision else self.hub


@dataclass
class Need:
    """One model or data set of a plan, and everything that is read of it.

    `files` are the patterns of the files that matter, empty for all. `purposes` name the stage kinds and
    benchmarks. `training` and `testing` are the preference pairs that come from it, by split. `longest` is the
    most tokens that a training row may have.
    """

    identity: Identity
    purposes: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    whole: bool = False
    training: list[PreferenceData] = field(default_factory=list)
    testing: list[PreferenceData] = field(default_factory=list)
    longest: int = 0

    @property
    def patterns(self) -> list[str]:
        """The patterns to fetch and to measure; empty for everything."""
        return [] if self.whole else sorted(self.files)


def needs_of(plan: "Plan") -> list[Need]:
    """What the stages of a plan need, models first, each once."""
    found: dict[Identity, Need] = {}
    seen: set[int] = set()
    for stage in plan.stages:
        if id(stage.recipe) in seen:
            continue
        seen.add(id(stage.recipe))
        for source, owners in _sources(stage.recipe, ()):
            identity = identity_of(source)
            if identity is not None:
                need = found.setdefault(identity, Need(identity))
                _add(need, source, owners, stage.kind.name)
    return sorted(found.values(), key=lambda need: (need.identity.repository != "model", str(need.identity)))


def identity_of(source: DataSource | ModelRecipe) -> Identity | None:
    """What a source names; None where it names nothing."""
    if isinstance(source, DataSource) and source.world is not None:
        return Identity("dataset", "the embedded world", embedded=True)
    if source.hub is None:
        return None
    return Identity("dataset" if isinstance(source, DataSource) else "model", source.hub, source.revision)


def _sources(
    settings: Settings, owners: tuple[Settings, ...]
) -> Iterator[tuple[DataSource | ModelRecipe, tuple[Settings, ...]]]:
    """Every source below `settings` with the settings around it, innermost last."""
    if isinstance(settings, DataSource | ModelRecipe):
        yield settings, owners
        return
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Settings):
                yield from _sources(item, (*owners, settings))


def _add(need: Need, source: DataSource | ModelRecipe, owners: tuple[Settings, ...], kind: str) -> None:
    owner = owners[-1]
    need.purposes.add(str(getattr(owner, "task", None) or getattr(owner, "name", None) or kind))
    if isinstance(source, ModelRecipe):
        need.files.update(MODEL_FILES)
        need.longest = max(need.longest, _longest(owners[0]))
        return
    patterns = [opened(name) for name in source.files] or _usual_files(owner)
    need.files.update(patterns)
    need.whole = need.whole or not patterns
    if isinstance(owner, PreferenceData):
        kept = need.training if len(owners) == 2 else need.testing
        if owner not in kept:
            kept.append(owner)


def _longest(recipe: Settings) -> int:
    """The length to which a stage fills its rows; evaluation and judging heed the model's own limit."""
    pairs: int = getattr(getattr(recipe, "preferences", None), "max_length", 0)
    whole: int = getattr(recipe, "max_length", pairs)
    return whole if hasattr(recipe, "training") else pairs


def _usual_files(owner: Settings) -> list[str]:
    """Patterns of the files that a loader looks for; empty where it may take any."""
    match owner:
        case PreferenceData() | Equalisation():
            names = LAYOUTS.get(owner.dataset, ())
        case InstructionData():
            names = INSTRUCTION_LAYOUTS
        case TextData():
            names = TEXT_LAYOUTS
        case _:
            names = TASK_FILES.get(str(getattr(owner, "task", "")), ())
    return [opened(name) for name in names]
