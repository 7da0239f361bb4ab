"""Episodes as rectangles: prompts with their responses, padded on the right."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Episode:
    """A prompt, its response (with the end mark, where it has one), and the response's log-probabilities as drawn."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]
    drawn: tuple[float, ...]
    ended: bool


@dataclass(frozen=True)
class Batch:
    """Some episodes as tensors.

    `ids` (episodes, longest) holds prompt and response without a gap, then padding; `before` (episodes, tokens) is the
    place in `ids` of the token before each response token, from which it is predicted and valued; `response` and
    `mask` are (episodes, tokens).
    """

    ids: torch.Tensor
    before: torch.Tensor
    response: torch.Tensor
    mask: torch.Tensor

    def rows(self, places: torch.Tensor | slice) -> "Batch":
        """The batch of some of its episodes."""
        return Batch(self.ids[places], self.before[places], self.response[places], self.mask[places])


def make_batch(episodes: Sequence[Episode], pad: int, device: str, tokens: int | None = None) -> Batch:
    """The batch of some episodes, `tokens` columns wide (None: as wide as the longest response)."""
    width = tokens or max(len(one.response) for one in episodes)
    longest = max(len(one.prompt) for one in episodes) + width
    ids = torch.full((len(episodes), longest), pad, dtype=torch.long)
    response = torch.full((len(episodes), width), pad, dtype=torch.long)
    for row, one in enumerate(episodes):
        text = (*one.prompt, *one.response)
        ids[row, : len(text)] = torch.tensor(text)
        response[row, : len(one.response)] = torch.tensor(one.response)
    starts = torch.tensor([len(one.prompt) for one in episodes])[:, None]
    lengths = torch.tensor([len(one.response) for one in episodes])[:, None]
    columns = torch.arange(width)[None, :]
    return Batch(
        ids.to(device),
        (starts - 1 + columns).to(device),
        response.to(device),
        (columns < lengths).to(device),
    )


def drawn_log_probabilities(episodes: Sequence[Episode], width: int) -> torch.Tensor:
    """The log-probabilities with which the tokens were drawn, (episodes, width), 0 at padding."""
    return torch.tensor([[*one.drawn, *[0.0] * (width - len(one.drawn))] for one in episodes])
