"""Where everything of a workspace lies: the one module that knows its paths."""

from dataclasses import dataclass
from pathlib import Path

LAYOUT_VERSION = 1


@dataclass(frozen=True)
class Workspace:
    """A directory on a filesystem that all nodes share.

    It holds intent (`submissions/`, `plans/`), truth (`stages/*/done.json`), journals of the supervisors
    that ran stages, and the results store that is compacted from them.
    """

    root: Path

    @property
    def plans(self) -> Path:
        """One file per grid that was submitted: its experiments and their graph of stages."""
        return self.root / "plans"

    @property
    def submissions(self) -> Path:
        """One file per submission: which stages went where, written before a scheduler is called."""
        return self.root / "submissions"

    @property
    def jobs(self) -> Path:
        """One file per call of a scheduler: under which name and number which bundles went to it."""
        return self.root / "jobs"

    @property
    def drivers(self) -> Path:
        """One file per driver that was handed to Ray: as which job, where it runs, what it waits for."""
        return self.root / "drivers"

    @property
    def stages(self) -> Path:
        """One directory per stage, in 256 shards named by the first two digits of the stage id."""
        return self.root / "stages"

    @property
    def journals(self) -> Path:
        """One append-only file per supervisor: the index of what it claimed and committed."""
        return self.root / "journals"

    @property
    def supervisors(self) -> Path:
        """One file per supervisor that was started: host, process, and how to reach its log."""
        return self.root / "supervisors"

    @property
    def tombstones(self) -> Path:
        """One empty file per cancelled stage, named by its id."""
        return self.root / "cancelled"

    @property
    def code(self) -> Path:
        """Frozen copies of the code that jobs run, by content hash."""
        return self.root / "code"

    @property
    def cache(self) -> Path:
        """What can be made again at any time: generated worlds, tokenised data."""
        return self.root / "cache"

    @property
    def logs(self) -> Path:
        """What supervisors and their children print."""
        return self.root / "logs"

    @property
    def store(self) -> Path:
        """The Parquet store; `store/latest` is the newest complete generation."""
        return self.root / "store"

    def stage(self, stage_id: str) -> Path:
        """The directory of one stage."""
        return self.root.joinpath("stages", stage_id[:2], stage_id)

    def stage_file(self, stage_id: str) -> Path:
        """What to do: immutable."""
        return self.stage(stage_id) / "stage.json"

    def done_file(self, stage_id: str) -> Path:
        """The only truth of completion."""
        return self.root.joinpath("stages", stage_id[:2], stage_id, "done.json")

    def claims(self, stage_id: str) -> Path:
        """Numbered claims of one stage, each published once and naming an attempt."""
        return self.stage(stage_id) / "claims"

    def attempts(self, stage_id: str) -> Path:
        """The attempts at one stage, one directory per random token."""
        return self.stage(stage_id) / "attempts"

    def attempt(self, stage_id: str, token: str) -> Path:
        """Everything that one attempt writes lies in here."""
        return self.attempts(stage_id) / token

    def output(self, stage_id: str, token: str) -> Path:
        """What a committed attempt leaves to its children."""
        return self.root.joinpath("stages", stage_id[:2], stage_id, "attempts", token, "output")

    def tombstone(self, stage_id: str) -> Path:
        """Present while the stage is cancelled."""
        return self.tombstones / stage_id
