"""Two experiments' answers to the same prompts, side by side; offensive texts are masked unless asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any

from results.files import WorkspaceError
from results.layout import Workspace

if TYPE_CHECKING:
    import pandas as pd

OFFENSIVE = ("safety", "rt", "red_instruct", "preference_accuracy")
"""Tasks whose prompts, or the answers that they ask for, may be offensive by design."""

KEYS = ["task", "prompt", "occurrence"]
LONGEST = 2000
"""Characters of a text that are shown; the rest is counted."""


@dataclass(frozen=True)
class Answer:
    """One experiment's answer; `score` and `verdict` as the task gave them."""

    text: str | None
    score: float | None
    verdict: str | None


@dataclass(frozen=True)
class Item:
    """A prompt with both experiments' answers."""

    task: str
    item: int
    prompt: str
    reference: str | None
    answers: tuple[Answer, Answer]

    @property
    def offensive(self) -> bool:
        """Whether the task holds offensive texts; a task called `rt.large` is of the kind `rt`."""
        return self.task.partition(".")[0] in OFFENSIVE


@dataclass(frozen=True)
class SharedAnswers:
    """The items that both experiments answered, and how many only one of them did."""

    items: list[Item]
    unshared: int


def shared_answers(workspace: Workspace, experiments: tuple[str, str], task: str | None) -> SharedAnswers:
    """The answers of two experiments (ids), joined on task and prompt, in the order of the first's items.

    A prompt that a task has several times is joined by its occurrence. Of several evaluations in one experiment
    the last counts.

    Raises:
        WorkspaceError: an experiment has no samples, or none of `task`.
    """
    frames = [_samples(workspace, one, task) for one in experiments]
    both = frames[0].merge(frames[1], on=KEYS, suffixes=("", "_other"))
    items = [_item(row) for row in both.sort_values(["task", "item"]).to_dict("records")]
    return SharedAnswers(items, sum(map(len, frames)) - 2 * len(both))


def _samples(workspace: Workspace, experiment: str, task: str | None) -> "pd.DataFrame":
    import results

    samples = results.samples(workspace)
    found = samples[samples["experiment"] == experiment]
    if found.empty:
        raise WorkspaceError(f"experiment {experiment} has no samples: it was not evaluated, or keeps none")
    tasks = sorted(set(found["task"]))
    if task is not None and task not in tasks:
        raise WorkspaceError(
            f"experiment {experiment} has no samples of {task!r}; it has: {', '.join(tasks)}"
        )
    found = found if task is None else found[found["task"] == task]
    last = found.drop_duplicates(["task", "item"], keep="last").sort_values(["task", "item"])
    return last.assign(occurrence=last.groupby(["task", "prompt"], dropna=False).cumcount())


def _item(row: dict[Any, Any]) -> Item:
    answers = [
        Answer(_text(row[f"completion{side}"]), _number(row[f"score{side}"]), _text(row[f"verdict{side}"]))
        for side in ("", "_other")
    ]
    prompt = _text(row["prompt"]) or ""
    return Item(row["task"], int(row["item"]), prompt, _text(row["reference"]), (answers[0], answers[1]))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    return None if value is None or isnan(value) else float(value)


def print_side_by_side(found: SharedAnswers, names: Sequence[str], limit: int, show_text: bool) -> None:
    """Print the first `limit` items as tables of two columns, evenly over the tasks, and what is left out."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for letter, name in zip("AB", names, strict=True):
        console.print(shown_text(f"{letter}: {name}", False))
    shown = _spread(found.items, limit)
    for item in shown:
        mask = item.offensive and not show_text
        grid = Table(expand=True, title=shown_text(f"{item.task} {item.item}", False), title_justify="left")
        grid.add_column("prompt", ratio=2, overflow="fold")
        grid.add_column("A", ratio=3, overflow="fold")
        grid.add_column("B", ratio=3, overflow="fold")
        grid.add_row(shown_text(item.prompt, mask), *(shown_text(one.text, mask) for one in item.answers))
        grid.add_row(_reference(item, mask), *(shown_text(_judgement(one), False) for one in item.answers))
        console.print(grid)
    _print_remarks(console, found, shown, show_text)


def _print_remarks(console: Any, found: SharedAnswers, shown: Sequence[Item], show_text: bool) -> None:
    hidden = len(found.items) - len(shown)
    console.print(
        f"{len(shown)} of {len(found.items)} shared prompts" + ("; --limit shows more" if hidden else "")
    )
    if found.unshared:
        console.print(f"{found.unshared} answers have no counterpart in the other experiment")
    if not show_text and any(item.offensive for item in shown):
        console.print("texts that may be offensive are masked; --show-text shows them", markup=False)


def _spread(items: Sequence[Item], limit: int) -> list[Item]:
    """The first items of each task in turn, `limit` in all, in the order of tasks."""
    ranks: dict[str, int] = {}
    ranked = []
    for place, item in enumerate(items):
        ranks[item.task] = ranks.get(item.task, 0) + 1
        ranked.append((ranks[item.task], place, item))
    first = sorted(ranked, key=lambda each: each[:2])[:limit]
    return [item for _, _, item in sorted(first, key=lambda each: each[1])]


def shown_text(text: str | None, mask: bool) -> Any:
    """`text` as rich shows it: no markup is read, control characters are written out, a masked text is a length."""
    from rich.text import Text

    if text is None:
        return Text("–", style="dim")
    if mask:
        return Text(masked(text), style="dim")
    return Text(printable(text))


def masked(text: str) -> str:
    """What stands for an offensive text."""
    words = len(text.split())
    return f"[masked: {words} word{'' if words == 1 else 's'}]"


def printable(text: str) -> str:
    """`text` with control and bidirectional characters written as escapes, and cut at LONGEST characters."""
    kept = "".join(one if one == "\n" or one.isprintable() else _escape(one) for one in text[:LONGEST])
    more = len(text) - LONGEST
    return f"{kept} … {more} more characters" if more > 0 else kept


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _reference(item: Item, mask: bool) -> Any:
    text = item.reference
    return shown_text(f"reference: {masked(text) if mask else text}", False) if text is not None else ""


def _judgement(answer: Answer) -> str:
    score = "" if answer.score is None else f"score {answer.score:.4g}"
    return ", ".join(part for part in (answer.verdict, score) if part) or "–"
