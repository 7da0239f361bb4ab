"""What the screen of `yates status --watch` looks like, word for word, at fixed data."""

import io

import pytest
from rich.console import Console

from orchestrator.watch.bundles import Bundle
from orchestrator.watch.picture import Bar, Failure, Held, Picture
from orchestrator.watch.screen import draw

SFT = Bundle("worker-1", "gpu-17", "1 × NVIDIA H100", "sft", 120, 700, 2.5, 12, 4000.0)
PICTURE = Picture(
    title="runs",
    experiments={"done": 200, "running": 2, "failed": 3, "held": 40, "pending": 149},
    bars=(
        Bar("evaluate", 780, {"done": 400, "running": 1, "held": 40, "pending": 339}),
        Bar("sft", 172, {"done": 168, "diverged": 1, "failed": 3}),
    ),
    bundles=(
        Bundle("worker-3", "gpu-02", "1", "dpo", 40, 700, 0.0, 3, None),
        SFT,
        Bundle("worker-2", "gpu-18", "–", "evaluate", None, None, None, 1, None),
    ),
    running=3,
    failures=(Failure("sft", "bug", 3, "KeyError: 'text'\nin a row"),),
    held=(Held("evaluate", 40, "3 stages failed alike; mend it, then `yates resume --release`"),),
    gone=754.0,
    left=9000.0,
)

GOLDEN = """\
runs: 394 experiments
█ 200 done  ▸ 2 running  ✗ 3 failed  ‖ 40 held  · 149 pending
13 min watched, about 2.5 h left
evaluate  ██████████████████████████▸‖‖·····················  400/780  1 running, 40 held, 339 pending
sft       ████████████████████████████████████████████████▓✗  169/172  1 diverged, 3 failed
node    GPU              stage     step     steps/s  stages left  left
gpu-02  1                dpo       40/700   0        3            stands still
gpu-17  1 × NVIDIA H100  sft       120/700  2.5      12           67 min
gpu-18  –                evaluate  –        …        1            –
✗ 3 × sft bug, such as: KeyError: 'text' in a row
‖ evaluate is held (40 stages): 3 stages failed alike; mend it, then `yates resume --release`
q quits; the run goes on
"""


def shown(picture: Picture, width: int = 120, height: int = 40) -> list[str]:
    stream = io.StringIO()
    console = Console(file=stream, width=width, color_system=None, legacy_windows=False)
    console.print(draw(picture, width, height))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_the_whole_screen_word_for_word() -> None:
    assert "\n".join(shown(PICTURE)) + "\n" == GOLDEN


def test_on_a_narrow_terminal_nodes_give_way_and_nothing_is_wider_than_it() -> None:
    lines = shown(PICTURE, width=60)
    assert "stage     step     steps/s  left" in lines
    assert max(map(len, lines)) <= 60


def many(count: int) -> Picture:
    bundles = [Bundle(f"worker-{i}", f"node-{i:03}", "1", "sft", i, 700, 2.0, 5, 60.0) for i in range(count)]
    return Picture("runs", {"running": 40_000}, [Bar("sft", 40_000, {"running": 40_000})], bundles, count)


@pytest.mark.parametrize("height", [24, 50])
def test_hundreds_of_bundles_fit_the_terminal_and_the_rest_is_counted(height: int) -> None:
    lines = shown(many(400), height=height)
    listed = [line for line in lines if line.startswith("node-")]
    assert len(lines) <= height
    assert f"and {400 - len(listed)} more; 400 of all make 800 steps/s" in lines


def test_every_state_that_occurs_is_seen_in_its_bar() -> None:
    bar = Bar("sft", 40_000, {"done": 39_998, "running": 1, "failed": 1})
    line = next(line for line in shown(Picture("runs", {"done": 1}, [bar])) if line.startswith("sft"))
    assert "█▸✗  39,998/40,000  1 running, 1 failed" in line


def test_a_message_cannot_give_orders_to_the_terminal() -> None:
    evil = Failure("sft", "bug", 1, "\x1b[2J[red]gone\x07")
    text = "\n".join(shown(Picture("runs", {"failed": 1}, [], failures=[evil])))
    assert "\x1b" not in text and "\x07" not in text
    assert "[2J[red]gone" in text


def test_a_workspace_at_rest_says_so() -> None:
    assert "nothing runs or waits" in shown(Picture("runs", {"done": 3}, []))
