"""Two experiments' answers to the same prompts: joined, masked, and without power over the terminal."""

import pytest

from results.files import WorkspaceError
from results.studies.side_by_side import (
    LONGEST,
    Item,
    masked,
    print_side_by_side,
    printable,
    shared_answers,
    shown_text,
)
from tests.results.lab import Lab
from tests.results.studies.lab import answered


def row(task: str, item: int, prompt: str, completion: str, **others) -> dict:
    return {"task": task, "item": item, "prompt": prompt, "completion": completion, "score": 1.0, **others}


def two(root, first: list[dict], second: list[dict], roles: tuple[str, ...] = ("evaluate",)) -> Lab:
    lab = Lab.at(root)
    lab.plan(
        {name: {"seed": 0} for name in ("a", "b")},
        {name: {role: f"{name}/{role}" for role in roles} for name in ("a", "b")},
    )
    answered(lab, "a", first, roles[-1])
    answered(lab, "b", second, roles[-1])
    return lab


def test_answers_are_joined_by_prompt_whatever_their_number(tmp_path) -> None:
    lab = two(
        tmp_path / "runs",
        [row("bbh", 0, "one", "a1"), row("bbh", 1, "two", "a2"), row("bbh", 2, "only a", "a3")],
        [
            row("bbh", 0, "two", "b2", verdict="right"),
            row("bbh", 1, "one", "b1"),
            row("mmlu", 0, "one", "b4"),
        ],
    )
    found = shared_answers(lab.workspace, ("a", "b"), None)
    assert [(one.prompt, *(each.text for each in one.answers)) for one in found.items] == [
        ("one", "a1", "b1"),
        ("two", "a2", "b2"),
    ]
    assert found.items[1].answers[1].verdict == "right"
    assert found.unshared == 2


def test_a_prompt_that_comes_twice_is_joined_in_turn(tmp_path) -> None:
    lab = two(
        tmp_path / "runs",
        [row("bbh", 0, "same", "a1"), row("bbh", 1, "same", "a2")],
        [row("bbh", 0, "same", "b1"), row("bbh", 1, "same", "b2")],
    )
    found = shared_answers(lab.workspace, ("a", "b"), "bbh")
    assert [[each.text for each in one.answers] for one in found.items] == [["a1", "b1"], ["a2", "b2"]]


def test_of_several_evaluations_the_last_counts(tmp_path) -> None:
    lab = two(
        tmp_path / "runs", [row("bbh", 0, "p", "late")], [row("bbh", 0, "p", "b")], ("curve@1", "curve@2")
    )
    answered(lab, "a", [row("bbh", 0, "p", "early")], "curve@1")
    (item,) = shared_answers(lab.workspace, ("a", "b"), None).items
    assert item.answers[0].text == "late"


def test_an_unknown_task_and_no_samples_at_all_are_messages(tmp_path) -> None:
    lab = two(tmp_path / "runs", [row("bbh", 0, "p", "a")], [row("bbh", 0, "p", "b")])
    with pytest.raises(WorkspaceError, match="no samples of 'rt'; it has: bbh"):
        shared_answers(lab.workspace, ("a", "b"), "rt")
    with pytest.raises(WorkspaceError, match="experiment c has no samples"):
        shared_answers(lab.workspace, ("a", "c"), None)


def printed(lab: Lab, capsys, show_text: bool = False, limit: int = 10) -> str:
    found = shared_answers(lab.workspace, ("a", "b"), None)
    print_side_by_side(found, ("first/name", "second/name"), limit, show_text)
    return capsys.readouterr().out


OFFENSIVE = ["safety", "rt", "red_instruct", "preference_accuracy", "rt.large"]


@pytest.mark.parametrize("task", OFFENSIVE)
def test_offensive_texts_are_masked_unless_asked_for(tmp_path, capsys, task: str) -> None:
    lab = two(
        tmp_path / "runs",
        [row(task, 0, "a nasty prompt", "nasty words", reference="nasty", verdict="unsafe")],
        [row(task, 0, "a nasty prompt", "nasty")],
    )
    text = printed(lab, capsys)
    assert "nasty" not in text
    assert "[masked: 3 words]" in text and "[masked: 1 word]" in text
    assert "unsafe, score 1" in text and "--show-text shows them" in text
    shown = printed(lab, capsys, show_text=True)
    assert "nasty prompt" in " ".join(shown.split()) and "masked" not in shown


def test_other_tasks_are_shown(tmp_path, capsys) -> None:
    lab = two(
        tmp_path / "runs", [row("alpacaeval", 0, "hello", "hi")], [row("alpacaeval", 0, "hello", "hey")]
    )
    text = printed(lab, capsys)
    assert "hello" in text and "hi" in text and "masked" not in text
    assert "A: first/name" in text and "B: second/name" in text


def test_what_a_model_wrote_has_no_power_over_the_terminal(tmp_path, capsys) -> None:
    evil = "[bold red]x[/] \x1b[2Jgone\x07 \u202eolleh [link=http://x]y[/link] tab\there"
    lab = two(tmp_path / "runs", [row("bbh", 0, "p", evil)], [row("bbh", 0, "p", "[/]")])
    text = printed(lab, capsys)
    assert "\x1b" not in text and "\x07" not in text and "\u202e" not in text
    assert "[bold red]x[/]" in " ".join(text.split())
    assert "\\x1b" in text and "\\u202e" in text


def test_the_limit_is_spread_over_tasks(tmp_path, capsys) -> None:
    many = [row(task, item, f"{task} {item}", "x") for task in ("bbh", "mmlu") for item in range(5)]
    lab = two(tmp_path / "runs", many, many)
    text = printed(lab, capsys, limit=4)
    assert [f"{task} {item}" in text for task in ("bbh", "mmlu") for item in range(3)] == [
        True,
        True,
        False,
    ] * 2
    assert "4 of 10 shared prompts; --limit shows more" in text
    assert "10 of 10 shared prompts\n" in printed(lab, capsys)


def test_texts() -> None:
    assert masked("") == "[masked: 0 words]"
    assert printable("a\nb") == "a\nb"
    assert printable("x" * (LONGEST + 5)).endswith("… 5 more characters")
    assert shown_text(None, mask=True).plain == "–"
    assert Item("safety", 0, "p", None, None).offensive  # type: ignore[arg-type]
    assert not Item("helpfulness", 0, "p", None, None).offensive  # type: ignore[arg-type]
