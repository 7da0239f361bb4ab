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
        own = Workspace(Path(self.config["root"]) / "trials" / self.trial_id)
        run_chain(Workspace(Path(self.config["root"])), own, self.config["stages"], self.memory)
        return {"done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        pass

    def load_checkpoint(self, checkpoint: Any) -> None:
        pass


def run_chain(given: Workspace, own: Workspace, stages: list[str], memory: dict[str, Any]) -> None:
    """Every stage that is not given, one after another, in a workspace of the trial's own."""
    for identity in stages:
        stage = Stage.read(given, identity)
        parents = []
        for role, parent in stage.parents:
            if not own.stage(parent).exists():
                own.stage(parent).parent.mkdir(parents=True, exist_ok=True)
                own.stage(parent).symlink_to(given.stage(parent).resolve())
            commit = read_commit(own, parent)
            assert commit is not None
            output = own.output(parent, commit["attempt"])
            parents.append(Parent(role, Stage.read(given, parent), output, []))
        stage.write(own)
        attempt = own.attempt(identity, "only")
        (attempt / "output").mkdir(parents=True, exist_ok=True)
        context = StageContext(own, stage, attempt, parents, Execution(device="cpu"), memory=memory)
        stage.kind.load_runner()(stage.recipe, context)
        own.done_file(identity).write_text(json.dumps({"stage": identity, "attempt": "only"}))


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
