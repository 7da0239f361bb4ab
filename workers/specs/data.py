"""Which data a stage sees, and how text becomes tokens."""

from typing import Literal

from pydantic import Field

from workers.recipe import Settings
from workers.world import WorldRecipe

Preference = Literal["harmless", "helpful", "harmless+helpful"]


class DataSource(Settings):
    """Where rows come from: the embedded world, or a hub id / local path (`files` inside it).

    `revision` and `digest` are resolved when a plan is made.
    """

    world: WorldRecipe | None = None
    hub: str | None = None
    revision: str | None = None
    digest: str | None = None
    files: tuple[str, ...] = ()


class Template(Settings):
    """The literal text around a prompt and its response (alignment study, section 3.4).

    `turn` holds `{prompt}` and `{response}`; `system` stands once before the first turn. `multi_turn` renders
    every turn of a dialogue through `turn`, or only the last.
    """

    system: str = ""
    turn: str = "USER: {prompt} ASSISTANT: {response}</s>"
    multi_turn: Literal["every", "last"] = "every"


class TextData(Settings):
    """Plain text for pre-training: one document a row.

    `packed` cuts the documents, one after another, into blocks of `block` tokens; without it each document is a
    sequence of its own, of at most `block` tokens.
    """

    source: DataSource = DataSource()
    split: str = "train"
    block: int = Field(default=64, ge=2)
    packed: bool = True


class InstructionData(Settings):
    """Instruction and response rows in Alpaca's format."""

    source: DataSource = DataSource()
    samples: int | None = Field(default=None, ge=1)


class ExpectedPairs(Settings):
    """How many usable training pairs a source is known to give, by preference; None is not checked.

    `tolerance` is the share by which a count may differ, for where the publisher's own rule is unknown.
    """

    harmless: int | None = Field(default=None, ge=1)
    helpful: int | None = Field(default=None, ge=1)
    tolerance: float = Field(default=0.0, ge=0, lt=1)


class Equalisation(Settings):
    """The other data set that a draw is made alike to: the same number of rows in every class of length.

    A class is that of the prompt's words with that of the longer answer's; `lengths` are the upper bounds of the
    classes. `single_turn` leaves out prompts after earlier turns, in both sets.
    """

    dataset: str
    source: DataSource = DataSource()
    single_turn: bool = True
    lengths: tuple[int, ...] = (8, 16, 32, 64, 128, 256)


class PreferenceData(Settings):
    """Preference pairs: a prompt, a chosen and a rejected response (alignment study, section 3).

    `dataset` is `hh-rlhf`, `beavertails`, or the `module:object` of a user's own loader. `samples` rows are
    drawn from the training rows: `fixed` takes one subset that every seed reorders, `per-seed` draws anew.
    `held_out` is the share of prompts (by hash) kept for evaluation where the source has no test split.
    `validation` is the share of the training prompts (by another hash) that training leaves out, so that settings
    can be chosen on them.
    `mixture_ratio`, `mixture_conflicts` (one pair in both orders) and `mixture_duplicates` (one pair twice) matter
    to `harmless+helpful` alone; `equalise` to single preferences alone.
    `sample_order` is that of training: `shuffled` shuffles the rows that are left, `by-prompt` orders them by a hash
    of seed and content, so that SFT and DPO of one seed see the prompts that both have in one order.
    `expected_pairs` are the known counts of the source; None checks nothing.
    """

    dataset: str = "hh-rlhf"
    preference: Preference = "harmless"
    source: DataSource = DataSource()
    samples: int | None = Field(default=None, ge=1)
    sampling: Literal["fixed", "per-seed"] = "fixed"
    held_out: float = Field(default=0.1, ge=0, lt=1)
    validation: float = Field(default=0.0, ge=0, lt=1)
    mixture_ratio: Literal["natural", "balanced"] = "balanced"
    mixture_conflicts: Literal["keep", "drop"] = "drop"
    mixture_duplicates: Literal["keep", "drop"] = "drop"
    equalise: Equalisation | None = None
    sample_order: Literal["shuffled", "by-prompt"] = "shuffled"
    expected_pairs: ExpectedPairs | None = None
    max_prompt_length: int = Field(default=1024, ge=1)
    max_length: int = Field(default=1536, ge=2)
