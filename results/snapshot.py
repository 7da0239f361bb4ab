"""The newest generation together with everything committed since: what is true now, each row once.

The journals are folded first and the commits read afterwards. A commit that is missed by then has either
an open claim, which the next snapshot looks at, or a claim in a part of a journal not yet folded. Rows
belong to a stage and its winning attempt, so reading a commit twice changes nothing.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from results.catalog import Catalog, catalog
from results.commits import (
    Fresh,
    attempts_table,
    committed_stages,
    ended_attempts,
    read_commits,
    read_outputs,
)
from results.files import WorkspaceError
from results.generation import Generation, newest, next_number
from results.journal import Index, attempt_number
from results.layout import Workspace
from results.lineage import renewed_statuses
from results.plans import plan_marks, read_plans
from results.records import AttemptRecord, PlanRecord
from results.schema import TABLES, VERSION, conform, read_stages, read_table
from results.status import EARLY_STOPPED, FAILURES, Facts, survey
from results.wide import patch, runs

_BATCH_ROWS = 1 << 19
OUTPUTS = frozenset({"curves", "samples"})


@dataclass
class Snapshot:
    """A generation (or none) and the difference to now.

    `gone` are stages of the generation whose rows no longer hold: taken back, damaged, or won by another
    attempt. `endings` gives number and ending of the last attempt at each uncommitted stage. `number` is
    that of the generation this may become.
    """

    workspace: Workspace
    base: Generation | None
    index: Index
    fresh: Fresh
    gone: set[str]
    endings: dict[str, tuple[int, str]]
    plans: dict[str, list[int]]
    number: int
    touched: set[str]
    held: AbstractSet[str] = frozenset()
    damaged_plans: dict[str, str] = field(default_factory=dict)

    @property
    def news(self) -> bool:
        """Whether anything differs from the generation."""
        if self.base is None or self.touched or self.changed_stages or self.new_plans:
            return True
        return self.base.manifest["schema"] != VERSION

    @property
    def new_plans(self) -> bool:
        """Whether a plan came, went or was submitted again since the generation."""
        return self.base is None or self.plans != self.base.manifest["plans"]

    @cached_property
    def changed_stages(self) -> set[str]:
        """Stages whose rows differ from the generation's."""
        return {*self.fresh.commits["stage"].to_pylist(), *self.gone}

    @cached_property
    def commits(self) -> pa.Table:
        """All commits that hold now."""
        return self.table("commits")

    @cached_property
    def outcomes(self) -> pa.Table:
        """Stage and outcome of all commits that hold now."""
        return self.table("commits", ["stage", "outcome"])

    @cached_property
    def facts(self) -> Facts:
        """What decides the status of every experiment now."""
        outcomes = self.outcomes
        diverged = outcomes.filter(pc.equal(outcomes["outcome"], "diverged"))
        failed = {stage for stage, (_, ending) in self.endings.items() if ending in FAILURES}
        stopped = {stage for stage, (_, ending) in self.endings.items() if ending == EARLY_STOPPED}
        done = set(outcomes["stage"].to_pylist())
        running = self.index.open.keys()
        return Facts(done, set(diverged["stage"].to_pylist()), running, failed, self.held, stopped)

    @property
    def fits(self) -> bool:
        """Whether the generation's tables have today's columns and hold today's plans."""
        return self.base is not None and not self.new_plans and self.base.manifest["schema"] == VERSION

    @cached_property
    def catalog(self) -> Catalog:
        """Experiments with their statuses now, and their own stages."""
        if self.base is not None and self.fits:
            experiments = read_table(self.base.table("experiments"))
            members, parents = (
                read_table(self.base.table(name), TABLES[name]) for name in ("members", "parents")
            )
            return Catalog(self._restated(experiments, members, parents), members, parents)
        plans = self._read_plans()
        return catalog(plans, survey(plans, self.facts).experiments)

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """The whole table `name`, cut to `columns` (which must include `stage`)."""
        empty = TABLES[name].empty_table()
        parts = [*self.batches(name)] if columns is None else [*self._selected(name, columns)]
        return pa.concat_tables(parts or [empty if columns is None else empty.select(columns)])

    def batches(self, name: str) -> Iterator[pa.Table]:
        """The rows of table `name` in pieces: the generation's that still hold, then the fresh ones."""
        for piece in self._base_batches(name):
            yield self._holding(name, piece)
        yield from self._fresh(name)

    def unchanged(self, name: str) -> bool:
        """Whether the generation's file of table `name` is already what it should be."""
        if self.base is None or self.base.manifest["schema"] != VERSION:
            return False
        if name == "attempts":
            return not self.fresh.attempts.num_rows
        return not self.changed_stages

    def runs(self) -> pa.Table:
        """The wide table as it is now; only experiments with changed stages are computed again."""
        if self.base is None or not self.fits:
            return runs(self.catalog.experiments, self.catalog.members, self.table("metrics"))
        old = read_table(self.base.table("runs"))
        return patch(old, self.catalog.experiments, self._renewed()) if self.news else old

    def _read_plans(self) -> list[PlanRecord]:
        def note(path: Path, reason: str) -> None:
            self.damaged_plans[str(path)] = reason

        return read_plans(self.workspace, note)

    def _restated(self, experiments: pa.Table, members: pa.Table, parents: pa.Table) -> pa.Table:
        """`experiments` with today's statuses; only those that a change can concern are looked at."""
        if not self.news:
            return experiments
        renewed = renewed_statuses(members, parents, self.touched | self.changed_stages, self.facts)
        pairs = zip(experiments["experiment"].to_pylist(), experiments["status"].to_pylist(), strict=True)
        column = pa.array([renewed.get(experiment, status) for experiment, status in pairs], pa.string())
        return experiments.set_column(experiments.column_names.index("status"), "status", column)

    def _renewed(self) -> pa.Table:
        experiments, members = self.catalog.experiments, self.catalog.members
        changed = pa.array(self.changed_stages, pa.string())
        affected = members.filter(pc.is_in(members["stage"], value_set=changed))["experiment"]
        experiments = experiments.filter(pc.is_in(experiments["experiment"], value_set=affected))
        members = members.filter(pc.is_in(members["experiment"], value_set=affected))
        columns = ["stage", "task", "metric", "value", "stderr", "step", "primary"]
        return runs(
            experiments, members, self._of_stages("metrics", set(members["stage"].to_pylist()), columns)
        )

    def _of_stages(self, name: str, stages: set[str], columns: list[str]) -> pa.Table:
        """The rows of `stages` in table `name`, cut to `columns` (which must include `stage`)."""
        parts = [TABLES[name].empty_table().select(columns)]
        if self.base is not None:
            parts.append(read_stages(self.base.table(name), TABLES[name], columns, stages - self.gone))
        wanted = pa.array(stages, pa.string())
        parts += [
            piece.filter(pc.is_in(piece["stage"], value_set=wanted)).select(columns)
            for piece in self._fresh(name)
        ]
        return pa.concat_tables([part.replace_schema_metadata(TABLES[name].metadata) for part in parts])

    def _selected(self, name: str, columns: list[str]) -> Iterator[pa.Table]:
        if self.base is not None:
            yield self._holding(name, read_table(self.base.table(name), TABLES[name], columns))
        for piece in self._fresh(name):
            yield piece.select(columns).replace_schema_metadata(TABLES[name].metadata)

    def _base_batches(self, name: str) -> Iterator[pa.Table]:
        if self.base is None:
            return
        path = self.base.table(name)
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                for batch in file.iter_batches(_BATCH_ROWS):
                    yield conform(pa.Table.from_batches([batch]), TABLES[name])
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise WorkspaceError(
                f"{path}: not readable as Parquet ({error}); `yates verify --repair`"
            ) from None

    def _holding(self, name: str, piece: pa.Table) -> pa.Table:
        """The rows of the generation that still hold; of attempts, those without a newer record."""
        if name == "attempts":
            keys = [_key(table) for table in (piece, self.fresh.attempts)]
            return piece.filter(pc.invert(pc.is_in(keys[0], value_set=keys[1])))
        if not self.gone:
            return piece
        return piece.filter(pc.invert(pc.is_in(piece["stage"], value_set=pa.array(self.gone, pa.string()))))

    def _fresh(self, name: str) -> Iterator[pa.Table]:
        if name in OUTPUTS:
            yield from read_outputs(self.workspace, name, self.fresh.commits, self.fresh)
        else:
            yield getattr(self.fresh, name)


