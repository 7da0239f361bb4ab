"""PPO on real input with the network off: a real model, Alpaca's prompts, a reward model of real HH pairs.

The figures are not comparable with the study's: the pairs are upstream *test* rows, split by a hash of the prompt.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import results
from tests.support.commands import ASSETS, yates
from tests.support.smollm import smollm2

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ASSETS.is_dir(), reason="the assets folder is not beside the repository"),
    pytest.mark.timeout(7200),
]

GRID = Path(__file__).parents[2] / "grids" / "rlhf.yaml"
HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
ARMS = 'regularizer in ("kl", "none") and coefficient != "weak" and seed == 0'
ROWS = ('pairs.human.source.files=["*{preference}-base*"]', "pairs.human.samples=400")
SMALLER = (
    "recipes.rollout.batch_size=8",
    "recipes.rollout.new_tokens=24",
    "recipes.rollout.prompt_tokens=48",
)


def stories() -> Path:
    """Half a thousand words, so that a prompt takes many tokens."""
    return ASSETS / "models" / "stories260K-hf"


@pytest.mark.parametrize(("model", "rate", "longest"), [(stories, 1e-3, 160), (smollm2, 1e-4, 48)])
def test_two_arms_of_twenty_steps(
    tmp_path: Path, model: Callable[[], Path], rate: float, longest: int
) -> None:
    mapping = {
        HUB: model(),
        "Anthropic/hh-rlhf": ASSETS / "preference",
        "tatsu-lab/alpaca": ASSETS / "instruction" / "alpaca.5000.json",
    }
    (tmp_path / "hub.yaml").write_text(yaml.safe_dump({hub: str(path) for hub, path in mapping.items()}))
    own = (f"recipes.ppo.learning_rate={rate}", f"recipes.rollout.prompt_tokens={longest}")
    overrides = (*ROWS, *SMALLER, *own)
    options = [word for one in overrides for word in ("--set", one)]
    runs = tmp_path / "runs"
    where = ("--where", ARMS, "--scale", "small", "--hub-map", tmp_path / "hub.yaml")
    done = yates("run", GRID, "-w", runs, *where, *options, timeout=7000, **OFFLINE)
    assert done.returncode == 0, done.stdout + done.stderr
    frame = results.load(runs).set_index("name")
    assert len(frame) == 2
    assert frame[["score", "true_kl", "entropy", "response_length"]].notna().all(axis=None)
    curves = results.curves(runs)
    kl = curves[curves["name"] == "true_kl"].pivot(index="step", columns="stage", values="value")
    assert len(kl) == 20
    assert (kl.loc[1].abs() < 1e-6).all(), "the policy starts at the reference"
    assert (kl.loc[20] > 0).all()
