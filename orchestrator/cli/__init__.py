"""The command line: `yates VERB …`. Each module holds the verbs of one concern and imports what they need late."""

from orchestrator.cli.main import main

__all__ = ["main"]
