"""Trackers get a run of their own for each stage, and change nothing of it."""

import struct
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.training import SFT, STEPS, Lab, base_of, sft_recipe
from workers.recipe import Execution
from workers.training.trackers import run_name, tracked

tensorboard = pytest.importorskip("tensorboardX", reason="needs a writer of TensorBoard's files")


def test_each_stage_has_a_folder_of_tensorboard_and_the_same_result_as_without(lab: Lab) -> None:
    base = base_of(lab)
    plain = lab.run(SFT, sft_recipe(seed=1), (base,))
    shown = [
        lab.run(SFT, sft_recipe(seed=seed), (base,), execution=Execution(report_to=("tensorboard",)))
        for seed in (1, 2)
    ]
    assert shown[0].bytes() == plain.bytes()
    folders = sorted((lab.workspace.logs / "tensorboard").iterdir())
    assert len(folders) == 2 and all(folder.name.startswith("sft-") for folder in folders)
    for folder in folders:
        losses = [value for name, value in logged(folder) if name == "train/loss"]
        assert len(losses) == STEPS


def logged(folder: Path) -> list[tuple[str, float]]:
    """Names and values in the event files of a folder: TFRecords, each a length, its checksum, data, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in folder.glob("events.*"):
        content, at = path.read_bytes(), 0
        while at < len(content):
            [length] = struct.unpack_from("<Q", content, at)
            event = Event.FromString(content[at + 12 : at + 12 + length])
            found += [(value.tag, value.simple_value) for value in event.summary.value]
            at += length + 16
    return found


def test_a_run_of_wandb_ends_with_its_stage_even_when_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(finish=lambda: ended.append(1)))
    trainer = SimpleNamespace(callback_handler=SimpleNamespace(callbacks=[]))
    context = SimpleNamespace(execution=Execution(report_to=("wandb",)))
    with pytest.raises(RuntimeError), tracked(context, trainer):
        raise RuntimeError
    assert ended == [1]


def test_a_run_is_called_after_its_stage() -> None:
    stage = SimpleNamespace(kind=SimpleNamespace(name="dpo"), id="0123456789abcdef")
    assert run_name(SimpleNamespace(stage=stage)) == "dpo-0123456789ab"
