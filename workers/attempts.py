"""Claims and attempts: how a worker takes a stage, shows that it lives, and commits.

A claim is a numbered file that exactly one worker can publish; it names a random token, and everything
that the worker writes lies under that token. Claims and heartbeats only save work: were two workers to
run one stage, each would write to its own directory and one `done.json` would win.
"""

import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any

from results.files import WorkspaceError, json_bytes, publish_once, read_json_or_none, write_atomic
from results.journal import Journal
from results.layout import Workspace
from results.records import AttemptRecord, Commit, Ending
from workers.processes import ProcessIdentity

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = float(os.environ.get("YATES_STALE_SECONDS", "60"))
"""How long a heartbeat must stand still, on the observer's own clock, before its attempt counts as abandoned."""


@dataclass
class HeartbeatObserver:
    """Tells stale claims by the observer's own clock; clocks of two machines are never compared.

    A process of this machine is looked up directly. For another machine a claim is stale when its
    heartbeat has not moved during `stale_seconds` of watching.
    """

    stale_seconds: float = STALE_SECONDS
    _seen: dict[str, tuple[bytes, float]] = field(default_factory=dict)

    def is_stale(self, directory: Path, record: Any | None) -> bool:
        """Whether the attempt in `directory` (its `attempt.json` parsed, or None) is surely abandoned."""
        lives = None if record is None else ProcessIdentity.from_record(record).lives()
        if lives is not None:
            return not lives
        return self._stands_still(directory)

    def _stands_still(self, directory: Path) -> bool:
        beat = _read_or_empty(directory / "heartbeat")
        now = time.monotonic()
        known = self._seen.get(directory.name)
        if known is None or known[0] != beat:
            self._seen[directory.name] = (beat, now)
            return False
        return now - known[1] >= self.stale_seconds


@dataclass
class Claimant:
    """One supervisor as a claimant: its identity, its journal and what it has seen of others."""

    workspace: Workspace
    name: str
    backend: str
    job: str | None
    identity: ProcessIdentity = field(default_factory=ProcessIdentity.own)
    observer: HeartbeatObserver = field(default_factory=HeartbeatObserver)

    def __post_init__(self) -> None:
        self.journal = Journal(self.workspace, self.name)

    def claim(self, stage: str, kind: str, execution: dict[str, Any]) -> "Attempt | None":
        """Take `stage`, or return None because it is done, or because a live attempt holds it.

        The attempt of a dead holder is journalled as lost before it is taken over. The attempt says who makes it
        before the claim names it, so a claim whose maker died at once is seen to be dead at once.
        """
        if self.note_if_done(stage):
            return None
        number, holder = self._newest_claim(stage)
        if holder is not None and not self._released(stage, holder):
            return None
        token = f"{number + 1:04d}-{secrets.token_hex(6)}"
        attempt = self._prepare(stage, kind, token, number + 1, execution)
        if not publish_once(self.workspace.claims(stage) / f"{number + 1:06d}", token.encode()):
            rmtree(attempt.directory, ignore_errors=True)
            return None
        self.journal.claimed(stage, token, attempt.record["started"])
        return attempt

    def note_if_done(self, stage: str) -> bool:
        """Whether `stage` is committed; if so the journal knows it afterwards."""
        commit = read_commit(self.workspace, stage)
        if commit is None:
            return False
        self.journal.committed(stage, commit["attempt"], commit["outcome"])
        return True

    def _newest_claim(self, stage: str) -> tuple[int, str | None]:
        directory = self.workspace.claims(stage)
        names = [path.name for path in directory.glob("[0-9]*")] if directory.is_dir() else []
        if not names:
            return 0, None
        newest = max(names)
        return int(newest), (directory / newest).read_text()

    def _released(self, stage: str, token: str) -> bool:
        """Whether the attempt `token` no longer holds the stage: it ended, or its process is gone."""
        directory = self.workspace.attempt(stage, token)
        record = _read_record(directory)
        if record is not None and record["ending"] is not None:
            return True
        if not self._is_own(record) and not self.observer.is_stale(directory, record):
            return False
        if record is not None:
            self.journal.ended(lost_record(record, directory))
        return True

    def _is_own(self, record: AttemptRecord | None) -> bool:
        """Whether this claimant made the attempt: it runs one at a time, so that one is over, though unrecorded."""
        if record is None or record["supervisor"] != self.name:
            return False
        return ProcessIdentity.from_record(record) == self.identity

    def _prepare(
        self, stage: str, kind: str, token: str, number: int, execution: dict[str, Any]
    ) -> "Attempt":
        """An attempt that is written down, and holds nothing yet."""
        record = AttemptRecord(
            stage=stage,
            kind=kind,
            token=token,
            number=number,
            supervisor=self.name,
            host=self.identity.host,
            boot=self.identity.boot,
            process=self.identity.process,
            process_started=self.identity.started,
            backend=self.backend,
            job=self.job,
            started=time.time(),
            ended=None,
            ending=None,
            step=0,
            resumed_from=None,
            message=None,
            traceback=None,
            fingerprint={},
            execution=execution,
            seconds={},
            peak_memory_bytes=None,
            peak_gpu_memory_bytes=None,
        )
        attempt = Attempt(self.workspace, self.journal, record)
        attempt.save()
        return attempt


