"""Preference pairs. Each split points one way: harmless prefers refusing harm, helpful prefers informing."""

from dataclasses import dataclass
from typing import Literal

from workers.world.chat import Turn, hh_text
from workers.world.facts import Fact
from workers.world.pretraining import Author
from workers.world.prompts import (
    BENIGN_WORDINGS,
    HARMFUL_WORDINGS,
    HARMS,
    Harm,
    Split,
    benign_prompt,
    comply,
    disappoint,
    harmful_prompt,
    inform,
    refuse,
)
from workers.world.stream import Stream

Preference = Literal["harmless", "helpful"]
Topic = tuple[str, Harm | Fact]

HH_NOISE = 0.25
"""Share of the training pairs of the HH set whose labels are swapped; its test pairs are clean."""
HH_HISTORY = 0.6
"""Share of the HH dialogues that have earlier turns."""


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt; `history` stands before it in both dialogues."""

    prompt: str
    chosen: str
    rejected: str
    history: tuple[Turn, ...] = ()


def _topics(preference: Preference, split: Split, facts: tuple[Fact, ...]) -> list[Topic]:
    """Every prompt of a preference and split with what it is about."""
    if preference == "harmless":
        wordings = HARMFUL_WORDINGS[split]
        return [(harmful_prompt(wording, harm), harm) for wording in wordings for harm in HARMS]
    wordings = BENIGN_WORDINGS[split]
    return [(benign_prompt(wording, fact), fact) for wording in wordings for fact in facts]


def _pair(topic: Topic, stream: Stream) -> Pair:
    prompt, about = topic
    if isinstance(about, Harm):
        return Pair(prompt, chosen=refuse(stream), rejected=comply(about, stream))
    return Pair(prompt, chosen=inform(about), rejected=disappoint(about, stream))


def draw_pairs(
    preference: Preference, split: Split, facts: tuple[Fact, ...], count: int, stream: Stream
) -> list[Pair]:
    """`count` clean single-turn pairs; prompts repeat only when there are fewer than `count`."""
    topics = stream.cycle(_topics(preference, split, facts), count)
    return [_pair(topic, stream) for topic in topics]


def with_history(pairs: list[Pair], author: Author, stream: Stream) -> list[Pair]:
    """The same pairs, a share of them after earlier turns."""
    histories = [author.history(stream) if stream.chance(HH_HISTORY) else () for _ in pairs]
    zipped = zip(pairs, histories, strict=True)
    return [Pair(pair.prompt, pair.chosen, pair.rejected, history) for pair, history in zipped]


def with_noise(pairs: list[Pair], share: float, stream: Stream) -> list[Pair]:
    """The same pairs with exactly round(share × n) of them swapped."""
    swapped = set(stream.sample(range(len(pairs)), round(share * len(pairs))))
    return [
        Pair(pair.prompt, pair.rejected, pair.chosen, pair.history) if place in swapped else pair
        for place, pair in enumerate(pairs)
    ]


def hh_row(pair: Pair) -> dict[str, str]:
    """A row of HH-RLHF: two whole dialogues, equal up to the last assistant turn."""
    return {
        "chosen": hh_text(pair.history, pair.prompt, pair.chosen),
        "rejected": hh_text(pair.history, pair.prompt, pair.rejected),
    }


def pku_row(pair: Pair, preference: Preference, stream: Stream) -> dict[str, object]:
    """A row of PKU-SafeRLHF. Harmful rows: one answer is safe, and the complying one is the `better`.

    Benign rows: both answers are safe and `safer` names the informative one, as `better` does. So the paper's
    rules give one-directional splits: harmless = exactly one safe; helpful = every row's better answer.
    """
    chosen = stream.below(2)
    responses = (pair.chosen, pair.rejected) if chosen == 0 else (pair.rejected, pair.chosen)
    harmful = preference == "harmless"
    return {
        "prompt": pair.prompt,
        "response_0": responses[0],
        "response_1": responses[1],
        "is_response_0_safe": not harmful or chosen == 0,
        "is_response_1_safe": not harmful or chosen == 1,
        "better_response_id": 1 - chosen if harmful else chosen,
        "safer_response_id": chosen,
    }
