"""Kinds of stage: the built-in ones, those of entry points, and those named `module:object` in a grid.

A kind is light: its recipe model is imported when a plan is made, its runner only by the worker that runs it.
"""

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from results.files import WorkspaceError
from workers.recipe import Recipe

if TYPE_CHECKING:
    from workers.context import StageContext, StageResult

ENTRY_POINT_GROUP = "yates.kinds"

BUILT_IN = {
    "tokenize": "workers.specs.tokenize:TOKENIZE",
    "pretrain": "workers.specs.pretrain:PRETRAIN",
    "sft": "workers.specs.sft:SFT",
    "reference": "workers.specs.reference:REFERENCE",
    "dpo": "workers.specs.dpo:DPO",
    "reward": "workers.specs.reward:REWARD",
    "ppo": "workers.specs.ppo:PPO",
    "rloo": "workers.specs.online:RLOO",
    "grpo": "workers.specs.online:GRPO",
    "merge": "workers.specs.merge:MERGE",
    "evaluate": "workers.specs.evaluate:EVALUATE",
    "analyze": "workers.specs.analyze:ANALYZE",
    "generate": "workers.specs.generate:GENERATE",
    "judge": "workers.specs.judge:JUDGE",
    "factuality": "workers.specs.factuality:FACTUALITY",
}


@dataclass(frozen=True)
class Kind:
    """A kind of stage.

    `recipe` is the model of its settings. `runner` names a function `(recipe, context) -> StageResult` as
    `module:function`. `version` is the recipe version: raise it when a default, or code that changes what
    the kind computes, changes. `roles` are the parents it accepts. `reference` is how `stage.json` names
    the kind: its registered name, or the `module:object` that defines it. `distributed` says that the runner also
    works as one of several processes (`workers.ranks`).
    """

    name: str
    version: int
    recipe: type[Recipe]
    runner: str
    roles: tuple[str, ...] = ()
    reference: str = ""
    distributed: bool = False

    def __post_init__(self) -> None:
        if not self.reference:
            object.__setattr__(self, "reference", self.name)

    def load_runner(self) -> "Callable[[Any, StageContext], StageResult]":
        """Import the function that runs stages of this kind (heavy: torch and its friends)."""
        runner: Callable[[Any, StageContext], StageResult] = load_object(self.runner)
        return runner


@lru_cache(maxsize=None)
def find_kind(name: str) -> Kind:
    """The kind called `name`, or the one that `module:object` defines.

    Raises:
        WorkspaceError: no such kind; the message lists the known ones and the nearest name.
    """
    references = {**BUILT_IN, **_entry_points()}
    reference = name if ":" in name else references.get(name)
    if reference is None:
        raise WorkspaceError(unknown("stage kind", name, references))
    kind = load_object(reference)
    if not isinstance(kind, Kind):
        raise WorkspaceError(
            f"{reference} is a {type(kind).__name__}; a stage kind must be a workers.kinds.Kind"
        )
    if ":" in name:
        return replace(kind, reference=name)
    return kind


def load_object(reference: str) -> Any:
    """Import `module:object`.

    Raises:
        WorkspaceError: the module or the object does not exist; the message says which.
    """
    module_name, _, attribute = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise WorkspaceError(f"{reference}: no module named {error.name!r} is installed") from None
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
        raise WorkspaceError(f"{reference}: importing {module_name!r} failed ({failure})") from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise WorkspaceError(f"{reference}: module {module_name!r} has no object {attribute!r}") from None


def unknown(what: str, name: str, known: Any) -> str:
    """One sentence for a name that does not exist: what is allowed, and what was probably meant."""
    names = sorted(str(item) for item in known)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return (
        f"unknown {what} {name!r}{hint} Allowed: {', '.join(names)}"
        if near
        else (f"unknown {what} {name!r}; allowed: {', '.join(names)}")
    )


def _entry_points() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}
