"""Journals: append-only files, one per writer, that make the state of a workspace quick to read.

They are an index, not the truth: `done.json` decides what is complete. A writer notes a claim before it
starts and the end after it committed, so the only commits a journal may miss are those of its open
claims, and a reader can look just there.
"""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from results.files import json_bytes, open_in, parse_record
from results.layout import Workspace
from results.records import AttemptRecord, Commit, Ending, Outcome


class Journal:
    """The journal of one writer. Only that writer's process appends to it."""

    def __init__(self, workspace: Workspace, writer: str) -> None:
        self._path = workspace.journals / f"{writer}.jsonl"

    def claimed(self, stage: str, token: str, time: float) -> None:
        """Note that attempt `token` is about to start."""
        self._append({"event": "claimed", "stage": stage, "token": token, "time": time})

    def ended(self, record: AttemptRecord) -> None:
        """Note how an attempt ended; for `done` and `diverged` call it after `done.json` was published."""
        self._append({"event": "ended", "stage": record["stage"], "token": record["token"], "record": record})

    def committed(self, stage: str, token: str, outcome: Outcome = "done") -> None:
        """Note a commit that was found on disk but in no journal."""
        self._append({"event": "committed", "stage": stage, "token": token, "outcome": outcome})

    def forgotten(self, stage: str, token: str = "") -> None:
        """Note that the commit of `stage` was taken back: removed as unneeded, or damaged.

        Name the attempt whose commit it was, where it is known: a later commit by another attempt then
        stands, in whatever order the journals are read.
        """
        self._append({"event": "forgotten", "stage": stage, "token": token})

    def released(self, stage: str, tokens: list[str]) -> None:
        """Note that these failed attempts at `stage` are forgiven: it may be tried again."""
        self._append({"event": "released", "stage": stage, "tokens": tokens})

    def _append(self, event: dict[str, Any]) -> None:
        line = json_bytes(event) + b"\n"
        descriptor = open_in(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            _write_whole(descriptor, line)
        finally:
            os.close(descriptor)


@dataclass
class Index:
    """What the journals say, folded: which stages are committed, claimed, or ended otherwise.

    `done` maps a stage to its winning attempt, `open` a stage to the attempts claimed and not ended, and
    `endings` a stage to the endings of its attempts that did not commit, in the order they were read.

    Journals are read one file after another, so an attempt's end may be read before its claim (another
    writer noted that it was lost); the fold gives the same result in any order of the files.
    """

    workspace: Workspace
    done: dict[str, str] = field(default_factory=dict)
    diverged: set[str] = field(default_factory=set)
    open: dict[str, dict[str, str]] = field(default_factory=dict)
    endings: dict[str, list[AttemptRecord]] = field(default_factory=dict)
    _offsets: dict[str, int] = field(default_factory=dict)
    _closed: set[tuple[str, str]] = field(default_factory=set)
    _forgotten: set[tuple[str, str]] = field(default_factory=set)
    _forgiven: set[tuple[str, str]] = field(default_factory=set)
    _earlier: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def at(
        cls, workspace: Workspace, offsets: dict[str, int], open_claims: dict[str, dict[str, str]]
    ) -> "Index":
        """An index that starts at `offsets`, with the claims that were open there, and knows nothing else."""
        copied = {stage: dict(claims) for stage, claims in open_claims.items()}
        return cls(workspace, open=copied, _offsets=dict(offsets))

    @property
    def offsets(self) -> dict[str, int]:
        """How many bytes of each journal file are folded in."""
        return dict(self._offsets)

    def refresh(self) -> set[str]:
        """Fold in what was appended since the last call; return the stages that were touched."""
        touched: set[str] = set()
        for path in sorted(self.workspace.journals.glob("*.jsonl")):
            for event in self._new_events(path):
                self._fold(path.stem, event)
                touched.add(event["stage"])
        return touched

    def ending(self, stage: str) -> Ending | None:
        """How the last attempt at an uncommitted stage ended, or None."""
        records = self.endings.get(stage)
        return max(records, key=attempt_number)["ending"] if records else None

    def standing(self, stage: str) -> list[AttemptRecord]:
        """The endings that count against an uncommitted stage, oldest first: those not forgiven."""
        records = self.endings.get(stage, [])
        counted = [record for record in records if (stage, record["token"]) not in self._forgiven]
        return sorted(counted, key=attempt_number)

    def all_standing(self) -> dict[str, list[AttemptRecord]]:
        """`standing` of every stage that has any."""
        found = {stage: self.standing(stage) for stage in self.endings}
        return {stage: records for stage, records in found.items() if records}

    def note_commit(self, commit: Commit) -> None:
        """Fold in a commit that was read from its `done.json`."""
        self._close(commit["stage"], commit["attempt"])
        self.done[commit["stage"]] = commit["attempt"]
        if commit["outcome"] == "diverged":
            self.diverged.add(commit["stage"])

    def _new_events(self, path: Path) -> Iterator[dict[str, Any]]:
        start = self._offsets.get(path.name, 0)
        with path.open("rb") as stream:
            if start > os.fstat(stream.fileno()).st_size:
                start = 0  # the file was made anew; folding an event twice changes nothing
            stream.seek(start)
            content = stream.read()
        complete = content.rfind(b"\n") + 1
        self._offsets[path.name] = start + complete
        for line in content[:complete].splitlines():
            event = _parse(line)
            if event is not None:
                yield event

    def _fold(self, writer: str, event: dict[str, Any]) -> None:
        stage, token = event["stage"], event.get("token", "")
        match event["event"]:
            case "claimed":
                if (stage, token) not in self._closed:
                    self.open.setdefault(stage, {})[token] = writer
            case "ended":
                self._close(stage, token)
                self._end(stage, token, event["record"])
            case "committed":
                self._close(stage, token)
                self._commit(stage, token, event.get("outcome", "done"))
            case "released":
                self._forgiven.update((stage, forgiven) for forgiven in event["tokens"])
            case "forgotten":
                self._forget(stage, token)

    def _close(self, stage: str, token: str) -> None:
        self._closed.add((stage, token))
        claims = self.open.get(stage)
        if claims is not None:
            claims.pop(token, None)
            if not claims:
                del self.open[stage]

    def _end(self, stage: str, token: str, record: AttemptRecord) -> None:
        ending = record["ending"]
        if ending in {"done", "diverged"}:
            self._commit(stage, token, ending)
        else:
            self._keep(self.endings.setdefault(stage, []), record)

    def _keep(self, records: list[AttemptRecord], record: AttemptRecord) -> None:
        """Keep one ending for each attempt: its own word goes before what an observer took it for."""
        for place, known in enumerate(records):
            if known["token"] == record["token"]:
                if known["ending"] == "lost":
                    records[place] = record
                return
        records.append(record)

    def _commit(self, stage: str, token: str, outcome: str | None) -> None:
        if (stage, token) in self._forgotten:
            return
        before = self.done.get(stage, token)
        if before != token:  # taken back, by a line of a journal that is still to be read
            self._earlier.setdefault(stage, {})[before] = "diverged" if stage in self.diverged else "done"
        self.done[stage] = token
        if outcome == "diverged" or (before == token and stage in self.diverged):
            self.diverged.add(stage)
        else:
            self.diverged.discard(stage)

    def _forget(self, stage: str, token: str) -> None:
        self._forgotten.add((stage, token))
        earlier = self._earlier.get(stage, {})
        earlier.pop(token, None)
        if token in ("", self.done.get(stage)):
            self.done.pop(stage, None)
            self.diverged.discard(stage)
            if token and earlier:
                self._commit(stage, *earlier.popitem())


def attempt_number(record: AttemptRecord) -> int:
    """Which attempt at its stage a record is of, from 1; 0 when it does not say."""
    return record.get("number") or 0


def _write_whole(descriptor: int, line: bytes) -> None:
    """Append `line`, or leave the file as it was: a full disk must not glue two events together."""
    size = os.fstat(descriptor).st_size
    written = os.write(descriptor, line)
    if written < len(line):
        os.ftruncate(descriptor, size)
        raise OSError(errno.ENOSPC, "the journal could not be written whole")


def _parse(line: bytes) -> dict[str, Any] | None:
    """The event of one line, or None for a line that a crash or a full disk cut short."""
    try:
        event = parse_record(line)
    except ValueError:
        return None
    if not isinstance(event, dict) or "stage" not in event or "event" not in event:
        return None
    if event["event"] == "ended" and not isinstance(event.get("record"), dict):
        return None
    return event
