"""Every committed row exactly once, whatever runs or dies meanwhile."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import results
from results import store
from results.generation import newest
from results.journal import Journal
from results.plans import read_plans
from results.snapshot import take
from results.status import survey
from results.store import compact, rebuild
from tests.results.lab import Lab, attempt, metric

ROOT = Path(__file__).parents[2]
COMPACTOR = """
import sys
from pathlib import Path
from results.layout import Workspace
from results.store import compact
print("ready", flush=True)
while True:
    compact(Workspace(Path(sys.argv[1])))
"""
WRITER = """
import sys
from pathlib import Path
from tests.results.lab import Lab, metric
from results.layout import Workspace
lab = Lab(Workspace(Path(sys.argv[1])), sys.argv[2])
for i in range(int(sys.argv[3]), int(sys.argv[4])):
    lab.run(f"s{i}", metric("mmlu", float(i)))
"""


def start(code, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)


def stages_in(table):
    return Counter(pq.read_table(table)["stage"].to_pylist())


def generation_number(lab):
    found = newest(lab.workspace)
    return found.number if found else 0


def assert_exact(lab, expected):
    """Each committed stage is once in what a reader sees and, after a compaction, once in the store."""
    assert Counter(results.metrics(lab.workspace).stage) == dict.fromkeys(expected, 1)
    while compact(lab.workspace) is None:
        pass
    made = newest(lab.workspace)
    assert made.damaged_tables() == []
    assert (lab.workspace.store / "latest").resolve() == made.path.resolve()
    for name in ("metrics", "commits", "attempts"):
        assert stages_in(made.table(name)) == dict.fromkeys(expected, 1), name


def test_compactors_killed_at_random_moments_lose_and_double_nothing(tmp_path):
    lab = Lab.at(tmp_path)
    lab.plan({f"e{i}": {"seed": i} for i in range(60)}, {f"e{i}": {"eval": f"s{i}"} for i in range(60)})
    chance = random.Random(7)
    for round_ in range(6):
        compactor = start(COMPACTOR, tmp_path)
        assert compactor.stdout.readline() == b"ready\n"
        before = generation_number(lab)
        for i in range(10 * round_, 10 * round_ + 10):
            lab.run(f"s{i}", metric("mmlu", float(i)))
        while generation_number(lab) == before:
            lab.journal.claimed("nobody's", str(time.time()), 1.0)
            time.sleep(0.01)
        lab.journal.claimed("nobody's", "last", 1.0)
        time.sleep(chance.uniform(0, 0.08))
        compactor.send_signal(signal.SIGKILL)
        compactor.wait()
        compactor.stdout.close()
        assert results.load(tmp_path).mmlu.count() == 10 * round_ + 10
    assert generation_number(lab) >= 6
    assert_exact(lab, [f"s{i}" for i in range(60)])


def test_writers_and_compactors_at_once(tmp_path):
    lab = Lab.at(tmp_path)
    lab.plan({f"e{i}": {"seed": i} for i in range(200)}, {f"e{i}": {"eval": f"s{i}"} for i in range(200)})
    compactors = [start(COMPACTOR, tmp_path) for _ in range(2)]
    assert [compactor.stdout.readline() for compactor in compactors] == [b"ready\n"] * 2
    writers = [start(WRITER, tmp_path, f"w{n}", 100 * n, 100 * n + 110) for n in range(2)]
    seen = [0]
    while any(writer.poll() is None for writer in writers):
        frame = results.metrics(tmp_path)
        assert frame.stage.is_unique
        seen.append(len(frame))
    for process in [*compactors, *writers]:
        process.kill()
        process.wait()
        process.stdout.close()
    assert seen == sorted(seen)
    assert Counter(results.metrics(tmp_path).stage) == dict.fromkeys((f"s{i}" for i in range(200)), 1)
    assert [writer.returncode for writer in writers] == [0, 0]


class Die(BaseException):
    """Stands for the end of the process."""


class Machine(RuleBasedStateMachine):
    """Workers commit, crash and are taken back while compactors run and die; a dictionary knows the truth."""

    stages = st.sampled_from(["s0", "s1", "s2"])
    writers = st.sampled_from(["a", "m", "z"])

    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.lab = Lab.at(self.root)
        self.truth = {}
        self.tokens = 0
        self.plans = 0
        self.open = []

    def teardown(self):
        shutil.rmtree(self.root)

    def _claim(self, stage, writer):
        self.tokens += 1
        token = f"t{self.tokens}"
        Journal(self.lab.workspace, writer).claimed(stage, token, 1.0)
        return token

    def _publish(self, stage, token):
        if self.lab.publish(stage, token, [metric("mmlu", float(token[1:]))]):
            self.truth[stage] = token
            return "done"
        return "superseded"

    @rule(stage=stages, writer=writers)
    def run(self, stage, writer):
        token = self._claim(stage, writer)
        ending = self._publish(stage, token)
        Journal(self.lab.workspace, writer).ended(attempt(stage, token, ending, number=self.tokens))

    @rule(stage=stages, writer=writers)
    def crash_between_commit_and_journal(self, stage, writer):
        token = self._claim(stage, writer)
        self._publish(stage, token)
        self.open.append((stage, token))

    @rule(stage=stages, writer=writers)
    def claim_and_wait(self, stage, writer):
        self.open.append((stage, self._claim(stage, writer)))

    @precondition(lambda self: self.open)
    @rule(writer=writers)
    def note_the_end_of_an_open_claim(self, writer):
        stage, token = self.open.pop(0)
        ending = self._publish(stage, token)
        if self.truth[stage] == token:
            ending = "done"
        Journal(self.lab.workspace, writer).ended(attempt(stage, token, ending, number=self.tokens))

    @rule(stage=stages, writer=writers)
    def take_back(self, stage, writer):
        token = self.truth.pop(stage, None)
        if token is not None:
            self.lab.workspace.done_file(stage).unlink()
            Journal(self.lab.workspace, writer).forgotten(stage, token)

    @rule(stage=stages, parent=stages)
    def plan(self, stage, parent):
        """A pipeline of two; parents have smaller names, so that the graphs of all plans agree."""
        self.plans += 1
        parents = {"s1": ["s0"], "s2": ["s1", "s0"]}
        pipelines = {stage: {"eval": stage}, "both": {"sft": parent, "eval": "s2"}}
        self.lab.plan({name: {} for name in pipelines}, pipelines, parents, created=float(self.plans))

    @rule(stage=stages, writer=writers, ending=st.sampled_from(["bug", "lost", "hung"]))
    def fail(self, stage, writer, ending):
        token = self._claim(stage, writer)
        Journal(self.lab.workspace, writer).ended(attempt(stage, token, ending, number=self.tokens))

    @rule(stage=stages, writer=writers)
    def diverge(self, stage, writer):
        token = self._claim(stage, writer)
        if self.lab.publish(stage, token, [metric("mmlu", float(token[1:]))], "diverged"):
            self.truth[stage] = token
            Journal(self.lab.workspace, writer).ended(attempt(stage, token, "diverged", number=self.tokens))

    @rule()
    def compact(self):
        compact(self.lab.workspace)

    @rule()
    def rebuild(self):
        rebuild(self.lab.workspace)

    @rule(
        function=st.sampled_from(["_write_tables", "_write", "publish", "sweep", "point_latest"]),
        late=st.booleans(),
    )
    def compactor_dies(self, function, late):
        original = getattr(store, function)

        def dying(*arguments, **named):
            if late:
                original(*arguments, **named)
            raise Die

        setattr(store, function, dying)
        try:
            compact(self.lab.workspace)
        except Die:
            pass
        finally:
            setattr(store, function, original)

    @invariant()
    def a_reader_sees_each_committed_row_once(self):
        if self.plans:
            frame = results.metrics(self.root).drop_duplicates(["experiment", "role", "stage", "value"])
            assert len(frame) == len(results.metrics(self.root))
        values = take(self.lab.workspace).table("metrics")
        seen = dict(zip(values["stage"].to_pylist(), values["value"].to_pylist(), strict=True))
        assert seen == {stage: float(token[1:]) for stage, token in self.truth.items()}
        assert values.num_rows == len(seen)

    @invariant()
    def statuses_are_those_that_the_whole_plans_give(self):
        snapshot, truth = take(self.lab.workspace), take(self.lab.workspace)
        expected = survey(read_plans(self.lab.workspace), truth.facts).experiments
        found = snapshot.catalog.experiments
        assert (
            dict(zip(found["experiment"].to_pylist(), found["status"].to_pylist(), strict=True)) == expected
        )

    @invariant()
    def the_wide_table_is_what_it_would_be_from_the_truth_alone(self):
        if not self.plans:
            return
        frame = results.load(self.root).set_index("experiment")
        for stage, token in self.truth.items():
            if stage in frame.index:
                assert frame.mmlu[stage] == float(token[1:])
                assert frame.status[stage] in ("done", "diverged")
        for stage in set(frame.index) & {"s0", "s1", "s2"} - set(self.truth):
            assert frame.status[stage] not in ("done", "diverged")
            assert "mmlu" not in frame or frame.mmlu.isna()[stage]


Machine.TestCase.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
TestExactlyOnce = Machine.TestCase
