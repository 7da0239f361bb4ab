"""What `yates bench` changes of its own process while it measures: where it prints, and what a signal does."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from types import FrameType


@contextmanager
def printing_to_errors() -> Iterator[None]:
    """Within, what libraries print goes to standard error, also what processes print that are started within."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@contextmanager
def interruptible() -> Iterator[None]:
    """Within, SIGTERM interrupts as Ctrl-C does: what was started is ended, what was written is removed.

    Only the main thread can say so; in another one nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