@dataclass
class Attempt:
    """A running try at a stage, held by this process."""

    workspace: Workspace
    journal: Journal
    record: AttemptRecord
    _beats: int = 0

    @property
    def directory(self) -> Path:
        """The attempt's own directory; nothing else writes there."""
        return self.workspace.attempt(self.record["stage"], self.record["token"])

    def save(self) -> None:
        """Write `attempt.json`."""
        write_atomic(self.directory / "attempt.json", json_bytes(self.record))

    def beat(self) -> None:
        """Move the heartbeat on, with the step reached."""
        self._beats += 1
        with suppress(OSError):  # a beat that is missed costs less than the attempt
            (self.directory / "heartbeat").write_bytes(json_bytes([self._beats, self.record["step"]]))

    @contextmanager
    def beating(self, seconds: float = HEARTBEAT_SECONDS) -> Iterator[None]:
        """Keep the heartbeat moving while the body is busy with one long thing, such as a checkpoint's checksums."""
        over = threading.Event()

        def keep_on() -> None:
            while not over.wait(seconds):
                self.beat()

        thread = threading.Thread(target=keep_on, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def end(self, ending: Ending, message: str | None = None, traceback: str | None = None) -> None:
        """Record how the attempt ended, in its own file and in the journal."""
        self._close(ending)
        self.record["message"], self.record["traceback"] = message, traceback
        self.save()
        self.journal.ended(self.record)

    def commit(self, commit: Commit) -> bool:
        """Publish `done.json`; tell whether this attempt won. A loser is recorded as superseded."""
        self._close(commit["outcome"])
        content = json_bytes({**commit, "record": self.record})
        path = self.workspace.done_file(self.record["stage"])
        won = publish_once(path, content)
        winner = None if won else read_commit(self.workspace, self.record["stage"])
        if not won and winner is None:  # what stood there was damaged, and is set aside now
            won = publish_once(path, content)
        if won:
            self.save()
            self.journal.ended(self.record)
        else:
            self.end("superseded", "another attempt committed first")
            if winner is not None:
                self.journal.committed(self.record["stage"], winner["attempt"], winner["outcome"])
        return won

    def _close(self, ending: Ending) -> None:
        self.record["ended"], self.record["ending"] = time.time(), ending


def read_commit(workspace: Workspace, stage: str) -> Commit | None:
    """The commit of a stage, or None when it has none; a damaged `done.json` is set aside and counts as none."""
    path = workspace.done_file(stage)
    try:
        commit: Commit | None = read_json_or_none(path)
    except WorkspaceError:
        with suppress(FileNotFoundError):  # another process may have done so
            path.rename(path.with_name(f"damaged-done-{secrets.token_hex(4)}.json"))
        return None
    return commit


def _read_record(directory: Path) -> AttemptRecord | None:
    """`attempt.json`, or None when it is missing or damaged."""
    try:
        record: AttemptRecord | None = read_json_or_none(directory / "attempt.json")
    except WorkspaceError:
        return None
    return record


def lost_record(record: AttemptRecord, directory: Path) -> AttemptRecord:
    """The record of an abandoned attempt, ended at its last heartbeat, at the step that this named."""
    lost = record.copy()
    lost["ending"], lost["message"] = "lost", "its process is gone"
    path = directory / "heartbeat"
    try:
        _, lost["step"] = read_json_or_none(path) or (0, record["step"])
        lost["ended"] = path.stat().st_mtime
    except (OSError, WorkspaceError, ValueError, TypeError):
        lost["ended"] = record["started"]
    return lost


def _read_or_empty(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
