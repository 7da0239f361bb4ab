"""What a service said, kept by content in the workspace, so that nothing is paid for twice."""

from pathlib import Path
from typing import TypedDict

from results.files import WorkspaceError, json_bytes, read_json, write_atomic
from results.layout import Workspace
from workers.identity import text_digest

VERSION = 1


class Judgement(TypedDict):
    """The answers that a service gave to one question, try by try, and the tokens that it read and wrote."""

    answers: list[str]
    read_tokens: int
    written_tokens: int


class Judgements:
    """One file for each question under `<workspace>/cache/judgements/ab/<sha256>.json`.

    The name is a hash of everything that decides the answer: who judges under which settings, and the whole message
    (instruction, prompt, outputs in their order). Files appear whole; of several writers the last one stays. They hold
    what the service said and no key, address or prompt. A file that cannot be read counts as absent.
    """

    def __init__(self, workspace: Workspace, identity: str) -> None:
        self.root = workspace.cache / "judgements"
        self.identity = identity

    def find(self, message: str) -> Judgement | None:
        """What was said to this message before, or None."""
        try:
            content = read_json(self._path(message))
            if content["version"] != VERSION or not all(isinstance(text, str) for text in content["answers"]):
                return None
            counts = int(content["read_tokens"]), int(content["written_tokens"])
            return Judgement(
                answers=list(content["answers"]), read_tokens=counts[0], written_tokens=counts[1]
            )
        except (OSError, WorkspaceError, KeyError, TypeError, ValueError):
            return None

    def keep(self, message: str, judgement: Judgement) -> None:
        """Keep what was said to this message."""
        write_atomic(self._path(message), json_bytes({"version": VERSION, **judgement}))

    def _path(self, message: str) -> Path:
        name = text_digest(self.identity, message)
        return self.root / name[:2] / f"{name}.json"
