"""Watching a run and leaving it: by q, by Ctrl-C, on a real terminal and without one."""

import io
import os
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from rich.console import Console

from orchestrator.watch import loop
from orchestrator.watch.keyboard import keys
from results.layout import Workspace
from tests.orchestrator.lab import Lab


@pytest.fixture
def lab(tmp_path) -> Lab:
    found = Lab(Workspace(tmp_path / "runs"))
    found.finish("base")
    found.claim("train-sft-0")
    return found


def watched(lab: Lab, monkeypatch, press: Callable[[int], str]) -> str:
    """What the terminal was sent while `press` told which key came after which look."""
    looks: list[float] = []

    def wait(seconds: float) -> str:
        looks.append(seconds)
        return press(len(looks))

    @contextmanager
    def pressed() -> Iterator[Callable[[float], str]]:
        yield wait

    monkeypatch.setattr(loop, "keys", pressed)
    stream = io.StringIO()
    console = Console(file=stream, width=100, height=30, force_terminal=True, color_system=None)
    view = lab.view()
    loop.watch(view, list(view.experiments), console)
    assert all(seconds >= loop.LEAST_PAUSE for seconds in looks)
    return stream.getvalue()


def interrupt(look: int) -> str:
    raise KeyboardInterrupt


@pytest.mark.parametrize("press", [lambda look: "q" if look == 3 else "x", interrupt], ids=["q", "Ctrl-C"])
def test_leaving_touches_nothing_and_leaves_the_last_picture(lab: Lab, monkeypatch, press) -> None:
    before = lab.tree()
    text = watched(lab, monkeypatch, press)
    assert lab.tree() == before
    assert text.rstrip().splitlines()[-1].strip() == "q quits; the run goes on"
    assert "\x1b[?1049l" in text  # the other screen is left


def test_what_happens_meanwhile_is_seen(lab: Lab, monkeypatch) -> None:
    def press(look: int) -> str:
        if look == 1:
            lab.finish("train-dpo-0")
        return "q" if look == 2 else ""

    text = watched(lab, monkeypatch, press)
    assert text.index("0/2") < text.index("1/2")


@pytest.fixture
def terminal(monkeypatch) -> Iterator[int]:
    """The hand at a terminal whose other end is this process's input."""
    hand, end = os.openpty()
    with os.fdopen(end) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        yield hand
    os.close(hand)


def test_a_key_is_heard_at_once_and_the_terminal_is_put_back(terminal: int) -> None:
    before = termios.tcgetattr(sys.stdin)
    with pytest.raises(ZeroDivisionError), keys() as wait:
        assert wait(0.01) == ""
        os.write(terminal, b"qx")
        assert wait(5) + wait(5) == "qx"
        raise ZeroDivisionError
    assert termios.tcgetattr(sys.stdin) == before


def test_without_a_keyboard_it_just_waits(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("q"))
    with keys() as wait:
        assert wait(0.01) == ""
