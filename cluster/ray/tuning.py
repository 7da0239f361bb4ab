"""Ray Tune over the trials of a search: schedulers group by group, the budget, and going on after a death."""

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from cluster.ray.shapes import Request
from cluster.ray.trial import STEPS, StageTrial
from cluster.search import Search, SearchSettings
from results.journal import Index
from results.layout import Workspace
from results.status import EARLY_STOPPED
from workers.submission import Submission

SAVE_SECONDS = 5
LIVES = 3
"""How often a trial is tried again when its actor dies; its stage goes on from its checkpoint."""
NEVER = 10**9
"""Schedulers want a largest time; stages end by themselves."""


class GroupedScheduler(FIFOScheduler):  # type: ignore[misc]
    """One scheduler for each group of trials: only like is compared with like."""

    def __init__(self, settings: SearchSettings) -> None:
        super().__init__()
        self._settings = settings
        self._members: dict[str, TrialScheduler] = {}

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Every group's scheduler knows metric and mode from the settings."""
        return True

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """As the group's scheduler does."""
        self._of(trial).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """As the group's scheduler decides; a stage at its last step is let come to its end."""
        return str(self._of(trial).on_trial_result(tune_controller, trial, result))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """As the group's scheduler does."""
        if STEPS in result and self._settings.metric in result:
            self._of(trial).on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """As the group's scheduler does."""
        self._of(trial).on_trial_remove(tune_controller, trial)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """As the group's scheduler does."""
        self._of(trial).on_trial_error(tune_controller, trial)

    def _of(self, trial: Any) -> TrialScheduler:
        group = trial.config["group"]
        if group not in self._members:
            self._members[group] = make_scheduler(self._settings)
        return self._members[group]


def make_scheduler(settings: SearchSettings) -> TrialScheduler:
    """Tune's own scheduler for one group."""
    common = {"time_attr": STEPS, "metric": settings.metric, "mode": settings.mode}
    asha, median = settings.scheduler.asha, settings.scheduler.median_stopping
    if asha is not None:
        return AsyncHyperBandScheduler(
            **common,
            max_t=NEVER,
            grace_period=asha.grace_steps,
            reduction_factor=asha.reduction_factor,
            stop_last_trials=False,
        )
    if median is not None:
        return MedianStoppingRule(
            **common,
            grace_period=median.grace_steps,
            min_samples_required=median.minimum_trials,
            hard_stop=True,
        )
    return FIFOScheduler()


class BudgetStopper(tune.Stopper):  # type: ignore[misc]
    """Ends the search when its trials have used up the steps."""

    def __init__(self, steps: int | None) -> None:
        self._limit = steps
        self._used: dict[str, int] = {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Note how far a trial is; none is ended by itself."""
        self._used[trial_id] = int(result.get(STEPS, 0))
        return False

    def stop_all(self) -> bool:
        """Whether the budget is used up."""
        return self._limit is not None and sum(self._used.values()) >= self._limit


def tune_trials(
    workspace: Workspace,
    submission: Submission,
    search: Search,
    requests: Mapping[str, Request],
    job: str,
    index: Index,
) -> None:
    """Run the search to its end. An earlier driver's search goes on where Tune had noted it."""
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", str(SAVE_SECONDS))
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    trials = open_trials(submission, search, index)
    if not trials:
        return
    storage = workspace.root.resolve() / "searches"
    trainable = tune.with_resources(
        tune.with_parameters(
            StageTrial,
            workspace=str(workspace.root.resolve()),
            submission=submission.id,
            metric=search.settings.metric,
            job=job,
        ),
        _resources(submission, search, requests),
    )
    path = str(storage / search_name(search))
    if tune.Tuner.can_restore(path):
        tuner = tune.Tuner.restore(path, trainable, resume_unfinished=True, restart_errored=True)
    else:
        tuner = _tuner(trainable, search, trials, str(storage))
    tuner.fit()


def open_trials(submission: Submission, search: Search, index: Index) -> list[dict[str, str]]:
    """The trials of this submission that no search has stopped, in its order: stage and group."""
    return [
        {"stage": one.stage, "group": search.trials[one.stage]}
        for one in submission.stages
        if one.stage in search.trials and index.ending(one.stage) != EARLY_STOPPED
    ]


def search_name(search: Search) -> str:
    """A name that the same search has in every submission."""
    content = "\n".join([*sorted(search.trials), search.settings.model_dump_json()])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _resources(submission: Submission, search: Search, requests: Mapping[str, Request]) -> Any:
    """What one trial's actor needs: the most of any trial's shape, for actors serve all in turn."""
    shapes = {one.shape for one in submission.stages if one.stage in search.trials}
    wanted = [requests[shape].resources for shape in shapes]
    most = {name: max(one.get(name, 0.0) for one in wanted) for name in set().union(*wanted)}
    return tune.PlacementGroupFactory([most], strategy="STRICT_PACK")


def _tuner(trainable: Any, search: Search, trials: list[dict[str, str]], storage: str) -> Any:
    return tune.Tuner(
        trainable,
        param_space=tune.grid_search(trials),
        tune_config=tune.TuneConfig(scheduler=GroupedScheduler(search.settings), reuse_actors=True),
        run_config=tune.RunConfig(
            name=search_name(search),
            storage_path=storage,
            stop=BudgetStopper(search.settings.budget.steps),
            failure_config=tune.FailureConfig(max_failures=LIVES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            verbose=0,
        ),
    )