def take(workspace: Workspace, held: AbstractSet[str] = frozenset()) -> Snapshot:
    """What is true in `workspace` now. Reads commits of touched stages and of open claims only."""
    base = newest(workspace)
    if base is None:
        return _take(workspace, None, set(), [], held)
    return _take(workspace, base, set(base.manifest["revisit"]), [], held)


def take_from_truth(workspace: Workspace, held: AbstractSet[str] = frozenset()) -> Snapshot:
    """What is true in `workspace` now, from every stage's directory; journals are not trusted for commits."""
    ended = list(ended_attempts(workspace))
    snapshot = _take(workspace, None, committed_stages(workspace), ended, held)
    return snapshot


def _take(
    workspace: Workspace,
    base: Generation | None,
    more: "set[str] | Iterator[str]",
    ended: list[AttemptRecord],
    held: AbstractSet[str],
) -> Snapshot:
    number, plans = next_number(workspace), plan_marks(workspace)
    manifest = base.manifest if base else None
    index = Index.at(workspace, manifest["offsets"], manifest["open"]) if manifest else Index(workspace)
    touched = index.refresh()
    candidates = {*touched, *index.open, *more}
    known = _known(base, candidates)
    revisit = set(manifest["revisit"]) if manifest else set()
    trusted = {stage: token for stage, token in known.items() if stage not in revisit}
    fresh = read_commits(workspace, candidates, trusted)
    replaced = set(fresh.commits["stage"].to_pylist()) | fresh.missing | fresh.revisit
    snapshot = Snapshot(
        workspace, base, index, fresh, replaced & known.keys(), {}, plans, number, touched, held
    )
    fresh.attempts = _attempts(fresh, index, ended)
    snapshot.endings = _endings(snapshot, dict(manifest["endings"]) if manifest else {}, ended)
    return snapshot


