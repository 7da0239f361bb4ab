"""A judge against given labels: its file, what asking it costs, and the asking."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from orchestrator.hub import Hub
from orchestrator.judging import INSTRUCTION_TOKENS, JudgingCost, money_of
from orchestrator.source import read_document
from orchestrator.validation import validate
from results.files import WorkspaceError
from results.layout import Workspace
from workers.recipe import Execution, Settings
from workers.specs.data import DataSource
from workers.specs.judge import JUDGE, JudgeRecipe, JudgeSettings
from workers.stage import Stage

if TYPE_CHECKING:
    from workers.judging.agreement import Agreement
    from workers.judging.labels import Labelled

CHARACTERS_PER_TOKEN = 4


class JudgeFile(Settings):
    """A judge as a grid names it, in a file of its own: the settings of a judge stage that do not name answers."""

    shape: Literal["pairwise", "verdict"] = "pairwise"
    judge: JudgeSettings = JudgeSettings()
    instruction: DataSource | None = None
    labels: tuple[str, ...] = ()
    orders: Literal["both", "given"] = "both"
    threads: int = 1
    batch_size: int = 16
    max_length: int = 2048
    execution: Execution = Execution()


@dataclass(frozen=True)
class JudgeCheck:
    """A judge and the labels that it is to be compared with."""

    recipe: JudgeRecipe
    execution: Execution
    labels: "Sequence[Labelled]"
    hub_map: Mapping[str, str]

    @property
    def both(self) -> bool:
        """Whether pairs are shown in both orders."""
        return self.recipe.orders == "both"

    def cost(self) -> JudgingCost | None:
        """What asking costs at most, or None where no service is asked."""
        endpoint = self.recipe.judge.endpoint
        if endpoint is None:
            return None
        shown = 2 if self.recipe.shape == "pairwise" and self.both else 1
        calls = shown * len(self.labels)
        texts = sum(len(item.prompt) + sum(map(len, item.outputs)) for item in self.labels)
        read = calls * INSTRUCTION_TOKENS + shown * texts // CHARACTERS_PER_TOKEN
        written = calls * endpoint.max_tokens
        money = money_of(endpoint, read, written)
        keys = (self.execution.service.key_variable,)
        return JudgingCost(1, {endpoint.model: calls}, read, written, money, keys)

    def ask(self, workspace: Workspace) -> "Agreement":
        """Ask the judge about every label; what services say is kept in the workspace.

        Raises:
            WorkspaceError: the judge cannot work, or its service does not answer.
        """
        from workers.context import BadInput, StageContext, TransientFailure
        from workers.judging.agreement import agreement
        from workers.judging.judge import open_judge

        stage = Stage.create(JUDGE, self.recipe)
        with tempfile.TemporaryDirectory() as attempt:
            context = StageContext(
                workspace, stage, Path(attempt), [], self.execution, hub_map=dict(self.hub_map)
            )
            try:
                with open_judge(self.recipe, context) as judge:
                    return agreement(self.labels, judge, self.both)
            except (BadInput, TransientFailure) as error:
                raise WorkspaceError(str(error)) from None


def load_check(judge: Path, labels: Path, limit: int | None, hub_map: Path | None) -> JudgeCheck:
    """The judge of a YAML file and the labels of a JSON or JSON-lines file, at most `limit` of them.

    Raises:
        GridError: the judge's file has mistakes, each named with its place.
        WorkspaceError: the labels are missing or malformed.
    """
    from workers.context import BadInput
    from workers.judging.labels import read_labels

    document = read_document(judge)
    given = validate(JudgeFile, document.values, f"judge {judge.name}", document.place)
    fields = {name: getattr(given, name) for name in JudgeFile.model_fields if name != "execution"}
    recipe = validate(JudgeRecipe, fields, f"judge {judge.name}", document.place)
    hub = Hub.read(hub_map) if hub_map is not None else Hub()
    try:
        found = read_labels(labels, given.shape, limit)
    except BadInput as error:
        raise WorkspaceError(str(error)) from None
    return JudgeCheck(hub.resolve(recipe), given.execution, found, hub.paths)
