"""The bundles that run now: on which node and GPU, at which step of which stage, how fast, and for how long yet."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.view import View
from orchestrator.watch.pace import Pace
from results.files import WorkspaceError, read_json_or_none
from results.records import StageRow

MOST_FOLLOWED = 500
"""Running stages whose steps are read at each look; the others are counted."""


@dataclass(frozen=True)
class Bundle:
    """A supervisor at work. `rate` is in steps a second, `seconds_left` of its bundle; None is unknown.

    `steps` are those of the stage that runs, where its recipe says; `left` counts the stages of the bundle that are
    not done, that one included.
    """

    name: str
    node: str
    gpu: str
    kind: str
    step: int | None
    steps: int | None
    rate: float | None
    left: int
    seconds_left: float | None


@dataclass
class Bundles:
    """Follows the running bundles of a view from look to look."""

    view: View
    clock: Callable[[], float] = time.monotonic
    _pace: Pace = field(default_factory=Pace)
    _records: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _submissions: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _steps: dict[str, int | None] = field(default_factory=dict)
    _gpus: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plans = self.view.plans
        self._rows = {row.stage: row for plan in plans for row in plan.stages}
        self._shapes = {name: needs for plan in plans for name, needs in plan.shapes.items()}

    def look(self) -> list[Bundle]:
        """The bundles that run now: those that stand still first, then those that need longest."""
        running = list(self._running())
        self._pace.forget_others({token for _, token, _ in running})
        found = [self._bundle(*one) for one in running[:MOST_FOLLOWED]]
        return sorted(found, key=lambda one: (one.rate != 0, -(one.seconds_left or 0), one.name))

    def count(self) -> int:
        """How many stages are held by live workers."""
        return sum(1 for _ in self._running())

    def _running(self) -> Iterator[tuple[StageRow, str, str]]:
        """Stage, token and supervisor of every attempt that is not known to be dead."""
        for stage in sorted(self.view.index.open):
            row = self._rows.get(stage)
            live = self.view.live_attempts(stage) if row is not None else ()
            for token in sorted(live):
                if row is not None:
                    yield row, token, self.view.index.open[stage][token]

    def _bundle(self, row: StageRow, token: str, supervisor: str) -> Bundle:
        step = self._step(row.stage, token)
        if step is not None:
            self._pace.note(token, step, self.clock())
        rate, steps = self._pace.rate(token), self._total(row.stage)
        record = self._record(supervisor)
        others = [cost for stage, cost in self._waiting(record) if stage != row.stage]
        own = self._own_seconds(row, step, steps, rate)
        return Bundle(
            name=supervisor,
            node=str(record.get("node") or record.get("host") or "?"),
            gpu=self._gpu(row, supervisor, record),
            kind=row.kind,
            step=step,
            steps=steps,
            rate=rate,
            left=len(others) + 1,
            seconds_left=None if own is None else own + sum(others),
        )

    def _own_seconds(
        self, row: StageRow, step: int | None, steps: int | None, rate: float | None
    ) -> float | None:
        """What the running stage needs yet: by its pace, else by its expected cost; None while it stands still."""
        if rate == 0:
            return None
        if steps is None:
            return row.cost
        left = max(steps - (step or 0), 0)
        return left / rate if rate else row.cost * left / max(steps, 1)

    def _step(self, stage: str, token: str) -> int | None:
        """The step of the last heartbeat."""
        try:
            beat = read_json_or_none(self.view.workspace.attempt(stage, token) / "heartbeat")
            return None if beat is None else int(beat[1])
        except (WorkspaceError, OSError, TypeError, LookupError, ValueError):
            return None

    def _total(self, stage: str) -> int | None:
        """The steps of a stage's training, where its recipe names them."""
        if stage not in self._steps:
            recipe = self._read(self.view.workspace.stage_file(stage)).get("recipe")
            places = [recipe, *recipe.values()] if isinstance(recipe, dict) else []
            found = [place.get("steps") for place in places if isinstance(place, dict)]
            self._steps[stage] = next((one for one in found if isinstance(one, int)), None)
        return self._steps[stage]

    def _record(self, supervisor: str) -> Mapping[str, Any]:
        if supervisor not in self._records:
            self._records[supervisor] = self._read(self.view.workspace.supervisors / f"{supervisor}.json")
        return self._records[supervisor]

    def _waiting(self, record: Mapping[str, Any]) -> list[tuple[str, float]]:
        """The stages of a supervisor's bundle that are not done, with their expected costs."""
        submission = self._submission(str(record.get("submission", "")))
        stages, bundles = submission.get("stages", []), submission.get("bundles", [])
        number = record.get("bundle")
        if not isinstance(number, int) or not 0 <= number < len(bundles):
            return []
        own = [stages[place] for place in bundles[number]["stages"]]
        return [(one["stage"], one["cost"]) for one in own if one["stage"] not in self.view.index.done]

    def _submission(self, identity: str) -> Mapping[str, Any]:
        if identity and identity not in self._submissions:
            self._submissions[identity] = self._read(self.view.workspace.submissions / f"{identity}.json")
        return self._submissions.get(identity, {})

    def _gpu(self, row: StageRow, supervisor: str, record: Mapping[str, Any]) -> str:
        """The GPU as the bundle's earlier attempts named it, else how many its shape asks for."""
        gpus = float(self._shapes.get(row.shape, {}).get("gpus") or 0)
        if not gpus:
            return "–"
        name = self._gpus.get(supervisor) or self._named_gpu(record)
        if name:
            self._gpus[supervisor] = name
        return f"{gpus:g} × {name}" if name else f"{gpus:g}"

    def _named_gpu(self, record: Mapping[str, Any]) -> str:
        submission = self._submission(str(record.get("submission", "")))
        number, bundles = record.get("bundle"), submission.get("bundles", [])
        if not isinstance(number, int) or not 0 <= number < len(bundles):
            return ""
        ids = (submission["stages"][place]["stage"] for place in bundles[number]["stages"])
        done = next((stage for stage in ids if stage in self.view.index.done), None)
        commit = {} if done is None else self._read(self.view.workspace.done_file(done))
        return str(commit.get("record", {}).get("fingerprint", {}).get("gpu") or "")

    def _read(self, path: Any) -> Mapping[str, Any]:
        """A JSON object, empty where it is missing or damaged."""
        try:
            found = read_json_or_none(path)
        except (WorkspaceError, OSError):
            return {}
        return found if isinstance(found, dict) else {}
