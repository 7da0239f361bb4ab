"""Arrays: which bundles of a submission go to Slurm in one call of sbatch, and which arrays wait for which."""

from collections.abc import Sequence
from dataclasses import dataclass

from workers.submission import Submission

NAME_LENGTH = 200


@dataclass(frozen=True)
class Array:
    """Bundles of one shape, by their numbers in the submission; `after` are shapes whose arrays go before."""

    shape: str
    bundles: tuple[int, ...]
    after: tuple[str, ...] = ()


def make_arrays(submission: Submission, array_size: int) -> list[Array]:
    """The submission's bundles as arrays of at most `array_size`, shapes that others wait for first."""
    groups: dict[str, list[int]] = {}
    for number, bundle in enumerate(submission.bundles):
        groups.setdefault(bundle.shape, []).append(number)
    waits = shape_order(submission)
    ordered = sorted(groups, key=lambda shape: len(waits[shape]))
    return [
        Array(shape, tuple(groups[shape][start : start + array_size]), waits[shape])
        for shape in ordered
        for start in range(0, len(groups[shape]), array_size)
    ]


def shape_order(submission: Submission) -> dict[str, tuple[str, ...]]:
    """For every shape of the bundles, the shapes whose arrays had better end before its own start.

    A shape waits for another when its stages have parents there, and never the other way round, and when no
    stage of it could start at once: a job that starts earlier would only hold its node and wait. It is a hint:
    the commits of the parents decide.
    """
    shapes = {bundle.shape for bundle in submission.bundles}
    needs = _needed_shapes(submission)
    waiting = shapes - {stage.shape for stage in submission.stages if not stage.parents}
    return {
        shape: tuple(
            sorted(
                other
                for other in needs.get(shape, set()) & shapes
                if shape in waiting and shape not in needs.get(other, set())
            )
        )
        for shape in shapes
    }


def job_name(submission: Submission, bundles: Sequence[int], part: str) -> str:
    """A job's name: study, kinds of stages, submission and part; the element's index tells the bundle."""
    kinds = {
        submission.stages[number].kind for bundle in bundles for number in submission.bundles[bundle].stages
    }
    listed = "+".join(sorted(kinds))[:80] or "tail"
    study = submission.study or "study"
    return f"yates-{study}-{listed}-{submission.id}-{part}".replace(",", "")[-NAME_LENGTH:]


def _needed_shapes(submission: Submission) -> dict[str, set[str]]:
    """The shapes of everything that the stages of a shape stand on, other than the shape itself."""
    above: list[set[str]] = []
    needs: dict[str, set[str]] = {}
    for stage in submission.stages:  # parents come first
        found: set[str] = set()
        for parent in stage.parents:
            found |= above[parent] | {submission.stages[parent].shape}
        above.append(found)
        needs.setdefault(stage.shape, set()).update(found)
    return {shape: found - {shape} for shape, found in needs.items()}
