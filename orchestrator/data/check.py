"""What a plan needs, where it was found, and whether its preference data are those that the study counts on."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.data.fetch import FetchError, fetch
from orchestrator.data.needs import Identity, Need, needs_of
from orchestrator.data.places import Place, find
from orchestrator.data.surroundings import surroundings
from workers.context import BadInput, StageContext
from workers.specs.data import Preference, PreferenceData

if TYPE_CHECKING:
    from orchestrator.plan import Plan
    from workers.data.files import Split


@dataclass(frozen=True)
class PairCount:
    """The rows of one preference and split: read, usable, dropped by rule, and what was expected of them.

    `taken` is how many of the usable ones the split gets; fewer where one file is divided by prompts.
    """

    dataset: str
    preference: Preference
    split: "Split"
    read: int
    usable: int
    taken: int
    dropped: dict[str, int]
    expected: int | None = None
    problem: str = ""


@dataclass
class Checked:
    """A need, its place, the counts of its preference data, and everything that is wrong with it."""

    need: Need
    place: Place
    counts: list[PairCount] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        identity = self.need.identity
        return {
            "repository": identity.repository,
            "id": identity.hub,
            "revision": identity.revision,
            "found": self.place.where,
            "path": str(self.place.path) if self.place.path else None,
            "bytes": self.place.size,
            "purposes": sorted(self.need.purposes),
            "counts": [vars(count) for count in self.counts],
            "problems": self.problems,
        }


def check(plan: "Plan", count: bool = True, failed: Mapping[Identity, str] | None = None) -> list[Checked]:
    """Every need of a plan, examined. Problems are collected, not raised.

    `count` reads the preference data too; `failed` says why downloads failed.
    """
    checked = [Checked(need, find(need, plan.hub_map)) for need in needs_of(plan)]
    for one in checked:
        if one.place.problem:
            one.problems.append((failed or {}).get(one.need.identity, one.place.problem))
    if count and plan.stages:
        with surroundings(plan, 0) as context:
            for one in checked:
                if not one.problems:
                    _count(one, context)
    return checked


def fetch_missing(checked: list[Checked], say: Callable[[str], None]) -> dict[Identity, str]:
    """Download what is missing or incomplete, one after another; why something could not be brought."""
    failed = {}
    for one in checked:
        if one.place.fetchable:
            say(f"fetching {one.need.identity.repository} {one.need.identity}")
            try:
                fetch(one.need)
            except FetchError as error:
                failed[one.need.identity] = str(error)
    return failed


def _count(one: Checked, context: StageContext) -> None:
    for data, preference, split in _sets(one.need):
        try:
            found = _counted(context, data, preference, split)
        except BadInput as error:
            one.problems.append(f"{data.dataset} ({preference}, {split}): {error}")
            continue
        one.counts.append(found)
        if found.problem:
            one.problems.append(found.problem)


def _sets(need: Need) -> Iterator[tuple[PreferenceData, Preference, "Split"]]:
    """Each preference and split that comes from a need, once; the settings with an expectation go first."""
    from workers.data.preferences import single_preferences

    seen = set()
    splits: tuple[tuple[Split, list[PreferenceData]], ...] = (
        ("train", need.training),
        ("test", need.testing),
    )
    for split, sets in splits:
        for data in sorted(sets, key=lambda data: data.expected_pairs is None):
            for preference in single_preferences(data):
                key = (split, data.dataset, data.source, preference)
                if key not in seen:
                    seen.add(key)
                    yield data, preference, split


def _counted(
    context: StageContext, data: PreferenceData, preference: Preference, split: "Split"
) -> PairCount:
    from workers.data.counts import count_of, mismatch
    from workers.data.preferences import usable_pairs

    found, taken = usable_pairs(context, data, preference, split)
    usable, dropped = len(found.pairs), {reason: n for reason, n in found.dropped.items() if n}
    count = count_of(data, preference, usable)
    known = split == "train" and data.source.world is None
    problem = "" if count.holds or not known else mismatch(data, preference, count, dropped)
    if not usable:
        problem = f"{data.dataset} ({preference}, {split}): none of {found.read:,} rows is usable: {dropped}"
    expected = count.expected if known else None
    return PairCount(data.dataset, preference, split, found.read, usable, taken, dropped, expected, problem)