def _known(base: Generation | None, stages: AbstractSet[str]) -> dict[str, str]:
    """The winning attempts that `base` holds for `stages`."""
    if base is None or not stages:
        return {}
    table = read_table(base.table("commits"), TABLES["commits"], ["stage", "attempt"])
    table = table.filter(pc.is_in(table["stage"], value_set=pa.array(stages, pa.string())))
    return dict(zip(table["stage"].to_pylist(), table["attempt"].to_pylist(), strict=True))


def _attempts(fresh: Fresh, index: Index, ended: list[AttemptRecord]) -> pa.Table:
    """The winners' attempts and, once each, those that ended otherwise."""
    seen = set(_key(fresh.attempts).to_pylist())
    others = {}
    for record in [*ended, *(record for records in index.endings.values() for record in records)]:
        others[f"{record['stage']}/{record['token']}"] = record
    rest = attempts_table([record for key, record in others.items() if key not in seen])
    return pa.concat_tables([fresh.attempts, rest])


def _endings(
    snapshot: Snapshot, endings: dict[str, tuple[int, str]], ended: list[AttemptRecord]
) -> dict[str, tuple[int, str]]:
    records = [record for found in snapshot.index.endings.values() for record in found]
    for record in [*ended, *records]:
        number = attempt_number(record)
        if record["ending"] is not None and number >= endings.get(record["stage"], (0, ""))[0]:
            endings[record["stage"]] = (number, record["ending"])
    if not endings:
        return endings
    done = set(snapshot.outcomes["stage"].to_pylist())
    return {stage: ending for stage, ending in endings.items() if stage not in done}


def _key(attempts: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(attempts["stage"], attempts["token"], "/")


def manifest_paths(snapshot: Snapshot) -> dict[str, str]:
    """Damaged files by their path in the workspace, with the reasons."""
    found = {**snapshot.fresh.damaged, **snapshot.damaged_plans}
    return {str(Path(path).relative_to(snapshot.workspace.root)): reason for path, reason in found.items()}
