"""A view of a workspace: its plans, what the journals say, which claims live, and what follows for each stage.

Light: no pandas, no torch, and no look into the directories of stages except those of dead claims.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cluster.backend import BACKENDS, Backend, find_backend
from results.files import WorkspaceError, read_json_or_none
from results.journal import Index
from results.layout import Workspace
from results.plans import read_plans
from results.records import ExperimentRow, PlanRecord, StageRow
from results.status import Counts, Facts, Survey, survey
from workers.failures import held_kinds, verdict
from workers.processes import ProcessIdentity


@dataclass(frozen=True)
class Experiment:
    """An experiment of the newest plan that lists it."""

    plan: PlanRecord
    row: ExperimentRow

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits."""
        return self.row.experiment

    @cached_property
    def factors(self) -> dict[str, Any]:
        """Its levels by factor, with the scale, the preset and the study."""
        plan = self.plan
        levels = dict(zip(plan.factors, self.row.levels, strict=True))
        return {**levels, "scale": plan.scale, "preset": plan.preset, "study": plan.study}

    @property
    def stages(self) -> dict[str, str]:
        """Its own stages: pipeline name to stage id."""
        return {name: self.plan.stages[index].stage for name, index in self.row.stages.items()}


class View:
    """What is known of a workspace now. `refresh` reads what was written since."""

    def __init__(self, workspace: Workspace, code: str | None = None) -> None:
        self.workspace = workspace
        self.index = Index(workspace)
        self.code = code
        self.plans = read_plans(workspace)
        self._lives: dict[str, bool] = {}
        self._backends: dict[str, Backend] = {}
        self._known: dict[str, bool] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read the journals on and derive every state anew."""
        self.index.refresh()
        for backend in self._backends.values():
            backend.refresh()
        self._known = {}
        self._note_unjournalled()
        done = self.index.done
        standing = {
            stage: records for stage, records in self.index.all_standing().items() if stage not in done
        }
        self.held = held_kinds(standing, self.code)
        verdicts = {stage: verdict(attempts, self.code) for stage, attempts in standing.items()}
        self.failed = {stage for stage, one in verdicts.items() if one == "failed"}
        self.stopped = {stage for stage, one in verdicts.items() if one == "stopped"}
        held = (
            {row.stage for plan in self.plans for row in plan.stages if row.kind in self.held}
            if self.held
            else set()
        )
        running = {stage for stage, claims in self.index.open.items() if self._any_lives(claims)}
        facts = Facts(
            self.index.done.keys(),
            self.index.diverged,
            running,
            self.failed,
            held - self.failed,
            self.stopped,
        )
        self.survey: Survey = survey(self.plans, facts)

    @cached_property
    def experiments(self) -> dict[str, Experiment]:
        """Every experiment by id; of two plans that list it the newer counts."""
        return {row.experiment: Experiment(plan, row) for plan in self.plans for row in plan.experiments}

    def counts(self, experiments: list[Experiment] | None = None) -> Counts:
        """How many experiments are in each status."""
        statuses = self.survey.experiments
        ids = statuses if experiments is None else [one.id for one in experiments]
        return Counts.of(statuses[identity] for identity in ids)

    def find(self, text: str) -> Experiment:
        """The experiment with this id, prefix of an id, or name.

        Raises:
            WorkspaceError: none fits, or several do.
        """
        fitting = [
            one for one in self.experiments.values() if one.id.startswith(text) or one.row.name == text
        ]
        if len(fitting) == 1:
            return fitting[0]
        if not fitting:
            raise WorkspaceError(f"no experiment {text!r} in {self.workspace.root}; {self._near(text)}")
        listed = ", ".join(f"{one.id} ({one.plan.scale}, {one.plan.preset})" for one in fitting[:6])
        raise WorkspaceError(f"{text!r} fits {len(fitting)} experiments; name one by its id: {listed}")

    def stages_of(self, experiments: Sequence[str]) -> list[StageRow]:
        """The stages of the experiments and all that they stand on, each once."""
        found: dict[str, StageRow] = {}
        for identity in experiments:
            experiment = self.experiments[identity]
            pending = list(experiment.row.stages.values())
            while pending:
                row = experiment.plan.stages[pending.pop()]
                if row.stage not in found:
                    found[row.stage] = row
                    pending.extend(row.parents)
        return list(found.values())

    def live_attempts(self, stage: str) -> set[str]:
        """The tokens of attempts at `stage` whose supervisors are not known to be dead."""
        return {
            token for token, writer in self.index.open.get(stage, {}).items() if self._writer_lives(writer)
        }

    def live_supervisors(self) -> list[dict[str, Any]]:
        """The records of supervisors that are not known to be dead."""
        return [record for record in self._supervisors() if self._record_lives(record)]

    def _near(self, text: str) -> str:
        from difflib import get_close_matches

        names = [one.row.name for one in self.experiments.values()]
        near = get_close_matches(text, names, n=1, cutoff=0.3)
        return f"did you mean {near[0]!r}?" if near else "`yates results` lists them"

    def _supervisors(self) -> Iterator[dict[str, Any]]:
        for path in sorted(self.workspace.supervisors.glob("*.json")):
            try:
                record = read_json_or_none(path)
            except WorkspaceError:
                continue
            if record is not None:
                yield record

    def _record_lives(self, record: dict[str, Any]) -> bool:
        """Whether a supervisor is not known to be dead: its backend is asked; its silence proves nothing."""
        if "ending" in record:
            return False
        known = ProcessIdentity.from_record(record).lives()
        name = record["backend"]
        if known is not None or name not in BACKENDS:
            return known is not False
        if name not in self._backends:
            self._backends[name] = find_backend(name, workspace=self.workspace)
        return self._backends[name].lives(record) is not False

    def _any_lives(self, claims: dict[str, str]) -> bool:
        return any(self._writer_lives(writer) for writer in claims.values())

    def _writer_lives(self, writer: str) -> bool:
        """Whether the supervisor `writer` runs; the dead stay dead, so that is remembered."""
        if self._lives.get(writer) is False:
            return False
        if writer in self._known:
            return self._known[writer]
        try:
            record = read_json_or_none(self.workspace.supervisors / f"{writer}.json")
        except WorkspaceError:
            record = None
        lives = record is not None and self._record_lives(record)
        self._lives[writer] = self._known[writer] = lives
        return lives

    def _note_unjournalled(self) -> None:
        """Commits of dead claims: published, but their supervisor died before it could say so."""
        for stage, claims in list(self.index.open.items()):
            if self._any_lives(claims):
                continue
            commit = read_json_or_none(self.workspace.done_file(stage))
            if commit is not None:
                self.index.note_commit(commit)
