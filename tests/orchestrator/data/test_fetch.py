"""Downloads from a hub that speaks the protocol: what is brought, and each refusal as one message."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import yates
from tests.support.hub import COMMIT, FakeHub, Repository, serving

MODEL = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "tokenizer.json": b"{}",
    "pytorch_model.bin": b"pickled",
    "original/consolidated.safetensors": b"twice",
}
TOKEN = "hf_let_me_in"


@pytest.fixture
def hub(pairs: dict[str, bytes]):
    repositories = {
        "models/org/open": Repository(MODEL),
        "models/org/gated": Repository(MODEL, gated=True, token=TOKEN),
        "datasets/org/pairs": Repository(pairs, names=("main", "v0")),
    }
    with serving(FakeHub(repositories)) as running:
        yield running


def check(hub: FakeHub, grid: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`yates data check`, with a cache beside the grid; no token of the machine's own."""
    settings = {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HUB_CACHE": str(grid.parent / "hub"),
        "HF_TOKEN_PATH": str(grid.parent / "token"),
        "HF_TOKEN": "",
        "COLUMNS": "300",
    }
    return yates("data", "check", grid, *arguments, timeout=120, **(settings | environment))


def test_each_refusal_is_one_message_and_the_rest_goes_on(hub: FakeHub, grid: Path) -> None:
    done = check(hub, grid, "--fetch")
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "problem: model org/absent: there is no such repository, or it is private" in said
    assert "problem: model org/gated: is gated. Accept its terms at https://huggingface.co/org/gated" in said
    assert "problem: model org/open@nowhere: has no revision 'nowhere'" in said
    assert said.count("problem:") == 3
    assert "20 rows, 20 usable (published: 20, +0)" in said
    assert "Traceback" not in said
    wanted = {"config.json", "model.safetensors", "tokenizer.json"}
    assert {name for name in hub.downloaded() if name.startswith("org/open/")} == {
        f"org/open/{one}" for one in wanted
    }
    assert {name for name in hub.downloaded() if name.startswith("datasets/")} == {
        "datasets/org/pairs/round0/train.jsonl.xz",
        "datasets/org/pairs/round0/test.jsonl.xz",
    }


def test_with_a_token_everything_comes_and_then_no_network_is_needed(hub: FakeHub, grid: Path) -> None:
    where = ("--where", 'model in ("open", "gated")')
    done = check(hub, grid, *where, "--fetch", HF_TOKEN=TOKEN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 needed, all there" in done.stdout
    asked = len(hub.asked)
    again = check(hub, grid, *where, "--json")
    assert again.returncode == 0, again.stdout + again.stderr
    needs = json.loads(again.stdout)["needs"]
    assert {need["found"] for need in needs} == {"hub cache"}
    assert {need["revision"] for need in needs} == {COMMIT}
    assert len(hub.asked) == asked
    files = [path for path in grid.parent.rglob("*") if path.is_file()]
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]
    assert TOKEN not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("broken", "environment", "message"),
    [
        (True, {}, "the hub answered 500; try again later"),
        (False, {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE forbids downloads here"),
        (False, {"HF_ENDPOINT": "http://127.0.0.1:9"}, "the hub cannot be reached from this node"),
    ],
)
def test_a_hub_that_does_not_answer(
    hub: FakeHub, grid: Path, broken: bool, environment, message: str
) -> None:
    hub.broken = broken
    done = check(hub, grid, "--where", 'model == "open"', "--fetch", **environment)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert said.count(message) == 2, said
    assert "Traceback" not in said


def test_an_interrupted_download_is_seen_and_completed(hub: FakeHub, grid: Path) -> None:
    only = ("--where", 'model == "open"')
    assert check(hub, grid, *only, "--fetch").returncode == 0
    (weights,) = (grid.parent / "hub").glob("models--org--open/snapshots/*/model.safetensors")
    weights.unlink()
    partly = check(hub, grid, *only)
    assert partly.returncode == 1
    assert "holds no safetensors" in partly.stdout
    (test,) = (grid.parent / "hub").glob("datasets--org--pairs/snapshots/*/round0/test.jsonl.xz")
    test.unlink()
    done = check(hub, grid, *only, "--fetch")
    assert done.returncode == 0 and "fetching dataset org/pairs" in done.stderr
    assert weights.read_bytes() == b"weights" and test.exists()
