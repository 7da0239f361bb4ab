from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from orchestrator.cli.main import app

Yates = Callable[..., tuple[int, str]]


@pytest.fixture
def yates(monkeypatch) -> Yates:
    """Run a verb in this process: (exit code, what it printed). A mistake raises, as `main` would report it."""
    monkeypatch.setenv("COLUMNS", "400")

    def run(*arguments: object, answer: str | None = None) -> tuple[int, str]:
        done = CliRunner().invoke(app, [str(one) for one in arguments], input=answer)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.output

    return run
