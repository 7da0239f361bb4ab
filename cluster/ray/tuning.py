"""Ray Tune over the trials of a search: schedulers group by group, the budget, and going on after a death.

Every driver makes a Tuner of its own for what is still open, and tells its schedulers first what the ledger has seen.
`Tuner.restore` is not used: it brings the trials back, but not what their schedulers had compared.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from cluster.ray.ledger import Ledger
from cluster.ray.shapes import Request, largest
from cluster.ray.trial import STEPS, StageTrial
from cluster.search import Search, SearchSettings
from results.layout import Workspace
from workers.attempts import Claimant
from workers.outlook import Outlook
from workers.submission import Submission

LIVES = 3
"""How often a trial is tried again when its actor dies; its stage goes on from its checkpoint."""
NEVER = 10**9
"""Schedulers want a largest time; stages end by themselves."""
CONTINUE = str(TrialScheduler.CONTINUE)
NO_BUDGET = "the search's budget was used up"


class GroupedScheduler(FIFOScheduler):  # type: ignore[misc]
    """One scheduler for each group of trials: only like is compared with like. Whom it stops, the ledger knows."""

    def __init__(self, search: Search, ledger: Ledger) -> None:
        super().__init__()
        self._settings, self._ledger = search.settings, ledger
        self._members: dict[str, TrialScheduler] = {}

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Every group's scheduler knows metric and mode from the settings."""
        return True

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """As the group's scheduler does."""
        self._of(trial).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """As the group's scheduler decides, but nobody is paused: that would cost a checkpoint and a model load."""
        if self._settings.metric not in result:
            return CONTINUE
        decision = str(self._of(trial).on_trial_result(tune_controller, trial, result))
        if decision != TrialScheduler.STOP:
            return CONTINUE
        self._ledger.stop(trial.config["stage"])
        return decision

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

    def recall(self, stage: str, group: str) -> None:
        """Tell the group's scheduler what a trial had reported before this driver."""
        trial = Past(f"past-{stage}", {"group": group, "stage": stage})
        member = self._of(trial)
        member.on_trial_add(Nobody(), trial)
        for step, value in self._ledger.reports(stage):
            member.on_trial_result(Nobody(), trial, {STEPS: step, self._settings.metric: value})

    def _of(self, trial: Any) -> TrialScheduler:
        group = trial.config["group"]
        if group not in self._members:
            self._members[group] = make_scheduler(self._settings)
        return self._members[group]


@dataclass(eq=False)
class Past:
    """A trial of an earlier driver, as far as schedulers look."""

    trial_id: str
    config: dict[str, Any]


class Nobody:
    """A controller without trials."""

    def get_trials(self) -> list[Any]:
        """None."""
        return []

    def get_live_trials(self) -> set[Any]:
        """None."""
        return set()


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


@dataclass
class BudgetStopper(tune.Stopper):  # type: ignore[misc]
    """Ends the search when its trials, with those of earlier drivers, have used up the steps."""

    limit: int | None
    before: int = 0
    used: dict[str, int] = field(default_factory=dict)

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Note how far a trial is; none is ended by itself."""
        self.used[trial_id] = int(result.get(STEPS, 0))
        return False

    def stop_all(self) -> bool:
        """Whether the budget is used up."""
        return self.limit is not None and self.before + sum(self.used.values()) >= self.limit


@dataclass
class Tuning:
    """One driver's part of a search."""

    workspace: Workspace
    submission: Submission
    search: Search
    outlook: Outlook
    requests: Mapping[str, Request]
    job: str

    def __post_init__(self) -> None:
        self.ledger = Ledger.of(self.workspace, self.search)

    def run(self) -> None:
        """Tune what is open, to its end or to that of the budget; what the budget leaves over is stopped."""
        trials = self.open_trials()
        open_stages = {one["stage"] for one in trials}
        past = [stage for stage in self.search.trials if stage not in open_stages]
        stopper = BudgetStopper(self.search.settings.budget.steps, sum(map(self._reached, past)))
        if trials and not stopper.stop_all():
            os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
            scheduler = GroupedScheduler(self.search, self.ledger)
            for stage in past:
                scheduler.recall(stage, self.search.trials[stage])
            self._tuner(trials, scheduler, stopper).fit()
        if stopper.stop_all():
            self._give_up_the_rest()

    def open_trials(self) -> list[dict[str, Any]]:
        """The trials that may still come to an end, of those that this submission is for."""
        own = {number for bundle in self.submission.bundles for number in bundle.stages}
        self.outlook.refresh(now=True)
        known: dict[int, bool] = {}
        found: list[dict[str, Any]] = [
            {"number": number, "stage": one.stage, "group": self.search.trials[one.stage]}
            for number, one in enumerate(self.submission.stages)
            if number in own
            and one.stage in self.search.trials
            and self.outlook.state(number) != "done"
            and self.outlook.may_finish(number, known)
        ]
        for one in found:  # released by a person
            self.ledger.release(one["stage"])
        return found

    def _reached(self, stage: str) -> int:
        return max((step for step, _ in self.ledger.reports(stage)), default=0)

    def _give_up_the_rest(self) -> None:
        """End what the budget left over as stopped, so that nobody trains it to its end by mistake."""
        claimant = Claimant(self.workspace, f"{self.submission.id}-budget", "ray", self.job)
        for one in self.open_trials():
            attempt = claimant.claim(one["stage"], self.submission.stages[one["number"]].kind, {})
            if attempt is not None:
                attempt.end("early_stopped", NO_BUDGET)

    def _tuner(self, trials: list[dict[str, Any]], scheduler: TrialScheduler, stopper: BudgetStopper) -> Any:
        trainable = tune.with_parameters(
            StageTrial,
            workspace=str(self.workspace.root.resolve()),
            submission=self.submission.id,
            ledger=str(self.ledger.directory),
            metric=self.search.settings.metric,
            job=self.job,
        )
        return tune.Tuner(
            tune.with_resources(trainable, self._resources(trials)),
            param_space=tune.grid_search(trials),
            tune_config=tune.TuneConfig(scheduler=scheduler, reuse_actors=True),
            run_config=tune.RunConfig(
                name=f"tune-{self.submission.id}",
                storage_path=str(self.ledger.directory),
                stop=stopper,
                failure_config=tune.FailureConfig(max_failures=LIVES),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                verbose=0,
            ),
        )

    def _resources(self, trials: list[dict[str, Any]]) -> Any:
        """What one trial's actor needs: the most of any trial's shape, for actors serve all in turn."""
        shapes = {self.submission.stages[one["number"]].shape for one in trials}
        most = largest([self.requests[shape] for shape in shapes]).resources
        return tune.PlacementGroupFactory([most], strategy="STRICT_PACK")
