"""The pairs of a split that a stage works on: loaded, made alike to another set where asked, and drawn."""

from workers.context import StageContext
from workers.data.dialogues import Pair
from workers.data.equalisation import equalised
from workers.data.files import Split
from workers.data.preferences import PairSet, load_pairs
from workers.data.sampling import draw_pairs, ranked_pairs
from workers.specs.data import PreferenceData


def selected_pairs(
    context: StageContext, data: PreferenceData, split: Split, seed: int
) -> tuple[list[Pair], PairSet]:
    """The drawn pairs of `train`, or all of another split, and what they were chosen from.

    Raises:
        BadInput: data are missing or malformed, or nothing is left.
    """
    found = load_pairs(context, data, split)
    if split != "train":
        return found.pairs, found
    if data.equalise is not None:
        return equalised(context, data, found, ranked_pairs(found.pairs, data, seed)), found
    return draw_pairs(found.pairs, data, seed), found
