"""Ray Tune alone: one trial per experiment, in warm actors, without a workspace's knowledge.

    python -m tests.benchmarks.plain_tune WORKSPACE EXPERIMENTS ADDRESS

EXPERIMENTS is a JSON list; each is the list of an experiment's stages, parents first. What is committed in the
workspace counts as given. Prints the seconds of the fit.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import ray
from ray import tune

from results.layout import Workspace
from workers.attempts import read_commit
from workers.context import Parent, StageContext
from workers.recipe import Execution
from workers.stage import Stage


class OneExperiment(tune.Trainable):  # type: ignore[misc]
    """Runs an experiment's stages in its own process; keeps what was loaded for the next."""

    def setup(self, config: dict[str, Any]) -> None:
        self.memory: dict[str, Any] = {}
        self.config = config

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.config = new_config
        return True

    def step(self) -> dict[str, Any]:
        run_chain(Workspace(Path(self.config["root"])), self.config["stages"], self.trial_id, self.memory)
        return {"done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        pass

    def load_checkpoint(self, checkpoint: Any) -> None:
        pass


def run_chain(workspace: Workspace, stages: list[str], trial: str, memory: dict[str, Any]) -> None:
    """Every stage that is not given, one after another, into directories of the trial's own."""
    for identity in stages:
        stage = Stage.read(workspace, identity)
        parents = []
        for role, parent in stage.parents:
            commit = read_commit(workspace, parent)
            output = (
                workspace.output(parent, commit["attempt"])
                if commit
                else workspace.stage(parent) / trial / "output"
            )
            parents.append(Parent(role, Stage.read(workspace, parent), output, []))
        place = workspace.stage(identity) / trial
        (place / "output").mkdir(parents=True, exist_ok=True)
        context = StageContext(workspace, stage, place, parents, Execution(device="cpu"), memory=memory)
        stage.kind.load_runner()(stage.recipe, context)


def main() -> None:
    root, chains, address = sys.argv[1:]
    ray.init(address=address, log_to_driver=False)
    trainable = tune.with_resources(OneExperiment, tune.PlacementGroupFactory([{"CPU": 1}]))
    trials = [{"root": root, "stages": stages} for stages in json.loads(chains)]
    began = time.time()
    grid = tune.Tuner(
        trainable,
        param_space=tune.grid_search(trials),
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(storage_path=f"{root}/plain-tune", name=str(time.time()), verbose=0),
    ).fit()
    assert not grid.errors, grid.errors[0]
    print(time.time() - began)


if __name__ == "__main__":
    main()
