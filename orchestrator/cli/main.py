"""The entry point: verbs, exit codes, and errors as messages for the person.

Exit codes: 0 all done, 1 some experiments failed, 2 the user's mistake, 130 interrupted.
"""

import sys

import typer

from orchestrator.cli import (
    analysis,
    bench,
    clusters,
    data,
    grids,
    judge,
    maintenance,
    report,
    results_commands,
    runs,
    studies,
)
from orchestrator.errors import GridError
from results.files import WorkspaceError

app = typer.Typer(
    name="yates",
    help="Run a whole factorial study of language-model training: submit the grid, resume what is unfinished, "
    "query the results.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for module in (
    grids,
    bench,
    runs,
    clusters,
    data,
    judge,
    maintenance,
    results_commands,
    studies,
    analysis,
    report,
):
    module.register(app)


def main() -> None:
    """Run the command line; a mistake or a filesystem that refuses ends with one message, never a traceback."""
    sys.path.append("")
    try:
        app(standalone_mode=True)
    except (WorkspaceError, GridError) as error:
        fail(str(error))
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        fail(f"{error.filename or 'the workspace'}: {error.strerror or error}")
    except KeyboardInterrupt:
        sys.exit(130)


def fail(message: str) -> None:
    """Print `message` as an error and exit with code 2."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
