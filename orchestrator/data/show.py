"""What a model will really see in one stage of a plan: rendered text, tokens, loss mask. Masked unless asked."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.data.surroundings import surroundings
from orchestrator.errors import unknown
from results.files import WorkspaceError
from workers.context import BadInput, StageContext
from workers.specs.pretrain import PretrainRecipe

if TYPE_CHECKING:
    from orchestrator.plan import Plan
    from workers.data.inspection import Dialogue, Inspection

SHOWN_KINDS = ("sft", "dpo", "reference")
HIDDEN_PIECE = "·"


def show_lines(plan: "Plan", stage: str, rows: int, text: bool) -> Iterator[str]:
    """The lines of the first experiment's stage called `stage` (or of that kind).

    Raises:
        WorkspaceError: no experiment has such a stage, or its data or tokenizer are missing.
    """
    from workers.data.inspection import inspect
    from workers.models.loading import read_tokenizer

    experiment, index = find_stage(plan, stage)
    planned = plan.stages[index]
    with surroundings(plan, index) as context:
        try:
            tokenizer = read_tokenizer(tokenizer_directory(plan, index, context))
            found = inspect(context.stage.recipe, context, tokenizer, rows)
        except BadInput as error:
            raise WorkspaceError(f"{experiment}, stage {planned.name}: {error}") from None
        yield f"{experiment}, stage {planned.name} ({planned.kind.name}, {planned.id}, seed {planned.seed})"
        yield from _account(found)
        for number, dialogues in enumerate(found.rows, start=1):
            for dialogue in dialogues:
                yield ""
                yield from _dialogue(f"row {number}, {dialogue.name}", dialogue, text)


def find_stage(plan: "Plan", name: str) -> tuple[str, int]:
    """The first experiment that stands on a stage of that name or kind, and the stage's index.

    Raises:
        WorkspaceError: there is none; the message lists the stages that can be shown.
    """
    known = set()
    for experiment in plan.experiments:
        for index in _ancestors(plan, experiment.stages.values()):
            stage = plan.stages[index]
            if stage.kind.name in SHOWN_KINDS:
                known.add(stage.name)
                if name in (stage.name, stage.kind.name):
                    return experiment.name, index
    raise WorkspaceError(
        unknown("stage", name, known, " with dialogues among the selected experiments")
        if known
        else f"the selected experiments have no stage of the kinds {', '.join(SHOWN_KINDS)} to show"
    )


def _ancestors(plan: "Plan", own: Iterable[int]) -> list[int]:
    """Stages and everything that they stand on, an experiment's own first."""
    order = list(own)
    for index in order:
        order += [parent for _, parent in plan.stages[index].parents if parent not in order]
    return order


def tokenizer_directory(plan: "Plan", index: int, context: StageContext) -> Path:
    """The tokenizer that a stage works with: its model's, or that of the base that it stands on.

    Raises:
        BadInput: it is not on this machine.
    """
    from workers.data.files import source_directory
    from workers.models.sources import hub_source

    stage = plan.stages[index]
    recipe = stage.recipe
    if isinstance(recipe, PretrainRecipe):
        directory = source_directory(context, recipe.tokenizer)
        inner = directory / "tokenizer"
        return inner if inner.is_dir() else directory
    base = [parent for role, parent in stage.parents if role == "base"]
    if base:
        return tokenizer_directory(plan, base[0], context)
    return hub_source(context, recipe.model).directory  # type: ignore[attr-defined]


def _account(found: "Inspection") -> Iterator[str]:
    from workers.data.counts import drop_text

    yield (
        f"{found.read:,} rows read, {found.used:,} used for {found.positions:,} positions; "
        f"dropped: {drop_text(found.dropped)}; {found.cut:,} prompts cut from the left"
    )


def _dialogue(title: str, dialogue: "Dialogue", text: bool) -> Iterator[str]:
    pieces = dialogue.pieces
    learnt = sum(piece.learnt for piece in pieces)
    cut = f", {dialogue.cut} tokens cut from the left" if dialogue.cut else ""
    yield (
        f"{title}: {len(pieces)} tokens{cut}; the answer begins at token {dialogue.start}, "
        f"the end mark is token {len(pieces) - 1}; the loss counts {learnt} tokens"
    )
    shown = [
        escaped(part.text) if text or not part.given else f"⟨{len(part.text)} characters⟩"
        for part in dialogue.segments
    ]
    yield "  " + "".join(shown)
    for start in range(0, len(pieces), 8):
        parts = [
            f"{piece.id}{'*' if piece.learnt else ''}:"
            f"{escaped(piece.text) if text or not piece.given else HIDDEN_PIECE}"
            for piece in pieces[start : start + 8]
        ]
        yield f"  {start:>5}  {'  '.join(parts)}"


def escaped(text: str) -> str:
    """A text on one line, with everything that a terminal would act on written out."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
