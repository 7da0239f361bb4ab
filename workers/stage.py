"""A stage: one unit of work with an identity, and its file `stage.json`."""

from dataclasses import dataclass, field
from typing import Any

from results.files import WorkspaceError, json_bytes, publish_once, read_json
from results.layout import Workspace
from workers.identity import recipe_digest, stage_id
from workers.kinds import Kind, find_kind
from workers.recipe import Recipe


@dataclass(frozen=True)
class Stage:
    """A unit of work: its kind, its recipe, and (role, stage id) pairs of the stages it stands on."""

    id: str
    kind: Kind
    recipe: Recipe
    parents: tuple[tuple[str, str], ...] = field(default=())

    @classmethod
    def create(cls, kind: Kind, recipe: Recipe, parents: tuple[tuple[str, str], ...] = ()) -> "Stage":
        """The stage that computes `recipe` on `parents`; equal arguments give an equal id."""
        identity = stage_id(kind.name, kind.version, recipe_digest(recipe), recipe.seed, parents)
        return cls(identity, kind, recipe, parents)

    def write(self, workspace: Workspace) -> None:
        """Publish `stage.json` unless it is there. It is immutable, so whoever wrote it wrote the same."""
        path = workspace.stage_file(self.id)
        if not path.exists():
            publish_once(path, json_bytes(self._content()))

    @classmethod
    def read(cls, workspace: Workspace, identity: str) -> "Stage":
        """Read a stage back.

        Raises:
            WorkspaceError: `stage.json` is damaged, or is of a kind that this installation does not have.
        """
        path = workspace.stage_file(identity)
        content = read_json(path)
        try:
            kind = find_kind(content["kind"])
            recipe = kind.recipe.model_validate(content["recipe"])
            return cls(identity, kind, recipe, tuple((role, parent) for role, parent in content["parents"]))
        except (KeyError, TypeError, ValueError) as error:
            raise WorkspaceError(f"{path}: not a stage that this version can read ({error})") from None

    def _content(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind.reference,
            "version": self.kind.version,
            "recipe": self.recipe.model_dump(mode="json"),
            "parents": [list(pair) for pair in self.parents],
        }
