"""One key of the keyboard, waited for without stopping the rest."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Wait = Callable[[float], str]
"""Waits so many seconds for a key; the key, or an empty text."""


@contextmanager
def keys() -> Iterator[Wait]:
    """A function that waits for a key. Where there is no keyboard it just waits.

    The terminal is put back as it was, whatever happens. Ctrl-C stays what it is.
    """
    try:
        import termios
        import tty

        before = termios.tcgetattr(sys.stdin)
    except (ImportError, OSError, ValueError, termios.error):
        yield _only_wait
        return
    try:
        tty.setcbreak(sys.stdin)
        yield _wait
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _wait(seconds: float) -> str:
    import os
    import select

    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return os.read(sys.stdin.fileno(), 1).decode("ascii", "replace") if ready else ""


def _only_wait(seconds: float) -> str:
    time.sleep(seconds)
    return ""
