"""How far a PPO run has come, in the middle of a step too, as files of a checkpoint.

There is no random state to keep: every draw follows from the seed and the place in the run (`prompts`, `sampling`,
`update`). What is kept: the trained weights, the optimizer's moments, the coefficient, what was logged, the
episodes rolled out so far in the running step, what was measured on them, and how many optimizer steps were made.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from workers.ppo.episodes import Episode
from workers.ppo.optimizer import Adam

PROGRESS = "progress.json"
WEIGHTS = "weights.safetensors"
OPTIMIZER = "optimizer.safetensors"
EXPERIENCE = "experience.safetensors"


@dataclass
class State:
    """Where a run stands. `step` counts finished PPO steps; `tensors` are the running step's experience, if measured.

    `figures` are those measured on its rollout, `tally` those of its optimizer steps, `proven` says that an update was
    seen to change the policy.
    """

    step: int = 0
    coefficient: float = 0.0
    tokens: int = 0
    proven: bool = False
    curves: list[dict[str, float]] = field(default_factory=list)
    episodes: list[Episode] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    tally: list[dict[str, float]] = field(default_factory=list)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)

    def next_step(self) -> None:
        """Forget the step that is done."""
        self.step += 1
        self.episodes, self.figures, self.tally, self.tensors = [], {}, [], {}


def save_state(directory: Path, state: State, parameters: dict[str, nn.Parameter], adam: Adam) -> None:
    """Write everything into a checkpoint's directory."""
    save_file({name: _plain(value) for name, value in parameters.items()}, directory / WEIGHTS)
    save_file({name: _plain(value) for name, value in adam.tensors().items()}, directory / OPTIMIZER)
    save_file({name: _plain(value) for name, value in state.tensors.items()}, directory / EXPERIENCE)
    (directory / PROGRESS).write_text(json.dumps(_record(state)))


def load_state(directory: Path, parameters: dict[str, nn.Parameter], adam: Adam, device: str) -> State:
    """The state that `save_state` wrote; weights and moments are put in place."""
    record = json.loads((directory / PROGRESS).read_text())
    weights = load_file(directory / WEIGHTS)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
    adam.restore(load_file(directory / OPTIMIZER))
    tensors = load_file(directory / EXPERIENCE, device=device)
    episodes = [
        Episode(tuple(prompt), tuple(response), tuple(drawn), ended)
        for prompt, response, drawn, ended in record.pop("episodes")
    ]
    return State(**record, episodes=episodes, tensors=dict(tensors))


def _record(state: State) -> dict[str, Any]:
    names = ("step", "coefficient", "tokens", "proven", "curves", "figures", "tally")
    episodes = [[one.prompt, one.response, one.drawn, one.ended] for one in state.episodes]
    return {**{name: getattr(state, name) for name in names}, "episodes": episodes}


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().contiguous().clone()
