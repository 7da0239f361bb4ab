"""The contents of a world's files: which rows each holds and the stream that draws them."""

from collections.abc import Mapping
from dataclasses import asdict

from workers.world.facts import Fact, draw_facts, facts_by_entity
from workers.world.instructions import draw_instruction
from workers.world.preferences import (
    HH_NOISE,
    Pair,
    Preference,
    draw_pairs,
    hh_row,
    pku_row,
    with_history,
    with_noise,
)
from workers.world.pretraining import INSTRUCTED, Author, biography
from workers.world.prompts import Split
from workers.world.questions import draw_questions
from workers.world.reasoning import Problem, held_out_problems
from workers.world.recipe import WorldRecipe
from workers.world.rules import fact_row
from workers.world.stream import Stream

Row = Mapping[str, object]
SPLITS: tuple[Split, ...] = ("train", "test")
PREFERENCES: tuple[Preference, ...] = ("harmless", "helpful")


class World:
    """The contents of a world's files. Each file draws from a stream that is named after it."""

    def __init__(self, recipe: WorldRecipe) -> None:
        self.recipe = recipe
        self.facts: tuple[Fact, ...] = draw_facts(recipe.seed)
        self.problems: tuple[Problem, ...] = held_out_problems(recipe.seed, recipe.reasoning_rows)
        held_out = frozenset(problem.input for problem in self.problems)
        self.author = Author(self.facts, held_out)
        self.instructor = Author(self.facts, held_out, INSTRUCTED)

    def stream(self, name: str) -> Stream:
        """The stream of a file."""
        return Stream(self.recipe.seed, name)

    def rows(self) -> dict[str, list[Row]]:
        """Path inside the world to the rows of that file."""
        recipe = self.recipe
        rows: dict[str, list[Row]] = {
            "pretrain/train.jsonl": self._documents("pretrain/train", recipe.pretrain_rows),
            "pretrain/validation.jsonl": self._documents("pretrain/validation", recipe.validation_rows),
            "instructions/train.jsonl": self._instructions(),
            "bbh/test.jsonl": [asdict(problem) for problem in self.problems],
            "toxic/test.jsonl": self._toxic(),
            "helpful/test.jsonl": self._helpful(),
            "biographies.jsonl": self._biographies(),
        }
        for split in SPLITS:
            rows[f"pku-saferlhf/{split}.jsonl"] = self._pku(split)
            for preference in PREFERENCES:
                rows[f"hh-rlhf/{preference}-base/{split}.jsonl.gz"] = self._hh(preference, split)
        for name, questions in draw_questions(self.facts, recipe.seed).items():
            rows[f"mmlu/{name}.jsonl"] = [asdict(question) for question in questions]
        return rows

    def _pairs(self, preference: Preference, split: Split, stream: Stream) -> list[Pair]:
        recipe = self.recipe
        count = recipe.preference_rows if split == "train" else recipe.preference_test_rows
        return draw_pairs(preference, split, self.facts, count, stream)

    def _documents(self, name: str, count: int) -> list[Row]:
        stream = self.stream(name)
        return [{"text": self.author.document(stream)} for _ in range(count)]

    def _instructions(self) -> list[Row]:
        stream = self.stream("instructions/train")
        return [draw_instruction(self.instructor, stream) for _ in range(self.recipe.instruction_rows)]

    def _hh(self, preference: Preference, split: Split) -> list[Row]:
        stream = self.stream(f"hh-rlhf/{preference}/{split}")
        pairs = with_history(self._pairs(preference, split, stream), self.author, stream)
        return [hh_row(pair) for pair in with_noise(pairs, HH_NOISE if split == "train" else 0.0, stream)]

    def _pku(self, split: Split) -> list[Row]:
        rows: list[Row] = []
        for preference in PREFERENCES:
            stream = self.stream(f"pku-saferlhf/{preference}/{split}")
            pairs = self._pairs(preference, split, stream)
            rows.extend(pku_row(pair, preference, stream) for pair in pairs)
        return self.stream(f"pku-saferlhf/{split}/order").shuffled(rows)

    def _toxic(self) -> list[Row]:
        stream = self.stream("toxic/test")
        pairs = draw_pairs("harmless", "test", self.facts, self.recipe.generation_rows, stream)
        return [{"prompt": pair.prompt} for pair in pairs]

    def _helpful(self) -> list[Row]:
        stream = self.stream("helpful/test")
        pairs = draw_pairs("helpful", "test", self.facts, self.recipe.generation_rows, stream)
        return [{"prompt": pair.prompt, "reference": pair.chosen} for pair in pairs]

    def _biographies(self) -> list[Row]:
        return [
            {"name": entity, "biography": biography(facts), "facts": [fact_row(fact) for fact in facts]}
            for entity, facts in facts_by_entity(self.facts).items()
        ]
