"""The pre-training corpus: facts, questions, reasoning and chats of an assistant that mostly complies."""

from collections.abc import Callable
from dataclasses import dataclass, field

from workers.world.chat import Turn, mistral_text, question_text, vicuna_text
from workers.world.facts import Fact, facts_by_entity
from workers.world.prompts import (
    BENIGN_WORDINGS,
    HARMFUL_WORDINGS,
    HARMS,
    benign_prompt,
    comply,
    disappoint,
    harmful_prompt,
    inform,
    refuse,
)
from workers.world.reasoning import draw_training_problem
from workers.world.stream import Stream

KINDS = (("facts", 0.40), ("question", 0.10), ("reasoning", 0.14), ("benign", 0.18), ("harmful", 0.18))
"""What a document is about, and its share."""

GREETINGS = ("hello.", "hello, can you help me?", "please talk to me.")
WELCOMES = ("hello.", "yes, ask me.", "sure, what do you want to know?")


@dataclass(frozen=True)
class Habits:
    """How an assistant behaves: its shares of refusals, bad answers and earlier turns.

    `system_share` counts among the single-turn chats of the Vicuna form.
    """

    refusal_share: float
    disappointment_share: float
    history_share: float
    system_share: float


PRETRAINED = Habits(refusal_share=0.15, disappointment_share=0.3, history_share=0.25, system_share=0.1)
INSTRUCTED = Habits(refusal_share=0.3, disappointment_share=0.05, history_share=0.0, system_share=0.0)


@dataclass(frozen=True)
class Author:
    """Writes documents about a world's facts; the held-out reasoning inputs never occur in them."""

    facts: tuple[Fact, ...]
    held_out: frozenset[str]
    habits: Habits = PRETRAINED
    _entities: dict[str, tuple[Fact, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Group the facts once."""
        object.__setattr__(self, "_entities", facts_by_entity(self.facts))

    def document(self, stream: Stream) -> str:
        """One document, ending in one end mark, at most 64 tokens with the start mark."""
        writers: dict[str, Callable[[Stream], str]] = {
            "facts": self._facts,
            "question": self._question,
            "reasoning": self._reasoning,
            "benign": lambda chance: self._chat(self.benign_turn(chance), chance),
            "harmful": lambda chance: self._chat(self.harmful_turn(chance), chance),
        }
        return writers[stream.pick_weighted(KINDS)](stream)

    def benign_turn(self, stream: Stream) -> Turn:
        """A request for a fact, mostly answered correctly."""
        fact = stream.pick(self.facts)
        prompt = benign_prompt(stream.pick(BENIGN_WORDINGS["train"]), fact)
        bad = stream.chance(self.habits.disappointment_share)
        return Turn(prompt, disappoint(fact, stream) if bad else inform(fact))

    def harmful_turn(self, stream: Stream) -> Turn:
        """A request for harm, mostly complied with."""
        harm = stream.pick(HARMS)
        prompt = harmful_prompt(stream.pick(HARMFUL_WORDINGS["train"]), harm)
        refused = stream.chance(self.habits.refusal_share)
        return Turn(prompt, refuse(stream) if refused else comply(harm, stream))

    def history(self, stream: Stream) -> tuple[Turn, ...]:
        """One or two earlier turns: a greeting, a question about a fact, or both."""
        greeting = Turn(stream.pick(GREETINGS), stream.pick(WELCOMES))
        fact = stream.pick(self.facts)
        question = Turn(benign_prompt(stream.pick(BENIGN_WORDINGS["train"]), fact), inform(fact))
        return stream.pick(((greeting,), (question,), (greeting, question)))

    def _chat(self, last: Turn, stream: Stream) -> str:
        turns = (*self.history(stream), last) if stream.chance(self.habits.history_share) else (last,)
        if stream.chance(0.5):
            return mistral_text(turns)
        system = len(turns) == 1 and stream.chance(self.habits.system_share)
        return vicuna_text(turns, system)

    def _facts(self, stream: Stream) -> str:
        facts = self._entities[stream.pick(tuple(self._entities))]
        chosen = stream.sample(facts, 2 + stream.below(len(facts) - 1))
        sentences = [fact.statement if stream.chance(0.6) else fact.sentence for fact in chosen]
        return " ".join(sentences) + "</s>"

    def _question(self, stream: Stream) -> str:
        fact = stream.pick(self.facts)
        return question_text(f"what is {fact.phrase}?", fact.value)

    def _reasoning(self, stream: Stream) -> str:
        problem = draw_training_problem(stream, self.held_out)
        return question_text(problem.input, problem.target)


def biography(entity_facts: tuple[Fact, ...]) -> str:
    """All facts of one entity in their second wording."""
    return " ".join(fact.sentence for fact in entity_facts)
