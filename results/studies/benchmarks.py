"""The benchmarks of a study: under which task the store keeps each, and what stands in for one that is absent."""

from collections.abc import Collection
from dataclasses import dataclass

from pydantic import Field

from results.studies.settings import Settings


class Measure(Settings):
    """A figure of the store, called `title` where it stands in: its task, its metric and the unit shown.

    Without `metric` it is the task's primary figure. `curve` is the name under which training logs it as it goes on.
    """

    title: str = ""
    task: str
    metric: str | None = None
    curve: str | None = None
    unit: str
    factor: float = 1.0
    margin: float = Field(gt=0)
    digits: int = Field(default=3, ge=0)


class Benchmark(Settings):
    """A benchmark of the study, and in order of preference what stands in for it where it was not run."""

    title: str
    measures: Measure
    stand_ins: tuple[Measure, ...] = ()
    judged: bool = False


@dataclass(frozen=True)
class Measured:
    """A benchmark as a store has it."""

    name: str
    title: str
    measure: Measure
    judged: bool
    stands_in: bool

    @property
    def heading(self) -> str:
        """The title, or that of what was measured in its stead."""
        return f"{self.measure.title} (for {self.title})" if self.stands_in else self.title

    @property
    def note(self) -> str:
        """One sentence on the unit, and on what stands in for what."""
        if not self.stands_in:
            return f"{self.title}: {self.measure.unit}."
        return (
            f"{self.title} was not run: {self.measure.title} (task `{self.measure.task}`, {self.measure.unit}) stands "
            f"in for it; its values are not comparable with published ones."
        )


def as_measured(name: str, one: Benchmark, tasks: Collection[str]) -> Measured:
    """The benchmark `one`, called `name`, as a store with these `tasks` has it.

    The first stand-in that was run counts where the benchmark was not; where none was, it is the benchmark itself,
    without figures.
    """
    found = next((each for each in (one.measures, *one.stand_ins) if each.task in tasks), one.measures)
    return Measured(name, one.title, found, one.judged, found is not one.measures)
