"""An adaptive search: which stages report, by what they are compared, who is stopped early, and what it may cost."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from workers.recipe import Settings


class Asha(Settings):
    """Asynchronous successive halving (Li et al., arXiv 1810.05934): of each rung the best `1/reduction_factor` go on.

    The first rung is at `grace_steps`, each next one `reduction_factor` times further.
    """

    grace_steps: int = Field(ge=1)
    reduction_factor: float = Field(default=3.0, gt=1)


class MedianStopping(Settings):
    """A trial ends whose best figure is worse than the median of the others' running means (Golovin et al. 2017).

    Not before `grace_steps`, and not before `minimum_trials` others have reported.
    """

    grace_steps: int = Field(ge=1)
    minimum_trials: int = Field(default=3, ge=1)


class Scheduler(Settings):
    """Who is stopped early; neither of the two: nobody."""

    asha: Asha | None = None
    median_stopping: MedianStopping | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.asha is not None and self.median_stopping is not None:
            raise ValueError("give one scheduler, `asha` or `median_stopping`")
        return self


class Budget(Settings):
    """What a search may cost; None is no limit. `steps` are optimizer steps of all its trials together."""

    steps: int | None = Field(default=None, ge=1)
    trials: int | None = Field(default=None, ge=1)


class SearchSettings(Settings):
    """The `search:` block of a grid.

    `stages` names the pipeline's stages that report `metric` while they train; trials are compared with those that
    share all factors but the searched ones. `feeds` says, by parameter, which key of another grid takes the best.
    """

    stages: tuple[str, ...] = Field(min_length=1)
    metric: str = "validation_loss"
    mode: Literal["min", "max"] = "min"
    scheduler: Scheduler = Scheduler()
    budget: Budget = Budget()
    feeds: dict[str, str] = {}


class Search(Settings):
    """A search as a plan and a submission keep it: `trials` gives the group of every searched stage."""

    settings: SearchSettings
    parameters: tuple[str, ...]
    trials: dict[str, str]

    @classmethod
    def read(cls, content: dict[str, Any]) -> "Search | None":
        """Read back what a plan or a submission holds; empty is none."""
        return cls.model_validate(content) if content else None
