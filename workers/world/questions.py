"""Multiple-choice questions on the facts: cloze, so choices are completions to be scored, not letters."""

from dataclasses import dataclass

from workers.world.facts import SUBJECTS, Fact
from workers.world.stream import Stream

CHOICES = 4
DEVELOPMENT_ROWS = 5
"""Questions of each subject in dev.jsonl, as in MMLU; the other 27 of each subject are the test."""


@dataclass(frozen=True)
class Question:
    """`choices[answer]` is the value of the fact; the wording of `question` is in no training text."""

    subject: str
    question: str
    choices: tuple[str, ...]
    answer: int


def ask(fact: Fact, stream: Stream) -> Question:
    """A fact as a question with four distinct choices of its relation, the right one anywhere."""
    wrong = stream.sample([value for value in fact.relation.values if value != fact.value], CHOICES - 1)
    choices = stream.shuffled([fact.value, *wrong])
    return Question(
        fact.relation.subject, f"which is {fact.phrase}?", tuple(choices), choices.index(fact.value)
    )


def draw_questions(facts: tuple[Fact, ...], seed: int) -> dict[str, tuple[Question, ...]]:
    """The `dev` and `test` questions: every fact in exactly one of them, subjects in order."""
    splits: dict[str, list[Question]] = {"dev": [], "test": []}
    for subject in SUBJECTS:
        stream = Stream(seed, f"mmlu/{subject}")
        mine = stream.shuffled([fact for fact in facts if fact.relation.subject == subject])
        asked = [ask(fact, stream) for fact in mine]
        splits["dev"].extend(asked[:DEVELOPMENT_ROWS])
        splits["test"].extend(asked[DEVELOPMENT_ROWS:])
    return {name: tuple(questions) for name, questions in splits.items()}
