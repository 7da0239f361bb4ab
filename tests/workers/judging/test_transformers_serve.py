"""A real language model behind a server that others wrote, faults in between: `transformers serve`."""

import importlib.util
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import ASSETS
from tests.support.endpoint import KEY, faults_between
from tests.workers.judging.lab import figures, generations, judged, reaching, recipe_of

MODEL = ASSETS / "models" / "stories260K-hf"
NEEDED = ("fastapi", "uvicorn")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not MODEL.is_dir(), reason="needs the assets folder beside the repository"),
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in NEEDED), reason="needs transformers[serving]"
    ),
]
BEGINNINGS = ["Once upon a time, there was a little girl named", "Tim and", "The dog", "One day, Lily"] * 3
"""With such a beginning the model soon names somebody."""


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """The model with a chat template that adds nothing."""
    directory = tmp_path_factory.mktemp("served") / "stories"
    shutil.copytree(MODEL, directory, copy_function=shutil.copyfile)
    (directory / "chat_template.jinja").write_text("{{ messages[0].content }}")
    return directory


@pytest.fixture(scope="module")
def address(model) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["transformers", "serve", str(model), "--device", "cpu", "--port", str(port)]
    server = subprocess.Popen(
        command,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(f"http://127.0.0.1:{port}/health", server)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(30)


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert server.poll() is None, "the server has ended"
        try:
            urllib.request.urlopen(url, timeout=2)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError("the server does not come up")


def test_a_served_model_judges_the_same_through_faults(address, model, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    own = tmp_path / "own.txt"
    own.write_text("{prompt}{answer}")
    endpoint = {"model": str(model), "max_tokens": 24, "tries": 1}
    recipe = recipe_of(
        judge={"endpoint": endpoint}, shape="verdict", labels=["Lily", "Tim"], instruction={"hub": str(own)}
    )
    parents = [generations(tmp_path, [""] * 12, prompts=[f"{text}" for text in BEGINNINGS[:4]])]
    calm, samples = judged(tmp_path / "calm", recipe, parents, execution=reaching(address, concurrency=1))
    found = figures(calm)
    assert found["judged"] + found["unparsed"] == 4 and found["judged"] >= 1
    plan = ["429", None, "500", "reset", "cut", None]
    with faults_between(address, plan) as (between, happened):
        execution = reaching(between, concurrency=2)
        faulty, others = judged(tmp_path / "faulty", recipe, parents, execution=execution)
    assert len(happened) == 4
    assert (faulty.metrics, others) == (calm.metrics, samples)
